"""Reads of a bounded size and time: each is repeated whole where it fails, within its bound.

The client's own repetition in the middle of a stream knows no such bound; it is switched off here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.api_core.exceptions import Aborted, DeadlineExceeded, InternalServerError, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot, Query

#: Seconds that one request may take.
CALL_SECONDS = 20.0
#: Seconds after which a request that fails is not sent again.
RETRY_SECONDS = 60.0

_Answer = TypeVar("_Answer")

_AGAIN = Retry(
    predicate=if_exception_type(Aborted, DeadlineExceeded, InternalServerError, ServiceUnavailable),
    initial=0.1,
    maximum=5.0,
    timeout=RETRY_SECONDS,
)
_ONCE = Retry(predicate=lambda _: False)


def repeated(call: Callable[[], _Answer]) -> _Answer:
    """Do what may be done twice until it succeeds.

    Args:
        call: reads, or writes what it would write again.

    Raises:
        GoogleAPIError: it failed until its time was over, or in a way that repeating won't mend.
    """
    return _AGAIN(call)()


def read_page(query: Query) -> list[DocumentSnapshot[Any]]:
    """Return what a query finds; it is one with a limit. Errors as `repeated`."""
    return repeated(lambda: list(query.stream(retry=_ONCE, timeout=CALL_SECONDS)))


def read_documents(
    client: Client, references: Sequence[DocumentReference], fields: Iterable[str]
) -> list[DocumentSnapshot[Any]]:
    """Return those documents that exist, in any order. Errors as `repeated`.

    Args:
        client: the database.
        references: a few hundred at most.
        fields: those that are wanted.
    """
    asked, wanted = list(references), list(fields)
    found = repeated(
        lambda: list(client.get_all(asked, field_paths=wanted, retry=_ONCE, timeout=CALL_SECONDS))
    )
    return [snapshot for snapshot in found if snapshot.exists]
