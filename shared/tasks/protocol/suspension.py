"""Suspends and resumes a task (docs/protocol.md, "Suspend and resume").

The ticks of a suspended task are skipped, and the skips are recorded. A running run finishes and publishes.
The status document decides, and Cloud Scheduler's job follows it (`job_sync`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shared.tasks.backends.scheduler import JobState
from shared.tasks.documents import operator_writes
from shared.tasks.documents.write_messages import record_change
from shared.tasks.errors import StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask
from shared.tasks.protocol.job_sync import follow_document, repair_job, requested_note
from shared.tasks.protocol.operator_action import CHANGE_TRIES, checked_action

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.models import JobNote


def suspend(
    names: DocumentNames, *, by: str, reason: str, now: datetime, has_job: bool = False
) -> Procedure[bool]:
    """Suspend a task.

    A task that `has_job` has its job paused, also if it was suspended before; a change of the job alone is
    recorded as well. Result and errors as `Operations.suspend_task`.
    """
    return (yield from _change("suspended", names, by, reason, now, has_job=has_job))


def resume(
    names: DocumentNames, *, by: str, reason: str, now: datetime, has_job: bool = False
) -> Procedure[bool]:
    """Resume a task; result and errors as `Operations.resume_task`."""
    return (yield from _change("resumed", names, by, reason, now, has_job=has_job))


def _change(
    state: Literal["suspended", "resumed"],
    names: DocumentNames,
    by: str,
    reason: str,
    now: datetime,
    *,
    has_job: bool,
) -> Procedure[bool]:
    action = checked_action(by, reason, now)
    suspends = state == "suspended"
    write = operator_writes.suspend if suspends else operator_writes.resume
    wanted = JobState.paused if suspends else JobState.enabled
    note: JobNote | None = None
    for tries in range(CHANGE_TRIES):
        document, _ = yield from ask(ReadDocuments())
        if document.is_suspended is suspends:
            # An earlier commit of this call may have been applied, and its response lost.
            changed = tries > 0 and (not suspends or document.suspended == action)
            break
        note = requested_note(document, wanted, now=now) if has_job else None
        try:
            yield from ask(Commit(write(names, document, action, now=now, job=note)))
        except (WriteRefused, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            changed = True
            break
    else:
        raise StoreUnavailable(
            f"{names.task.value} could not be {state}: other writers changed it each time; try again"
        )
    if has_job and changed:
        yield from follow_document(names, now=now, own_note=note)
    elif has_job:
        yield from repair_job(names, record_change(names, state, action, now=now), now=now)
    return changed
