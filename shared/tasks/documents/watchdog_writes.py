"""The writes of the watchdog and of the synchronisation of Scheduler jobs.

Each function returns the writes of one commit. `names` are the names of the task's documents. The
commit is refused if the status document has changed since it was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks.contract import DocumentNames, TaskStatus
from shared.tasks.documents.write_messages import (
    LEASE_EXPIRED,
    WriteMessage,
    cause_of,
    close_record,
    end_status,
    instant,
    write_document,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.tasks.documents.actions import Action
    from shared.tasks.documents.models import JobNote, ScheduleDocument, TaskDocument


def fail_dead(names: DocumentNames, document: TaskDocument, *, now: datetime) -> list[WriteMessage]:
    """Fail a run whose process died. Its last good result stays."""
    reason = "its process died: its lease expired without an extension"
    return fail_run(names, document, *cause_of(document.cancel, LEASE_EXPIRED, reason), now=now)


def fail_run(
    names: DocumentNames,
    document: TaskDocument,
    kind: str,
    message: str,
    *,
    now: datetime,
    cancel: Action | None = None,
) -> list[WriteMessage]:
    """Fail the last run, for which no attempt works. Its last good result stays.

    With `cancel`, both documents contain who cancelled it. A long run keeps the duration of its legs.
    """
    cancelled: dict[str, Any] = {} if cancel is None else {"cancel": cancel.to_fields()}
    record = dict(cancelled)
    if document.legs is not None:
        record["duration_ms"] = document.legs.worked_ms
    writes = [
        end_status(
            names.status,
            TaskStatus.failed,
            now=now,
            precondition=document.update_time,
            suspended=document.is_suspended,
            fields={"error": f"{kind}: {message}"},
            run=cancelled,
        )
    ]
    if document.run_id is not None:
        name = names.record(document.run_id)
        writes.append(close_record(name, kind, message, now, **record))
    return writes


def incident(
    names: DocumentNames, incident_id: str, *, now: datetime, fields: Mapping[str, object]
) -> list[WriteMessage]:
    """Record an incident once; the commit is refused if the record exists."""
    record = instant(now, **fields, task=names.task.value)
    return [write_record(names.record(incident_id), record, precondition=False)]


def record_schedule(
    names: DocumentNames, known: ScheduleDocument, fields: Mapping[str, object]
) -> list[WriteMessage]:
    """Replace the recorded schedule of a task, if it has not changed since it was read."""
    return [write_document(names.schedule, fields, precondition=known.precondition)]


def note_job(
    names: DocumentNames, document: TaskDocument, note: JobNote | None, *records: WriteMessage
) -> list[WriteMessage]:
    """Write or remove the job note, together with records for the run history."""
    fields = {} if note is None else {"run": {"job": note.to_fields()}}
    return [
        write_document(names.status, fields, mask=["run.job"], precondition=document.precondition),
        *records,
    ]
