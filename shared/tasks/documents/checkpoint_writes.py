"""The writes of a checkpoint, which are one commit."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.tasks.documents.write_messages import (
    HISTORY_RETENTION,
    WriteMessage,
    write_document,
    write_record,
)
from shared.tasks.specs import LONGEST_DEADLINE_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.documents.checkpoints import Changes, Checkpoint, SavedCursor, SavedPart, SavedStep
    from shared.tasks.documents.models import Precondition
    from shared.tasks.documents.run_ids import AttemptIdentity

#: Longest time from a checkpoint to the deadline of its run, when its documents are no longer needed.
LONGEST_RUN = timedelta(seconds=LONGEST_DEADLINE_SECONDS)


def save(
    identity: AttemptIdentity,
    precondition: Precondition,
    checkpoint: Checkpoint,
    changes: Changes,
    *,
    now: datetime,
) -> list[WriteMessage]:
    """Write a checkpoint: the run record first, then the documents of its steps, cursors and parts."""
    fields = {"checkpoint": checkpoint.to_fields()}
    record = write_record(identity.record_name, fields, mask=["checkpoint"], precondition=precondition)
    common = {"token": identity.token, "at": now, "expire_at": now + LONGEST_RUN + HISTORY_RETENTION}
    first = checkpoint.parts - len(changes.parts) + 1
    # An earlier commit of the same attempt may have written the same documents, although its response was
    # lost. Only the precondition on the run record decides whether the attempt may write.
    documents = [
        *((f"step.{one.name}", _fields_of(one)) for one in changes.steps),
        *((f"cursor.{one.name}", _fields_of(one)) for one in changes.cursors),
        *((f"part.{first + i:06d}", _fields_of(one)) for i, one in enumerate(changes.parts)),
    ]
    return [
        record,
        *(
            write_document(identity.names.step(identity.run_id, document_id), {**values, **common})
            for document_id, values in documents
        ),
    ]


def _fields_of(one: SavedStep | SavedCursor | SavedPart) -> dict[str, object]:
    """Return the fields of a document, without those that are None."""
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    if "path" in fields:
        fields["object"] = fields.pop("path")
    return {name: value for name, value in fields.items() if value is not None}
