"""Removes stored objects that are no longer needed (docs/protocol.md, "Stored objects").

An object that `run.result` points to is never removed. A signed URL is valid for seven days, so a superseded
object stays that long. Parts and step values of a long run stay while the run may need them, and as long
after its end.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.tasks.contract import DETAILS_SUFFIX, PART_SUFFIX, STORAGE_FOLDER, TaskStatus
from shared.tasks.documents.legs import WAITING
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
#: The same for a part or a step's value, to which no URL leads. A long run may leave thousands of them.
PART_RETENTION = timedelta(days=1)
#: Objects removed in one pass; the next pass continues.
MAX_REMOVALS = 100
#: States of a run that may need its parts.
_AT_WORK = frozenset({TaskStatus.running.value, WAITING})
_PART_NAME = re.compile(rf"(.+)\.[^.]+\.[0-9]{{6}}{re.escape(PART_SUFFIX)}", re.DOTALL)


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
    ended: dict[str, bool] = {}  # by run: one read decides about thousands of parts
    for path, created in stored:
        run_id = _run_of_part(path)
        youngest = RETENTION if run_id is None else PART_RETENTION
        if now - created < youngest or len(removed) >= MAX_REMOVALS:
            continue
        if run_id is not None:
            if run_id not in ended:
                document, record = yield from ask(ReadDocuments(run_id))
                ended[run_id] = _has_ended_long_ago(run_id, document, record, now=now)
            is_unused = ended[run_id]
        elif (attempt := _attempt_of(path)) is not None:
            own_run, token = attempt
            document, record = yield from ask(ReadDocuments(own_run))
            superseded_at = yield from _superseded_at(path, token, created, document, record)
            is_unused = superseded_at is not None and now - superseded_at >= RETENTION
        else:
            continue
        if is_unused:
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


def _has_ended_long_ago(
    run_id: str, document: TaskDocument, record: RunDocument | None, *, now: datetime
) -> bool:
    """Return whether a run needs no parts any more, whichever of its attempts stored them."""
    if document.run_id == run_id and document.state in _AT_WORK:
        return False
    if record is None:  # it has expired, 30 days after the run's end
        return True
    if record.state in _AT_WORK or record.completed is None:
        return False
    return now - record.completed >= PART_RETENTION


def _run_of_part(path: str) -> str | None:
    """Return the run id in the path of a part or a step's value; None for another object."""
    match = _PART_NAME.fullmatch(path.rpartition("/")[2])
    return match and match[1]


def _attempt_of(path: str) -> tuple[str, str] | None:
    """Return the run id and token in an object's path; None if no run wrote the object."""
    name = path.rpartition("/")[2]
    if name.endswith(DETAILS_SUFFIX):
        name = f"{name.removesuffix(DETAILS_SUFFIX)}.json"
    parts = name.rsplit(".", 2)
    if len(parts) != 3 or parts[2] != "json" or not all(parts):
        return None
    return parts[0], parts[1]
