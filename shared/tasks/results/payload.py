"""A result's bytes as an instance keeps them: JSON, compressed, or both, each made once when asked for.

One payload serves every kind of answer: callers put their own few bytes before and after it.
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

#: Bytes that a stored result may have uncompressed and still be read into memory at once.
MAX_RESULT_BYTES = 1 << 30
#: Bytes of JSON below which compressing saves no packet.
MIN_COMPRESSED = 1_000
_TOO_MUCH = f"a stored result has more than {MAX_RESULT_BYTES} bytes: read it with iter_task_data"
#: Answers of a result, each with its own surroundings, that are remembered.
_ANSWERS = 4
#: Compressed bytes up to which such an answer is kept whole: to join its pieces for each request, or to
#: send each by itself, takes longer than all else that a warm answer is made of.
_WHOLE_BYTES = 256 * 1024


class Payload:
    """One result. Safe to share between threads; none of its bytes ever change.

    Args:
        plain: the result as JSON, UTF-8.
        blocks: the same compressed; at least one of the two is given.
    """

    def __init__(self, plain: bytes | None = None, blocks: Blocks | None = None) -> None:
        self._plain = plain
        self._blocks = blocks
        self._lock = threading.Lock()
        self._answers: dict[tuple[bytes, bytes], tuple[bytes, ...]] = {}
        #: Called when another form of it has been made, and it takes more memory than before.
        self.grew: Callable[[], None] | None = None
        #: Bytes of the JSON.
        self.size = len(plain) if plain is not None else blocks.size if blocks is not None else 0

    @classmethod
    def of_stored(cls, stored: bytes, *, max_unpacked_bytes: int | None = None) -> Payload:
        """Take an object's bytes as they lie in the bucket, whoever wrote them.

        Args:
            stored: compressed by this engine, or by somebody else, or not at all.
            max_unpacked_bytes: bytes that another's may have uncompressed, for a reader that need not
                have them; this engine's own are not unpacked for it.

        Raises:
            ResultTooLarge: it has more.
            ResultUnavailable: they are damaged, or no JSON, or hold more than anybody reads at once.
        """
        blocks = gzipped.blocks_of(stored)
        if blocks is None:
            from shared.tasks.results import legacy_json as foreign  # noqa: PLC0415  (most instances never meet another's)

            try:
                return cls(
                    foreign.json_of(
                        stored, MAX_RESULT_BYTES if max_unpacked_bytes is None else max_unpacked_bytes
                    )
                )
            except foreign.TooMuch:
                if max_unpacked_bytes is not None:
                    raise ResultTooLarge(None) from None
                raise ResultUnavailable(_TOO_MUCH) from None
        if blocks.size > MAX_RESULT_BYTES:
            raise ResultUnavailable(_TOO_MUCH)
        return cls(blocks=blocks)

    def __repr__(self) -> str:
        """Tell it apart, without telling what it holds."""
        crc = zlib.crc32(self._plain or b"") if self._blocks is None else self._blocks.crc
        return f"Payload({self.size} bytes, CRC {crc:08x})"

    @property
    def held(self) -> int:
        """Bytes of memory that it takes now."""
        blocks = self._blocks
        answers = sum(len(pieces[0]) for pieces in list(self._answers.values()))  # all of one that is whole
        return len(self._plain or b"") + (0 if blocks is None else len(blocks.blocks)) + answers

    @property
    def json(self) -> bytes:
        """The result as JSON.

        Raises:
            ResultUnavailable: the compressed bytes are damaged.
        """
        if self._plain is None:
            with self._lock:
                if self._plain is None:
                    self._plain = self._decompressed()
            self._tell_growth()
        return self._plain

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, ...]:
        """Return the JSON with bytes before and after it, in pieces."""
        return head, self.json, tail

    def gzip_around(self, head: bytes, tail: bytes) -> tuple[bytes, ...] | None:
        """Return the same as one gzip member, in pieces; None where it is too small to be worth it."""
        if self.size < MIN_COMPRESSED:
            return None
        blocks = self._compressed()
        pieces = self._answers.get((head, tail))
        if pieces is None:
            with self._lock:
                pieces = self._answers.get((head, tail)) or self._made(blocks, head, tail)
            self._tell_growth()
        return pieces

    def _made(self, blocks: Blocks, head: bytes, tail: bytes) -> tuple[bytes, ...]:
        before, after = blocks.around(head, tail)
        pieces: tuple[bytes, ...] = before, blocks.blocks, after
        if len(blocks.blocks) <= _WHOLE_BYTES:
            pieces = (b"".join(pieces),)
        if len(self._answers) >= _ANSWERS:
            self._answers.clear()
        self._answers[head, tail] = pieces
        return pieces

    def _compressed(self) -> Blocks:
        if self._blocks is None:
            with self._lock:
                if self._blocks is None:
                    self._blocks = gzipped.compress(self._plain or b"")
            self._tell_growth()
        return self._blocks

    def _tell_growth(self) -> None:
        if self.grew is not None:
            self.grew()

    def _decompressed(self) -> bytes:
        blocks = self._blocks
        if blocks is None:
            raise AssertionError("a payload is made of something")
        try:
            return gzipped.decompress(blocks)
        except zlib.error as error:
            raise ResultUnavailable("a stored result is damaged") from error
