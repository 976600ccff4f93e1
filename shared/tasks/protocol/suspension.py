"""Suspends and resumes a task (docs/protocol.md, "Suspend and resume").

The ticks of a suspended task are skipped, and the skips are recorded. A running run finishes and publishes.
An operator resumes the task, or the watchdog at a time that the operator gave. The status document decides,
and Cloud Scheduler's job follows it (`job_sync`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared.tasks.backends.scheduler import JobState
from shared.tasks.documents import operator_writes
from shared.tasks.documents.actions import WATCHDOG, Action
from shared.tasks.documents.write_messages import record_change
from shared.tasks.errors import (
    SchedulerUnavailable,
    StoreUnavailable,
    WriteConflict,
    WriteUnknown,
)
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask, try_commit
from shared.tasks.protocol.job_sync import follow_document, repair_job, requested_note
from shared.tasks.protocol.operator_action import (
    CHANGE_TRIES,
    checked_action,
    checked_suspension,
)

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.models import JobNote, TaskDocument


def change_suspension(
    names: DocumentNames,
    *,
    suspend: bool,
    by: str,
    reason: str,
    now: datetime,
    until: datetime | None = None,
    has_job: bool = False,
) -> Procedure[bool]:
    """Suspend or resume a task. A suspension `until` another time replaces the one before.

    If it `has_job`, the job is paused or enabled, even if the task was in that state before. A change of the
    job alone is recorded as well. Returns and raises what `Operations.suspend_task` does.
    """
    action = checked_suspension(by, reason, until, now) if suspend else checked_action(by, reason, now)
    change = "suspended" if suspend else "resumed"
    write = operator_writes.suspend if suspend else operator_writes.resume
    requested = JobState.paused if suspend else JobState.enabled
    note: JobNote | None = None
    for tries in range(CHANGE_TRIES):
        document, _ = yield from ask(ReadDocuments())
        end = None if document.suspended is None else document.suspended.until
        if document.is_suspended is suspend and (not suspend or end == until):
            # An earlier commit of this call may have been applied, and its response lost.
            changed = tries > 0 and (not suspend or document.suspended == action)
            break
        note = requested_note(document, requested, now=now) if has_job else None
        try:
            yield from ask(Commit(write(names, document, action, now=now, job=note)))
        except (WriteConflict, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            changed = True
            break
    else:
        raise StoreUnavailable(
            f"{names.task.value} could not be {change}: other writers changed it each time; try again"
        )
    if has_job and changed:
        yield from follow_document(names, now=now, own_note=note)
    elif has_job:
        yield from repair_job(names, record_change(names, change, action, now=now), now=now)
    return changed


def end_suspension(
    names: DocumentNames, document: TaskDocument, *, now: datetime, has_job: bool
) -> Procedure[bool]:
    """Resume a task in the watchdog's name if the end of its suspension has passed.

    The commit is refused if an operator has resumed the task meanwhile, or suspended it again. The job is
    enabled if the task `has_job`; if that fails, the watchdog repeats it at the end of its pass.

    Args:
        names: Names of the task's documents.
        document: The status document as read.
        now: UTC.
        has_job: Whether the task has a Cloud Scheduler job.

    Returns:
        Whether the task was resumed, or may have been.
    """
    suspended = document.suspended
    if suspended is None or suspended.until is None or now < suspended.until:
        return False
    action = Action(WATCHDOG, f"suspended until {suspended.until:%Y-%m-%d %H:%M:%S} UTC", now)
    note = requested_note(document, JobState.enabled, now=now) if has_job else None
    if not (yield from try_commit(operator_writes.resume(names, document, action, now=now, job=note))):
        return False
    if has_job:
        with suppress(SchedulerUnavailable, StoreUnavailable):
            yield from follow_document(names, now=now, own_note=note)
    return True
