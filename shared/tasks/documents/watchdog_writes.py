"""The writes of the watchdog and of the synchronisation of Scheduler jobs.

Each function returns the writes of one commit. `names` are the names of the task's documents. The
status document is written on the version that was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.contract import DocumentNames, TaskStatus
from shared.tasks.documents.write_messages import (
    WriteMessage,
    close_record,
    death_of,
    end_status,
    instant,
    write_document,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.tasks.documents.models import JobNote, ScheduleDocument, TaskDocument


def fail_dead(names: DocumentNames, task: TaskDocument, *, now: datetime) -> list[WriteMessage]:
    """Fail a run whose process died. Its last good result stays."""
    kind, reason = death_of(task, "its process died: no sign of life since its lease expired")
    writes = [
        end_status(
            names.status,
            TaskStatus.failed,
            now=now,
            version=task.update_time,
            suspended=task.is_suspended,
            fields={"error": f"{kind}: {reason}"},
        )
    ]
    if task.run_id is not None:
        writes.append(close_record(names.record(task.run_id), kind, reason, now))
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
    """Replace the recorded schedule of a task, on the version that was read."""
    return [write_document(names.schedule, fields, precondition=known.precondition)]


def note_job(
    names: DocumentNames, task: TaskDocument, note: JobNote | None, *records: WriteMessage
) -> list[WriteMessage]:
    """Write or remove the job note, together with records for the run history."""
    head = {} if note is None else {"run": {"job": note.to_fields()}}
    named = names.status
    return [write_document(named, head, mask=["run.job"], precondition=task.precondition), *records]
