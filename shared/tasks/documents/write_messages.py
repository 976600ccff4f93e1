"""Wire messages of writes, which the other modules of this package compose.

They are built by hand because the client library's own batch costs a fifth of a whole warm run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.cloud.firestore_v1.types import write as _write

from shared.tasks.contract import TaskName, TaskStatus, history_name
from shared.tasks.documents.codec import encode_fields
from shared.tasks.documents.models import CHANGED, Action, TaskDocument
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.errors import RunCancelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

WritePb = _write.Write.pb()
_REQUEST_TIME = _write.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME

#: Error type and reason of a run that is closed after it lost the task.
SUPERSEDED = ("RunSuperseded", "another attempt took the task")

#: How long a run record is kept; Firestore's TTL policy on `expire_at` removes it then.
HISTORY_RETENTION = timedelta(days=30)


def write_document(
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


def write_record(name: str, fields: Mapping[str, Any], **how: Any) -> Any:
    """Build a write to the history. Firestore adds the commit time, by which the last change is found."""
    write = write_document(name, fields, **how)
    write.update_transforms.add(field_path=CHANGED, set_to_server_value=_REQUEST_TIME)
    return write


def record_change(
    documents: str,
    name: TaskName,
    state: str,
    action: Action,
    *,
    now: datetime,
    holder: str | None = None,
) -> Any:
    """Record a change by an operator. The same change sent twice makes one record."""
    record = {
        "task": name.value,
        "state": state,
        "by": action.by,
        "reason": action.reason,
        "started": now,
        "completed": now,
        "expire_at": now + HISTORY_RETENTION,
        **({} if holder is None else {"holder": holder}),
    }
    return write_record(history_name(documents, name, f"{run_id_of(now)}.{state}"), record)


def close_record(
    name: str, kind: str, message: str, now: datetime, *, on: Timestamp | None = None, **more: Any
) -> Any:
    """Build the write that closes a run record as failed."""
    fields = {
        **more,
        "state": TaskStatus.failed.value,
        "completed": now,
        "error": {"type": kind, "message": message},
        "expire_at": now + HISTORY_RETENTION,
    }
    return write_record(name, fields, mask=list(fields), on=on)


def death_of(task: TaskDocument, reason: str) -> tuple[str, str]:
    """Return the error type and reason with which a dead run ends."""
    return cause_of(task.cancel, "LeaseExpired", reason)


def cause_of(cancel: Action | None, kind: str, reason: str) -> tuple[str, str]:
    """Return the error type and reason with which a run is closed; a cancel that is still open goes first."""
    if cancel is None:
        return kind, reason
    return RunCancelled.__name__, f"{cancel.cancel_message} ({reason})"
