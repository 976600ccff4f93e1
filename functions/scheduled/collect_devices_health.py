"""Every five minutes: judges every device. The result is kept in the status document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from functions.scheduled_endpoint import scheduled_task
from shared import firebase
from shared.tasks import TaskName, TaskSpec

if TYPE_CHECKING:
    from shared.tasks import TaskRun

SPEC = TaskSpec(TaskName.collect_devices_health, schedule="*/5 * * * *", deadline_seconds=240, save_in="db")


@scheduled_task(SPEC, memory=512)
def collect_devices_health(run: TaskRun) -> list[dict[str, Any]]:
    """Judge every device by its last report."""
    from shared.collectors import devices_health  # noqa: PLC0415  (every function imports main.py)

    return devices_health.collect(firebase.firestore_client(), datetime.now(UTC), run)
