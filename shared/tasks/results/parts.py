"""The parts of a result: arrays that a run stores before it ends, and joins without compressing them again.

A part has the deflate blocks of some lines of the array. They end at a byte, and none of them is the last
of a stream. So a member's head, the blocks of all parts and a member's end are one gzip member.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from shared.tasks.documents.checkpoints import Part
from shared.tasks.errors import ResultNotKept, ResultUnavailable
from shared.tasks.results import gzipped
from shared.tasks.results.records import records_of
from shared.tasks.results.stream import CLOSING, EMPTY, ArrayWriter, StoredStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shared.tasks.contract import Json

    #: Returns the stored bytes of an object in pieces; None if it does not exist.
    OpenObject: TypeAlias = Callable[[str], Iterable[bytes] | None]

#: Stored bytes that are read at once.
_PIECE_BYTES = 1 << 20


class PartContent(Struct, frozen=True):
    """A part in memory.

    Attributes:
        blocks: The bytes to store.
        crc: CRC-32 of the lines.
        size: Bytes of the lines.
        count: Number of records.
    """

    blocks: bytes
    crc: int
    size: int
    count: int

    @property
    def stored_bytes(self) -> int:
        """Bytes of its object."""
        return len(self.blocks)

    def stored_at(self, path: str) -> Part:
        """Return the part that is stored at a path."""
        return Part(path, self.crc, self.size, self.stored_bytes, self.count)


class PartWriter:
    """Writes the records of one array as parts. Safe to use from one thread at a time.

    Args:
        follows: Whether earlier parts of the array have records.
    """

    def __init__(self, *, follows: bool) -> None:
        self._array = ArrayWriter(bytearray(), follows=follows)

    @property
    def count(self) -> int:
        """Number of records since the last cut."""
        return self._array.count

    @property
    def size(self) -> int:
        """Bytes of their lines."""
        return self._array.size

    @property
    def stored_bytes(self) -> int:
        """Number of their compressed bytes, without what waits to be compressed."""
        return len(self._array.stored)

    def add(self, line: bytes) -> None:
        """Write a record, encoded as JSON without line breaks."""
        self._array.add(line)

    def cut(self) -> PartContent | None:
        """End the part and begin the next one; return None if it has no records."""
        array = self._array
        if not array.count:
            return None
        # Its first record follows those of this part. A fresh compressor refers to no earlier bytes.
        self._array = ArrayWriter(bytearray(), follows=True)
        return _content_of(array)

    def peek(self) -> PartContent | None:
        """Return the part as `cut` would end it now, without ending it; None if it has no records."""
        return _content_of(self._array.copy()) if self._array.count else None


def _content_of(array: ArrayWriter) -> PartContent:
    end = array.flush()
    return PartContent(bytes(array.stored + end.blocks), end.crc, end.size, array.count)


class JoinedParts(StoredStream):
    """Stores the array of all parts, as `ResultStream` stores it for the same records.

    A read raises ResultNotKept if a part is not stored as it was written, and what `open_object` and `check`
    raise.

    The stored bytes are not decompressed to compare `crc`, which takes ten times as long as joining. A
    download compares Storage's checksum of the object, and objects are written once, so the length is enough.

    Args:
        parts: The parts in order; only the first one begins the array.
        open_object: Opens an object.
        check: Is called before each piece; raises an error if the run may not continue.

    Attributes:
        count: Number of records.
        size: Bytes of JSON.
    """

    def __init__(
        self,
        parts: Sequence[Part | PartContent],
        open_object: OpenObject,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.count = sum(part.count for part in parts)
        self.size = sum(part.size for part in parts) + len(CLOSING if parts else EMPTY)
        self._parts = parts
        self._pieces = (piece for part in parts for piece in _stored_pieces(part, open_object))
        self._check = check

    def _produce(self, size: int) -> None:
        while len(self._stored) < size:
            self._check()
            piece = next(self._pieces, None)
            if piece is None:
                self._end(self._last_blocks())
                return
            self._stored += piece

    def _last_blocks(self) -> gzipped.Blocks:
        end = gzipped.compress(CLOSING if self._parts else EMPTY)
        crc = 0
        for part in (*self._parts, end):
            crc = gzipped.combined_crc(crc, part.crc, part.size)
        return gzipped.Blocks(end.blocks, crc, self.size)


def records_in(parts: Sequence[Part | PartContent], open_object: OpenObject) -> Iterator[Json]:
    """Yield the records of parts.

    Args:
        parts: The parts in order; only the first one begins the array.
        open_object: Opens an object.

    Raises:
        ResultNotKept: A part is not stored as it was written.
        Exception: What `open_object` raised.
    """
    stream = JoinedParts(parts, open_object)
    plain = gzipped.plain_pieces(iter(partial(stream.read, _PIECE_BYTES), b""))
    try:
        yield from records_of(plain, ours=True)
    except (zlib.error, ValueError, ResultUnavailable) as error:
        paths = [part.path for part in parts if isinstance(part, Part)] or ["memory"]
        raise _not_readable(f"a part from {paths[0]} to {paths[-1]}", f"is damaged ({error})") from error


def _stored_pieces(part: Part | PartContent, open_object: OpenObject) -> Iterator[bytes]:
    """Yield a part's blocks in pieces of at most a mebibyte."""
    if isinstance(part, PartContent):
        for start in range(0, len(part.blocks), _PIECE_BYTES):
            yield part.blocks[start : start + _PIECE_BYTES]
        return
    pieces = open_object(part.path)
    if pieces is None:
        raise _not_readable(f"part {part.path}", "is missing")
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > part.stored_bytes:
            break
        yield piece
    if size != part.stored_bytes:
        found = f"has {'more' if size > part.stored_bytes else size} instead of {part.stored_bytes} bytes"
        raise _not_readable(f"part {part.path}", found)


def _not_readable(what: str, problem: str) -> ResultNotKept:
    return ResultNotKept(f"{what} {problem}: this run cannot be completed, and a new run must start")
