"""Calls the functions, by the protocol of Firebase's callables."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import requests

from cli.errors import CliError, Exit, refusal
from cli.identity import headers_of
from cli.target import REGION
from cli.wire import post, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from cli.target import Target

_CHUNK_BYTES = 1 << 16
#: What is around a result, as it comes.
_HEAD = re.compile(rb'\s*\{\s*"result"\s*:\s*')
_LONGEST_HEAD = 64

#: Told of bytes that came, and of how many there will be, as they are sent; None where nobody says.
if TYPE_CHECKING:
    Progress = Callable[[int, int | None], None]


class Caller:
    """Calls functions as somebody.

    Args:
        target: where they are.
        user: who calls, on the local stack; None for the usual user.
    """

    def __init__(self, target: Target, user: str | None = None) -> None:
        self._target = target
        self._user = user
        self._headers: dict[str, str] | None = None

    def __call__(self, function: str, **data: Any) -> Any:
        """Call a function, and return its result.

        Raises:
            CliError: it refused, or did not answer.
        """
        answer = self._post(function, data)
        if answer.status_code == 401:  # a token lives an hour, and some commands longer
            self._headers = None
            answer = self._post(function, data)
        return _result(answer)

    @contextmanager
    def open_data(self, task: str, progress: Progress) -> Iterator[BinaryIO]:
        """Read a task's result into a file that is gone afterwards, however large; gives its JSON.

        Args:
            task: the task.
            progress: is told of the bytes as they come.

        Raises:
            CliError: it can't be read.
        """
        with (
            tempfile.TemporaryFile() as file,
            self._post("get_task_data", {"task_name": task}, stream=True) as answer,
        ):
            if answer.ok:
                _pour(answer, file, progress)
                _unwrap(file)
            else:
                with _handed_off(answer) as elsewhere:
                    _pour(elsewhere, file, progress)
            file.seek(0)
            yield file

    def _post(self, function: str, data: dict[str, Any], *, stream: bool = False) -> requests.Response:
        if self._headers is None:
            self._headers = headers_of(self._target, self._user)
        return post(f"{self._target.functions}/{function}", {"data": data}, self._headers, stream=stream)


def _result(answer: requests.Response) -> Any:
    told: Any = None
    with suppress(ValueError):
        told = answer.json()
    if answer.ok and isinstance(told, dict) and "result" in told:
        return told["result"]
    raise _error_of(answer, told)


def _error_of(answer: requests.Response, told: Any) -> CliError:
    error = told.get("error") if isinstance(told, dict) else None
    if isinstance(error, dict) and isinstance(error.get("status"), str):
        return refusal(error["status"], str(error.get("message")))
    if answer.status_code == 404:
        return CliError(
            Exit.unavailable,
            f"no function found at {answer.url}; deploy it, or set {REGION} to its region",
        )
    return CliError(Exit.unavailable, f"{answer.url} answered {answer.status_code}: try again")


def _handed_off(answer: requests.Response) -> requests.Response:
    """Follow where a result that no answer holds is to be read."""
    told: Any = None
    with suppress(ValueError):
        told = answer.json()
    error = told.get("error") if isinstance(told, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    url = details.get("url") if isinstance(details, dict) else None
    if not isinstance(url, str):
        raise _error_of(answer, told)
    try:
        found = request("GET", url, stream=True)  # a signed URL needs no other credentials
        found.raise_for_status()
    except requests.RequestException as error:
        raise CliError(Exit.unavailable, "the result could not be read from Storage: try again") from error
    return found


def _pour(answer: requests.Response, file: BinaryIO, progress: Progress) -> None:
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    try:
        for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=True):
            file.write(chunk)
            progress(answer.raw.tell(), total)
    except Exception as error:  # urllib3's, of many kinds
        raise CliError(Exit.unavailable, f"the result came only in part: try again ({error})") from error


def _unwrap(file: BinaryIO) -> None:
    """Leave of an answer the result alone, without reading it whole."""
    file.seek(0)
    head = _HEAD.match(file.read(_LONGEST_HEAD))
    size = file.seek(0, 2)
    file.seek(max(size - _LONGEST_HEAD, 0))
    tail = file.read().rstrip()
    if head is None or not tail.endswith(b"}"):
        raise CliError(Exit.unavailable, "the answer is no result: is this the right project?")
    end = max(size - _LONGEST_HEAD, 0) + len(tail) - 1
    start, place = head.end(), 0
    while start + place < end:
        file.seek(start + place)
        chunk = file.read(min(1 << 20, end - start - place))
        file.seek(place)
        file.write(chunk)
        place += len(chunk)
    file.truncate(place)
