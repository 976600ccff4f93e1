"""Every five minutes: repairs interrupted runs and contract copies, and reports incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.scheduled_endpoint import scheduled_function
from shared.tasks import watch_tasks

if TYPE_CHECKING:
    from functions.scheduled_endpoint import Delivery


@scheduled_function(
    schedule="*/5 * * * *",
    time_zone="Etc/UTC",
    timeout_seconds=240,
    memory=512,
    labels={"nx-task": "false"},  # A scheduled function that is not a task has no status and no result.
)
def watchdog(_: Delivery) -> int:
    """Check every task; return 500 if a check failed, so that Cloud Scheduler retries."""
    return 200 if watch_tasks() else 500
