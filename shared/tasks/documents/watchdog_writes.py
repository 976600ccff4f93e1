"""The writes of the watchdog and of the job that follows a task: each function returns one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks.contract import TaskName, TaskStatus, history_name, schedule_name, status_name
from shared.tasks.documents.write_messages import (
    HISTORY_RETENTION,
    close_record,
    death_of,
    write_document,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.tasks.documents.models import (
        JobNote,
        ScheduleDocument,
        TaskDocument,
    )


def fail_dead(documents: str, name: TaskName, task: TaskDocument, *, now: datetime) -> list[Any]:
    """Fail a run whose process died, the status document on the version read; its last good result stays.

    Args:
        documents: the database's root.
        name: the task.
        task: The status document as it was read: the dead run's.
        now: UTC.
    """
    kind, reason = death_of(task, "its process died: no sign of life since its lease expired")
    status = {
        "status": TaskStatus.failed.value,
        "completed": now,
        "timestamp": now,
        "error": f"{kind}: {reason}",
        "run": {"state": TaskStatus.failed.value},
    }
    mask = ["completed", "timestamp", "error", "run.state", "run.lease_until"]
    if not task.is_suspended:
        mask.append("status")
    writes = [write_document(status_name(documents, name), status, mask=mask, on=task.update_time)]
    if task.run_id is not None:
        writes.append(close_record(history_name(documents, name, task.run_id), kind, reason, now))
    return writes


def incident(
    documents: str, name: TaskName, incident_id: str, *, now: datetime, fields: Mapping[str, Any]
) -> list[Any]:
    """Record an incident in the history once; the commit is refused if the record exists."""
    record = {**fields, "task": name.value, "started": now, "completed": now}
    record["expire_at"] = now + HISTORY_RETENTION
    return [write_record(history_name(documents, name, incident_id), record, create=True)]


def know_schedule(
    documents: str, name: TaskName, known: ScheduleDocument, fields: Mapping[str, Any]
) -> list[Any]:
    """Replace the recorded schedule of a task, on the version read."""
    named, create = schedule_name(documents, name), known.update_time is None
    return [write_document(named, fields, on=known.update_time, create=create)]


def note_job(
    documents: str, name: TaskName, task: TaskDocument, note: JobNote | None, *records: Any
) -> list[Any]:
    """Write or remove the job note, on the version read, together with records for the history."""
    head = {} if note is None else {"run": {"job": note.to_fields()}}
    named, create = status_name(documents, name), not task.exists
    return [write_document(named, head, mask=["run.job"], on=task.update_time, create=create), *records]
