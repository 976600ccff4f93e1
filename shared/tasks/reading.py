"""How a result is read: S, then the object it points to, or the contract's path.

`reader` performs these procedures where what it remembers won't do. They know no cache and no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from shared.tasks.document import SAVED_BY_CONTRACT
from shared.tasks.errors import ResultUnavailable
from shared.tasks.names import contract_object
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
        encoded: the result as JSON, UTF-8.
        version: which of the task's results it is.
    """

    encoded: bytes
    version: str


def read_result(task: TaskName) -> Steps[FoundResult]:
    """Read the last good result with its version (protocol, "Reading"); `[]` where there is none.

    Raises:
        ResultUnavailable: it was missing or replaced at each try, or is no JSON.
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    for _ in range(READ_TRIES):
        document, data = yield ReadResult()
        encoded = yield from _value(task, document, data)
        if encoded is not None:
            return FoundResult(encoded, document.result_version)
    raise ResultUnavailable(
        f"{task.value}: its stored result is missing or was replaced at each of {READ_TRIES} reads"
    )


def is_present(version: str, *, seconds: float | None = None) -> Steps[bool]:
    """Tell whether a version is still the present result's; errors as `read_result`."""
    document = yield ReadVersion(seconds)
    return bool(document.result_version == version)


def read_stored(task: TaskName) -> Steps[bytes | None]:
    """Read the result that Storage holds, as JSON; None where there is none. Errors as `read_result`."""
    for _ in range(READ_TRIES):
        document = yield ReadVersion()
        result = document.result
        if result is None or result.saved_in != "storage" or result.path is None:
            return (yield from _at_contract_path(task))
        encoded: bytes | None = yield ReadContent(result.path)
        if encoded is not None:
            return encoded
    raise ResultUnavailable(f"the stored result of {task.value} was replaced at each of {READ_TRIES} reads")


def _value(task: TaskName, document: TaskDocument, data: Any) -> Steps[bytes | None]:
    """Read the result that S holds or points to; None where S must be read again."""
    result = document.result
    if result is None or result.saved_in == SAVED_BY_CONTRACT:
        return (yield from _by_contract(task, document, data))
    if result.saved_in == "storage" and result.path is not None:
        encoded: bytes | None = yield ReadContent(result.path)
        return encoded
    return orjson.dumps(data) if result.saved_in == "db" else NO_RESULT


def _by_contract(task: TaskName, document: TaskDocument, data: Any) -> Steps[bytes | None]:
    """Read `data` as the contract says ("`get_task_data`", Firestore and Storage fallback)."""
    if isinstance(data, list | dict):
        return normalise(data).encoded  # the original's may hold times
    if not isinstance(data, str) or not data.startswith("http"):
        return NO_RESULT
    encoded = yield from _at_contract_path(task)
    if encoded is None:
        return NO_RESULT
    # An object with a version is this engine's mirror, not what the original means; and one that
    # the original replaces meanwhile is not what this S means.
    _, version = yield ReadObject(contract_object(task))
    if version is not None or not (yield from is_present(document.result_version)):
        return None
    return encoded


def _at_contract_path(task: TaskName) -> Steps[bytes | None]:
    """Read what anybody may have stored there; what this engine stores elsewhere needs no look."""
    encoded: bytes | None = yield ReadContent(contract_object(task))
    if encoded is not None:
        try:
            orjson.loads(encoded)
        except orjson.JSONDecodeError as error:
            raise ResultUnavailable(f"{task.value}: its stored result is no JSON") from error
    return encoded
