"""Firestore's RPCs, with their bounds and what their failures mean.

Reads are repeated within their bound. A commit is sent once, because its precondition would refuse the
repetition of what it has itself applied. The protocol reads and decides again instead.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc
from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.cloud.firestore_v1.types import firestore as _firestore

from shared.tasks.errors import (
    StoreError,
    StoreUnavailable,
    WriteConflict,
    WriteDenied,
    WriteRejected,
    WriteUnknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.firebase import FirestoreWire
    from shared.tasks.documents.write_messages import WriteMessage

#: A protobuf message of Firestore; the generated classes have no types.
Message: TypeAlias = Any

_BatchGetPb = _firestore.BatchGetDocumentsRequest.pb()
_CommitPb = _firestore.CommitRequest.pb()
_SERVICE = "/google.firestore.v1.Firestore"
#: Seconds for the last try of a read if its timeout has almost passed.
LAST_TRY_SECONDS = 0.05

#: The precondition did not hold, or another write interfered: nothing was written.
_REFUSED = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ABORTED,
    }
)
#: The commit may or may not have been applied.
_UNKNOWN = frozenset(
    {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,  # no token arrived in time; the next one may
    }
)
#: These writes cannot be stored, now or later.
_REJECTED = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})
#: Errors after which a read may succeed.
_TEMPORARY = (
    google_errors.ServiceUnavailable,
    google_errors.DeadlineExceeded,
    google_errors.InternalServerError,
    google_errors.ResourceExhausted,
    google_errors.Aborted,
    google_errors.Unknown,
    google_errors.Cancelled,
)

_Result = TypeVar("_Result")


class FirestoreCalls:
    """Sends RPCs on a channel. Safe to share between threads.

    Args:
        wire: The channel.
        call_seconds: Longest duration of one call. A read with its repetitions may take three times as long.
    """

    def __init__(self, wire: FirestoreWire, *, call_seconds: float) -> None:
        self.documents = f"{wire.database}/documents"
        self._database = wire.database
        self._metadata = wire.metadata
        self._call_seconds = call_seconds
        self._commit = wire.channel.unary_unary(
            f"{_SERVICE}/Commit",
            request_serializer=_CommitPb.SerializeToString,
            response_deserializer=_firestore.CommitResponse.pb().FromString,
        )
        self._run_query = wire.channel.unary_stream(
            f"{_SERVICE}/RunQuery",
            request_serializer=_firestore.RunQueryRequest.pb().SerializeToString,
            response_deserializer=_firestore.RunQueryResponse.pb().FromString,
        )
        self._batch_get = wire.channel.unary_stream(
            f"{_SERVICE}/BatchGetDocuments",
            request_serializer=_BatchGetPb.SerializeToString,
            response_deserializer=_firestore.BatchGetDocumentsResponse.pb().FromString,
        )

    def read(
        self, names: list[str], mask: Iterable[str] | None, timeout: float | None
    ) -> dict[str, Message | None]:
        """Read documents in one call; return them by name, None for a missing one."""
        request = self._read_request(names, mask)

        def once(timeout: float) -> dict[str, Message | None]:
            with _errors_translated():
                return _found(names, self._batch_get(request, timeout=timeout, metadata=self._metadata))

        return self._with_retries(once, timeout)

    def query(self, request: Message, timeout: float | None) -> list[Message]:
        """Return the documents that a query finds."""
        return self.query_all([request], timeout)[0]

    def query_all(self, requests: list[Message], timeout: float | None) -> list[list[Message]]:
        """Return the documents that each query finds. The queries are sent at once."""

        def once(timeout: float) -> list[list[Message]]:
            with _errors_translated(), _cancelled_on_error() as calls:
                for each in requests:
                    calls.append(self._run_query(each, timeout=timeout, metadata=self._metadata))
                return [_documents(call) for call in calls]

        return self._with_retries(once, timeout)

    def read_and_query(
        self, names: list[str], mask: Iterable[str] | None, request: Message, timeout: float | None
    ) -> tuple[dict[str, Message | None], list[Message]]:
        """Do what `read` and `query` do, at once."""
        read = self._read_request(names, mask)

        def once(timeout: float) -> tuple[dict[str, Message | None], list[Message]]:
            with _errors_translated(), _cancelled_on_error() as calls:
                calls.append(self._batch_get(read, timeout=timeout, metadata=self._metadata))
                calls.append(self._run_query(request, timeout=timeout, metadata=self._metadata))
                return _found(names, calls[0]), _documents(calls[1])

        return self._with_retries(once, timeout)

    def _read_request(self, names: list[str], mask: Iterable[str] | None) -> Message:
        request = _BatchGetPb(database=self._database, documents=names)
        if mask is not None:
            request.mask.field_paths.extend(mask)
        return request

    def commit(self, writes: Iterable[WriteMessage], timeout: float | None) -> Timestamp:
        """Send writes as one commit, once; return the update time of the first document."""
        request = _CommitPb(database=self._database, writes=writes)
        timeout = self._call_seconds if timeout is None else min(timeout, self._call_seconds)
        try:
            response = self._commit(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _write_error(error) from error
        except Exception as error:
            raise StoreUnavailable(f"nothing was sent to Firestore: {error}") from error
        first: Timestamp = response.write_results[0].update_time
        return first

    def _with_retries(self, read: Callable[[float], _Result], timeout: float | None) -> _Result:
        """Repeat a read with jittered back-off; its last try, too, ends within the timeout."""
        longest = 3 * self._call_seconds
        timeout = longest if timeout is None else min(timeout, longest)
        deadline = time.monotonic() + timeout

        def once() -> _Result:
            return read(max(min(self._call_seconds, deadline - time.monotonic()), LAST_TRY_SECONDS))

        retry = Retry(predicate=_is_temporary, initial=0.05, maximum=1.0, timeout=timeout)
        try:
            return retry(once)()
        except google_errors.GoogleAPIError as error:
            cause = error.cause if isinstance(error, google_errors.RetryError) else error
            raise StoreUnavailable(f"Firestore did not answer: {cause}") from error


def _found(names: list[str], responses: Iterable[Message]) -> dict[str, Message | None]:
    found: dict[str, Message | None] = dict.fromkeys(names)
    found.update((each.found.name, each.found) for each in responses if each.HasField("found"))
    return found


def _documents(responses: Iterable[Message]) -> list[Message]:
    return [each.document for each in responses if each.HasField("document")]


@contextmanager
def _cancelled_on_error() -> Iterator[list[Message]]:
    """Yield a list for started calls. If one fails, all are sent again, so the others are cancelled."""
    calls: list[Message] = []
    try:
        yield calls
    except BaseException:
        for call in calls:
            call.cancel()
        raise


@contextmanager
def _errors_translated() -> Iterator[None]:
    """Raise the errors of a read as those of Google's client library, or as StoreUnavailable."""
    try:
        yield
    except grpc.RpcError as error:
        raise google_errors.from_grpc_error(error) from error  # type: ignore[no-untyped-call]
    except Exception as error:
        raise StoreUnavailable(f"nothing was sent to Firestore: {error}") from error


def _is_temporary(error: Exception) -> bool:
    return isinstance(error, _TEMPORARY)


def _write_error(error: grpc.RpcError) -> StoreError:
    code = error.code()
    text = f"{code.name}: {error.details()}"
    if code in _REFUSED:
        return WriteConflict(text)
    if code in _UNKNOWN:
        return WriteUnknown(text)
    if code in _REJECTED:
        return WriteRejected(text)
    return WriteDenied(f"{text}: does the service account have roles/datastore.user?")
