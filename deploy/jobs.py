"""What `firebase deploy` does not do to the jobs of Cloud Scheduler: make them paused, change their account.

A task moves over without a gap where its job is there, and paused, before its function is: a
deployment finds it as it would make it, and leaves it paused. A function's new account is the job's, too.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import main
from deploy.costs import scheduled
from functions.scheduled_endpoint import TIMEOUT_MARGIN_SECONDS
from shared.settings import region
from shared.tasks.specs import MIN_BACKOFF_SECONDS, RETRY_COUNT, registered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks import TaskSpec


def job_name(task: str) -> str:
    """Return the name that `firebase deploy` gives a task's job."""
    return f"firebase-schedule-{task}-{region()}"


def paused(project: str, account: str) -> Iterator[str]:
    """Return commands of gcloud that make each task's job where it is not there, and pause it.

    They may be run again: what is there stays, and what is paused.

    Args:
        project: the project's id.
        account: address of the service account that functions run as.
    """
    for spec in registered():
        if spec.name.value in main.__all__ and spec.schedule is not None:
            name = job_name(spec.name.value)
            create = _command(project, "create", "http", name, *_said(spec, project, account))
            state = _command(project, "describe", name, "--format=value(state)")
            yield f"{state} >/dev/null 2>&1 || {create}"
            yield f'[ "$({state})" = PAUSED ] || {_command(project, "pause", name)}'


def called_as(project: str, account: str) -> Iterator[str]:
    """Return commands of gcloud that have the jobs of this codebase call their functions as an account.

    All else of a job stays as it is, paused or not, and so do the jobs of others.

    Args:
        project: the project's id.
        account: address of the service account that functions run as.
    """
    for function in scheduled():
        what = f"--oidc-service-account-email={account}"
        yield _command(project, "update", "http", job_name(function.name), what)


def _command(project: str, *words: str) -> str:
    where = (f"--location={region()}", f"--project={project}")
    return shlex.join(("gcloud", "scheduler", "jobs", *words, *where))


def _said(spec: TaskSpec, project: str, account: str) -> list[str]:
    return [
        f"--schedule={spec.schedule}",
        f"--time-zone={spec.time_zone}",
        f"--uri=https://{region()}-{project}.cloudfunctions.net/{spec.name.value}",
        "--http-method=post",
        f"--oidc-service-account-email={account}",
        f"--attempt-deadline={int(spec.deadline_seconds) + TIMEOUT_MARGIN_SECONDS}s",
        f"--max-retry-attempts={RETRY_COUNT}",
        f"--min-backoff={MIN_BACKOFF_SECONDS}s",
    ]
