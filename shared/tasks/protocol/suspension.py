"""Suspends and resumes a task (docs/protocol.md, "Suspend and resume").

The ticks of a suspended task are skipped, and the skips are recorded. A running run finishes and publishes.
The status document decides, and Cloud Scheduler's job follows it (`job_sync`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.backends.scheduler import JobState
from shared.tasks.documents import operator_writes
from shared.tasks.documents.write_messages import record_change
from shared.tasks.errors import StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask
from shared.tasks.protocol.job_sync import follow_document, repair_job, requested_note
from shared.tasks.protocol.operator_action import CHANGE_TRIES, checked_action

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.models import JobNote


def change_suspension(
    names: DocumentNames, *, suspend: bool, by: str, reason: str, now: datetime, has_job: bool = False
) -> Procedure[bool]:
    """Suspend or resume a task.

    If it `has_job`, the job is paused or enabled, even if the task was in that state before. A change of the
    job alone is recorded as well. Returns and raises what `Operations.suspend_task` does.
    """
    action = checked_action(by, reason, now)
    change = "suspended" if suspend else "resumed"
    write = operator_writes.suspend if suspend else operator_writes.resume
    requested = JobState.paused if suspend else JobState.enabled
    note: JobNote | None = None
    for tries in range(CHANGE_TRIES):
        document, _ = yield from ask(ReadDocuments())
        if document.is_suspended is suspend:
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
