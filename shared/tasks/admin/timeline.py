"""Reads the records of many tasks in a time range, with one query per task, sent at once.

A caller reads a range once, in pages, and then only the records that were written since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.cloud.firestore_v1.types import query as _query

from shared.tasks.admin.queries import (
    HistoryPage,
    Position,
    add_condition,
    history_query,
    page_of,
    parse_record,
)
from shared.tasks.contract import TaskStatus
from shared.tasks.documents.codec import decode, to_timestamp
from shared.tasks.documents.models import CHANGED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from shared.tasks.admin.records import RunRecord
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.firestore_calls import Message
    from shared.tasks.contract import TaskName

_SINCE = _query.StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL
#: Fields of a record that a timeline shows.
TIMELINE_MASK = (
    *("state", "run_id", "scheduled_for", "started", "completed", "duration_ms", "attempt"),
    *("error.type", "error.message", "reason", "detail", "by", "until", "holder"),
    *("cancel", "requested", "count"),
)
#: Largest number of records that one call reads, over all tasks.
MAX_RECORDS = 2_000
#: Smallest limit of records per task: more than one commit writes, so that changes with the same time fit.
MIN_LIMIT = 10
#: Records before a range that are read to find the run that works when it begins: that run, and others that
#: an operator cancelled before they started, or that lost the task.
MAX_EARLIER = 3
#: How far changes are read again. A commit may become visible this much later than its time, because it took
#: long, or because the clock of the instance that read the last changes was ahead of Firestore's.
OVERLAP = timedelta(minutes=1)
_RUN_STATES = (TaskStatus.running.value, TaskStatus.completed.value, TaskStatus.failed.value)


@dataclass(frozen=True, slots=True)
class Changes:
    """Records that were written since a time.

    Attributes:
        records: The records of each task that has some, in the order of their last writes.
        known_until: Time up to which all changes are known, UTC; None if there were none but these.
    """

    records: dict[TaskName, tuple[RunRecord, ...]]
    known_until: datetime | None


def view_range(
    store: Store,
    pages: Mapping[TaskName, Position | None],
    *,
    since: datetime,
    until: datetime,
    limit: int = MAX_RECORDS,
) -> dict[TaskName, HistoryPage]:
    """Read the records of tasks that started in a time range, and the runs that worked when it began.

    Args:
        store: Firestore.
        pages: The tasks, each with `next` of its page before, or None for its first page.
        since: Start of the range, UTC.
        until: End of the range, UTC; it is not part of it.
        limit: Largest number of records per task, at least `MIN_LIMIT`. It is lowered so that a call reads at
            most `MAX_RECORDS`, and some more at the start of the range.

    Returns:
        A page per task, newest first. A first page ends with the runs that worked when the range began.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    limit = _limit_per_task(limit, len(pages))

    def query(name: TaskName, limit: int, **narrowed: Any) -> tuple[TaskName, Callable[[Message], None]]:
        return name, history_query(store.names(name), mask=TIMELINE_MASK, limit=limit, **narrowed)

    first = [name for name, after in pages.items() if after is None]
    found = store.query_histories(
        [
            *(query(name, limit + 1, since=since, until=until, after=after) for name, after in pages.items()),
            *(query(name, MAX_EARLIER, states=_RUN_STATES, until=since) for name in first),
        ]
    )
    parts = {name: page_of(page, limit) for name, page in zip(pages, found, strict=False)}
    for name, earlier in zip(first, found[len(pages) :], strict=True):
        runs = map(parse_record, earlier)
        working = [each for each in runs if each.completed is None or each.completed >= since]
        parts[name] = replace(parts[name], records=(*parts[name].records, *working))
    return parts


def view_changes(
    store: Store, names: tuple[TaskName, ...], *, since: datetime, limit: int = MAX_RECORDS
) -> Changes:
    """Read the records of tasks that were written since a time, whenever their runs started.

    Args:
        store: Firestore.
        names: The tasks.
        since: `known_until` of the changes before, or a time `OVERLAP` before the range was read, UTC.
        limit: Largest number of records per task, as in `view_range`.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    limit = _limit_per_task(limit, len(names))
    found = store.query_histories([(name, _changed_since(since, limit)) for name in names])
    cut = [decode(each[-1].fields[CHANGED]) for each in found if len(each) == limit]
    records = {
        name: tuple(parse_record(each) for each in some)
        for name, some in zip(names, found, strict=True)
        if some
    }
    return Changes(records, min(cut, default=None))


def _limit_per_task(limit: int, tasks: int) -> int:
    return max(MIN_LIMIT, min(limit, MAX_RECORDS // max(1, tasks)))


def _changed_since(since: datetime, limit: int) -> Callable[[Message], None]:
    def fill(query: Message) -> None:
        for field in (*TIMELINE_MASK, CHANGED):
            query.select.fields.add(field_path=field)
        add_condition(query, CHANGED, _SINCE).timestamp_value.CopyFrom(to_timestamp(since))
        query.order_by.add().field.field_path = CHANGED
        query.limit.value = limit

    return fill
