"""Every write to a task's status document and its run records, built here and nowhere else.

Each function returns the writes of one commit as wire messages, made by hand: the client library's own
batch costs a fifth of a whole warm run. Each write to the status document carries the condition under
which it was decided. `backends.firestore` sends them, `protocol` decides on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.cloud.firestore_v1.types import write as _write

from shared.tasks.contract import TaskName, TaskStatus, history_name, schedule_name, status_name
from shared.tasks.documents.codec import encode_fields
from shared.tasks.documents.models import (
    CHANGED,
    SAVED_BY_CONTRACT,
    ResultPointer,
    TaskDocument,
    cancelled_by,
    original_version,
)
from shared.tasks.errors import RunCancelled
from shared.tasks.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import JobNote, RunDocument, RunRequest, ScheduleDocument
    from shared.tasks.protocol.decisions import Skip, Take

WritePb = _write.Write.pb()
_REQUEST_TIME = _write.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME

#: What kind of error a run is closed with that has lost the task, and why.
_SUPERSEDED = ("RunSuperseded", "another attempt took the task")

#: Begins the id of a run that a person requested.
_REQUESTED = "request-"

#: How long a run stays in the history; Firestore's TTL policy on `expire_at` removes it then.
HISTORY_RETENTION = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Who writes: one attempt of one run.

    Attributes:
        documents: the database's root, `projects/…/databases/…/documents`.
        task: the task.
        run_id: the run, the same for each delivery and attempt of one tick.
        token: the attempt's fence, drawn at random.
        source: who asked for the run, as the contract has it.
        scheduled_for: the tick, UTC; None for a run that no schedule asked for.
        schedule_time: the schedule time of the delivery, UTC; None unless Cloud Scheduler delivered it.
        request: the request that the run answers; None if nobody requested it.
    """

    documents: str
    task: TaskName
    run_id: str
    token: str
    source: str
    scheduled_for: datetime | None = None
    schedule_time: datetime | None = None
    request: RunRequest | None = None

    @property
    def status_name(self) -> str:
        """The full name of the status document."""
        return status_name(self.documents, self.task)

    @property
    def history_name(self) -> str:
        """The full name of the run record."""
        return history_name(self.documents, self.task, self.run_id)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How an attempt ended, for its history.

    Attributes:
        attempt: the attempt's number.
        started, completed: UTC.
        duration_ms: of the task's own work, milliseconds.
        progress: The task's last progress report; None if it made none.
    """

    attempt: int
    started: datetime
    completed: datetime
    duration_ms: int
    progress: Mapping[str, Any] | None = None

    @property
    def expire_at(self) -> datetime:
        """When Firestore's TTL policy may remove the history."""
        return self.completed + HISTORY_RETENTION


def run_id_of(scheduled_for: datetime) -> str:
    """Return the id of the run of a tick: its time in UTC, with microseconds."""
    return scheduled_for.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_of_tick(run_id: str) -> bool:
    """Tell whether a run is that of a tick, by its id."""
    try:
        return run_id_of(datetime.fromisoformat(run_id)) == run_id
    except ValueError:
        return False


def request_run_id(at: datetime) -> str:
    """Return the id of the run that answers a request made at this time."""
    return f"{_REQUESTED}{run_id_of(at)}"


def is_retried(run_id: str) -> bool:
    """Return whether Cloud Scheduler delivers a run again that failed: a tick's, or a requested one."""
    return is_of_tick(run_id.removeprefix(_REQUESTED))


def request_record_id(run_id: str) -> str | None:
    """Return the id of the record of the request that a run answers, None for any other run."""
    moment = run_id.removeprefix(_REQUESTED)
    return f"{moment}.requested" if moment != run_id and is_of_tick(moment) else None


def skip_id(run_id: str) -> str:
    """Return the id of the record that a run was skipped; the run itself may still come."""
    return f"{run_id}.skipped"


def refusal_id(run_id: str) -> str:
    """Return the id of the record that counts a run's refused deliveries."""
    return f"{run_id}.refused"


def start(
    run: RunIdentity,
    take: Take,
    task: TaskDocument,
    *,
    now: datetime,
    lease_until: datetime,
    keep_last_result: bool,
) -> list[Any]:
    """Take the task.

    The status document is written field by field except `data`, the run record is created or reopened, and a
    dead run is closed.

    Args:
        run: the attempt that takes it.
        take: what was decided.
        task: The status document as it was read; the write is conditioned on that version.
        now: UTC, for all times of this commit.
        lease_until: UTC.
        keep_last_result: False overwrites the whole status document, as the contract literally says.
    """
    head: dict[str, Any] = {
        "id": run.run_id,
        "attempt": take.attempt,
        "token": run.token,
        "state": TaskStatus.running.value,
        "lease_until": lease_until,
    }
    if task.job is not None and not keep_last_result:
        head["job"] = task.job.to_fields()  # no part of the last result: somebody is still at it
    if task.request is not None and not keep_last_result:
        head["request"] = task.request.to_fields()  # the deliveries to come are still to be known by it
    if take.adopts and keep_last_result:
        adopted = ResultPointer(version=original_version(task), saved_in=SAVED_BY_CONTRACT)
        head["result"] = adopted.to_fields()
    status = {
        "source": run.source,
        "status": TaskStatus.running.value,
        "started": now,
        "timestamp": now,
        "error": "",
        "run": head,
    }
    mask = None
    if task.exists and keep_last_result:
        # A cancel was of the last run alone.
        ended = ("completed", "run.cancel")
        mask = [*(name for name in status if name != "run"), *ended, *(f"run.{key}" for key in head)]
    history = {
        **_history_identity(run),
        "state": TaskStatus.running.value,
        "attempt": take.attempt,
        "started": now,
    }
    writes = [
        _write_to(run.status_name, status, mask=mask, on=task.update_time, create=not task.exists),
        _record_to(run.history_name, history, on=take.reopens, create=take.reopens is None),
    ]
    if take.closes is not None:
        dead = history_name(run.documents, run.task, take.closes)
        writes.append(_close(dead, *_death(task, f"its lease expired; {run.run_id} took over"), now))
    return writes


def extend(run: RunIdentity, on: Timestamp, *, lease_until: datetime) -> list[Any]:
    """Extend the lease of a run at work, on the version it last wrote."""
    head = {"run": {"lease_until": lease_until}}
    return [_write_to(run.status_name, head, mask=["run.lease_until"], on=on)]


def complete(
    run: RunIdentity,
    on: Timestamp,
    end: RunEnd,
    *,
    data: Any,
    result: ResultPointer,
    summary: Any = None,
    suspended: bool = False,
) -> list[Any]:
    """Publish a result in one commit of the status document and the run record, on the version last written.

    Args:
        run: the attempt.
        on: The status document's version.
        end: the attempt's times.
        data: the contract's `data`, replaced whole.
        result: what describes it.
        summary: what the task says beside its result.
        suspended: whether the task was suspended meanwhile: `status` then says so still.
    """
    described = {**result.to_fields(), **({} if summary is None else {"summary": summary})}
    status = {
        "status": TaskStatus.completed.value,
        "completed": end.completed,
        "timestamp": end.completed,
        "data": data,
        "run": {"state": TaskStatus.completed.value, "result": described},
    }
    return [
        _end_status(run, on, status, ("data", "run.result"), suspended=suspended),
        _end_history(run, end, {"state": TaskStatus.completed.value, "result": described}),
    ]


def fail(
    run: RunIdentity,
    on: Timestamp,
    end: RunEnd,
    *,
    message: str,
    error: Mapping[str, Any],
    suspended: bool = False,
) -> list[Any]:
    """Record a failure: as `complete`, but the last good result stays what it is.

    Args:
        run: the attempt.
        on: The status document's version.
        end: the attempt's times.
        message: the contract's `error`.
        error: type, message and traceback, for the history.
        suspended: whether the task was suspended meanwhile.
    """
    status = {
        "status": TaskStatus.failed.value,
        "completed": end.completed,
        "timestamp": end.completed,
        "error": message,
        "run": {"state": TaskStatus.failed.value},
    }
    return [
        _end_status(run, on, status, ("error",), suspended=suspended),
        _end_history(run, end, {"state": TaskStatus.failed.value, "error": dict(error)}),
    ]


def skip(run: RunIdentity, decision: Skip, *, now: datetime) -> list[Any]:
    """Record a tick that did not run. Its document has an id of its own: the tick may still run once."""
    fields = {
        **_history_identity(run),
        "state": "skipped",
        "reason": decision.reason,
        "started": now,
        "completed": now,
        "expire_at": now + HISTORY_RETENTION,
    }
    if decision.holder is not None:
        fields["holder"] = decision.holder
    return [_record_to(history_name(run.documents, run.task, skip_id(run.run_id)), fields)]


def refuse(run: RunIdentity, reason: str, *, now: datetime, on: Timestamp | None = None) -> list[Any]:
    """Count a delivery that is answered 503, in one record per run: when last, why, and how often.

    Args:
        run: the run that was delivered.
        reason: why it is refused.
        now: UTC.
        on: version of the record as it was read; None if there was none.
    """
    fields = {
        **_history_identity(run),
        "state": "refused",
        "reason": reason,
        "started": now,
        "completed": now,
        "expire_at": now + HISTORY_RETENTION,
    }
    named = history_name(run.documents, run.task, refusal_id(run.run_id))
    record = _record_to(named, fields, mask=list(fields), on=on, create=on is None)
    record.update_transforms.add(field_path="count").increment.integer_value = 1
    return [record]


def close_superseded(history: str, run: RunDocument, *, now: datetime) -> list[Any]:
    """Close the history of an attempt that holds nothing any more.

    Args:
        history: the document's full name.
        run: what was read there.
        now: UTC.
    """
    kind, reason = _why(run.cancel, *_SUPERSEDED)
    return [_close(history, kind, reason, now, on=run.update_time)]


def fail_dead(documents: str, name: TaskName, task: TaskDocument, *, now: datetime) -> list[Any]:
    """Fail a run whose process died, the status document on the version read; its last good result stays.

    Args:
        documents: the database's root.
        name: the task.
        task: The status document as it was read: the dead run's.
        now: UTC.
    """
    kind, reason = _death(task, "its process died: no sign of life since its lease expired")
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
    writes = [_write_to(status_name(documents, name), status, mask=mask, on=task.update_time)]
    if task.run_id is not None:
        writes.append(_close(history_name(documents, name, task.run_id), kind, reason, now))
    return writes


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
        _write_to(named, status, mask=mask, on=task.update_time, create=not task.exists),
        change(documents, name, "suspended", by=by, reason=reason, now=now),
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
        _write_to(status_name(documents, name), status, mask=mask, on=task.update_time),
        change(documents, name, "resumed", by=by, reason=reason, now=now),
    ]


def incident(
    documents: str, name: TaskName, incident_id: str, *, now: datetime, fields: Mapping[str, Any]
) -> list[Any]:
    """Record an incident in the history, once: refused where it is recorded already."""
    record = {**fields, "task": name.value, "started": now, "completed": now}
    record["expire_at"] = now + HISTORY_RETENTION
    return [_record_to(history_name(documents, name, incident_id), record, create=True)]


def know_schedule(
    documents: str, name: TaskName, known: ScheduleDocument, fields: Mapping[str, Any]
) -> list[Any]:
    """Replace what is known of a task's schedule, on the version read."""
    named, create = schedule_name(documents, name), known.update_time is None
    return [_write_to(named, fields, on=known.update_time, create=create)]


def note_job(
    documents: str, name: TaskName, task: TaskDocument, note: JobNote | None, *records: Any
) -> list[Any]:
    """Note something of the job, on the version read, or nothing any more; with records for the history."""
    head = {} if note is None else {"run": {"job": note.to_fields()}}
    named, create = status_name(documents, name), not task.exists
    return [_write_to(named, head, mask=["run.job"], on=task.update_time, create=create), *records]


def request(documents: str, name: TaskName, task: TaskDocument, made: RunRequest) -> list[Any]:
    """Leave a request where the next delivery finds it, and record it, on the version read.

    The status document of a task that never ran holds nothing else: readers find no result, as before.
    """
    named, create = status_name(documents, name), not task.exists
    left = _write_to(
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
    return [change(documents, name, "requested", by=by, reason=reason, now=now, holder=made.id)]


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
        _write_to(
            status_name(documents, name), {"run": {"cancel": said}}, mask=["run.cancel"], on=task.update_time
        ),
        _record_to(history_name(documents, name, run_id), {"cancel": said}, mask=["cancel"]),
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
        record = _close(history, *_why(said, *_SUPERSEDED), said["at"], on=on, cancel=said)
    else:
        fields = {"cancel": said, "error": {"type": told.kind, "message": told.message}}
        record = _record_to(history, fields, mask=["cancel", "error.type", "error.message"], on=on)
    writes = [record, _cancelling(documents, name, run_id, said)]
    if task.run_id == run_id and task.state == TaskStatus.failed:
        status = {"error": told.text, "run": {"cancel": said}}
        named, mask = status_name(documents, name), ["error", "run.cancel"]
        writes.insert(0, _write_to(named, status, mask=mask, on=task.update_time))
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
    return [_record_to(history, fields, create=True), _cancelling(documents, name, request.id, said)]


def _cancelling(documents: str, name: TaskName, run_id: str, said: Mapping[str, Any]) -> Any:
    return change(
        documents, name, "cancelling", by=said["by"], reason=said["reason"], now=said["at"], holder=run_id
    )


def progress(run: RunIdentity, on: Timestamp | None, report: Mapping[str, Any]) -> list[Any]:
    """Record progress in the run record only: in the status document it would move the fence.

    Args:
        run: the attempt.
        on: The run record's version as the attempt last wrote it, so that another writer is noticed; None for
            any version.
        report: `done`, `total`, `message` and `at`.
    """
    fields = {"progress": dict(report)}
    return [_record_to(run.history_name, fields, mask=["progress"], on=on, must_exist=True)]


def change(
    documents: str,
    name: TaskName,
    state: str,
    *,
    by: str,
    reason: str,
    now: datetime,
    holder: str | None = None,
) -> Any:
    """Record who changed what, when and why, and which run is meant; the same change sent twice is one."""
    record = {
        "task": name.value,
        "state": state,
        "by": by,
        "reason": reason,
        "started": now,
        "completed": now,
        "expire_at": now + HISTORY_RETENTION,
        **({} if holder is None else {"holder": holder}),
    }
    return _record_to(history_name(documents, name, f"{run_id_of(now)}.{state}"), record)


def _end_status(
    run: RunIdentity, on: Timestamp, status: dict[str, Any], fields: Iterable[str], *, suspended: bool
) -> Any:
    mask = ["completed", "timestamp", "run.state", "run.lease_until", *fields]
    if not suspended:
        mask.append("status")
    return _write_to(run.status_name, status, mask=mask, on=on)


def _end_history(run: RunIdentity, end: RunEnd, fields: dict[str, Any]) -> Any:
    """Set-merge: a history that TTL has removed must not refuse the whole commit."""
    values = {
        **_history_identity(run),
        "attempt": end.attempt,
        "started": end.started,
        "completed": end.completed,
        "duration_ms": end.duration_ms,
        "expire_at": end.expire_at,
        **({} if end.progress is None else {"progress": dict(end.progress)}),
        **fields,
    }
    return _record_to(run.history_name, values, mask=list(values))


def _death(task: TaskDocument, reason: str) -> tuple[str, str]:
    """Return what kind of error a dead run ends with, and why."""
    return _why(task.cancel, "LeaseExpired", reason)


def _why(cancel: Mapping[str, Any] | None, kind: str, reason: str) -> tuple[str, str]:
    """Return what kind of error a run is closed with, and why: a cancel that nobody was there to meet."""
    if cancel is None:
        return kind, reason
    return RunCancelled.__name__, f"{cancelled_by(cancel)} ({reason})"


def _close(
    name: str, kind: str, message: str, now: datetime, *, on: Timestamp | None = None, **more: Any
) -> Any:
    fields = {
        **more,
        "state": TaskStatus.failed.value,
        "completed": now,
        "error": {"type": kind, "message": message},
        "expire_at": now + HISTORY_RETENTION,
    }
    return _record_to(name, fields, mask=list(fields), on=on)


def _history_identity(run: RunIdentity) -> dict[str, Any]:
    return {
        "task": run.task.value,
        "run_id": run.run_id,
        "token": run.token,
        "source": run.source,
        "scheduled_for": run.scheduled_for,
        **({} if run.request is None else {"requested": run.request.requested_by()}),
    }


def _record_to(name: str, fields: Mapping[str, Any], **how: Any) -> Any:
    """Build a write to the history; Firestore says when it took it: what changed last is found by that."""
    write = _write_to(name, fields, **how)
    write.update_transforms.add(field_path=CHANGED, set_to_server_value=_REQUEST_TIME)
    return write


def _write_to(
    name: str,
    fields: Mapping[str, Any],
    *,
    mask: Iterable[str] | None = None,
    on: Timestamp | None = None,
    create: bool = False,
    must_exist: bool = False,
) -> Any:
    """Build one write.

    Args:
        name: the document's full name.
        fields: what it holds; a field in the mask that is absent here is deleted.
        mask: the fields to write, the others stay; None replaces the document.
        on: the version that the document must have.
        create: the document must not exist.
        must_exist: it must.
    """
    write = WritePb()
    write.update.name = name
    if mask is not None:
        write.update_mask.field_paths.extend(mask)
        roots = {path.partition(".")[0] for path in mask}
        fields = {key: value for key, value in fields.items() if key in roots}
    encode_fields(fields, write.update.fields)
    if on is not None:
        write.current_document.update_time.CopyFrom(on)
    elif create or must_exist:
        write.current_document.exists = must_exist
    return write
