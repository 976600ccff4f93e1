"""Jobs that are there, and paused, before their functions are: a task moves over without a gap.

`firebase deploy` finds such a job, sees that it is as it would make it, and leaves it paused.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import main
from functions.delivery import MIN_BACKOFF_SECONDS, RETRY_COUNT, TIMEOUT_MARGIN_SECONDS
from shared.settings import REGION
from shared.tasks.specs import registered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks import TaskSpec


def job_name(task: str) -> str:
    """Return the name that `firebase deploy` gives a task's job."""
    return f"firebase-schedule-{task}-{REGION}"


def paused(project: str, account: str) -> Iterator[str]:
    """Return commands of gcloud that make each task's job and pause it at once.

    Args:
        project: the project's id.
        account: address of the service account that functions run as.
    """
    for spec in registered():
        if spec.name.value in main.__all__ and spec.schedule is not None:
            name = job_name(spec.name.value)
            where = (f"--location={REGION}", f"--project={project}")
            create = ("gcloud", "scheduler", "jobs", "create", "http", name, *where)
            yield shlex.join((*create, *_said(spec, project, account)))
            yield shlex.join(("gcloud", "scheduler", "jobs", "pause", name, *where))


def _said(spec: TaskSpec, project: str, account: str) -> list[str]:
    return [
        f"--schedule={spec.schedule}",
        f"--time-zone={spec.time_zone}",
        f"--uri=https://{REGION}-{project}.cloudfunctions.net/{spec.name.value}",
        "--http-method=post",
        f"--oidc-service-account-email={account}",
        f"--attempt-deadline={int(spec.deadline_seconds) + TIMEOUT_MARGIN_SECONDS}s",
        f"--max-retry-attempts={RETRY_COUNT}",
        f"--min-backoff={MIN_BACKOFF_SECONDS}s",
    ]
