"""Whom the functions run as."""

from __future__ import annotations

from shared.settings.declared import Setting

#: A service account's full address. "name@" alone is no such thing: firebase-tools completes it for a
#: function, but not for the job that calls it.
_ADDRESS = r"[a-z0-9][a-z0-9-]*@[a-z0-9.-]+\.gserviceaccount\.com"
_WANTED = "a service account's full address, `NAME@YOUR-PROJECT.iam.gserviceaccount.com`"

SERVICE_ACCOUNT = Setting(
    name="NX_TASKS_SERVICE_ACCOUNT",
    meaning="the service account that functions run as, and that Cloud Scheduler calls them as",
    wanted=_WANTED,
    parse=str,
    pattern=_ADDRESS,
    counts_in="every function",
    default_told="the project's default compute account",
)
READER_ACCOUNT = Setting(
    name="NX_TASKS_READER_ACCOUNT",
    meaning="the service account of callables that only read",
    wanted=_WANTED,
    parse=str,
    pattern=_ADDRESS,
    counts_in="get_run, get_task_data, list_runs, list_tasks",
    default_told="that of the others",
)
OPERATOR_ACCOUNT = Setting(
    name="NX_TASKS_OPERATOR_ACCOUNT",
    meaning="the service account of callables that change something; it needs no secret",
    wanted=_WANTED,
    parse=str,
    pattern=_ADDRESS,
    counts_in="cancel_run, resume_task, run_task, suspend_task",
    default_told="that of the others",
)


def service_account() -> str | None:
    """Return the account that functions run as; None: the project's default one.

    Raises:
        SettingInvalid: NX_TASKS_SERVICE_ACCOUNT is no service account's full address.
    """
    return SERVICE_ACCOUNT.value()


def reader_account() -> str | None:
    """Return the account of callables that only read; None: that of the others.

    Raises:
        SettingInvalid: NX_TASKS_READER_ACCOUNT is no service account's full address.
    """
    return READER_ACCOUNT.value()


def operator_account() -> str | None:
    """Return the account of callables that change something; None: that of the others.

    Raises:
        SettingInvalid: NX_TASKS_OPERATOR_ACCOUNT is not a service account's full address.
    """
    return OPERATOR_ACCOUNT.value()
