"""Reads one run with its log, or only as much as shows whether either has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.tasks.admin.queries import parse_record
from shared.tasks.admin.records import (
    RECORD_MASK,
    WHOLE_RECORD_MASK,
    RunRecord,
    merge_records,
    record_ids,
)
from shared.tasks.admin.run_logs import RunLogView, newest_logs, view_log
from shared.tasks.documents.codec import decode_fields
from shared.tasks.documents.models import TaskDocument

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.firestore_calls import Message
    from shared.tasks.contract import TaskName

#: Fields of the status document that show whether the task is suspended.
SUSPENSION_MASK = ("status", "run.suspended")


@dataclass(frozen=True, slots=True)
class RunView:
    """A record of the history with its log.

    Attributes:
        record: The run, or another record.
        is_suspended: Whether its task is suspended.
        log: Its log; None if it was not read, or if the record is not that of a run that has started.
        writes: Name of each document that was read, and the seconds and nanoseconds of its last write. Of the
            logs of several attempts, only the one written last is among them.
    """

    record: RunRecord
    is_suspended: bool
    log: RunLogView | None
    writes: tuple[tuple[str, int, int], ...]


def view_run(
    store: Store, name: TaskName, record_id: str, *, with_log: bool, whole: bool = True
) -> RunView | None:
    """Read one record of a task's history; None if there is none.

    Takes one round trip, and another one if the log needs lines of earlier attempts.

    Args:
        store: Firestore.
        name: The task.
        record_id: Id of the run, or of another record.
        with_log: Whether to read the log.
        whole: Whether to read all fields. Otherwise the record is one of a list, the log is None, and
            `writes` is the same.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    names, ids = store.names(name), record_ids(record_id)
    documents = [names.status, *map(names.record, ids)]
    mask = (*(WHOLE_RECORD_MASK if whole else RECORD_MASK), *SUSPENSION_MASK)
    newest: list[Message] = []
    if with_log:
        # Every write of a log is one of the newest log: attempts follow each other.
        query = newest_logs() if whole else newest_logs(limit=1, mask=("at",))
        found, newest = store.read_fields_and_log(documents, mask, name, record_id, query)
    else:
        found = store.read_fields(documents, mask)
    status, *records = found.values()
    existing = {each: record for each, record in zip(ids, records, strict=True) if record is not None}
    record = merge_records(record_id, {each: parse_record(found) for each, found in existing.items()})
    if record is None:
        return None
    log = None
    if with_log and whole and record.attempt is not None:
        log = view_log(store, name, record_id, newest)
    return RunView(
        record,
        status is not None and _is_suspended(status),
        log,
        tuple(
            (each.name, each.update_time.seconds, each.update_time.nanos)
            for each in (*existing.values(), *newest[:1])
        ),
    )


def _is_suspended(status: Message) -> bool:
    return TaskDocument.parse(decode_fields(status.fields), status.update_time).is_suspended
