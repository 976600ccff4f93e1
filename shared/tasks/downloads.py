"""Reads objects of the bucket, and nothing else: one GET each, and no client to be imported for it.

A cold instance reads its first result this way. To import the Storage client takes longer than to
download ten megabytes; whoever serves results has no other use for it.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import google_crc32c
import requests
import urllib3
from google.api_core.exceptions import RetryError
from google.api_core.retry import Retry

from shared.tasks.errors import ResultTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.firebase import StorageWire

#: Answers after which the same call may succeed.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_CHUNK_BYTES = 1 << 18
#: Part of a download's bound that one silence of the server may take, and its last try with it.
_SILENCE = 0.25
#: Seconds of the last try where the bound is all but over.
_LAST_TRY_SECONDS = 0.05


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

    def read(self, path: str, *, most: int | None = None, seconds: float | None = None) -> bytes | None:
        """Return an object's bytes as they are stored, or None where there is none.

        Args:
            path: the object's path.
            most: bytes that the reader takes; no more than that are fetched.
            seconds: bound on the download with its repetitions.

        Raises:
            ResultTooLarge: it has more.
            DownloadFailed: Storage did not give it, or not whole.
        """
        seconds = self._total_seconds if seconds is None else min(seconds, self._total_seconds)
        # A silence that begins when the time is all but over ends in time, too.
        silence = min(self._call_seconds, seconds * _SILENCE)
        until = time.monotonic() + seconds - silence
        retry = Retry(predicate=_may_pass, initial=0.1, maximum=5.0, timeout=seconds - silence)
        try:
            stored: bytes | None = retry(lambda: self._once(path, most, silence, until))()
        except (DownloadFailed, ResultTooLarge):
            raise
        except RetryError as error:
            raise DownloadFailed(f"given up: {_reason(error.cause)}", passing=True) from error
        except Exception as error:
            raise DownloadFailed(f"{path}: {_reason(error)}", passing=True) from error
        return stored

    def _once(self, path: str, most: int | None, silence: float, until: float) -> bytes | None:
        wire = self._wire()
        url = f"{wire.origin}/download/storage/v1/b/{quote(wire.bucket, safe='')}/o/{quote(path, safe='')}"
        # As stored: servers differ in what they decompress on the way, and a length they announce
        # is that of the stored bytes.
        answer = wire.session.get(
            url,
            params={"alt": "media"},
            headers={"Accept-Encoding": "gzip"},
            stream=True,
            timeout=max(min(silence, until - time.monotonic()), _LAST_TRY_SECONDS),
        )
        with answer:
            if answer.status_code == requests.codes.not_found:
                return None
            if answer.status_code != requests.codes.ok:
                passing = answer.status_code in _PASSING
                raise DownloadFailed(f"{path}: HTTP {answer.status_code}", passing=passing)
            stored = _received(answer, path, most, until)
        _check(stored, answer.headers.get("X-Goog-Hash", ""), path)
        return stored


def _received(answer: Any, path: str, most: int | None, until: float) -> bytes:
    """Return the body; stop where it is too long or takes too long."""
    announced = answer.headers.get("Content-Length")
    if most is not None and announced is not None and int(announced) > most:
        raise ResultTooLarge(path)
    pieces, size = [], 0
    # What has come, and not a chunk's worth: a server that trickles would keep that for ever.
    while piece := answer.raw.read1(_CHUNK_BYTES, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if most is not None and size > most:
            raise ResultTooLarge(path)
        if time.monotonic() > until:
            raise DownloadFailed(f"{path}: it took too long", passing=False)
    if announced is not None and int(announced) != size:
        raise DownloadFailed(f"{path}: {size} of {announced} bytes came", passing=True)
    return b"".join(pieces)


def _check(stored: bytes, hashes: str, path: str) -> None:
    """See that what came is what was stored, as far as the server says."""
    for said in hashes.replace(" ", "").split(","):
        kind, _, value = said.partition("=")
        if kind == "crc32c" and base64.b64decode(value) != google_crc32c.value(stored).to_bytes(4, "big"):
            raise DownloadFailed(f"{path}: damaged on the way", passing=True)


def _reason(error: Exception | None) -> str:
    return str(error) if isinstance(error, DownloadFailed) else type(error).__name__


def _may_pass(error: Exception) -> bool:
    if isinstance(error, DownloadFailed):
        return error.passing
    # Where the connection breaks while the body comes, the error is urllib3's.
    return isinstance(error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError)
