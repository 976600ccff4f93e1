"""Firestore reads with limited size and time. A read that fails is retried as a whole until its time is over.

The client's own retries within a stream have no such limit, so they are switched off here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.api_core.exceptions import Aborted, DeadlineExceeded, InternalServerError, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot, Query

#: Seconds for one request.
CALL_SECONDS = 20.0
#: Seconds after which a request that fails is not sent again.
RETRY_SECONDS = 60.0

_Answer = TypeVar("_Answer")

#: Retries a whole read after transient errors.
RETRY = Retry(
    predicate=if_exception_type(Aborted, DeadlineExceeded, InternalServerError, ServiceUnavailable),
    initial=0.1,
    maximum=5.0,
    timeout=RETRY_SECONDS,
)
#: Switches off the retries of the client library.
_NO_RETRY = Retry(predicate=lambda _: False)


def retried(call: Callable[[], _Answer]) -> _Answer:
    """Make a call again until it succeeds.

    Args:
        call: An idempotent call.

    Raises:
        GoogleAPIError: The call failed for `RETRY_SECONDS`, or with an error that is not transient.
    """
    return RETRY(call)()


def read_page(query: Query) -> list[DocumentSnapshot[Any]]:
    """Return the documents of a query with a limit; errors as `retried`."""
    return retried(lambda: list(query.stream(retry=_NO_RETRY, timeout=CALL_SECONDS)))


def read_documents(
    client: Client, references: Sequence[DocumentReference], fields: Iterable[str]
) -> list[DocumentSnapshot[Any]]:
    """Return the documents that exist, in any order; errors as `retried`.

    Args:
        client: The database.
        references: The documents, at most a few hundred.
        fields: Fields to read.
    """
    documents, field_paths = list(references), list(fields)
    found = retried(
        lambda: list(
            client.get_all(documents, field_paths=field_paths, retry=_NO_RETRY, timeout=CALL_SECONDS)
        )
    )
    return [snapshot for snapshot in found if snapshot.exists]
