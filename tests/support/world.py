"""The tested task, a clock that tests advance, and the view of other clients."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import Client
from google.cloud.storage import Bucket

from shared.tasks import TaskName
from shared.tasks.clock import Clock

TASK = TaskName.collect_charge_cdrs


class HandClock(Clock):
    """The machine's clock, put forward by `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@dataclass(frozen=True)
class World:
    """The stack's own clients, which see what any other client sees."""

    database: Client
    bucket: Bucket

    def status(self, task: TaskName = TASK) -> dict[str, Any]:
        """The status document; {} if there is none."""
        return self.database.document(f"nx-tasks/{task.value}").get().to_dict() or {}

    def history(self, task: TaskName = TASK) -> dict[str, dict[str, Any]]:
        """All run records by their ids."""
        runs = self.database.collection(f"nx-tasks/{task.value}/nx-runs").stream()
        return {run.id: run.to_dict() or {} for run in runs}

    def write(self, fields: dict[str, Any], task: TaskName = TASK) -> None:
        """Overwrite the status document completely, like another implementation."""
        self.database.document(f"nx-tasks/{task.value}").set(fields)

    def objects(self) -> set[str]:
        """The paths of all objects."""
        return {blob.name for blob in self.bucket.client.list_blobs(self.bucket)}


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run a call in a thread; return the thread and a list that will contain the result."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()
    return thread, result
