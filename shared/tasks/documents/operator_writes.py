"""The writes of an operator's action: each function returns the writes of one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks.contract import TaskName, TaskStatus, history_name, status_name
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
    from datetime import datetime

    from shared.tasks.documents.models import Action, JobNote, RunDocument, RunRequest, TaskDocument


def suspend(
    documents: str,
    name: TaskName,
    task: TaskDocument,
    action: Action,
    *,
    now: datetime,
    job: JobNote | None = None,
) -> list[Any]:
    """Suspend a task, on the version read. A running run finishes.

    Args:
        documents: Root of the database.
        name: The task.
        task: The status document as it was read; it need not exist.
        action: Who suspends the task, and why.
        now: Time of the change, UTC.
        job: Requested state of the task's job; None if the task has no job.
    """
    run: dict[str, Any] = {"suspended": action.to_fields()}
    if job is not None:
        run["job"] = job.to_fields()
    if task.run_id is None and task.status is not None and not task.is_suspended:
        run["state"] = task.status  # the original's document: resume gives it back
    status = {"status": TaskStatus.suspended.value, "timestamp": now, "run": run}
    mask = ["status", "timestamp", *(f"run.{key}" for key in run)] if task.exists else None
    named = status_name(documents, name)
    return [
        write_document(named, status, mask=mask, on=task.update_time, create=not task.exists),
        record_change(documents, name, "suspended", action, now=now),
    ]


def resume(
    documents: str,
    name: TaskName,
    task: TaskDocument,
    action: Action,
    *,
    now: datetime,
    job: JobNote | None = None,
) -> list[Any]:
    """Resume a suspended task, on the version read. Arguments as `suspend`.

    The status is that of the last run again, and absent if the task never ran.
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
        record_change(documents, name, "resumed", action, now=now),
    ]


def request(documents: str, name: TaskName, task: TaskDocument, made: RunRequest) -> list[Any]:
    """Write a run request to the status document and record it, on the version read.

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
    return [left, *join_request(documents, name, made, made.action, now=made.at)]


def join_request(
    documents: str, name: TaskName, made: RunRequest, action: Action, *, now: datetime
) -> list[Any]:
    """Record who requested a run and why, and which run answers the request."""
    return [record_change(documents, name, "requested", action, now=now, holder=made.id)]


def cancel(documents: str, name: TaskName, task: TaskDocument, action: Action, *, now: datetime) -> list[Any]:
    """Cancel the running run, on the version read. Its record contains the cancel, so it is not retried.

    Args:
        documents: the database's root.
        name: the task.
        task: The status document as it was read; a run of this engine is running.
        action: Who cancels the run, and why.
        now: Time of the cancel, UTC.
    """
    run_id = task.run_id or ""
    return [
        write_document(
            status_name(documents, name),
            {"run": {"cancel": action.to_fields()}},
            mask=["run.cancel"],
            on=task.update_time,
        ),
        write_record(history_name(documents, name, run_id), {"cancel": action.to_fields()}, mask=["cancel"]),
        _cancelling(documents, name, run_id, action, now),
    ]


def cancel_ended(
    documents: str,
    name: TaskName,
    run_id: str,
    task: TaskDocument,
    run: RunDocument,
    action: Action,
    *,
    now: datetime,
) -> list[Any]:
    """Cancel the retries of a run without a holder, on the versions read.

    The status document contains the cancel too if its last run is this one.

    Args:
        documents: the database's root.
        name: the task.
        run_id: the run.
        task: The status document as it was read.
        run: The run record as it was read: failed, or running although the run lost its task.
        action: Who cancels the run, and why.
        now: Time of the cancel, UTC.
    """
    history, on = history_name(documents, name, run_id), run.update_time
    told = Failure(*run.error).cancelled(action.cancel_message)
    if run.state == TaskStatus.running:
        record = close_record(history, *cause_of(action, *SUPERSEDED), now, on=on, cancel=action.to_fields())
    else:
        fields = {"cancel": action.to_fields(), "error": {"type": told.kind, "message": told.message}}
        record = write_record(history, fields, mask=["cancel", "error.type", "error.message"], on=on)
    writes = [record, _cancelling(documents, name, run_id, action, now)]
    if task.run_id == run_id and task.state == TaskStatus.failed:
        status = {"error": told.text, "run": {"cancel": action.to_fields()}}
        named, mask = status_name(documents, name), ["error", "run.cancel"]
        writes.insert(0, write_document(named, status, mask=mask, on=task.update_time))
    return writes


def cancel_request(
    documents: str, name: TaskName, request: RunRequest, action: Action, *, now: datetime
) -> list[Any]:
    """Cancel a run request that no delivery has answered. The commit is refused if one has meanwhile."""
    history = history_name(documents, name, request.id)
    told = Failure(RunCancelled.__name__, "").cancelled(action.cancel_message)
    fields = {
        "task": name.value,
        "run_id": request.id,
        "requested": request.action.to_fields(),
        "state": TaskStatus.failed.value,
        "started": now,
        "completed": now,
        "cancel": action.to_fields(),
        "error": {"type": told.kind, "message": told.message},
        "expire_at": now + HISTORY_RETENTION,
    }
    return [write_record(history, fields, create=True), _cancelling(documents, name, request.id, action, now)]


def _cancelling(documents: str, name: TaskName, run_id: str, action: Action, now: datetime) -> Any:
    return record_change(documents, name, "cancelling", action, now=now, holder=run_id)
