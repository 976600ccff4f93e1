"""Which stored results may go: superseded ones after seven days, stray ones once nobody can want them.

An object that `run.result` points to is never removed. Whoever was handed a signed URL may use
it for seven days after the result was superseded.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.tasks.contract import DETAILS_SUFFIX, STORAGE_FOLDER
from shared.tasks.protocol.effects import ListObjects, Procedure, ReadNextResult, ReadRun, RemoveObject, ask

if TYPE_CHECKING:
    from shared.tasks.contract import TaskName
    from shared.tasks.documents.models import RunDocument, TaskDocument

#: How long an object stays after it was superseded, or fenced out: the life of a signed URL.
RETENTION = timedelta(days=7)
#: Objects removed in one pass; the next pass goes on.
MOST_REMOVALS = 100


def remove_old_objects(name: TaskName, removed: list[str], *, now: datetime) -> Procedure[None]:
    """Remove the task's objects that may go (docs/protocol.md, "Stored objects").

    Args:
        name: the task.
        removed: gets the path of each as it is removed.
        now: UTC.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    stored = yield from ask(ListObjects(f"{STORAGE_FOLDER}/{name.value}/"))
    for path, created in stored:
        if now - created < RETENTION or len(removed) >= MOST_REMOVALS:
            continue
        attempt = _attempt_of(path)
        if attempt is None:
            continue
        run_id, token = attempt
        task, run = yield from ask(ReadRun(run_id))
        over_since = yield from _over_since(path, token, created, task, run)
        if over_since is not None and now - over_since >= RETENTION:
            yield from ask(RemoveObject(path))
            removed.append(path)


def _over_since(
    path: str, token: str, created: datetime, task: TaskDocument, run: RunDocument | None
) -> Procedure[datetime | None]:
    """Return since when an object is surely nobody's result any more; None while it may be one."""
    if task.result is not None and path in (task.result.path, task.result.details):
        return None
    if run is None:
        # Run records are gone after 30 days. The token in the status document means that the run works.
        return None if task.token == token else created
    if run.token == token and run.state == "running":
        return None
    if run.token == token and run.state == "completed" and run.completed is not None:
        superseded: datetime | None = yield from ask(ReadNextResult(run.completed))
        return superseded
    return run.completed if run.token == token else created


def _attempt_of(path: str) -> tuple[str, str] | None:
    """Return run id and token that an object's path is made of; None for one that no run wrote."""
    name = path.rpartition("/")[2]
    if name.endswith(DETAILS_SUFFIX):
        name = f"{name.removesuffix(DETAILS_SUFFIX)}.json"
    parts = name.rsplit(".", 2)
    if len(parts) != 3 or parts[2] != "json" or not all(parts):
        return None
    return parts[0], parts[1]
