"""Task runs without an execution, for tests of what tasks and their threads do with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks import TaskName, TaskRun
from shared.tasks.clock import Clock
from shared.tasks.contract import DocumentNames
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.runtime.checkpoints import Checkpoints
from shared.tasks.runtime.task_run import Progress, RunTimes
from shared.tasks.testing import MemoryCheckpoints

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


def _discard(_: Progress) -> None:
    pass


def task_run(
    task: TaskName = TaskName.send_reset_sms,
    *,
    seconds: float = 100.0,
    clock: Clock | None = None,
    scheduled_for: datetime | None = None,
    record: Callable[[Progress], None] = _discard,
) -> TaskRun:
    """A run with so many seconds to its deadline."""
    clock = clock or Clock()
    names = DocumentNames("projects/p/databases/d/documents", task)
    identity = AttemptIdentity(names, "a run", "a token", "test", scheduled_for)
    deadline = clock.monotonic() + seconds
    checkpoints = Checkpoints(MemoryCheckpoints(), clock)
    return TaskRun(identity, RunTimes(deadline, deadline), clock, record, checkpoints)
