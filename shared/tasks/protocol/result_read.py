"""How a result is read: the status document, then the object it points to, or the contract's path.

`reader` performs these procedures where what it remembers won't do. They know no cache and no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson
from msgspec import Struct

from shared import logger, settings
from shared.tasks.contract import contract_object
from shared.tasks.documents.models import SAVED_BY_CONTRACT
from shared.tasks.errors import ResultTooLarge, ResultUnavailable
from shared.tasks.protocol.effects import (
    Effect,
    OpenContent,
    Procedure,
    ReadContent,
    ReadObject,
    ReadResult,
    ReadVersion,
    Value,
    ask,
)
from shared.tasks.results.normalisation import normalise
from shared.tasks.results.payload import MAX_RESULT_BYTES, Payload
from shared.tasks.results.task_result import TaskResult

if TYPE_CHECKING:
    from shared.tasks.backends.downloads import Download
    from shared.tasks.contract import TaskName
    from shared.tasks.documents.models import TaskDocument

#: Reads of the status document before a missing object is an error: it was replaced between two reads.
READ_TRIES = 4

NO_RESULT = b"[]"


class OpenResult(Struct, frozen=True):
    """A result that is about to be read.

    Attributes:
        download: its stored bytes; None where no object has it.
        plain: its JSON, where no object has it.
        ours: whether this engine wrote the object.
    """

    download: Download | None
    plain: bytes = b""
    ours: bool = False


def read_result(
    task: TaskName, seen: TaskDocument | None = None, *, max_bytes: int | None = None
) -> Procedure[TaskResult]:
    """Read the last good result with its version (docs/protocol.md, "Reading"); `[]` where there is none.

    Args:
        task: the task.
        seen: The status document as it was just read, without its data; if it points to an object, that is
            read at once.
        max_bytes: bytes of an object that the reader takes, as it is stored. One that others stored is
            unpacked to look at it: with a bound here, no further than an instance's memory allows.

    Raises:
        ResultUnavailable: it was missing or replaced at each try, or is no JSON.
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    for _ in range(READ_TRIES):
        if seen is not None and _object_of(seen) is not None:
            document, data, seen = seen, None, None
        else:
            document, data = yield from ask(ReadResult())
        try:
            payload = yield from _value(task, document, data, max_bytes)
        except ResultTooLarge as error:
            return TaskResult(None, document.result_version, document, too_large=error.path)
        if payload is not None:
            return TaskResult(payload, document.result_version, document)
    raise _never_whole(task)


def open_result(task: TaskName) -> Procedure[OpenResult]:
    """Read the last good result as a stream; an empty array where there is none.

    Args:
        task: the task.

    Raises:
        ResultUnavailable: it was missing or replaced at each try.
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    for _ in range(READ_TRIES):
        document, data = yield from ask(ReadResult())
        path = _object_of(document)
        if path is not None:
            download = yield from ask(OpenContent(path))
            if download is None:
                copy = OpenContent(contract_object(task))
                download = yield from _from_copy(task, document.result_version, copy)
            if download is not None:
                return OpenResult(download, ours=True)
        elif _is_at_contract_path(document, data):
            download = yield from ask(OpenContent(contract_object(task)))
            if download is None:
                return OpenResult(None, NO_RESULT)
            if (yield from _is_what_contract_means(task, document)):
                return OpenResult(download)
            download.close()
        else:
            payload = yield from _value(task, document, data, None)
            return OpenResult(None, NO_RESULT if payload is None else payload.json)
    raise _never_whole(task)


def is_present(version: str, *, timeout: float | None = None) -> Procedure[bool]:
    """Tell whether a version is still the present result's; errors as `read_result`."""
    document = yield from ask(ReadVersion(timeout))
    return bool(document.result_version == version)


def read_stored(task: TaskName) -> Procedure[Payload | None]:
    """Read the result that Storage holds; None where there is none. Errors as `read_result`."""
    for _ in range(READ_TRIES):
        document = yield from ask(ReadVersion())
        path = _object_of(document)
        if path is None:
            return (yield from _content(contract_object(task), None))
        payload = yield from _object_or_copy(task, path, document.result_version, None)
        if payload is not None:
            return payload
    raise _never_whole(task)


def read_details(task: TaskName) -> Procedure[TaskResult]:
    """Read the details of the last good result; the payload is None where there are none.

    Args:
        task: The task.

    Raises:
        ResultUnavailable: The details are no JSON.
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    for _ in range(READ_TRIES):
        document = yield from ask(ReadVersion())
        path = None if document.result is None else document.result.details
        if path is None:
            return TaskResult(None, document.result_version, document)
        payload = yield from _content(path, None)
        if payload is not None:
            return TaskResult(payload, document.result_version, document)
    # Not an error: a task that continues from its last details must not fail for ever without them.
    logger.warning("details of a result are missing", task=task.value, object=path)
    return TaskResult(None, document.result_version, document)


def _never_whole(task: TaskName) -> ResultUnavailable:
    return ResultUnavailable(
        f"{task.value}: its stored result is missing or was replaced at each of {READ_TRIES} reads, and its "
        'contract copy holds another version; see "Back up, restore, start over" in docs/deploy.md'
    )


def _object_of(document: TaskDocument) -> str | None:
    result = document.result
    return result.path if result is not None and result.saved_in == "storage" else None


def _value(
    task: TaskName, document: TaskDocument, data: Any, max_bytes: int | None
) -> Procedure[Payload | None]:
    """Read the result that the status document holds or points to; None if that must be read again."""
    result = document.result
    if result is None or result.saved_in == SAVED_BY_CONTRACT:
        return (yield from _by_contract(task, document, data, max_bytes))
    path = _object_of(document)
    if path is not None:
        if (result.size_bytes or 0) > MAX_RESULT_BYTES:  # nothing of it need be fetched to know
            if max_bytes is not None:
                raise ResultTooLarge(path)
            raise ResultUnavailable(
                f"{task.value}: its result has {result.size_bytes} bytes: read it with iter_task_data"
            )
        fits = max_bytes is not None and result.size_bytes is not None and result.size_bytes <= max_bytes
        return (yield from _object_or_copy(task, path, result.version, None if fits else max_bytes))
    # Firestore gives maps in no order; from there a result is the same bytes for whoever reads it.
    return Payload(orjson.dumps(data, option=orjson.OPT_SORT_KEYS) if result.saved_in == "db" else NO_RESULT)


def _by_contract(
    task: TaskName, document: TaskDocument, data: Any, max_bytes: int | None
) -> Procedure[Payload | None]:
    """Read `data` as the contract says (docs/contract.md, "Firestore fallback")."""
    if isinstance(data, list | dict):
        return Payload(normalise(data).encoded)  # the original's may hold times
    if not _is_at_contract_path(document, data):
        return Payload(NO_RESULT)
    payload, too_large = None, None
    try:
        payload = yield from _content(contract_object(task), max_bytes)
    except ResultTooLarge as error:
        too_large = error
    if payload is None and too_large is None:
        return Payload(NO_RESULT)
    if not (yield from _is_what_contract_means(task, document)):
        return None
    if too_large is not None:
        raise too_large
    return payload


def _is_at_contract_path(document: TaskDocument, data: Any) -> bool:
    """Tell whether `data` is a URL of the contract's object, by whatever name."""
    by_contract = document.result is None or document.result.saved_in == SAVED_BY_CONTRACT
    return by_contract and isinstance(data, str) and data.startswith("http")


def _is_what_contract_means(task: TaskName, document: TaskDocument) -> Procedure[bool]:
    """Tell whether the object at the contract's path, just read, is what the status document means.

    One with a version is this engine's contract copy, not what the original means; and one that the
    original replaces meanwhile is not what this status document means.
    """
    _, version = yield from ask(ReadObject(contract_object(task)))
    return version is None and (yield from is_present(document.result_version))


def _object_or_copy(
    task: TaskName, path: str, version: str, max_bytes: int | None
) -> Procedure[Payload | None]:
    """Read a result object, or the contract copy in its place; None to read the status document again."""
    payload = yield from _content(path, max_bytes)
    if payload is not None:
        return payload
    copy = contract_object(task)
    stored = yield from _from_copy(task, version, ReadContent(copy, max_bytes))
    return None if stored is None else _payload(stored, copy, max_bytes)


def _from_copy(task: TaskName, version: str, read: Effect[Value | None]) -> Procedure[Value | None]:
    """Read the contract copy in place of a result object that is gone.

    The copy is written in place, so its metadata is read before and after.

    Args:
        task: The task.
        version: The version of the missing result.
        read: Reads or opens the contract copy.

    Returns:
        What was read; None if the copy does not hold that version.
    """
    path = contract_object(task)
    before = yield from ask(ReadObject(path))
    if before[1] != version:
        return None
    found = yield from ask(read)
    if found is None:
        return None
    if (yield from ask(ReadObject(path))) != before:
        if isinstance(read, OpenContent):
            cast("Download", found).close()
        return None
    logger.warning("result object is missing; reading the contract copy", task=task.value, version=version)
    return found


def _content(path: str, max_bytes: int | None) -> Procedure[Payload | None]:
    stored = yield from ask(ReadContent(path, max_bytes))
    return None if stored is None else _payload(stored, path, max_bytes)


def _payload(stored: bytes, path: str, max_bytes: int | None) -> Payload:
    try:
        return Payload.of_stored(
            stored, max_unpacked_bytes=None if max_bytes is None else settings.max_legacy_bytes()
        )
    except ResultTooLarge:
        raise ResultTooLarge(path) from None
    except ResultUnavailable as error:
        raise ResultUnavailable(f"{path}: {error}") from error
