"""Carries out what `viewing` asks for, on the real store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from google.cloud.firestore_v1.types import query as _query

from shared.tasks.admin.viewing import ReadHistory, ReadLastChanged, ReadRecord, ReadViews, ReadWorking
from shared.tasks.admin.views import (
    PROGRESS_MASK,
    RECORD_MASK,
    STATUS_MASK,
    WHOLE_RECORD_MASK,
    RunRecord,
    TaskView,
    joined,
    parts_of,
)
from shared.tasks.contract import history_name, status_name
from shared.tasks.documents.codec import decode_fields, to_datetime, to_timestamp
from shared.tasks.documents.models import CHANGED, TaskDocument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.tasks.admin.viewing import Look
    from shared.tasks.backends.firestore import Store
    from shared.tasks.contract import TaskName

_DESCENDING = _query.StructuredQuery.Direction.DESCENDING
_IN = _query.StructuredQuery.FieldFilter.Operator.IN
#: The document's own name, as a query has it.
_NAME = "__name__"


class Viewer:
    """Answers what is looked at.

    Args:
        store: the documents.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, look: Look) -> Any:
        """Carry out a look and return its answer.

        Raises:
            StoreUnavailable: Firestore did not answer.
        """
        match look:
            case ReadViews(names):
                return self._views(names)
            case ReadWorking(runs):
                return self._records(runs, PROGRESS_MASK)
            case ReadRecord(name, record_id):
                asked = [(name, each) for each in parts_of(record_id)]
                found = self._records(asked, WHOLE_RECORD_MASK)
                return joined(record_id, {each: record for (_, each), record in found.items()})
            case ReadLastChanged(name, most):
                return self._last_changed(name, most)
            case ReadHistory():
                return self._history(look)
            case _:
                assert_never(look)

    def _views(self, names: Iterable[TaskName]) -> dict[TaskName, TaskView]:
        store = self._store
        by_name = {status_name(store.documents, name): name for name in names}
        found = store.read_fields(list(by_name), STATUS_MASK)
        return {name: _view(name, found[full]) for full, name in by_name.items()}

    def _records(
        self, runs: Iterable[tuple[TaskName, str]], mask: Iterable[str]
    ) -> dict[tuple[TaskName, str], RunRecord]:
        store = self._store
        by_name = {history_name(store.documents, *run): run for run in runs}
        found = store.read_fields(list(by_name), mask)
        return {run: _record(found[full]) for full, run in by_name.items() if found[full] is not None}

    def _last_changed(self, name: TaskName, most: int) -> list[RunRecord]:
        def fill(query: Any) -> None:
            query.select.fields.add(field_path=CHANGED)
            order = query.order_by.add(direction=_DESCENDING)
            order.field.field_path = CHANGED
            query.limit.value = most

        return [_record(found) for found in self._store.query_history(name, fill)]

    def _history(self, look: ReadHistory) -> list[RunRecord]:
        def fill(query: Any) -> None:
            for field in RECORD_MASK:
                query.select.fields.add(field_path=field)
            if look.states:
                where = query.where.field_filter
                where.field.field_path, where.op = "state", _IN
                for state in look.states:
                    where.value.array_value.values.add(string_value=state)
            for field in ("started", _NAME):
                order = query.order_by.add(direction=_DESCENDING)
                order.field.field_path = field
            query.limit.value = look.most
            if look.after is not None:
                position = query.start_at.values
                position.add().timestamp_value.CopyFrom(to_timestamp(look.after.started))
                position.add(reference_value=history_name(self._store.documents, look.name, look.after.id))
                query.start_at.before = False

        return [_record(found) for found in self._store.query_history(look.name, fill)]


def _view(name: TaskName, found: Any) -> TaskView:
    if found is None:
        return TaskView(name, TaskDocument())
    values = decode_fields(found.fields)
    document = TaskDocument.parse(values, found.update_time, to_datetime(found.create_time))
    return TaskView.parse(name, values, document)


def _record(found: Any) -> RunRecord:
    return RunRecord.parse(found.name.rpartition("/")[2], decode_fields(found.fields), found.update_time)
