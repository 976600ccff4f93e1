"""The writes of a run: each function returns the writes of one commit.

`identity` is the attempt that writes, `update_time` that of the document as the attempt last wrote or read
it, and `now` the time in UTC. If the task was `suspended` meanwhile, the end of a run leaves `status` as it
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.tasks.contract import Json, JsonMap, TaskStatus
from shared.tasks.documents.models import Precondition, TaskDocument, legacy_version
from shared.tasks.documents.result_pointer import SAVED_BY_CONTRACT, ResultPointer
from shared.tasks.documents.run_ids import refusal_id, skip_id
from shared.tasks.documents.write_messages import (
    HISTORY_RETENTION,
    LEASE_EXPIRED,
    SUPERSEDED,
    WriteMessage,
    cause_of,
    close_record,
    end_status,
    instant,
    write_document,
    write_record,
)
from shared.tasks.errors import DeadlineExceeded

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import RunDocument
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.protocol.decisions import Skip, Start


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
    identity: AttemptIdentity,
    start: Start,
    document: TaskDocument,
    *,
    now: datetime,
    lease_until: datetime,
    keep_last_result: bool,
) -> list[WriteMessage]:
    """Take the task.

    The commit is refused if the status document has changed since it was read. It also creates or reopens
    the run record, and closes the record of a dead run. With `keep_last_result` the status document is
    written field by field without `data`. Without it, the whole document is overwritten, as the contract
    literally says.
    """
    run: dict[str, object] = {
        "id": identity.run_id,
        "attempt": start.attempt,
        "token": identity.token,
        "state": TaskStatus.running.value,
        "lease_until": lease_until,
    }
    legs = {} if start.legs is None else {"legs": start.legs.to_fields()}
    run.update(legs)
    if identity.request is not None:
        run["requested"] = identity.request.action.to_fields()
    if not keep_last_result:
        # The job may not have followed yet, and later deliveries must still recognise the request.
        if document.job is not None:
            run["job"] = document.job.to_fields()
        if document.request is not None:
            run["request"] = document.request.to_fields()
    elif start.has_legacy_result:
        # The contract's `completed` is removed now, and later contains the end of a failed run, too.
        version, completed = legacy_version(document), document.completed
        adopted = ResultPointer(version=version, saved_in=SAVED_BY_CONTRACT, completed=completed)
        run["result"] = adopted.to_fields()
    status = {
        "source": identity.source,
        "status": TaskStatus.running.value,
        "started": now,
        "timestamp": now,
        "error": "",
        "run": run,
    }
    mask = None
    if keep_last_result:
        # A cancel belongs to the last run only, and so do its request and its legs.
        absent = (f"run.{key}" for key in ("requested", "legs") if key not in run)
        removed = ("completed", "run.cancel", *absent)
        mask = [*(name for name in status if name != "run"), *removed, *(f"run.{key}" for key in run)]
    fields = {
        **_identity_fields(identity),
        "state": TaskStatus.running.value,
        "attempt": start.attempt,
        "started": now,
        **legs,
        **({} if start.checkpoint is None else {"checkpoint": start.checkpoint.to_fields()}),
    }
    writes = [
        write_document(identity.names.status, status, mask=mask, precondition=document.precondition),
        write_record(identity.record_name, fields, precondition=start.record_precondition),
    ]
    if start.dead_run_id is not None:
        cause = takeover_cause(document, identity.run_id)
        writes.append(close_record(identity.names.record(start.dead_run_id), *cause, now))
    return writes


def takeover_cause(document: TaskDocument, next_run_id: str) -> tuple[str, str]:
    """Return the error type and message of the dead run in `document` when the next run takes its task."""
    is_long = document.legs is not None
    what = "its deadline passed" if is_long else "its lease expired"
    kind = DeadlineExceeded.__name__ if is_long else LEASE_EXPIRED
    return cause_of(document.cancel, kind, f"{what}; {next_run_id} took over")


def extend(identity: AttemptIdentity, update_time: Timestamp, *, lease_until: datetime) -> list[WriteMessage]:
    """Extend the lease, unless the status document has changed since the attempt last wrote it."""
    fields = {"run": {"lease_until": lease_until}}
    return [write_document(identity.names.status, fields, mask=["run.lease_until"], precondition=update_time)]


def progress(identity: AttemptIdentity, precondition: Precondition, report: JsonMap) -> list[WriteMessage]:
    """Record progress in the run record only; in the status document it would conflict with the lease."""
    fields = {"progress": report}
    return [write_record(identity.record_name, fields, mask=["progress"], precondition=precondition)]


def complete(
    identity: AttemptIdentity,
    update_time: Timestamp,
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
            identity.names.status,
            state,
            now=end.completed,
            precondition=update_time,
            suspended=suspended,
            fields={"data": data},
            run={"result": described},
        ),
        _end_record(identity, end, {"state": state.value, "result": described}),
    ]


def fail(
    identity: AttemptIdentity,
    update_time: Timestamp,
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
            identity.names.status,
            state,
            now=end.completed,
            precondition=update_time,
            suspended=suspended,
            fields={"error": message},
        ),
        _end_record(identity, end, {"state": state.value, "error": error}),
    ]


def skip(identity: AttemptIdentity, decision: Skip, *, now: datetime) -> list[WriteMessage]:
    """Record a skipped tick. The record has an id of its own, because the tick may still run."""
    holder = {} if decision.holder is None else {"holder": decision.holder}
    fields = instant(now, **_identity_fields(identity), state="skipped", reason=decision.reason, **holder)
    return [write_record(identity.names.record(skip_id(identity.run_id)), fields)]


def refuse(
    identity: AttemptIdentity, reason: str, *, now: datetime, precondition: Precondition = False
) -> list[WriteMessage]:
    """Count a delivery that is answered 503, in one record per run: when last, why, and how often."""
    fields = instant(now, **_identity_fields(identity), state="refused", reason=reason)
    name = identity.names.record(refusal_id(identity.run_id))
    write = write_record(name, fields, mask=list(fields), precondition=precondition)
    write.update_transforms.add(field_path="count").increment.integer_value = 1
    return [write]


def close_superseded(name: str, record: RunDocument, *, now: datetime) -> list[WriteMessage]:
    """Close the run record of an attempt that lost its task, if it has not changed since it was read."""
    kind, reason = cause_of(record.cancel, *SUPERSEDED)
    return [close_record(name, kind, reason, now, precondition=record.update_time)]


def _end_record(identity: AttemptIdentity, end: RunEnd, fields: JsonMap) -> WriteMessage:
    """Merge the end into the run record: the commit must not be refused if TTL has removed the record."""
    values = {
        **_identity_fields(identity),
        "attempt": end.attempt,
        "started": end.started,
        "completed": end.completed,
        "duration_ms": end.duration_ms,
        "expire_at": end.completed + HISTORY_RETENTION,
        **({} if end.progress is None else {"progress": end.progress}),
        **fields,
    }
    return write_record(identity.record_name, values, mask=list(values))


def _identity_fields(identity: AttemptIdentity) -> dict[str, object]:
    return {
        "task": identity.task.value,
        "run_id": identity.run_id,
        "token": identity.token,
        "source": identity.source,
        "scheduled_for": identity.scheduled_for,
        **({} if identity.request is None else {"requested": identity.request.action.to_fields()}),
    }
