"""Results of many sizes for the measures to read, published as tasks publish them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.records import charge_locations
from shared.tasks import TaskEngine, TaskName, TaskResult

#: The task with the large results, and one whose result is a few bytes.
LARGE, TINY = TaskName.collect_charge_locations, TaskName.collect_devices_health
#: Another task with a large result.
OTHER = TaskName.send_reset_sms
ASK_LARGE, ASK_TINY, ASK_OTHER = ({"task_name": name.value} for name in (LARGE, TINY, OTHER))


@dataclass(frozen=True, slots=True)
class Published:
    """A published result.

    Attributes:
        size: bytes of its JSON.
        stored: bytes of its compressed object.
        path: path of its object.
        answer: the callable's answer to a client without gzip.
    """

    size: int
    stored: int
    path: str
    answer: bytes


def publish_large(size: int, task: TaskName = LARGE) -> Published:
    """Publish that many bytes of charging sites in Storage."""
    result = _published(task, charge_locations(size), "storage")
    if result.payload is None or result.path is None:
        raise RuntimeError("the published result is not in Storage")
    stored = b"".join(result.payload.gzip_around(b"", b"") or ())
    answer = b"".join(result.payload.around(b'{"result":', b"}"))
    return Published(result.payload.size, len(stored), result.path, answer)


def publish_tiny() -> None:
    """Publish a result of a few bytes in Firestore."""
    _published(TINY, [{"id": "1", "health": "good"}], "db")


def _published(task: TaskName, data: list[Any], save_in: str) -> TaskResult:
    outcome = TaskEngine().execute_task(
        "bench", task, lambda: data, {"save_in": save_in, "debug_logs": False}
    )
    if outcome.status != "completed":
        raise RuntimeError(f"the run that publishes the result failed: {outcome.error}")
    return TaskEngine().get_task_result(task)
