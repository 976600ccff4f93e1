"""Calls the project's callable functions."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import requests

from cli.authentication import headers_of
from cli.errors import CliError, Exit, refusal
from cli.http_client import LOADING_HINT, is_loopback, post, request
from cli.target import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from cli.target import Target

_CHUNK_BYTES = 1 << 16
#: The text before the result in a callable's response.
_HEAD = re.compile(rb'\s*\{\s*"result"\s*:\s*')
_MAX_HEAD_BYTES = 64

#: Receives the number of bytes received so far, and the total or None if it is unknown.
if TYPE_CHECKING:
    Progress = Callable[[int, int | None], None]


class Caller:
    """Calls functions as a user.

    Args:
        target: The local stack or a project.
        user: E-mail address of the local stack's user; None for the operator.
    """

    def __init__(self, target: Target, user: str | None = None) -> None:
        self._target = target
        self._user = user
        self._headers: dict[str, str] | None = None

    def __call__(self, function: str, **data: Any) -> Any:
        """Call a function, and return its result.

        Raises:
            CliError: The function returned an error or did not respond.
        """
        answer = self._post(function, data)
        if answer.status_code == 401:  # an ID token expires after an hour
            self._headers = None
            answer = self._post(function, data)
        return _result(answer)

    @contextmanager
    def open_data(self, task: str, progress: Progress) -> Iterator[BinaryIO]:
        """Download a task's result into a temporary file and yield the file, which contains its JSON.

        Args:
            task: Name of the task.
            progress: Called after each chunk.

        Raises:
            CliError: The result cannot be read.
        """
        with (
            tempfile.TemporaryFile() as file,
            self._post("get_task_data", {"task_name": task}, stream=True) as answer,
        ):
            if answer.ok:
                _save(answer, file, progress)
                _unwrap(file)
            else:
                with _open_stored(answer) as stored:
                    _save(stored, file, progress)
            file.seek(0)
            yield file

    def _post(self, function: str, data: dict[str, Any], *, stream: bool = False) -> requests.Response:
        if self._headers is None:
            self._headers = headers_of(self._target, self._user)
        return post(f"{self._target.functions}/{function}", {"data": data}, self._headers, stream=stream)


def _result(answer: requests.Response) -> Any:
    body: Any = None
    with suppress(ValueError):
        body = answer.json()
    if answer.ok and isinstance(body, dict) and "result" in body:
        return body["result"]
    raise _error_of(answer, body)


def _error_of(answer: requests.Response, body: Any) -> CliError:
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict) and isinstance(error.get("status"), str):
        return refusal(error["status"], str(error.get("message")))
    local = is_loopback(answer.url)
    if answer.status_code == 404:
        fix = (
            f"{LOADING_HINT} Otherwise check {REGION}."
            if local
            else f"Deploy it, or set {REGION} to its region."
        )
        return CliError(Exit.unavailable, f"no function at {answer.url}. {fix}")
    return CliError(
        Exit.unavailable,
        f"{answer.url} failed with HTTP {answer.status_code}. {LOADING_HINT if local else 'Try again.'}",
    )


def _open_stored(answer: requests.Response) -> requests.Response:
    """Open the Storage URL of a result that is too large for a response."""
    body: Any = None
    with suppress(ValueError):
        body = answer.json()
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    url = details.get("url") if isinstance(details, dict) else None
    if not isinstance(url, str):
        raise _error_of(answer, body)
    try:
        stored = request("GET", url, stream=True)  # a signed URL needs no other credentials
        stored.raise_for_status()
    except requests.RequestException as error:
        raise CliError(Exit.unavailable, "cannot read the result from Storage; try again") from error
    return stored


def _save(answer: requests.Response, file: BinaryIO, progress: Progress) -> None:
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    try:
        for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=True):
            file.write(chunk)
            progress(answer.raw.tell(), total)
    except Exception as error:  # urllib3 raises errors of many types
        raise CliError(Exit.unavailable, f"the download was interrupted; try again ({error})") from error


def _unwrap(file: BinaryIO) -> None:
    """Remove everything but the result from a response, in bounded memory."""
    file.seek(0)
    head = _HEAD.match(file.read(_MAX_HEAD_BYTES))
    size = file.seek(0, 2)
    file.seek(max(size - _MAX_HEAD_BYTES, 0))
    tail = file.read().rstrip()
    if head is None or not tail.endswith(b"}"):
        raise CliError(
            Exit.unavailable, "the response contains no result; check that the project is the right one"
        )
    end = max(size - _MAX_HEAD_BYTES, 0) + len(tail) - 1
    start, place = head.end(), 0
    while start + place < end:
        file.seek(start + place)
        chunk = file.read(min(1 << 20, end - start - place))
        file.seek(place)
        file.write(chunk)
        place += len(chunk)
    file.truncate(place)
