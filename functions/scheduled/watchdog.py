"""Every five minutes: did a run die, did a tick not start, is the contract copy right?"""

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
    labels={"nx-task": "false"},  # scheduled, and no task: it has no status and no result
)
def watchdog(_: Delivery) -> int:
    """Look after every task; 500 where one could not be looked after."""
    return 200 if watch_tasks() else 500
