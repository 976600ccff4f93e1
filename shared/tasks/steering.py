"""Suspending and resuming a task: a person's hand on the schedule.

A suspended task's ticks are skipped, and say so. A run at work finishes and publishes; its
status goes on saying suspended until somebody resumes the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks import writes
from shared.tasks.errors import InvalidOptions, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.steps import Commit, Pause, Read, Steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.tasks.document import TaskDocument
    from shared.tasks.names import TaskName

#: Tries before a change gives up that meets another writer each time.
STEERING_TRIES = 8
#: Characters of who, and of why.
MAX_TEXT = 500


def suspend(documents: str, name: TaskName, *, by: str, reason: str, now: datetime) -> Steps[bool]:
    """Suspend a task (protocol, "Watchdog, suspend, resume").

    Args:
        documents: the database's root.
        name: the task.
        by: who suspends it.
        reason: why.
        now: UTC.

    Returns:
        Whether it is this that suspended it; False where it was suspended already.

    Raises:
        InvalidOptions: nobody, or no reason, is named.
        StoreError: Firestore did not answer, or others wrote each time.
    """
    _check(by, reason)

    def write(task: TaskDocument) -> list[Any]:
        return writes.suspend(documents, name, task, by=by, reason=reason, now=now)

    def is_this(task: TaskDocument) -> bool:
        found = task.suspended
        return isinstance(found, dict) and (found.get("by"), found.get("at")) == (by, now)

    return (yield from _change(name, write, is_this, suspended=True))


def resume(documents: str, name: TaskName, *, by: str, reason: str, now: datetime) -> Steps[bool]:
    """Resume a task; arguments and errors as `suspend`.

    Returns:
        Whether it was suspended.
    """
    _check(by, reason)

    def write(task: TaskDocument) -> list[Any]:
        return writes.resume(documents, name, task, by=by, reason=reason, now=now)

    return (yield from _change(name, write, lambda _: True, suspended=False))


def _change(
    name: TaskName,
    write: Callable[[TaskDocument], list[Any]],
    is_this: Callable[[TaskDocument], bool],
    *,
    suspended: bool,
) -> Steps[bool]:
    """Write until the task is suspended, or is not; return whether, for all that is known, this made it so.

    Args:
        name: the task.
        write: makes the change of what was read.
        is_this: tells whether what is found as wanted may be this change, whose answer was lost.
        suspended: what is wanted.
    """
    sent = False
    for tries in range(STEERING_TRIES):
        task, _ = yield Read()
        if task.is_suspended is suspended:
            return sent and is_this(task)
        sent = True
        try:
            yield Commit(write(task))
        except (WriteRefused, WriteUnknown):
            yield Pause(tries)
        else:
            return True
    wanted = "suspended" if suspended else "resumed"
    raise StoreUnavailable(f"{name.value} could not be {wanted}: others wrote each time, try again")


def _check(by: str, reason: str) -> None:
    said: tuple[tuple[str, object], ...] = (("who", by), ("why", reason))
    for what, text in said:
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
            raise InvalidOptions(f"say {what}, in 1 to {MAX_TEXT} characters: it is recorded with the change")
