"""Removes stored objects that are no longer needed (docs/protocol.md, "Stored objects").

An object that `run.result` points to is never removed. A signed URL is valid for seven days, so a superseded
object stays that long.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.tasks.contract import DETAILS_SUFFIX, STORAGE_FOLDER
from shared.tasks.protocol.effects import (
    ListObjects,
    Procedure,
    ReadDocuments,
    ReadNextCompletion,
    RemoveObject,
    ask,
)

if TYPE_CHECKING:
    from shared.tasks.contract import TaskName
    from shared.tasks.documents.models import RunDocument, TaskDocument

#: How long an object stays after it was superseded, or its attempt lost its task: the life of a signed URL.
RETENTION = timedelta(days=7)
#: Objects removed in one pass; the next pass continues.
MAX_REMOVALS = 100


def remove_old_objects(task: TaskName, removed: list[str], *, now: datetime) -> Procedure[None]:
    """Remove the task's objects that are no longer needed.

    Args:
        task: The task.
        removed: Receives the path of each object when it is removed.
        now: UTC.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not answer.
    """
    stored = yield from ask(ListObjects(f"{STORAGE_FOLDER}/{task.value}/"))
    for path, created in stored:
        if now - created < RETENTION or len(removed) >= MAX_REMOVALS:
            continue
        attempt = _attempt_of(path)
        if attempt is None:
            continue
        run_id, token = attempt
        document, record = yield from ask(ReadDocuments(run_id))
        superseded_at = yield from _superseded_at(path, token, created, document, record)
        if superseded_at is not None and now - superseded_at >= RETENTION:
            yield from ask(RemoveObject(path))
            removed.append(path)


def _superseded_at(
    path: str, token: str, created: datetime, document: TaskDocument, record: RunDocument | None
) -> Procedure[datetime | None]:
    """Return since when an object is certainly not a result; None while it may be one."""
    if document.result is not None and path in (document.result.path, document.result.details):
        return None
    if record is None:
        # Run records expire after 30 days. The token in the status document means that the run is at work.
        return None if document.token == token else created
    if record.token == token and record.state == "running":
        return None
    if record.token == token and record.state == "completed" and record.completed is not None:
        return (yield from ask(ReadNextCompletion(record.completed)))
    return record.completed if record.token == token else created


def _attempt_of(path: str) -> tuple[str, str] | None:
    """Return the run id and token in an object's path; None if no run wrote the object."""
    name = path.rpartition("/")[2]
    if name.endswith(DETAILS_SUFFIX):
        name = f"{name.removesuffix(DETAILS_SUFFIX)}.json"
    parts = name.rsplit(".", 2)
    if len(parts) != 3 or parts[2] != "json" or not all(parts):
        return None
    return parts[0], parts[1]
