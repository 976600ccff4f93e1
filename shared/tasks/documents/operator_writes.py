"""The writes of an operator's action: each function returns the writes of one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks.contract import TaskName, TaskStatus, history_name, status_name
from shared.tasks.documents.models import (
    TaskDocument,
    cancelled_by,
)
from shared.tasks.documents.write_messages import (
    HISTORY_RETENTION,
    SUPERSEDED,
    cause_of,
    close_record,
    record_change,
    write_document,
    write_record,
)
from shared.tasks.errors import RunCancelled
from shared.tasks.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.tasks.documents.models import JobNote, RunDocument, RunRequest


def suspend(
    documents: str,
    name: TaskName,
    task: TaskDocument,
    *,
    by: str,
    reason: str,
    now: datetime,
    job: JobNote | None = None,
) -> list[Any]:
    """Suspend a task, on the version read; a run at work finishes all the same.

    Args:
        documents: the database's root.
        name: the task.
        task: The status document as it was read; it need not exist.
        by: who suspends it.
        reason: why.
        now: UTC.
        job: what is noted of its job until that is so; None where it has none.
    """
    run: dict[str, Any] = {"suspended": {"by": by, "reason": reason, "at": now}}
    if job is not None:
        run["job"] = job.to_fields()
    if task.run_id is None and task.status is not None and not task.is_suspended:
        run["state"] = task.status  # the original's document: resume gives it back
    status = {"status": TaskStatus.suspended.value, "timestamp": now, "run": run}
    mask = ["status", "timestamp", *(f"run.{key}" for key in run)] if task.exists else None
    named = status_name(documents, name)
    return [
        write_document(named, status, mask=mask, on=task.update_time, create=not task.exists),
        record_change(documents, name, "suspended", by=by, reason=reason, now=now),
    ]


def resume(
    documents: str,
    name: TaskName,
    task: TaskDocument,
    *,
    by: str,
    reason: str,
    now: datetime,
    job: JobNote | None = None,
) -> list[Any]:
    """Resume a task, on the version read: its status is that of its last run again, none where there is none.

    Args:
        documents: the database's root.
        name: the task.
        task: The status document as it was read: suspended.
        by: who resumes it.
        reason: why.
        now: UTC.
        job: what is noted of its job until that is so; None where it has none.
    """
    state = task.state
    if state is None and (task.completed or task.started):
        state = (TaskStatus.completed if task.completed else TaskStatus.failed).value
    mask = ["status", "timestamp", "run.suspended"]
    if task.run_id is None:
        mask.append("run.state")  # the original's document has no such field
    status: dict[str, Any] = {"timestamp": now} if state is None else {"status": state, "timestamp": now}
    if job is not None:
        mask.append("run.job")
        status["run"] = {"job": job.to_fields()}
    return [
        write_document(status_name(documents, name), status, mask=mask, on=task.update_time),
        record_change(documents, name, "resumed", by=by, reason=reason, now=now),
    ]


def request(documents: str, name: TaskName, task: TaskDocument, made: RunRequest) -> list[Any]:
    """Leave a request where the next delivery finds it, and record it, on the version read.

    The status document of a task that never ran holds nothing else: readers find no result, as before.
    """
    named, create = status_name(documents, name), not task.exists
    left = write_document(
        named,
        {"run": {"request": made.to_fields()}},
        mask=["run.request"],
        on=task.update_time,
        create=create,
    )
    return [left, *join_request(documents, name, made, by=made.by, reason=made.reason, now=made.at)]


def join_request(
    documents: str, name: TaskName, made: RunRequest, *, by: str, reason: str, now: datetime
) -> list[Any]:
    """Record who asked for a run, and why, and which run answers that."""
    return [record_change(documents, name, "requested", by=by, reason=reason, now=now, holder=made.id)]


def cancel(documents: str, name: TaskName, task: TaskDocument, said: Mapping[str, Any]) -> list[Any]:
    """Ask the run at work to end, on the version read. Its history says so at once: nobody begins it anew.

    Args:
        documents: the database's root.
        name: the task.
        task: The status document as it was read: a run of this engine is at work.
        said: who cancels it, why and when: `by`, `reason`, `at`.
    """
    run_id = task.run_id or ""
    return [
        write_document(
            status_name(documents, name), {"run": {"cancel": said}}, mask=["run.cancel"], on=task.update_time
        ),
        write_record(history_name(documents, name, run_id), {"cancel": said}, mask=["cancel"]),
        _cancelling(documents, name, run_id, said),
    ]


def cancel_ended(
    documents: str, name: TaskName, run_id: str, task: TaskDocument, run: RunDocument, said: Mapping[str, Any]
) -> list[Any]:
    """Have a run not begun anew that nobody holds, on the versions read, and have it tell who wanted that.

    The status says so as well where it still tells of that run; else it is another's.

    Args:
        documents: the database's root.
        name: the task.
        run_id: the run.
        task: The status document as it was read.
        run: The run record as it was read: it failed, or says that it runs and has lost the task.
        said: who cancels it, why and when: `by`, `reason`, `at`.
    """
    history, on = history_name(documents, name, run_id), run.update_time
    told = Failure(*run.error).cancelled(cancelled_by(said))
    if run.state == TaskStatus.running:
        record = close_record(history, *cause_of(said, *SUPERSEDED), said["at"], on=on, cancel=said)
    else:
        fields = {"cancel": said, "error": {"type": told.kind, "message": told.message}}
        record = write_record(history, fields, mask=["cancel", "error.type", "error.message"], on=on)
    writes = [record, _cancelling(documents, name, run_id, said)]
    if task.run_id == run_id and task.state == TaskStatus.failed:
        status = {"error": told.text, "run": {"cancel": said}}
        named, mask = status_name(documents, name), ["error", "run.cancel"]
        writes.insert(0, write_document(named, status, mask=mask, on=task.update_time))
    return writes


def cancel_request(documents: str, name: TaskName, request: RunRequest, said: Mapping[str, Any]) -> list[Any]:
    """Have a request not answered that no delivery has answered yet; refused if one has meanwhile."""
    history = history_name(documents, name, request.id)
    told = Failure(RunCancelled.__name__, "").cancelled(cancelled_by(said))
    fields = {
        "task": name.value,
        "run_id": request.id,
        "requested": request.requested_by(),
        "state": TaskStatus.failed.value,
        "started": said["at"],
        "completed": said["at"],
        "cancel": said,
        "error": {"type": told.kind, "message": told.message},
        "expire_at": said["at"] + HISTORY_RETENTION,
    }
    return [write_record(history, fields, create=True), _cancelling(documents, name, request.id, said)]


def _cancelling(documents: str, name: TaskName, run_id: str, said: Mapping[str, Any]) -> Any:
    return record_change(
        documents, name, "cancelling", by=said["by"], reason=said["reason"], now=said["at"], holder=run_id
    )
