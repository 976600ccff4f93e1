"""The bytes of a result that an instance caches: JSON, compressed, or both, each created once when needed.

One payload serves every kind of response; callers add their own few bytes before and after it.
"""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING

from shared.tasks.errors import ResultTooLarge, ResultUnavailable
from shared.tasks.results import gzipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tasks.results.gzipped import Blocks

#: Largest uncompressed size of a result that is read into memory at once, in bytes.
MAX_RESULT_BYTES = 1 << 30
#: Bytes of JSON below which compression saves no packet.
MIN_COMPRESSED = 1_000
_TOO_LARGE = f"a stored result has more than {MAX_RESULT_BYTES} bytes: read it with iter_task_data"
#: Responses that are cached for a result, each with other bytes around it.
_MAX_RESPONSES = 4
#: Compressed bytes up to which such a response is cached whole. Joining its pieces for each request, or
#: sending them one by one, takes longer than everything else in a warm response.
_WHOLE_BYTES = 256 * 1024


class Payload:
    """One result. Safe to share between threads; its bytes never change.

    Args:
        plain: The result as JSON, UTF-8.
        blocks: The same, compressed. At least one of the two is given.
    """

    def __init__(self, plain: bytes | None = None, blocks: Blocks | None = None) -> None:
        self._plain = plain
        self._blocks = blocks
        self._lock = threading.Lock()
        self._responses: dict[tuple[bytes, bytes], tuple[bytes, ...]] = {}
        #: Called when it takes more memory than before.
        self.on_growth: Callable[[], None] | None = None
        #: Size of the JSON in bytes.
        self.size = len(plain) if plain is not None else blocks.size if blocks is not None else 0

    @classmethod
    def of_stored(cls, stored: bytes, *, max_unpacked_bytes: int | None = None) -> Payload:
        """Create a payload from an object's stored bytes, from any writer.

        Args:
            stored: Compressed by this engine or by another writer, or uncompressed.
            max_unpacked_bytes: Largest uncompressed size of another writer's object that the reader accepts;
                None for the largest that is read at once. Objects of this engine are not unpacked for it.

        Raises:
            ResultTooLarge: The object is larger.
            ResultUnavailable: The bytes are damaged, not JSON, or more than are read at once.
        """
        blocks = gzipped.blocks_of(stored)
        if blocks is None:
            from shared.tasks.results import legacy_json  # noqa: PLC0415  (most instances never need it)

            max_bytes = MAX_RESULT_BYTES if max_unpacked_bytes is None else max_unpacked_bytes
            try:
                return cls(legacy_json.json_of(stored, max_bytes))
            except legacy_json.TooLarge:
                if max_unpacked_bytes is not None:
                    raise ResultTooLarge(None) from None
                raise ResultUnavailable(_TOO_LARGE) from None
        if blocks.size > MAX_RESULT_BYTES:
            raise ResultUnavailable(_TOO_LARGE)
        return cls(blocks=blocks)

    def __repr__(self) -> str:
        """Identify it without its content."""
        crc = zlib.crc32(self._plain or b"") if self._blocks is None else self._blocks.crc
        return f"Payload({self.size} bytes, CRC {crc:08x})"

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it takes."""
        blocks = self._blocks
        # The first piece of a response that is cached whole is all of it.
        responses = sum(len(pieces[0]) for pieces in list(self._responses.values()))
        return len(self._plain or b"") + (0 if blocks is None else len(blocks.blocks)) + responses

    @property
    def json(self) -> bytes:
        """The result as JSON.

        Raises:
            ResultUnavailable: The compressed bytes are damaged.
        """
        if self._plain is None:
            with self._lock:
                if self._plain is None:
                    self._plain = self._decompressed()
            self._report_growth()
        return self._plain

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, ...]:
        """Return the JSON with bytes before and after it, in pieces."""
        return head, self.json, tail

    def gzip_around(self, head: bytes, tail: bytes) -> tuple[bytes, ...] | None:
        """Return the same as one gzip member, in pieces; None if it is too small to gain from it."""
        if self.size < MIN_COMPRESSED:
            return None
        blocks = self._compressed()
        pieces = self._responses.get((head, tail))
        if pieces is None:
            with self._lock:
                pieces = self._responses.get((head, tail)) or self._add_response(blocks, head, tail)
            self._report_growth()
        return pieces

    def _add_response(self, blocks: Blocks, head: bytes, tail: bytes) -> tuple[bytes, ...]:
        before, after = blocks.around(head, tail)
        pieces: tuple[bytes, ...] = before, blocks.blocks, after
        if len(blocks.blocks) <= _WHOLE_BYTES:
            pieces = (b"".join(pieces),)
        if len(self._responses) >= _MAX_RESPONSES:
            self._responses.clear()
        self._responses[head, tail] = pieces
        return pieces

    def _compressed(self) -> Blocks:
        if self._blocks is None:
            with self._lock:
                if self._blocks is None:
                    self._blocks = gzipped.compress(self._plain or b"")
            self._report_growth()
        return self._blocks

    def _report_growth(self) -> None:
        if self.on_growth is not None:
            self.on_growth()

    def _decompressed(self) -> bytes:
        blocks = self._blocks
        if blocks is None:
            raise AssertionError("a payload has JSON or blocks")
        try:
            return gzipped.decompress(blocks)
        except zlib.error as error:
            raise ResultUnavailable("a stored result is damaged") from error
