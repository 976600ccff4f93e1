"""Reads task views and run histories.

No query fetches a result. A task that is not running costs the read of one small document.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.cloud.firestore_v1.types import query as _query

from shared.tasks.admin.records import (
    PROGRESS_MASK,
    RECORD_MASK,
    WHOLE_RECORD_MASK,
    RunRecord,
    merge_records,
    record_ids,
    stored_states,
)
from shared.tasks.admin.views import STATUS_MASK, TaskView
from shared.tasks.contract import TaskStatus
from shared.tasks.documents.codec import decode_fields, to_datetime, to_timestamp
from shared.tasks.documents.models import CHANGED, TaskDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.firestore_calls import Message
    from shared.tasks.contract import DocumentNames, TaskName

_DESCENDING = _query.StructuredQuery.Direction.DESCENDING
_Comparison = _query.StructuredQuery.FieldFilter.Operator
_AND = _query.StructuredQuery.CompositeFilter.Operator.AND
#: The document's own name in a query.
_NAME = "__name__"
#: Number of records that show whether a history has changed.
MAX_LAST_CHANGED = 3


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the history, after a record: when that run started (UTC), and its id."""

    started: datetime
    id: str


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of the history, newest first.

    Attributes:
        records: The records of this page.
        next: Where the next page begins; None if this is the last one.
    """

    records: tuple[RunRecord, ...]
    next: Position | None


def view_tasks(store: Store, names: tuple[TaskName, ...]) -> tuple[TaskView, ...]:
    """Read the state of tasks, with the progress of running runs and without results.

    Args:
        store: Firestore.
        names: The tasks, in the order of the result.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    documents = {name: store.names(name).status for name in names}
    found = store.read_fields(list(documents.values()), STATUS_MASK)
    views = {name: _view(name, found[full]) for name, full in documents.items()}
    running = [(name, view.document.run_id or "") for name, view in views.items() if view.is_running]
    if running:
        records = _records(store, running, PROGRESS_MASK)
        for (name, _), record in records.items():
            if record.state == TaskStatus.running:  # otherwise it has ended since
                views[name] = replace(
                    views[name],
                    progress=record.progress,
                    checkpoint=record.checkpoint,
                    last_failure=record.last_failure,
                )
    return tuple(views[name] for name in names)


def view_last_changed(store: Store, name: TaskName) -> tuple[RunRecord, ...]:
    """Read the records that were written last; each write to the history changes them.

    Several are read because the later of two concurrent writes may become visible first. A removal by TTL
    is not a write.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """

    def fill(query: Message) -> None:
        query.select.fields.add(field_path=CHANGED)
        order = query.order_by.add(direction=_DESCENDING)
        order.field.field_path = CHANGED
        query.limit.value = MAX_LAST_CHANGED

    return tuple(parse_record(found) for found in store.query_history(name, fill))


def view_history(
    store: Store,
    name: TaskName,
    *,
    limit: int,
    states: tuple[str, ...] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    after: Position | None = None,
) -> HistoryPage:
    """Read one page of a task's history, newest first.

    Args:
        store: Firestore.
        name: The task.
        limit: Maximum number of records on the page.
        states: Only records that are shown in one of these states, at most ten; all records if empty.
        since: Only records that started at this time or later, UTC.
        until: Only records that started before this time, UTC.
        after: `next` of the page before; None for the first page.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    query = history_query(
        store.names(name),
        mask=RECORD_MASK,
        limit=limit + 1,
        states=states,
        since=since,
        until=until,
        after=after,
    )
    return page_of(store.query_history(name, query), limit)


def history_query(
    names: DocumentNames,
    *,
    mask: Iterable[str],
    limit: int,
    states: tuple[str, ...] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    after: Position | None = None,
) -> Callable[[Message], None]:
    """Return what narrows a query to a part of a task's history, newest first.

    Besides the names of the task's documents and `mask`, the fields to read, the arguments are those of
    `view_history`. A `limit` of one more than a page has shows whether there is a next page.
    """

    def fill(query: Message) -> None:
        for field in mask:
            query.select.fields.add(field_path=field)
        if states:
            value = add_condition(query, "state", _Comparison.IN)
            for state in stored_states(states):
                value.array_value.values.add(string_value=state)
        if since is not None:
            value = add_condition(query, "started", _Comparison.GREATER_THAN_OR_EQUAL)
            value.timestamp_value.CopyFrom(to_timestamp(since))
        if until is not None:
            value = add_condition(query, "started", _Comparison.LESS_THAN)
            value.timestamp_value.CopyFrom(to_timestamp(until))
        for field in ("started", _NAME):
            order = query.order_by.add(direction=_DESCENDING)
            order.field.field_path = field
        query.limit.value = limit
        if after is not None:
            position = query.start_at.values
            position.add().timestamp_value.CopyFrom(to_timestamp(after.started))
            position.add(reference_value=names.record(after.id))
            query.start_at.before = False

    return fill


def page_of(found: list[Message], limit: int) -> HistoryPage:
    """Return a page of the documents that a query with a limit of one more found."""
    records = tuple(parse_record(each) for each in found[:limit])
    last = records[-1] if len(found) > limit else None
    position = None if last is None or last.started is None else Position(last.started, last.id)
    return HistoryPage(records, position)


def view_record(store: Store, name: TaskName, record_id: str) -> RunRecord | None:
    """Read one record of a task's history with all fields; None if there is none.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    found = _records(store, [(name, each) for each in record_ids(record_id)], WHOLE_RECORD_MASK)
    return merge_records(record_id, {each: record for (_, each), record in found.items()})


def add_condition(query: Message, field: str, comparison: Message) -> Message:
    """Add a condition to a query, and return its value to be set."""
    query.where.composite_filter.op = _AND
    condition = query.where.composite_filter.filters.add().field_filter
    condition.field.field_path, condition.op = field, comparison
    return condition.value


def _records(
    store: Store, runs: Iterable[tuple[TaskName, str]], mask: Iterable[str]
) -> dict[tuple[TaskName, str], RunRecord]:
    by_name = {store.names(name).record(run_id): (name, run_id) for name, run_id in runs}
    found = store.read_fields(list(by_name), mask)
    return {run: parse_record(found[full]) for full, run in by_name.items() if found[full] is not None}


def _view(name: TaskName, found: Message) -> TaskView:
    if found is None:
        return TaskView(name, TaskDocument())
    values = decode_fields(found.fields)
    document = TaskDocument.parse(values, found.update_time, to_datetime(found.create_time))
    return TaskView.parse(name, values, document)


def parse_record(found: Message) -> RunRecord:
    """Return a document of the run history."""
    return RunRecord.parse(found.name.rpartition("/")[2], decode_fields(found.fields), found.update_time)
