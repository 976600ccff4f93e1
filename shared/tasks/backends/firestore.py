"""The calls to Firestore that the engine makes, and what their failures mean.

A read may be repeated and is, within its bound. A commit never is, here: its condition would
refuse the repetition of what it has itself applied. `protocol` reads and decides again instead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.cloud.firestore_v1.types import firestore as _firestore
from google.cloud.firestore_v1.types import query as _query

from shared.tasks.contract import RUNS_COLLECTION, TaskStatus, history_name, schedule_name, status_name
from shared.tasks.documents.codec import decode, decode_fields, to_datetime, to_timestamp
from shared.tasks.documents.models import (
    DECISION_MASK,
    SCHEDULE_MASK,
    VERSION_MASK,
    RunDocument,
    ScheduleDocument,
    TaskDocument,
)
from shared.tasks.errors import (
    StoreError,
    StoreUnavailable,
    WriteDenied,
    WriteRefused,
    WriteRejected,
    WriteUnknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.firebase import FirestoreWire
    from shared.tasks.contract import TaskName

_BatchGetPb = _firestore.BatchGetDocumentsRequest.pb()
_BatchGetAnswerPb = _firestore.BatchGetDocumentsResponse.pb()
_RunQueryPb = _firestore.RunQueryRequest.pb()
_RunQueryAnswerPb = _firestore.RunQueryResponse.pb()
_CommitPb = _firestore.CommitRequest.pb()
_CommitAnswerPb = _firestore.CommitResponse.pb()
#: Histories looked through from a time on.
NEXT_RESULTS = 200
_GREATER = _query.StructuredQuery.FieldFilter.Operator.GREATER_THAN
_NOT_BEFORE = _query.StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL
_EQUAL = _query.StructuredQuery.FieldFilter.Operator.EQUAL
_SERVICE = "/google.firestore.v1.Firestore"
#: Seconds of a read's last try where its bound is all but over.
_LAST_TRY_SECONDS = 0.05

#: The condition did not hold, or another write was in the way: nothing was written.
_REFUSED = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ABORTED,
    }
)
#: Nobody knows whether the commit was applied.
_UNKNOWN = frozenset(
    {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,  # a token that could not be had in time; the next may be
    }
)
#: These writes can't be stored, now or later.
_REJECTED = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})

_Answer = TypeVar("_Answer")


class Store:
    """Reads and writes the documents of tasks. Safe to share between threads.

    Args:
        wire: gives the channel; asked at the first call, not before.
        call_seconds: bound on one call, whatever longer time its caller has.
    """

    def __init__(self, wire: Callable[[], FirestoreWire], *, call_seconds: float = 10.0) -> None:
        self._make_wire = wire
        self._call_seconds = call_seconds
        #: Bound on a read and its repetitions, whatever longer time its caller has.
        self._read_seconds = 3 * call_seconds
        self._calls: _Calls | None = None

    @property
    def documents(self) -> str:
        """The root of all documents' names."""
        return f"{self._wire.database}/documents"

    def read_for_decision(
        self, task: TaskName, run_id: str | None = None, *, timeout: float | None = None
    ) -> tuple[TaskDocument, RunDocument | None]:
        """Read the status document without its result, and a run's record with it, in one call.

        Args:
            task: the task.
            run_id: the run whose history is read; without it, none is.
            timeout: bound on the call and its repetitions; by default, and at most, that of three calls.

        Raises:
            StoreUnavailable: Firestore did not answer in that time.
        """
        names = [status_name(self.documents, task)]
        if run_id is not None:
            names.append(history_name(self.documents, task, run_id))
        status, *histories = self._read(names, DECISION_MASK, timeout).values()
        return _task_document(status), _run_document(histories[0]) if histories else None

    def read_schedule(
        self, task: TaskName, *, timeout: float | None = None
    ) -> tuple[TaskDocument, ScheduleDocument]:
        """Read the status document without its result, and the task's known schedule with it, in one call.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        names = [status_name(self.documents, task), schedule_name(self.documents, task)]
        status, schedule = self._read(names, (*DECISION_MASK, *SCHEDULE_MASK), timeout).values()
        return _task_document(status), _schedule_document(schedule)

    def read_version(self, task: TaskName, *, timeout: float | None = None) -> TaskDocument:
        """Read only the fields of the status document that identify its result.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        name = status_name(self.documents, task)
        return _task_document(self._read([name], VERSION_MASK, timeout)[name])

    def read_result(self, task: TaskName, *, timeout: float | None = None) -> tuple[TaskDocument, Any]:
        """Read the whole status document; return it and its `data`, decoded (None where there is none).

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        name = status_name(self.documents, task)
        found = self._read([name], None, timeout)[name]
        data = decode(found.fields["data"]) if found is not None and "data" in found.fields else None
        return _task_document(found), data

    def running_histories(
        self, task: TaskName, *, timeout: float | None = None
    ) -> list[tuple[str, RunDocument]]:
        """Find the runs of the history that say running; return their ids and documents.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        request = _RunQueryPb(parent=status_name(self.documents, task))
        where = self._history_query(request).where.field_filter
        where.field.field_path, where.op = "state", _EQUAL
        where.value.string_value = TaskStatus.running.value
        return self._histories(request, timeout)

    def started_since(
        self, task: TaskName, since: datetime, *, timeout: float | None = None
    ) -> list[tuple[str, RunDocument]]:
        """Find what the history has started since a time, the first first, at most so many as count.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        return self._histories(self._from(task, "started", _NOT_BEFORE, since), timeout)

    def next_result(
        self, task: TaskName, after: datetime, *, timeout: float | None = None
    ) -> datetime | None:
        """Find the first run that completed after a time; return when it did, None where none has.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        found = self._histories(self._from(task, "completed", _GREATER, after), timeout)
        # By one field alone, so that no index is needed; failed runs and skips are few in between.
        return next((run.completed for _, run in found if run.state == TaskStatus.completed), None)

    def _from(self, task: TaskName, field: str, compares: int, moment: datetime) -> Any:
        """Ask for the history from a time on, ordered by it."""
        request = _RunQueryPb(parent=status_name(self.documents, task))
        query = self._history_query(request)
        query.where.field_filter.field.field_path = field
        query.where.field_filter.op = compares
        query.where.field_filter.value.timestamp_value.CopyFrom(to_timestamp(moment))
        query.order_by.add().field.field_path = field
        query.limit.value = NEXT_RESULTS
        return request

    @staticmethod
    def _history_query(request: Any) -> Any:
        query = request.structured_query
        query.from_.add(collection_id=RUNS_COLLECTION)
        return query

    def _histories(self, request: Any, timeout: float | None) -> list[tuple[str, RunDocument]]:
        return [
            (found.name.rpartition("/")[2], RunDocument.parse(decode_fields(found.fields), found.update_time))
            for found in self._found(request, timeout)
        ]

    def _found(self, request: Any, timeout: float | None) -> list[Any]:
        def once(timeout: float) -> list[Any]:
            answers = self._call(self._wire.run_query, request, timeout)
            return [answer.document for answer in answers if answer.HasField("document")]

        return self._repeat(once, timeout)

    def read_fields(
        self, names: list[str], mask: Iterable[str], *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Read fields of any of these documents, in one call; return the messages by name, None for none.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        return self._read(names, mask, timeout)

    def query_history(
        self, task: TaskName, fill: Callable[[Any], None], *, timeout: float | None = None
    ) -> list[Any]:
        """Find documents of a task's history; return the messages.

        Args:
            task: the task.
            fill: completes the query, which asks for all of them.
            timeout: bound, as for `read_for_decision`.

        Raises:
            StoreUnavailable: as `read_for_decision`.
        """
        request = _RunQueryPb(parent=status_name(self.documents, task))
        fill(self._history_query(request))
        return self._found(request, timeout)

    def commit(self, writes: Iterable[Any], *, timeout: float | None = None) -> Timestamp:
        """Send the writes as one commit, once.

        Args:
            writes: Messages built by the `*_writes` modules of `documents`.
            timeout: Seconds that the call may take.

        Returns:
            The update time that the first written document has now.

        Raises:
            WriteRefused: a condition did not hold; nothing was written.
            WriteUnknown: the answer was lost; read to find out.
            WriteRejected: Firestore can't store what the writes hold.
            WriteDenied: Firestore won't let this service account write.
            StoreUnavailable: nothing was sent.
        """
        request = _CommitPb(database=self._wire.database, writes=writes)
        bound = self._call_seconds if timeout is None else min(timeout, self._call_seconds)
        try:
            answer = self._wire.commit(request, timeout=bound, metadata=self._wire.metadata)
        except grpc.RpcError as error:
            raise _write_error(error) from error
        except Exception as error:
            raise StoreUnavailable(f"nothing was sent to Firestore: {error}") from error
        first: Timestamp = answer.write_results[0].update_time
        return first

    def _read(self, names: list[str], mask: Iterable[str] | None, timeout: float | None) -> dict[str, Any]:
        request = _BatchGetPb(database=self._wire.database, documents=names)
        if mask is not None:
            request.mask.field_paths.extend(mask)

        def once(timeout: float) -> dict[str, Any]:
            answers = self._call(self._wire.batch_get, request, timeout)
            found: dict[str, Any] = dict.fromkeys(names)
            found.update((answer.found.name, answer.found) for answer in answers if answer.HasField("found"))
            return found

        return self._repeat(once, timeout)

    def _repeat(self, read: Callable[[float], _Answer], timeout: float | None) -> _Answer:
        """Repeat a read with jittered back-off while its failure may pass; the last try ends in time, too.

        Args:
            read: makes one try, within the seconds it is given.
            timeout: bound on all tries.
        """
        timeout = self._read_seconds if timeout is None else min(timeout, self._read_seconds)
        over = time.monotonic() + timeout

        def once() -> _Answer:
            return read(max(min(self._call_seconds, over - time.monotonic()), _LAST_TRY_SECONDS))

        retry = Retry(predicate=_may_pass, initial=0.05, maximum=1.0, timeout=timeout)
        try:
            return retry(once)()
        except google_errors.GoogleAPIError as error:
            cause = error.cause if isinstance(error, google_errors.RetryError) else error
            raise StoreUnavailable(f"Firestore did not answer: {cause}") from error

    def _call(self, method: Any, request: Any, timeout: float) -> list[Any]:
        """Make one call that streams its answers; return them all."""
        try:
            return list(method(request, timeout=timeout, metadata=self._wire.metadata))
        except grpc.RpcError as error:
            raise google_errors.from_grpc_error(error) from error  # type: ignore[no-untyped-call]
        except Exception as error:
            raise StoreUnavailable(f"nothing was sent to Firestore: {error}") from error

    @property
    def _wire(self) -> _Calls:
        if self._calls is None:
            self._calls = _Calls(self._make_wire())
        return self._calls


class _Calls:
    """The methods of the service, bound to a channel; messages are plain protobuf."""

    def __init__(self, wire: FirestoreWire) -> None:
        self.database = wire.database
        self.metadata = wire.metadata
        self.commit = wire.channel.unary_unary(
            f"{_SERVICE}/Commit",
            request_serializer=_CommitPb.SerializeToString,
            response_deserializer=_CommitAnswerPb.FromString,
        )
        self.run_query = wire.channel.unary_stream(
            f"{_SERVICE}/RunQuery",
            request_serializer=_RunQueryPb.SerializeToString,
            response_deserializer=_RunQueryAnswerPb.FromString,
        )
        self.batch_get = wire.channel.unary_stream(
            f"{_SERVICE}/BatchGetDocuments",
            request_serializer=_BatchGetPb.SerializeToString,
            response_deserializer=_BatchGetAnswerPb.FromString,
        )


def _task_document(found: Any) -> TaskDocument:
    if found is None:
        return TaskDocument()
    fields = {name: decode(value) for name, value in found.fields.items() if name != "data"}
    return TaskDocument.parse(fields, found.update_time, to_datetime(found.create_time))


def _run_document(found: Any) -> RunDocument | None:
    return None if found is None else RunDocument.parse(decode_fields(found.fields), found.update_time)


def _schedule_document(found: Any) -> ScheduleDocument:
    if found is None:
        return ScheduleDocument()
    return ScheduleDocument.parse(decode_fields(found.fields), found.update_time)


_REPEATED = (
    google_errors.ServiceUnavailable,
    google_errors.DeadlineExceeded,
    google_errors.InternalServerError,
    google_errors.ResourceExhausted,
    google_errors.Aborted,
    google_errors.Unknown,
    google_errors.Cancelled,
)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, _REPEATED)


def _write_error(error: grpc.RpcError) -> StoreError:
    code = error.code()
    text = f"{code.name}: {error.details()}"
    if code in _REFUSED:
        return WriteRefused(text)
    if code in _UNKNOWN:
        return WriteUnknown(text)
    if code in _REJECTED:
        return WriteRejected(text)
    return WriteDenied(f"{text}: does the service account have roles/datastore.user?")
