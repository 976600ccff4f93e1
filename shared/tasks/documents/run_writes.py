"""The writes of a run: each function returns the writes of one commit.

Each write to the status document has the precondition under which it was decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.tasks.contract import TaskName, TaskStatus, history_name, status_name
from shared.tasks.documents.models import (
    SAVED_BY_CONTRACT,
    ResultPointer,
    TaskDocument,
    original_version,
)
from shared.tasks.documents.run_ids import refusal_id, skip_id
from shared.tasks.documents.write_messages import (
    HISTORY_RETENTION,
    SUPERSEDED,
    cause_of,
    close_record,
    death_of,
    write_document,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import RunDocument, RunRequest
    from shared.tasks.protocol.decisions import Skip, Take


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
        request: the request that the run answers; None if the run was not requested.
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
        head["job"] = (
            task.job.to_fields()
        )  # Keep the job note: another operator's change is still in progress.
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
        write_document(run.status_name, status, mask=mask, on=task.update_time, create=not task.exists),
        write_record(run.history_name, history, on=take.reopens, create=take.reopens is None),
    ]
    if take.closes is not None:
        dead = history_name(run.documents, run.task, take.closes)
        writes.append(close_record(dead, *death_of(task, f"its lease expired; {run.run_id} took over"), now))
    return writes


def extend(run: RunIdentity, on: Timestamp, *, lease_until: datetime) -> list[Any]:
    """Extend the lease of a run at work, on the version it last wrote."""
    head = {"run": {"lease_until": lease_until}}
    return [write_document(run.status_name, head, mask=["run.lease_until"], on=on)]


def progress(run: RunIdentity, on: Timestamp | None, report: Mapping[str, Any]) -> list[Any]:
    """Record progress in the run record only: in the status document it would move the fence.

    Args:
        run: the attempt.
        on: The run record's version as the attempt last wrote it, so that another writer is noticed; None for
            any version.
        report: `done`, `total`, `message` and `at`.
    """
    fields = {"progress": dict(report)}
    return [write_record(run.history_name, fields, mask=["progress"], on=on, must_exist=True)]


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
    return [write_record(history_name(run.documents, run.task, skip_id(run.run_id)), fields)]


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
    record = write_record(named, fields, mask=list(fields), on=on, create=on is None)
    record.update_transforms.add(field_path="count").increment.integer_value = 1
    return [record]


def close_superseded(history: str, run: RunDocument, *, now: datetime) -> list[Any]:
    """Close the history of an attempt that holds nothing any more.

    Args:
        history: the document's full name.
        run: what was read there.
        now: UTC.
    """
    kind, reason = cause_of(run.cancel, *SUPERSEDED)
    return [close_record(history, kind, reason, now, on=run.update_time)]


def _end_status(
    run: RunIdentity, on: Timestamp, status: dict[str, Any], fields: Iterable[str], *, suspended: bool
) -> Any:
    mask = ["completed", "timestamp", "run.state", "run.lease_until", *fields]
    if not suspended:
        mask.append("status")
    return write_document(run.status_name, status, mask=mask, on=on)


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
    return write_record(run.history_name, values, mask=list(values))


def _history_identity(run: RunIdentity) -> dict[str, Any]:
    return {
        "task": run.task.value,
        "run_id": run.run_id,
        "token": run.token,
        "source": run.source,
        "scheduled_for": run.scheduled_for,
        **({} if run.request is None else {"requested": run.request.action.to_fields()}),
    }
