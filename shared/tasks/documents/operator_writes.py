"""The writes of an operator's action.

Each function returns the writes of one commit. `names` are the names of the task's documents, and
`now` is the time in UTC. A commit is refused if the status document has changed since it was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.contract import DocumentNames, TaskStatus
from shared.tasks.documents.legs import WAITING
from shared.tasks.documents.watchdog_writes import fail_run
from shared.tasks.documents.write_messages import (
    SUPERSEDED,
    WriteMessage,
    cause_of,
    close_record,
    instant,
    record_change,
    write_document,
    write_record,
)
from shared.tasks.errors import RunCancelled
from shared.tasks.failure import Failure

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.documents.actions import Action, RunRequest
    from shared.tasks.documents.models import JobNote, RunDocument, TaskDocument


def suspend(
    names: DocumentNames,
    document: TaskDocument,
    action: Action,
    *,
    now: datetime,
    job: JobNote | None = None,
) -> list[WriteMessage]:
    """Suspend a task, whose status document need not exist. `job` notes its job's requested state."""
    run: dict[str, object] = {"suspended": action.to_fields()}
    if job is not None:
        run["job"] = job.to_fields()
    if document.run_id is None and document.status is not None and not document.is_suspended:
        run["state"] = document.status  # a legacy document: resume shows this state again
    status = {"status": TaskStatus.suspended.value, "timestamp": now, "run": run}
    mask = ["status", "timestamp", *(f"run.{key}" for key in run)]
    return [
        write_document(names.status, status, mask=mask, precondition=document.precondition),
        record_change(names, "suspended", action, now=now),
    ]


def resume(
    names: DocumentNames,
    document: TaskDocument,
    action: Action,
    *,
    now: datetime,
    job: JobNote | None = None,
) -> list[WriteMessage]:
    """Resume a suspended task.

    The status is that of the last run again, and absent if the task never ran.
    """
    state = TaskStatus.running.value if document.state == WAITING else document.state
    if state is None and (document.completed or document.started):
        state = (TaskStatus.completed if document.completed else TaskStatus.failed).value
    mask = ["status", "timestamp", "run.suspended"]
    if document.run_id is None:
        mask.append("run.state")  # a legacy document has no such field
    status: dict[str, object] = {"timestamp": now}
    if state is not None:
        status["status"] = state
    if job is not None:
        mask.append("run.job")
        status["run"] = {"job": job.to_fields()}
    return [
        write_document(names.status, status, mask=mask, precondition=document.update_time),
        record_change(names, "resumed", action, now=now),
    ]


def request(names: DocumentNames, document: TaskDocument, request: RunRequest) -> list[WriteMessage]:
    """Write a run request to the status document and record it.

    The status document of a task that never ran contains nothing else: readers find no result, as before.
    """
    status = write_document(
        names.status,
        {"run": {"request": request.to_fields()}},
        mask=["run.request"],
        precondition=document.precondition,
    )
    return [status, *join_request(names, request, request.action, now=request.at)]


def join_request(
    names: DocumentNames, request: RunRequest, action: Action, *, now: datetime
) -> list[WriteMessage]:
    """Record who requested a run and why, and which run answers the request."""
    return [record_change(names, "requested", action, now=now, run_id=request.id)]


def cancel(
    names: DocumentNames, document: TaskDocument, action: Action, *, now: datetime
) -> list[WriteMessage]:
    """Cancel the running run. Its record contains the cancel too, so that it is not retried."""
    run_id, fields = document.run_id or "", {"cancel": action.to_fields()}
    return [
        write_document(names.status, {"run": fields}, mask=["run.cancel"], precondition=document.update_time),
        write_record(names.record(run_id), fields, mask=["cancel"]),
        record_change(names, "cancelling", action, now=now, run_id=run_id),
    ]


def cancel_waiting(
    names: DocumentNames, document: TaskDocument, action: Action, *, now: datetime
) -> list[WriteMessage]:
    """End a long run that waits for its next leg. A delivery of that leg then does nothing."""
    kind, message = RunCancelled.__name__, action.cancel_message
    return [
        *fail_run(names, document, kind, message, now=now, cancel=action),
        record_change(names, "cancelling", action, now=now, run_id=document.run_id),
    ]


def cancel_ended(
    names: DocumentNames,
    run_id: str,
    document: TaskDocument,
    record: RunDocument,
    action: Action,
    *,
    now: datetime,
) -> list[WriteMessage]:
    """Cancel the retries of a run that failed, or that is running although it lost its task.

    The status document contains the cancel too if its last run is this one.
    """
    name, update_time, cancelled = names.record(run_id), record.update_time, action.to_fields()
    failure = Failure(*record.error).cancelled(action.cancel_message)
    if record.state in {TaskStatus.running, WAITING}:
        cause = cause_of(action, *SUPERSEDED)
        closed = close_record(name, *cause, now, precondition=update_time, cancel=cancelled)
    else:
        fields = {"cancel": cancelled, "error": {"type": failure.kind, "message": failure.message}}
        mask = ["cancel", "error.type", "error.message"]
        closed = write_record(name, fields, mask=mask, precondition=update_time)
    writes = [closed, record_change(names, "cancelling", action, now=now, run_id=run_id)]
    if document.run_id == run_id and document.state == TaskStatus.failed:
        status = {"error": failure.text, "run": {"cancel": cancelled}}
        mask = ["error", "run.cancel"]
        writes.insert(0, write_document(names.status, status, mask=mask, precondition=document.update_time))
    return writes


def cancel_request(
    names: DocumentNames, request: RunRequest, action: Action, *, now: datetime
) -> list[WriteMessage]:
    """Cancel a run request that no delivery has answered. The commit is refused if one has meanwhile."""
    failure = Failure(RunCancelled.__name__, "").cancelled(action.cancel_message)
    fields = instant(
        now,
        task=names.task.value,
        run_id=request.id,
        requested=request.action.to_fields(),
        state=TaskStatus.failed.value,
        cancel=action.to_fields(),
        error={"type": failure.kind, "message": failure.message},
    )
    return [
        write_record(names.record(request.id), fields, precondition=False),
        record_change(names, "cancelling", action, now=now, run_id=request.id),
    ]
