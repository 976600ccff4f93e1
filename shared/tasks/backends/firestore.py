"""The documents of tasks in Firestore."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from google.cloud.firestore_v1.types import firestore as _firestore
from google.cloud.firestore_v1.types import query as _query

from shared.tasks.backends.firestore_calls import FirestoreCalls
from shared.tasks.contract import (
    LOG_COLLECTION,
    RUNS_COLLECTION,
    STEPS_COLLECTION,
    DocumentNames,
    TaskStatus,
)
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.documents.codec import decode, decode_fields, to_datetime, to_timestamp
from shared.tasks.documents.legs import WAITING
from shared.tasks.documents.models import (
    DECISION_MASK,
    SCHEDULE_MASK,
    VERSION_MASK,
    RunDocument,
    ScheduleDocument,
    TaskDocument,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.firebase import FirestoreWire
    from shared.tasks.backends.firestore_calls import Message
    from shared.tasks.contract import Json, TaskName
    from shared.tasks.documents.write_messages import WriteMessage

_RunQueryPb = _firestore.RunQueryRequest.pb()
_Operator = _query.StructuredQuery.FieldFilter.Operator
#: Run records that a query from a time on returns at most.
_MAX_RECORDS = 200


class Store:
    """Reads and writes the documents of tasks. Safe to share between threads.

    Every method takes a timeout in seconds. A read with its repetitions takes three calls' time at most,
    which is also the default. Every read raises StoreUnavailable if Firestore does not answer in time.

    Args:
        wire: Returns the channel; called at the first request.
        call_seconds: Longest duration of one call.
    """

    def __init__(self, wire: Callable[[], FirestoreWire], *, call_seconds: float = 10.0) -> None:
        self._make_wire = wire
        self._call_seconds = call_seconds

    @cached_property
    def _calls(self) -> FirestoreCalls:
        return FirestoreCalls(self._make_wire(), call_seconds=self._call_seconds)

    def names(self, task: TaskName) -> DocumentNames:
        """Return the names of a task's documents."""
        return DocumentNames(self._calls.documents, task)

    def read_documents(
        self, task: TaskName, record_id: str | None = None, *, timeout: float | None = None
    ) -> tuple[TaskDocument, RunDocument | None]:
        """Read the status document without its result, and a document of the run history if one is named."""
        names = self.names(task)
        full_names = [names.status] if record_id is None else [names.status, names.record(record_id)]
        status, *records = self._calls.read(full_names, DECISION_MASK, timeout).values()
        record = records[0] if records else None
        return _task_document(status), None if record is None else _run_document(record)

    def read_schedule(
        self, task: TaskName, *, timeout: float | None = None
    ) -> tuple[TaskDocument, ScheduleDocument]:
        """Read the status document without its result, and the task's recorded schedule."""
        names, mask = self.names(task), (*DECISION_MASK, *SCHEDULE_MASK)
        status, schedule = self._calls.read([names.status, names.schedule], mask, timeout).values()
        if schedule is None:
            return _task_document(status), ScheduleDocument()
        fields = decode_fields(schedule.fields)
        return _task_document(status), ScheduleDocument.parse(fields, schedule.update_time)

    def read_version(self, task: TaskName, *, timeout: float | None = None) -> TaskDocument:
        """Read only the fields of the status document that identify its result."""
        name = self.names(task).status
        return _task_document(self._calls.read([name], VERSION_MASK, timeout)[name])

    def read_result(self, task: TaskName, *, timeout: float | None = None) -> tuple[TaskDocument, Json]:
        """Read the whole status document; return it and its decoded `data` (None if there is none)."""
        name = self.names(task).status
        found = self._calls.read([name], None, timeout)[name]
        data = decode(found.fields["data"]) if found is not None and "data" in found.fields else None
        return _task_document(found), data

    def read_running(self, task: TaskName, *, timeout: float | None = None) -> list[tuple[str, RunDocument]]:
        """Find the records of runs that work or wait for their next leg, with their ids."""

        def fill(query: Message) -> None:
            where = query.where.field_filter
            where.field.field_path, where.op = "state", _Operator.IN
            for state in (TaskStatus.running.value, WAITING):
                where.value.array_value.values.add(string_value=state)

        return self._records(task, fill, timeout)

    def read_started_since(
        self, task: TaskName, since: datetime, *, timeout: float | None = None
    ) -> list[tuple[str, RunDocument]]:
        """Find the first 200 records of runs that started at a time or later, oldest first."""
        fill = _starting_from(since, "started", _Operator.GREATER_THAN_OR_EQUAL)
        return self._records(task, fill, timeout)

    def read_steps(self, task: TaskName, run_id: str, *, timeout: float | None = None) -> Saved:
        """Read the remembered steps, the positions of cursors and the parts of a run."""
        request = _RunQueryPb(parent=self.names(task).record(run_id))
        request.structured_query.from_.add(collection_id=STEPS_COLLECTION)
        found = self._calls.query(request, timeout)
        return Saved.parse((each.name.rpartition("/")[2], decode_fields(each.fields)) for each in found)

    def read_next_completion(
        self, task: TaskName, after: datetime, *, timeout: float | None = None
    ) -> datetime | None:
        """Find when the first run after a time completed; None if there is none."""
        # Filters by one field, which needs no index; few failed runs and skips lie in between.
        found = self._records(task, _starting_from(after, "completed", _Operator.GREATER_THAN), timeout)
        return next((run.completed for _, run in found if run.state == TaskStatus.completed), None)

    def _records(
        self, task: TaskName, fill: Callable[[Message], None], timeout: float | None
    ) -> list[tuple[str, RunDocument]]:
        found = self.query_history(task, fill, timeout=timeout)
        return [(each.name.rpartition("/")[2], _run_document(each)) for each in found]

    def read_fields(
        self, names: list[str], mask: Iterable[str], *, timeout: float | None = None
    ) -> dict[str, Message | None]:
        """Read fields of documents in one call; return the messages by name, None for a missing one."""
        return self._calls.read(names, mask, timeout)

    def query_history(
        self, task: TaskName, fill: Callable[[Message], None], *, timeout: float | None = None
    ) -> list[Message]:
        """Return the messages of records in a task's history, of all unless `fill` narrows the query."""
        return self.query_histories([(task, fill)], timeout=timeout)[0]

    def query_histories(
        self, queries: Iterable[tuple[TaskName, Callable[[Message], None]]], *, timeout: float | None = None
    ) -> list[list[Message]]:
        """Return the messages that each query of a task's history finds. The queries are sent at once."""
        requests = []
        for task, fill in queries:
            request = _RunQueryPb(parent=self.names(task).status)
            request.structured_query.from_.add(collection_id=RUNS_COLLECTION)
            fill(request.structured_query)
            requests.append(request)
        return self._calls.query_all(requests, timeout)

    def query_log(
        self, task: TaskName, run_id: str, fill: Callable[[Message], None], *, timeout: float | None = None
    ) -> list[Message]:
        """Return the messages of the logs of a run's attempts, of all unless `fill` narrows the query."""
        return self._calls.query(self._log_query(task, run_id, fill), timeout)

    def read_fields_and_log(
        self,
        names: list[str],
        mask: Iterable[str],
        task: TaskName,
        run_id: str,
        fill: Callable[[Message], None],
        *,
        timeout: float | None = None,
    ) -> tuple[dict[str, Message | None], list[Message]]:
        """Do what `read_fields` and `query_log` do, at once."""
        return self._calls.read_and_query(names, mask, self._log_query(task, run_id, fill), timeout)

    def _log_query(self, task: TaskName, run_id: str, fill: Callable[[Message], None]) -> Message:
        request = _RunQueryPb(parent=self.names(task).record(run_id))
        request.structured_query.from_.add(collection_id=LOG_COLLECTION)
        fill(request.structured_query)
        return request

    def commit(self, writes: Iterable[WriteMessage], *, timeout: float | None = None) -> Timestamp:
        """Send writes as one commit, once.

        Args:
            writes: Messages built by the `*_writes` modules of `documents`.
            timeout: Longest duration of the call in seconds.

        Returns:
            The new update time of the first written document.

        Raises:
            WriteConflict: A precondition did not hold; nothing was written.
            WriteUnknown: The response was lost; read to find out.
            WriteRejected: Firestore cannot store a value of these writes.
            WriteDenied: The service account may not write.
            StoreUnavailable: Nothing was sent.
        """
        return self._calls.commit(writes, timeout)


def _starting_from(moment: datetime, field: str, operator: int) -> Callable[[Message], None]:
    """Return what narrows a query to records from a time on, ordered by it."""

    def fill(query: Message) -> None:
        where = query.where.field_filter
        where.field.field_path, where.op = field, operator
        where.value.timestamp_value.CopyFrom(to_timestamp(moment))
        query.order_by.add().field.field_path = field
        query.limit.value = _MAX_RECORDS

    return fill


def _task_document(found: Message | None) -> TaskDocument:
    if found is None:
        return TaskDocument()
    fields = {name: decode(value) for name, value in found.fields.items() if name != "data"}
    return TaskDocument.parse(fields, found.update_time, to_datetime(found.create_time))


def _run_document(found: Message) -> RunDocument:
    return RunDocument.parse(decode_fields(found.fields), found.update_time)
