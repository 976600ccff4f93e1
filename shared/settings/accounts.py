"""The service accounts that the functions run as."""

from __future__ import annotations

from shared.settings.declared import Setting

#: A service account's full address. firebase-tools completes "name@" for a function, but not for the
#: Cloud Scheduler job that calls it, so the short form is refused.
_ADDRESS = r"[a-z0-9][a-z0-9-]*@[a-z0-9.-]+\.gserviceaccount\.com"
_EXPECTED = "a service account's full address, `NAME@YOUR-PROJECT.iam.gserviceaccount.com`"

SERVICE_ACCOUNT = Setting(
    name="NX_TASKS_SERVICE_ACCOUNT",
    meaning="the service account that functions run as, and that Cloud Scheduler calls them as",
    expected=_EXPECTED,
    parse=str,
    pattern=_ADDRESS,
    affects="every function",
    default_text="the project's default compute account",
)
READER_ACCOUNT = Setting(
    name="NX_TASKS_READER_ACCOUNT",
    meaning="the service account of callables that only read",
    expected=_EXPECTED,
    parse=str,
    pattern=_ADDRESS,
    affects="get_run, get_task_data, list_runs, list_tasks, list_timeline",
    default_text="the account of all other functions",
)
OPERATOR_ACCOUNT = Setting(
    name="NX_TASKS_OPERATOR_ACCOUNT",
    meaning="the service account of callables that change something; it needs no secret",
    expected=_EXPECTED,
    parse=str,
    pattern=_ADDRESS,
    affects="cancel_run, resume_task, run_task, suspend_task",
    default_text="the account of all other functions",
)


def service_account() -> str | None:
    """Return the account that functions run as; None for the project's default.

    Raises:
        SettingInvalid: NX_TASKS_SERVICE_ACCOUNT is not a service account's full address.
    """
    return SERVICE_ACCOUNT.value()


def reader_account() -> str | None:
    """Return the account of callables that only read; None for the one of all other functions.

    Raises:
        SettingInvalid: NX_TASKS_READER_ACCOUNT is not a service account's full address.
    """
    return READER_ACCOUNT.value()


def operator_account() -> str | None:
    """Return the account of callables that change something; None for the one of all other functions.

    Raises:
        SettingInvalid: NX_TASKS_OPERATOR_ACCOUNT is not a service account's full address.
    """
    return OPERATOR_ACCOUNT.value()
