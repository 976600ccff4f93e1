"""Reads objects of the bucket, whole or as they come: one GET each, and no client to be imported for it.

A cold instance reads its first result this way. To import the Storage client takes longer than to
download ten megabytes; whoever serves results has no other use for it.
"""

from __future__ import annotations

import base64
import io
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
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

#: Answers after which the same call may succeed.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_CHUNK_BYTES = 1 << 18
#: Part of a download's bound that one silence of the server may take, and its last try with it.
_SILENCE = 0.25
#: Times in a row that a stream is taken up again without a byte having come.
_VAIN_TRIES = 3
#: Seconds of the last try where the bound is all but over.
_LAST_TRY_SECONDS = 0.05

_Got = TypeVar("_Got")


class DownloadFailed(Exception):
    """Storage did not give what was asked for; `passing` tells whether it may at another try."""

    def __init__(self, text: str, *, passing: bool) -> None:
        super().__init__(text)
        self.passing = passing


class Downloads:
    """Reads objects. Safe to share between threads.

    Args:
        wire: gives the session; asked at the first call, not before.
        call_seconds: bound on a silence of the server; a quarter of the whole bound at most.
        total_seconds: bound on a download with its repetitions.
    """

    def __init__(
        self, wire: Callable[[], StorageWire], *, call_seconds: float = 30.0, total_seconds: float = 120.0
    ) -> None:
        self._wire = wire
        self._call_seconds = call_seconds
        self._total_seconds = total_seconds

    def read(self, path: str, *, max_bytes: int | None = None, timeout: float | None = None) -> bytes | None:
        """Return an object's bytes as they are stored, or None where there is none.

        Args:
            path: the object's path.
            max_bytes: bytes that the reader takes; no more than that are fetched.
            timeout: bound on the download with its repetitions.

        Raises:
            ResultTooLarge: it has more.
            DownloadFailed: Storage did not give it, or not whole.
        """
        return self._repeated(
            path, timeout, lambda silence, until: self._once(path, max_bytes, silence, until)
        )

    def open(self, path: str, *, timeout: float | None = None) -> Download | None:
        """Return an object's bytes as they are stored, to be read as they come; None where there is none.

        A stream that breaks is taken up again where it broke: its reader may take as long as it likes.

        Args:
            path: the object's path.
            timeout: bound on the beginning, with its repetitions.

        Raises:
            DownloadFailed: Storage did not give it.
        """
        answer = self._repeated(path, timeout, lambda silence, until: self._ask(path, silence, until))
        return None if answer is None else Download(path, answer, self._ask_for_rest)

    def _ask_for_rest(self, path: str, start: int, generation: str | None) -> Any:
        ask = partial(self._ask, path, start=start, generation=generation)
        return self._repeated(path, None, ask)

    def _repeated(self, path: str, timeout: float | None, once: Callable[[float, float], _Got]) -> _Got:
        """Repeat a call while its failure may pass.

        Args:
            path: the object's path.
            timeout: bound on all tries.
            once: makes one, with so long a silence, until that time on the monotonic scale.
        """
        timeout = self._total_seconds if timeout is None else min(timeout, self._total_seconds)
        # A silence that begins when the time is all but over ends in time, too.
        silence = min(self._call_seconds, timeout * _SILENCE)
        until = time.monotonic() + timeout - silence
        retry = Retry(predicate=_may_pass, initial=0.1, maximum=5.0, timeout=timeout - silence)
        try:
            return retry(lambda: once(silence, until))()
        except (DownloadFailed, ResultTooLarge, SettingMissing, SettingInvalid):
            raise
        except RetryError as error:
            raise DownloadFailed(f"given up: {_reason(error.cause)}", passing=True) from error
        except Exception as error:
            raise DownloadFailed(f"{path}: {_reason(error)}", passing=True) from error

    def _once(self, path: str, max_bytes: int | None, silence: float, until: float) -> bytes | None:
        answer = self._ask(path, silence, until)
        if answer is None:
            return None
        with answer:
            stored = _received(answer, path, max_bytes, until)
        _check(google_crc32c.value(stored), answer.headers.get("X-Goog-Hash", ""), path)
        return stored

    def _ask(
        self, path: str, silence: float, until: float, *, start: int = 0, generation: str | None = None
    ) -> Any:
        """Return an answer whose body is still to be read, or None where there is no object.

        Args:
            path: the object's path.
            silence: seconds that the server may say nothing.
            until: when to give up, on the monotonic scale.
            start: from which byte on; the answer may begin at the first all the same.
            generation: which generation of the object; None is the present one.
        """
        wire = self._wire()
        url = f"{wire.origin}/download/storage/v1/b/{quote(wire.bucket, safe='')}/o/{quote(path, safe='')}"
        # As stored: servers differ in what they decompress on the way, and a length they announce
        # is that of the stored bytes.
        answer = wire.session.get(
            url,
            params={"alt": "media"} if generation is None else {"alt": "media", "generation": generation},
            headers={"Accept-Encoding": "gzip", **({"Range": f"bytes={start}-"} if start else {})},
            stream=True,
            timeout=max(min(silence, until - time.monotonic()), _LAST_TRY_SECONDS),
        )
        if answer.status_code in {requests.codes.ok, requests.codes.partial_content}:
            return answer
        answer.close()
        if answer.status_code == requests.codes.not_found:
            return None
        passing = answer.status_code in _PASSING
        raise DownloadFailed(f"{path}: HTTP {answer.status_code}", passing=passing)


class Download:
    """An object's bytes as they are stored, in pieces, whole and undamaged if the iteration ends.

    Args:
        path: the object's path.
        answer: to the first request.
        ask_for_rest: asks again, from a byte on, where the connection breaks.
    """

    def __init__(self, path: str, answer: Any, ask_for_rest: Callable[..., Any]) -> None:
        self._path = path
        self._answer = answer
        self._ask_for_rest = ask_for_rest
        self._generation = answer.headers.get("X-Goog-Generation")
        self._hashes = answer.headers.get("X-Goog-Hash", "")
        self._size = answer.headers.get("Content-Length")
        self._crc32c = 0
        self._received = 0
        self._in_vain = 0
        self._again = 0  # bytes that come a second time

    def close(self) -> None:
        """End the connection: nothing more is wanted."""
        if self._answer is not None:
            self._answer.close()

    def __iter__(self) -> Iterator[bytes]:
        """Return the pieces, once.

        Raises:
            DownloadFailed: Storage did not give the rest, or it was damaged on the way.
        """
        while True:
            try:
                piece = self._answer.raw.read(_CHUNK_BYTES, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self._take_up(error)
                continue
            fresh = piece[self._again :]
            self._again -= len(piece) - len(fresh)
            if fresh:
                self._received += len(fresh)
                self._in_vain = 0
                self._crc32c = google_crc32c.extend(self._crc32c, fresh)
                yield fresh
            elif not piece:
                if self._size is None or self._received == int(self._size):
                    break
                self._take_up(None)
        _check(self._crc32c, self._hashes, self._path)

    def _take_up(self, error: Exception | None) -> None:
        """Ask for what has not come yet."""
        self._answer.close()
        self._in_vain += 1
        if self._in_vain > _VAIN_TRIES:
            raise DownloadFailed(f"{self._path}: it broke at byte {self._received}", passing=True) from error
        self._answer = self._ask_for_rest(self._path, self._received, self._generation)
        if self._answer is None:
            raise DownloadFailed(f"{self._path}: it was removed while it was read", passing=False)
        self._again = 0 if self._answer.status_code == requests.codes.partial_content else self._received


def _received(answer: Any, path: str, max_bytes: int | None, until: float) -> bytes:
    """Return the body; stop where it is too long or takes too long."""
    announced = answer.headers.get("Content-Length")
    if max_bytes is not None and announced is not None and int(announced) > max_bytes:
        raise ResultTooLarge(path)
    # It gives its bytes away as they lie there: pieces and what they are joined to take twice the memory.
    body, size = io.BytesIO(), 0
    # What has come, and not a chunk's worth: a server that trickles would keep that for ever.
    while piece := answer.raw.read1(_CHUNK_BYTES, decode_content=False):
        size += body.write(piece)
        if max_bytes is not None and size > max_bytes:
            raise ResultTooLarge(path)
        if time.monotonic() > until:
            raise DownloadFailed(f"{path}: it took too long", passing=False)
    if announced is not None and int(announced) != size:
        raise DownloadFailed(f"{path}: {size} of {announced} bytes came", passing=True)
    return body.getvalue()


def _check(crc32c: int, hashes: str, path: str) -> None:
    """See that what came is what was stored, as far as the server says."""
    for said in hashes.replace(" ", "").split(","):
        kind, _, value = said.partition("=")
        if kind == "crc32c" and base64.b64decode(value) != crc32c.to_bytes(4, "big"):
            raise DownloadFailed(f"{path}: damaged on the way", passing=True)


def _reason(error: Exception | None) -> str:
    return str(error) if isinstance(error, DownloadFailed) else type(error).__name__


def _may_pass(error: Exception) -> bool:
    if isinstance(error, DownloadFailed):
        return error.passing
    # Where the connection breaks while the body comes, the error is urllib3's.
    return isinstance(error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError)
