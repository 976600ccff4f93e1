"""Firestore write messages, which the other modules of this package combine to commits.

They are built directly, because the client library's write batch costs a fifth of a whole warm run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from google.cloud.firestore_v1.types import write as _write

from shared.tasks.contract import DocumentNames, TaskStatus
from shared.tasks.documents.actions import Action, Suspension
from shared.tasks.documents.codec import encode_fields
from shared.tasks.documents.models import CHANGED, Precondition
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.errors import RunCancelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


WriteMessage: TypeAlias = Any
"""A `google.firestore.v1.Write`; its generated class has no types."""

WritePb = _write.Write.pb()
_REQUEST_TIME = _write.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME

#: Error type and reason of a run that is closed after it lost the task.
SUPERSEDED = ("RunSuperseded", "another attempt took the task")
#: Error type of a run whose process died.
LEASE_EXPIRED = "LeaseExpired"

#: How long records of the run history are kept; then Firestore's TTL policy on `expire_at` removes them.
HISTORY_RETENTION = timedelta(days=30)


def write_document(
    name: str,
    fields: Mapping[str, object],
    *,
    mask: Iterable[str] | None = None,
    precondition: Precondition = None,
) -> WriteMessage:
    """Build one write of a document.

    Args:
        name: Full name of the document.
        fields: New values. A field that is in the mask and not here is deleted.
        mask: Paths of the fields to write; None replaces the whole document.
        precondition: The update time that the document must have, or whether it must exist.
    """
    write = WritePb()
    write.update.name = name
    if mask is not None:
        write.update_mask.field_paths.extend(mask)
        roots = {path.partition(".")[0] for path in mask}
        fields = {key: value for key, value in fields.items() if key in roots}
    encode_fields(fields, write.update.fields)
    if isinstance(precondition, bool):
        write.current_document.exists = precondition
    elif precondition is not None:
        write.current_document.update_time.CopyFrom(precondition)
    return write


def write_record(
    name: str,
    fields: Mapping[str, object],
    *,
    mask: Iterable[str] | None = None,
    precondition: Precondition = None,
) -> WriteMessage:
    """Build one write to the run history. Firestore adds the commit time, which shows what changed last."""
    write = write_document(name, fields, mask=mask, precondition=precondition)
    write.update_transforms.add(field_path=CHANGED, set_to_server_value=_REQUEST_TIME)
    return write


def instant(now: datetime, **fields: object) -> dict[str, object]:
    """Return the fields of a record of something that has no duration."""
    return {**fields, "started": now, "completed": now, "expire_at": now + HISTORY_RETENTION}


def record_change(
    names: DocumentNames, state: str, action: Action, *, now: datetime, run_id: str | None = None
) -> WriteMessage:
    """Record a change by an operator. The same change sent twice makes one record.

    The field `holder` contains the run that the change is about, if there is one; `until` the end of a
    suspension.
    """
    optional = {"holder": run_id, "until": action.until if isinstance(action, Suspension) else None}
    more = {name: value for name, value in optional.items() if value is not None}
    fields = instant(now, task=names.task.value, state=state, by=action.by, reason=action.reason, **more)
    return write_record(names.record(f"{run_id_of(now)}.{state}"), fields)


def end_status(
    name: str,
    state: TaskStatus,
    *,
    now: datetime,
    precondition: Precondition,
    suspended: bool,
    fields: Mapping[str, object],
    run: Mapping[str, object] | None = None,
) -> WriteMessage:
    """Build the write that ends a run in the status document; if `suspended`, `status` stays as it is."""
    run = run or {}
    values = {
        "status": state.value,
        "completed": now,
        "timestamp": now,
        "run": {"state": state.value, **run},
        **fields,
    }
    mask = ["completed", "timestamp", "run.state", "run.lease_until", *fields, *(f"run.{key}" for key in run)]
    if not suspended:
        mask.append("status")
    return write_document(name, values, mask=mask, precondition=precondition)


def close_record(
    name: str, kind: str, message: str, now: datetime, *, precondition: Precondition = None, **more: object
) -> WriteMessage:
    """Build the write that closes a run record as failed."""
    fields = {
        **more,
        "state": TaskStatus.failed.value,
        "completed": now,
        "error": {"type": kind, "message": message},
        "expire_at": now + HISTORY_RETENTION,
    }
    return write_record(name, fields, mask=list(fields), precondition=precondition)


def cause_of(cancel: Action | None, kind: str, reason: str) -> tuple[str, str]:
    """Return the error type and message of a run that is closed; the cancel is the cause if there is one."""
    if cancel is None:
        return kind, reason
    return RunCancelled.__name__, f"{cancel.cancel_message} ({reason})"
