"""What the watchdog does about one task: dead runs failed, lost histories closed, the mirror mended.

A pass may be cut short or run beside another at any point: each write is conditional on what it
was decided on, and what one pass leaves, the next one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.tasks import writes
from shared.tasks.decisions import is_dead, is_overdue_original, is_superseded
from shared.tasks.errors import WriteRefused, WriteUnknown
from shared.tasks.mirror import mend_mirror
from shared.tasks.protocol import CLOCK_SKEW
from shared.tasks.steps import Commit, Read, ReadRunning, Steps

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from shared.tasks.names import TaskName


@dataclass(slots=True)
class Findings:
    """What a pass found and did about a task.

    Attributes:
        dead_run: the run that was failed because its process died.
        superseded_runs: runs whose history was closed.
        overdue_original: when the original's run began that says running beyond its deadline.
        mirror_mended: whether the mirror was behind.
    """

    dead_run: str | None = None
    superseded_runs: list[str] = field(default_factory=list)
    overdue_original: datetime | None = None
    mirror_mended: bool = False


def watch(documents: str, name: TaskName, *, now: datetime, deadline: timedelta) -> Steps[Findings]:
    """Look after one task (protocol, "Watchdog").

    Args:
        documents: the database's root.
        name: the task.
        now: UTC.
        deadline: how long a run of the original's may be at work.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    found = Findings()
    running = yield ReadRunning()
    task, _ = yield Read()  # after the histories, in a request of its own: `is_superseded` rests on it
    for run_id, run in running:
        if is_superseded(run, task):
            closing = writes.close_superseded_history(documents, name, run_id, run, now=now)
            if (yield from _applied(closing)):
                found.superseded_runs.append(run_id)
    if is_dead(task, now=now, skew=CLOCK_SKEW):
        if (yield from _applied(writes.fail_dead(documents, name, task, now=now))):
            found.dead_run = task.run_id
    elif is_overdue_original(task, now=now, deadline=deadline):
        found.overdue_original = task.started or task.timestamp
    found.mirror_mended = yield from mend_mirror(name)
    return found


def _applied(commit: list[Any]) -> Steps[bool]:
    """Commit; return whether it surely was. What was refused or lost, the next pass looks at again."""
    try:
        yield Commit(commit)
    except (WriteRefused, WriteUnknown):
        return False
    return True
