"""Suspending and resuming a task: a person's hand on the schedule.

A suspended task's ticks are skipped, and say so. A run at work finishes and publishes; its
status goes on saying suspended until somebody resumes the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks import writes
from shared.tasks.errors import InvalidOptions, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.steps import Commit, Pause, Read, Steps

if TYPE_CHECKING:
    from datetime import datetime

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
    for tries in range(STEERING_TRIES):
        task, _ = yield Read()
        if task.is_suspended:
            return _is_this(task.suspended, by, now)
        try:
            yield Commit(writes.suspend(documents, name, task, by=by, reason=reason, now=now))
        except (WriteRefused, WriteUnknown):
            yield Pause(tries)
        else:
            return True
    raise StoreUnavailable(f"{name.value} could not be suspended: others wrote each time, try again")


def resume(documents: str, name: TaskName, *, by: str, reason: str, now: datetime) -> Steps[bool]:
    """Resume a task; arguments and errors as `suspend`.

    Returns:
        Whether it was suspended.
    """
    _check(by, reason)
    sent = False
    for tries in range(STEERING_TRIES):
        task, _ = yield Read()
        if not task.is_suspended:
            return sent
        try:
            sent = True
            yield Commit(writes.resume(documents, name, task, by=by, reason=reason, now=now))
        except (WriteRefused, WriteUnknown):
            yield Pause(tries)
        else:
            return True
    raise StoreUnavailable(f"{name.value} could not be resumed: others wrote each time, try again")


def _check(by: str, reason: str) -> None:
    said: tuple[tuple[str, object], ...] = (("who", by), ("why", reason))
    for what, text in said:
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
            raise InvalidOptions(f"say {what}, in 1 to {MAX_TEXT} characters: it is recorded with the change")


def _is_this(suspended: object, by: str, now: datetime) -> bool:
    """Tell whether a suspension is the one whose answer was lost."""
    return isinstance(suspended, dict) and (suspended.get("by"), suspended.get("at")) == (by, now)
