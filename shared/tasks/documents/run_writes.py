"""The writes of a run: each function returns the writes of one commit.

`run` is the attempt that writes, `version` the version of the document as the attempt last wrote or read it,
and `now` the time in UTC. If the task was `suspended` meanwhile, the end of a run leaves `status` as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.tasks.contract import DocumentNames, Json, JsonMap, TaskName, TaskStatus
from shared.tasks.documents.models import Precondition, TaskDocument, legacy_version
from shared.tasks.documents.result_pointer import SAVED_BY_CONTRACT, ResultPointer
from shared.tasks.documents.run_ids import refusal_id, skip_id
from shared.tasks.documents.write_messages import (
    HISTORY_RETENTION,
    SUPERSEDED,
    WriteMessage,
    cause_of,
    close_record,
    death_of,
    end_status,
    instant,
    write_document,
    write_record,
)

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import RunDocument, RunRequest
    from shared.tasks.protocol.decisions import Skip, Take


@dataclass(frozen=True, slots=True)
class AttemptIdentity:
    """One attempt of one run.

    Attributes:
        names: Names of the task's documents.
        run_id: The run; the same for each delivery and attempt of one tick.
        token: Fencing token of the attempt, drawn at random.
        source: The contract's `source` of the run.
        scheduled_for: The tick, UTC; None for a run outside the schedule.
        schedule_time: Schedule time of the delivery, or the time when it arrived without one, UTC; None if no
            delivery called `execute_task`.
        request: The request that the run answers; None if the run was not requested.
    """

    names: DocumentNames
    run_id: str
    token: str
    source: str
    scheduled_for: datetime | None = None
    schedule_time: datetime | None = None
    request: RunRequest | None = None

    @property
    def task(self) -> TaskName:
        """The task."""
        return self.names.task

    @property
    def record_name(self) -> str:
        """The full name of the run record."""
        return self.names.record(self.run_id)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How an attempt ended, for its run record.

    Attributes:
        attempt: Number of the attempt.
        started, completed: Times of its start and end, UTC.
        duration_ms: Duration of the task's own work, milliseconds.
        progress: The task's last progress report; None if it made none.
    """

    attempt: int
    started: datetime
    completed: datetime
    duration_ms: int
    progress: JsonMap | None = None


def start(
    run: AttemptIdentity,
    take: Take,
    task: TaskDocument,
    *,
    now: datetime,
    lease_until: datetime,
    keep_last_result: bool,
) -> list[WriteMessage]:
    """Take the task.

    The status document is written on the version that was read, the run record is created or reopened, and
    the record of a dead run is closed. With `keep_last_result` the status document is written field by field
    without `data`. Without it, the whole document is overwritten, as the contract literally says.
    """
    head: dict[str, object] = {
        "id": run.run_id,
        "attempt": take.attempt,
        "token": run.token,
        "state": TaskStatus.running.value,
        "lease_until": lease_until,
    }
    if not keep_last_result:
        # The job may not have followed yet, and later deliveries must still recognise the request.
        if task.job is not None:
            head["job"] = task.job.to_fields()
        if task.request is not None:
            head["request"] = task.request.to_fields()
    elif take.adopts_legacy_result:
        adopted = ResultPointer(version=legacy_version(task), saved_in=SAVED_BY_CONTRACT)
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
    if keep_last_result:
        # A cancel belongs to the last run only.
        removed = ("completed", "run.cancel")
        mask = [*(name for name in status if name != "run"), *removed, *(f"run.{key}" for key in head)]
    record = {
        **_identity_fields(run),
        "state": TaskStatus.running.value,
        "attempt": take.attempt,
        "started": now,
    }
    reopened: Precondition = False if take.reopens is None else take.reopens
    writes = [
        write_document(run.names.status, status, mask=mask, precondition=task.precondition),
        write_record(run.record_name, record, precondition=reopened),
    ]
    if take.closes is not None:
        dead = run.names.record(take.closes)
        writes.append(close_record(dead, *death_of(task, f"its lease expired; {run.run_id} took over"), now))
    return writes


def extend(run: AttemptIdentity, version: Timestamp, *, lease_until: datetime) -> list[WriteMessage]:
    """Extend the lease, on the version of the status document that the attempt last wrote."""
    head = {"run": {"lease_until": lease_until}}
    return [write_document(run.names.status, head, mask=["run.lease_until"], precondition=version)]


def progress(run: AttemptIdentity, version: Timestamp | None, report: JsonMap) -> list[WriteMessage]:
    """Record progress in the run record only; in the status document it would conflict with the lease."""
    must_be: Precondition = True if version is None else version
    return [write_record(run.record_name, {"progress": report}, mask=["progress"], precondition=must_be)]


def complete(
    run: AttemptIdentity,
    version: Timestamp,
    end: RunEnd,
    *,
    data: Json,
    result: ResultPointer,
    suspended: bool = False,
) -> list[WriteMessage]:
    """Publish a result in the status document, whose `data` is replaced as a whole, and in the run record."""
    described, state = result.to_fields(), TaskStatus.completed
    return [
        end_status(
            run.names.status,
            state,
            now=end.completed,
            version=version,
            suspended=suspended,
            fields={"data": data},
            run={"result": described},
        ),
        _end_record(run, end, {"state": state.value, "result": described}),
    ]


def fail(
    run: AttemptIdentity,
    version: Timestamp,
    end: RunEnd,
    *,
    message: str,
    error: JsonMap,
    suspended: bool = False,
) -> list[WriteMessage]:
    """Record a failure: `message` in the status document, `error` in the run record. `data` stays."""
    state = TaskStatus.failed
    return [
        end_status(
            run.names.status,
            state,
            now=end.completed,
            version=version,
            suspended=suspended,
            fields={"error": message},
        ),
        _end_record(run, end, {"state": state.value, "error": error}),
    ]


def skip(run: AttemptIdentity, decision: Skip, *, now: datetime) -> list[WriteMessage]:
    """Record a skipped tick. The record has an id of its own, because the tick may still run."""
    holder = {} if decision.holder is None else {"holder": decision.holder}
    fields = instant(now, **_identity_fields(run), state="skipped", reason=decision.reason, **holder)
    return [write_record(run.names.record(skip_id(run.run_id)), fields)]


def refuse(
    run: AttemptIdentity, reason: str, *, now: datetime, version: Timestamp | None = None
) -> list[WriteMessage]:
    """Count a delivery that is answered 503, in one record per run: when last, why, and how often."""
    fields = instant(now, **_identity_fields(run), state="refused", reason=reason)
    named = run.names.record(refusal_id(run.run_id))
    must_be: Precondition = False if version is None else version
    record = write_record(named, fields, mask=list(fields), precondition=must_be)
    record.update_transforms.add(field_path="count").increment.integer_value = 1
    return [record]


def close_superseded(name: str, run: RunDocument, *, now: datetime) -> list[WriteMessage]:
    """Close the run record of an attempt that lost its task, on the version that was read."""
    kind, reason = cause_of(run.cancel, *SUPERSEDED)
    return [close_record(name, kind, reason, now, precondition=run.update_time)]


def _end_record(run: AttemptIdentity, end: RunEnd, fields: JsonMap) -> WriteMessage:
    """Merge the end into the run record: the commit must not be refused if TTL has removed the record."""
    values = {
        **_identity_fields(run),
        "attempt": end.attempt,
        "started": end.started,
        "completed": end.completed,
        "duration_ms": end.duration_ms,
        "expire_at": end.completed + HISTORY_RETENTION,
        **({} if end.progress is None else {"progress": end.progress}),
        **fields,
    }
    return write_record(run.record_name, values, mask=list(values))


def _identity_fields(run: AttemptIdentity) -> dict[str, object]:
    return {
        "task": run.task.value,
        "run_id": run.run_id,
        "token": run.token,
        "source": run.source,
        "scheduled_for": run.scheduled_for,
        **({} if run.request is None else {"requested": run.request.action.to_fields()}),
    }
