"""Reads a result: the status document, then the object it points to, or the object at the contract's path.

`serving` calls these procedures when the result that it remembers is not enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import orjson
from msgspec import Struct

from shared import logger, settings
from shared.tasks.contract import Json, contract_object
from shared.tasks.errors import ResultTooLarge, ResultUnavailable
from shared.tasks.protocol.effects import (
    Effect,
    OpenContent,
    Procedure,
    ReadContent,
    ReadMetadata,
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

#: Reads of the status document before a missing object is an error; it may be replaced between two reads.
READ_TRIES = 4

NO_RESULT = b"[]"


class OpenResult(Struct, frozen=True):
    """A result that is about to be read.

    Attributes:
        download: Its stored bytes; None if it is not in an object.
        plain: Its JSON, if it is not in an object.
        ours: Whether this engine wrote the object.
    """

    download: Download | None
    plain: bytes = b""
    ours: bool = False


def read_result(
    task: TaskName, known: TaskDocument | None = None, *, max_bytes: int | None = None
) -> Procedure[TaskResult]:
    """Read the last good result with its version (docs/protocol.md, "Reading"); `[]` if there is none.

    Args:
        task: The task.
        known: The status document as it was just read, without its data. If it points to an object, that is
            read at once.
        max_bytes: Largest stored object that the reader accepts, in bytes. With a limit, a legacy object
            may also unpack to at most `settings.max_legacy_bytes()`.

    Raises:
        ResultUnavailable: The result was missing or replaced at each try, or is not JSON.
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not answer.
    """
    for tries in range(READ_TRIES):
        if tries == 0 and known is not None and _object_path(known) is not None:
            document, data = known, None
        else:
            document, data = yield from ask(ReadResult())
        try:
            payload = yield from _read_value(task, document, data, max_bytes)
        except ResultTooLarge as error:
            return TaskResult(None, document.result_version, document, too_large=error.path)
        if payload is not None:
            return TaskResult(payload, document.result_version, document)
    raise _unavailable(task)


def open_result(task: TaskName) -> Procedure[OpenResult]:
    """Open the last good result as a stream, an empty array if there is none.

    Raises the errors of `read_result`.
    """
    for _ in range(READ_TRIES):
        document, data = yield from ask(ReadResult())
        path = _object_path(document)
        if path is not None:
            download = yield from ask(OpenContent(path))
            if download is None:
                copy = OpenContent(contract_object(task))
                download = yield from _read_copy(task, document.result_version, copy)
            if download is not None:
                return OpenResult(download, ours=True)
        elif _is_at_contract_path(document, data):
            download = yield from ask(OpenContent(contract_object(task)))
            if download is None:
                return OpenResult(None, NO_RESULT)
            if (yield from _is_legacy_object(task, document)):
                return OpenResult(download)
            download.close()
        else:
            payload = yield from _read_value(task, document, data, None)
            return OpenResult(None, NO_RESULT if payload is None else payload.json)
    raise _unavailable(task)


def is_current(version: str, *, timeout: float | None = None) -> Procedure[bool]:
    """Return whether a version is still that of the current result; raises as `read_result` does."""
    document = yield from ask(ReadVersion(timeout))
    return bool(document.result_version == version)


def read_stored(task: TaskName) -> Procedure[Payload | None]:
    """Read the result from Storage; None if its object does not exist. Raises as `read_result` does."""
    for _ in range(READ_TRIES):
        document = yield from ask(ReadVersion())
        path = _object_path(document)
        if path is None:
            return (yield from _read_content(contract_object(task), None))
        payload = yield from _read_object_or_copy(task, path, document.result_version, None)
        if payload is not None:
            return payload
    raise _unavailable(task)


def read_details(task: TaskName) -> Procedure[TaskResult]:
    """Read the details of the last good result, no payload if there are none.

    Raises the errors of `read_result`.
    """
    for _ in range(READ_TRIES):
        document = yield from ask(ReadVersion())
        path = None if document.result is None else document.result.details
        if path is None:
            return TaskResult(None, document.result_version, document)
        payload = yield from _read_content(path, None)
        if payload is not None:
            return TaskResult(payload, document.result_version, document)
    # Not an error: a task that continues from its last details must not fail forever without them.
    logger.warning("result details missing", task=task.value, object=path)
    return TaskResult(None, document.result_version, document)


def _unavailable(task: TaskName) -> ResultUnavailable:
    return ResultUnavailable(
        f"{task.value}: the stored result was missing or replaced at each of {READ_TRIES} reads, and the "
        'contract copy has another version; see "Back up, restore, start over" in docs/deploy.md'
    )


def _object_path(document: TaskDocument) -> str | None:
    result = document.result
    return result.path if result is not None and result.saved_in == "storage" else None


def _read_value(
    task: TaskName, document: TaskDocument, data: Json, max_bytes: int | None
) -> Procedure[Payload | None]:
    """Read the result in the status document or its object; None if the document must be read again."""
    if document.has_legacy_result:
        return (yield from _read_by_contract(task, document, data, max_bytes))
    result = document.result
    if result is None:
        return Payload(NO_RESULT)
    path = _object_path(document)
    if path is not None:
        if (result.size_bytes or 0) > MAX_RESULT_BYTES:
            if max_bytes is not None:
                raise ResultTooLarge(path)
            raise ResultUnavailable(
                f"{task.value}: the result has {result.size_bytes} bytes; read it with iter_task_data"
            )
        fits = max_bytes is not None and result.size_bytes is not None and result.size_bytes <= max_bytes
        return (yield from _read_object_or_copy(task, path, result.version, None if fits else max_bytes))
    # Firestore returns maps in any order; sorted keys give all readers the same bytes.
    return Payload(orjson.dumps(data, option=orjson.OPT_SORT_KEYS) if result.saved_in == "db" else NO_RESULT)


def _read_by_contract(
    task: TaskName, document: TaskDocument, data: Json, max_bytes: int | None
) -> Procedure[Payload | None]:
    """Read `data` as the contract says (docs/contract.md, "Firestore fallback")."""
    if isinstance(data, list | dict):
        return Payload(normalise(data).encoded)  # a legacy result may contain times
    if not _is_at_contract_path(document, data):
        return Payload(NO_RESULT)
    payload, too_large = None, None
    try:
        payload = yield from _read_content(contract_object(task), max_bytes)
    except ResultTooLarge as error:
        too_large = error
    if payload is None and too_large is None:
        return Payload(NO_RESULT)
    if not (yield from _is_legacy_object(task, document)):
        return None
    if too_large is not None:
        raise too_large
    return payload


def _is_at_contract_path(document: TaskDocument, data: Json) -> bool:
    """Return whether `data` is a URL of the object at the contract's path."""
    return document.has_legacy_result and isinstance(data, str) and data.startswith("http")


def _is_legacy_object(task: TaskName, document: TaskDocument) -> Procedure[bool]:
    """Return whether the object that was just read at the contract's path is the result of a legacy document.

    An object with a version is this engine's contract copy. If the status document has changed, the legacy
    writer may have replaced the object meanwhile.
    """
    _, version = yield from ask(ReadMetadata(contract_object(task)))
    return version is None and (yield from is_current(document.result_version))


def _read_object_or_copy(
    task: TaskName, path: str, version: str, max_bytes: int | None
) -> Procedure[Payload | None]:
    """Read a result object, or the contract copy in its place; None to read the status document again."""
    payload = yield from _read_content(path, max_bytes)
    if payload is not None:
        return payload
    copy = contract_object(task)
    stored = yield from _read_copy(task, version, ReadContent(copy, max_bytes))
    return None if stored is None else _parse_payload(stored, copy, max_bytes)


def _read_copy(task: TaskName, version: str, read: Effect[Value | None]) -> Procedure[Value | None]:
    """Read or open the contract copy in place of a missing result object; None if it has another version.

    The copy is overwritten in place, so its metadata is read before and after.
    """
    path = contract_object(task)
    before = yield from ask(ReadMetadata(path))
    if before[1] != version:
        return None
    found = yield from ask(read)
    if found is None:
        return None
    if (yield from ask(ReadMetadata(path))) != before:
        if isinstance(read, OpenContent):
            cast("Download", found).close()
        return None
    logger.warning("result object missing, contract copy read", task=task.value, version=version)
    return found


def _read_content(path: str, max_bytes: int | None) -> Procedure[Payload | None]:
    stored = yield from ask(ReadContent(path, max_bytes))
    return None if stored is None else _parse_payload(stored, path, max_bytes)


def _parse_payload(stored: bytes, path: str, max_bytes: int | None) -> Payload:
    try:
        return Payload.of_stored(
            stored, max_unpacked_bytes=None if max_bytes is None else settings.max_legacy_bytes()
        )
    except ResultTooLarge:
        raise ResultTooLarge(path) from None
    except ResultUnavailable as error:
        raise ResultUnavailable(f"{path}: {error}") from error
