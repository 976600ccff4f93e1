"""How a result is read: S, then the object it points to, or the contract's path.

`reader` performs these procedures where what it remembers won't do. They know no cache and no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from shared.tasks.document import SAVED_BY_CONTRACT
from shared.tasks.errors import ResultTooLarge, ResultUnavailable
from shared.tasks.names import contract_object
from shared.tasks.payload import Payload
from shared.tasks.results import normalise
from shared.tasks.steps import ReadContent, ReadObject, ReadResult, ReadVersion, Steps

if TYPE_CHECKING:
    from shared.tasks.document import TaskDocument
    from shared.tasks.names import TaskName

#: Reads of S before an object that is not there is an error: it was replaced between two reads.
READ_TRIES = 4

NO_RESULT = b"[]"


@dataclass(frozen=True, slots=True)
class FoundResult:
    """A result as it was read.

    Attributes:
        payload: the result; None where it has more bytes than the reader takes.
        document: S, which says which of the task's results it is.
        too_large: where it lies, if it has more bytes than the reader takes.
    """

    payload: Payload | None
    document: TaskDocument
    too_large: str | None = None

    @property
    def version(self) -> str:
        """Which of the task's results it is."""
        return self.document.result_version


def read_result(
    task: TaskName, seen: TaskDocument | None = None, *, most: int | None = None
) -> Steps[FoundResult]:
    """Read the last good result with its version (protocol, "Reading"); `[]` where there is none.

    Args:
        task: the task.
        seen: S as it was just read, without its data: where it points to an object, that is read at once.
        most: bytes of an object that the reader takes, as it is stored.

    Raises:
        ResultUnavailable: it was missing or replaced at each try, or is no JSON.
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    for _ in range(READ_TRIES):
        if seen is not None and _object_of(seen) is not None:
            document, data, seen = seen, None, None
        else:
            document, data = yield ReadResult()
        try:
            payload = yield from _value(task, document, data, most)
        except ResultTooLarge as error:
            return FoundResult(None, document, error.path)
        if payload is not None:
            return FoundResult(payload, document)
    raise ResultUnavailable(
        f"{task.value}: its stored result is missing or was replaced at each of {READ_TRIES} reads"
    )


def is_present(version: str, *, seconds: float | None = None) -> Steps[bool]:
    """Tell whether a version is still the present result's; errors as `read_result`."""
    document = yield ReadVersion(seconds)
    return bool(document.result_version == version)


def read_stored(task: TaskName) -> Steps[Payload | None]:
    """Read the result that Storage holds; None where there is none. Errors as `read_result`."""
    for _ in range(READ_TRIES):
        path = _object_of((yield ReadVersion()))
        if path is None:
            return (yield from _content(contract_object(task), None))
        payload = yield from _content(path, None)
        if payload is not None:
            return payload
    raise ResultUnavailable(f"the stored result of {task.value} was replaced at each of {READ_TRIES} reads")


def _object_of(document: TaskDocument) -> str | None:
    result = document.result
    return result.path if result is not None and result.saved_in == "storage" else None


def _value(task: TaskName, document: TaskDocument, data: Any, most: int | None) -> Steps[Payload | None]:
    """Read the result that S holds or points to; None where S must be read again."""
    result = document.result
    if result is None or result.saved_in == SAVED_BY_CONTRACT:
        return (yield from _by_contract(task, document, data, most))
    path = _object_of(document)
    if path is not None:
        fits = most is not None and result.size_bytes is not None and result.size_bytes <= most
        return (yield from _content(path, None if fits else most))
    return Payload(orjson.dumps(data) if result.saved_in == "db" else NO_RESULT)


def _by_contract(
    task: TaskName, document: TaskDocument, data: Any, most: int | None
) -> Steps[Payload | None]:
    """Read `data` as the contract says ("`get_task_data`", Firestore and Storage fallback)."""
    if isinstance(data, list | dict):
        return Payload(normalise(data).encoded)  # the original's may hold times
    if not isinstance(data, str) or not data.startswith("http"):
        return Payload(NO_RESULT)
    payload, too_large = None, None
    try:
        payload = yield from _content(contract_object(task), most)
    except ResultTooLarge as error:
        too_large = error
    if payload is None and too_large is None:
        return Payload(NO_RESULT)
    # An object with a version is this engine's mirror, not what the original means; and one that
    # the original replaces meanwhile is not what this S means.
    _, version = yield ReadObject(contract_object(task))
    if version is not None or not (yield from is_present(document.result_version)):
        return None
    if too_large is not None:
        raise too_large
    return payload


def _content(path: str, most: int | None) -> Steps[Payload | None]:
    stored = yield ReadContent(path, most)
    try:
        return None if stored is None else Payload.of_stored(stored)
    except ResultUnavailable as error:
        raise ResultUnavailable(f"{path}: {error}") from error
