"""Reads objects of the bucket, whole or as a stream, with one GET each.

A cold instance reads its first result this way, because importing the Storage client takes longer than
downloading ten megabytes.
"""

from __future__ import annotations

import base64
import io
import time
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote

import google_crc32c
import requests
import urllib3
from google.api_core.exceptions import RetryError
from google.api_core.retry import Retry

from shared.settings import SettingInvalid, SettingMissing
from shared.tasks.errors import ResultTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.firebase import StorageWire

#: Statuses after which the same request may succeed.
_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_CHUNK_BYTES = 1 << 18
#: Part of a download's timeout that the server may be silent for, and that the last try may take.
_SILENCE_SHARE = 0.25
#: How often in succession a stream is resumed without a byte having arrived.
_MAX_VAIN_RESUMES = 3
#: Seconds for the last try when the timeout has almost passed.
_LAST_TRY_SECONDS = 0.05

_Result = TypeVar("_Result")


class _Resume(Protocol):
    def __call__(self, path: str, start: int, generation: str | None) -> requests.Response | None: ...


class DownloadFailed(Exception):
    """Storage did not return the object; if `is_temporary`, another try may succeed."""

    def __init__(self, text: str, *, is_temporary: bool) -> None:
        super().__init__(text)
        self.is_temporary = is_temporary


class Downloads:
    """Reads objects. Safe to share between threads.

    Args:
        wire: Returns the session; called at the first request.
        call_seconds: How long the server may be silent, at most a quarter of the whole timeout.
        total_seconds: Longest duration of a download with its repetitions.
    """

    def __init__(
        self, wire: Callable[[], StorageWire], *, call_seconds: float = 30.0, total_seconds: float = 120.0
    ) -> None:
        self._wire = wire
        self._call_seconds = call_seconds
        self._total_seconds = total_seconds

    def read(self, path: str, *, max_bytes: int | None = None, timeout: float | None = None) -> bytes | None:
        """Return an object's stored bytes, or None if it does not exist.

        Args:
            path: The object's path.
            max_bytes: Largest object that the caller accepts; no more bytes than that are fetched.
            timeout: Longest duration with all repetitions, in seconds.

        Raises:
            ResultTooLarge: The object has more bytes.
            DownloadFailed: Storage did not return it whole and undamaged.
        """

        def once(silence: float, deadline: float) -> bytes | None:
            response = self._request(path, silence, deadline)
            if response is None:
                return None
            with response:
                stored = _read_body(response, path, max_bytes, deadline)
            _check_crc32c(google_crc32c.value(stored), response.headers.get("X-Goog-Hash", ""), path)
            return stored

        return self._with_retries(path, timeout, once)

    def open(self, path: str, *, timeout: float | None = None) -> Download | None:
        """Return a stream of an object's stored bytes, or None if it does not exist.

        A stream that breaks is resumed where it broke, so its reader may take any time. The timeout bounds
        its beginning. Raises DownloadFailed if Storage did not return the object.
        """
        response = self._with_retries(
            path, timeout, lambda silence, deadline: self._request(path, silence, deadline)
        )
        return None if response is None else Download(path, response, self._resume)

    def _resume(self, path: str, start: int, generation: str | None) -> requests.Response | None:
        def once(silence: float, deadline: float) -> requests.Response | None:
            return self._request(path, silence, deadline, start=start, generation=generation)

        return self._with_retries(path, None, once)

    def _with_retries(
        self, path: str, timeout: float | None, once: Callable[[float, float], _Result]
    ) -> _Result:
        """Repeat a request while its failure is temporary.

        `once` takes the seconds that the server may be silent, and the monotonic time of its deadline.
        """
        timeout = self._total_seconds if timeout is None else min(timeout, self._total_seconds)
        # A silence that begins just before the last try's deadline must end within the timeout, too.
        silence = min(self._call_seconds, timeout * _SILENCE_SHARE)
        deadline = time.monotonic() + timeout - silence
        retry = Retry(predicate=_is_temporary, initial=0.1, maximum=5.0, timeout=timeout - silence)
        try:
            return retry(lambda: once(silence, deadline))()
        except (DownloadFailed, ResultTooLarge, SettingMissing, SettingInvalid):
            raise
        except RetryError as error:
            raise DownloadFailed(f"gave up: {_reason(error.cause)}", is_temporary=True) from error
        except Exception as error:
            raise DownloadFailed(f"{path}: {_reason(error)}", is_temporary=True) from error

    def _request(
        self, path: str, silence: float, deadline: float, *, start: int = 0, generation: str | None = None
    ) -> requests.Response | None:
        """Return a response before its body is read, or None if the object does not exist.

        Its body may begin at the first byte even if `start` is a later one.
        """
        wire = self._wire()
        url = f"{wire.origin}/download/storage/v1/b/{quote(wire.bucket, safe='')}/o/{quote(path, safe='')}"
        # As stored: servers differ in what they decompress, and a Content-Length counts the stored bytes.
        response = wire.session.get(
            url,
            params={"alt": "media"} if generation is None else {"alt": "media", "generation": generation},
            headers={"Accept-Encoding": "gzip", **({"Range": f"bytes={start}-"} if start else {})},
            stream=True,
            timeout=max(min(silence, deadline - time.monotonic()), _LAST_TRY_SECONDS),
        )
        if response.status_code in {requests.codes.ok, requests.codes.partial_content}:
            return response
        response.close()
        if response.status_code == requests.codes.not_found:
            return None
        is_temporary = response.status_code in _TEMPORARY
        raise DownloadFailed(f"{path}: HTTP {response.status_code}", is_temporary=is_temporary)


class Download:
    """An object's bytes as they are stored, in pieces. If the iteration ends, they are whole and undamaged.

    Args:
        path: The object's path.
        response: The response to the first request.
        resume: Requests the rest from a byte on, after the connection broke.
    """

    def __init__(self, path: str, response: requests.Response, resume: _Resume) -> None:
        self._path = path
        self._response = response
        self._resume = resume
        self._generation = response.headers.get("X-Goog-Generation")
        self._hashes = response.headers.get("X-Goog-Hash", "")
        self._size = response.headers.get("Content-Length")
        self._crc32c = 0
        self._received = 0
        self._vain_resumes = 0
        self._repeated_bytes = 0  # bytes still to arrive a second time

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces, once.

        Raises:
            DownloadFailed: Storage did not return the rest, or the bytes are damaged.
        """
        while True:
            try:
                piece = self._response.raw.read(_CHUNK_BYTES, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self._continue(error)
                continue
            fresh = piece[self._repeated_bytes :]
            self._repeated_bytes -= len(piece) - len(fresh)
            if fresh:
                self._received += len(fresh)
                self._vain_resumes = 0
                self._crc32c = google_crc32c.extend(self._crc32c, fresh)
                yield fresh
            elif not piece:
                if self._size is None or self._received == int(self._size):
                    break
                self._continue(None)
        _check_crc32c(self._crc32c, self._hashes, self._path)

    def _continue(self, error: Exception | None) -> None:
        """Request the bytes that have not arrived yet."""
        self._response.close()
        self._vain_resumes += 1
        if self._vain_resumes > _MAX_VAIN_RESUMES:
            text = f"{self._path}: the connection broke at byte {self._received}"
            raise DownloadFailed(text, is_temporary=True) from error
        response = self._resume(self._path, self._received, self._generation)
        if response is None:
            raise DownloadFailed(f"{self._path}: it was removed while it was read", is_temporary=False)
        self._response = response
        is_rest = response.status_code == requests.codes.partial_content
        self._repeated_bytes = 0 if is_rest else self._received


def _read_body(response: requests.Response, path: str, max_bytes: int | None, deadline: float) -> bytes:
    """Return the body; stop if it is too long or takes too long."""
    announced = response.headers.get("Content-Length")
    if max_bytes is not None and announced is not None and int(announced) > max_bytes:
        raise ResultTooLarge(path)
    # BytesIO returns its bytes without a copy. A list of pieces and their join would take twice the memory.
    body, size = io.BytesIO(), 0
    # read1 returns what has arrived. Waiting for a full chunk would wait forever for a server that trickles.
    while piece := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        size += body.write(piece)
        if max_bytes is not None and size > max_bytes:
            raise ResultTooLarge(path)
        if time.monotonic() > deadline:
            raise DownloadFailed(f"{path}: the download took too long", is_temporary=False)
    if announced is not None and int(announced) != size:
        raise DownloadFailed(f"{path}: {size} of {announced} bytes arrived", is_temporary=True)
    return body.getvalue()


def _check_crc32c(crc32c: int, hashes: str, path: str) -> None:
    """Compare a checksum with the one in the server's header, if there is one."""
    for entry in hashes.replace(" ", "").split(","):
        kind, _, value = entry.partition("=")
        if kind == "crc32c" and base64.b64decode(value) != crc32c.to_bytes(4, "big"):
            raise DownloadFailed(f"{path}: damaged on the way", is_temporary=True)


def _reason(error: Exception | None) -> str:
    return str(error) if isinstance(error, DownloadFailed) else type(error).__name__


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, DownloadFailed):
        return error.is_temporary
    # If the connection breaks while the body arrives, the error is urllib3's.
    return isinstance(error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError)
