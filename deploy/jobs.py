"""Changes to Cloud Scheduler jobs that `firebase deploy` does not make.

A task moves from another implementation without a missed tick if its job exists, paused, before its function
is deployed, because the deployment leaves the job paused.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import main
from deploy.costs import scheduled
from shared.settings import region
from shared.tasks.specs import MIN_BACKOFF_SECONDS, RETRY_COUNT, registered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks import TaskSpec


def job_name(task: str) -> str:
    """Return the name that `firebase deploy` gives a task's job."""
    return f"firebase-schedule-{task}-{region()}"


def paused(project: str, account: str) -> Iterator[str]:
    """Yield gcloud commands that create each task's job if it does not exist, and pause it.

    The commands may run again; existing jobs keep their configuration.

    Args:
        project: Project id.
        account: Address of the functions' service account.
    """
    for spec in registered():
        if spec.name.value in main.__all__ and spec.schedule is not None:
            name = job_name(spec.name.value)
            create = _command(project, "create", "http", name, *_options(spec, project, account))
            state = _command(project, "describe", name, "--format=value(state)")
            yield f"{state} >/dev/null 2>&1 || {create}"
            yield f'[ "$({state})" = PAUSED ] || {_command(project, "pause", name)}'


def with_account(project: str, account: str) -> Iterator[str]:
    """Yield gcloud commands that make this codebase's jobs call their functions with an account.

    Nothing else of the jobs changes, and a paused job stays paused.

    Args:
        project: Project id.
        account: Address of the functions' service account.
    """
    for function in scheduled():
        option = f"--oidc-service-account-email={account}"
        yield _command(project, "update", "http", job_name(function.name), option)


def _command(project: str, *words: str) -> str:
    location = (f"--location={region()}", f"--project={project}")
    return shlex.join(("gcloud", "scheduler", "jobs", *words, *location))


def _options(spec: TaskSpec, project: str, account: str) -> list[str]:
    return [
        f"--schedule={spec.schedule}",
        f"--time-zone={spec.time_zone}",
        f"--uri=https://{region()}-{project}.cloudfunctions.net/{spec.name.value}",
        "--http-method=post",
        f"--oidc-service-account-email={account}",
        f"--attempt-deadline={spec.timeout_seconds}s",
        f"--max-retry-attempts={RETRY_COUNT}",
        f"--min-backoff={MIN_BACKOFF_SECONDS}s",
    ]
