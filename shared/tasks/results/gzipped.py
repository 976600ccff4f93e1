"""Compressed JSON that a response embeds as it is: one gzip member made from another.

A response is a stored result with a few bytes around it. Browsers read only the first member of a gzip
stream, so members cannot be concatenated. The blocks of a deflate stream can. `compress` ends a result's
blocks at a byte, and a response adds its own bytes around them as uncompressed blocks. So serving a stored
result costs a checksum instead of a compression.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Header of a gzip member, without name and time, so that the same JSON gives the same bytes.
HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
MAGIC = HEAD[:2]
#: The end of blocks that end at a byte (zlib's sync flush), and the empty last block of a stream.
_FLUSHED = b"\x00\x00\xff\xff"
_LAST = b"\x03\x00"
_TRAILER = struct.Struct("<II")
#: Largest content of an uncompressed block, in bytes.
_MAX_PLAIN = 0xFFFF
_POLYNOMIAL = 0xEDB88320
LEVEL = 6
_GZIP = zlib.MAX_WBITS | 16
#: Bytes that are decompressed at once when a stream is read.
_STEP_BYTES = 1 << 20


class Blocks(Struct, frozen=True):
    """Deflate blocks that end at a byte, none of them the last of a stream.

    Attributes:
        blocks: The compressed bytes.
        crc: CRC-32 of the decompressed bytes.
        size: Number of decompressed bytes.
    """

    blocks: bytes
    crc: int
    size: int

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """Return the bytes before and after these blocks in a gzip member of `head`, the blocks and `tail`.

        Args:
            head: At most 65,535 bytes.
            tail: At most 65,535 bytes.
        """
        crc = zlib.crc32(tail, combined_crc(zlib.crc32(head), self.crc, self.size))
        size = (len(head) + self.size + len(tail)) & 0xFFFFFFFF
        return HEAD + _uncompressed(head, last=False), _uncompressed(tail, last=True) + _TRAILER.pack(
            crc, size
        )


class Compressor:
    """Compresses bytes piece by piece; the blocks do not depend on how the bytes are cut.

    Attributes:
        crc: CRC-32 of the bytes so far.
        size: Number of bytes so far.
    """

    def __init__(self) -> None:
        self.crc = 0
        self.size = 0
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)

    def add(self, plain: bytes) -> bytes:
        """Add bytes; return the compressed bytes that are complete, perhaps none."""
        self.crc = zlib.crc32(plain, self.crc)
        self.size += len(plain)
        return self._deflate.compress(plain)

    def finish(self) -> bytes:
        """Return the rest of the blocks, which end at a byte."""
        return self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def copy(self) -> Compressor:
        """Return a compressor that continues from here, independently of this one."""
        other = Compressor()
        other.crc, other.size, other._deflate = self.crc, self.size, self._deflate.copy()
        return other


def compress(plain: bytes) -> Blocks:
    """Compress bytes so that a response can embed them."""
    compressor = Compressor()
    blocks = compressor.add(plain) + compressor.finish()
    return Blocks(blocks, compressor.crc, compressor.size)


def member(blocks: Blocks) -> bytes:
    """Return the gzip member to store."""
    return b"".join((HEAD, blocks.blocks, tail(blocks)))


def tail(of: Blocks | Compressor) -> bytes:
    """Return the end of the member that has these blocks."""
    return _LAST + _TRAILER.pack(of.crc, of.size & 0xFFFFFFFF)


def blocks_of(stored: bytes) -> Blocks | None:
    """Return the blocks of a member that `member` made; None for any other bytes.

    Concatenated members have one trailer at the end only, so they count as other bytes.
    """
    end = len(stored) - _TRAILER.size - len(_LAST)
    if not stored.startswith(HEAD) or not stored.endswith(_FLUSHED + _LAST, 0, end + len(_LAST)):
        return None
    if stored.find(HEAD, len(HEAD)) >= 0:
        return None
    crc, size = _TRAILER.unpack_from(stored, len(stored) - _TRAILER.size)
    return Blocks(stored[len(HEAD) : end], crc, size)


def decompress(blocks: Blocks) -> bytes:
    """Return the decompressed bytes.

    Raises:
        zlib.error: The blocks are damaged.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflate.decompress(blocks.blocks, blocks.size + 1)  # no more, even if the blocks contain more
    if len(plain) != blocks.size or zlib.crc32(plain) != blocks.crc:
        raise zlib.error("the checksum does not match")
    return plain


def plain_pieces(stored: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an object's bytes decompressed, from any writer.

    Args:
        stored: The stored bytes in pieces: gzip members, or uncompressed.

    Raises:
        zlib.error: They are damaged or incomplete.
    """
    stored, unzip, head = iter(stored), None, b""
    for piece in stored:
        if unzip is None:
            head += piece
            if len(head) < len(MAGIC):
                continue
            if not head.startswith(MAGIC):
                yield head
                yield from stored
                return
            unzip, piece = zlib.decompressobj(_GZIP), head  # noqa: PLW2901  (with earlier pieces)
        while True:
            if unzip.eof and piece:
                unzip = zlib.decompressobj(_GZIP)  # the next member
            plain = unzip.decompress(piece, _STEP_BYTES)
            yield plain
            piece = unzip.unused_data if unzip.eof else unzip.unconsumed_tail  # noqa: PLW2901  (the rest)
            if not piece and len(plain) < _STEP_BYTES:
                break
    if unzip is None:
        yield head
    elif not unzip.eof:
        raise zlib.error("the stream is incomplete")


def combined_crc(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of concatenated bytes from the CRC of each part and the length of the second."""
    shift, bits = 1 << 31, 8 * size  # 1 as a polynomial with the bits reversed
    for place in range(bits.bit_length()):
        if bits >> place & 1:
            shift = _times(_power(place), shift)
    return _times(shift, first) ^ second


def _uncompressed(content: bytes, *, last: bool) -> bytes:
    """Return an uncompressed block."""
    if len(content) > _MAX_PLAIN:
        raise ValueError(f"bytes around a result must be at most {_MAX_PLAIN}, got {len(content)}")
    return struct.pack("<BHH", last, len(content), len(content) ^ 0xFFFF) + content


@cache
def _power(place: int) -> int:
    """Return x to the power of 2 to the power of `place`."""
    return 1 << 30 if place == 0 else _times(_power(place - 1), _power(place - 1))


def _times(one: int, other: int) -> int:
    """Return the product of two polynomials modulo that of CRC-32."""
    product = 0
    while one:
        if one & (1 << 31):
            product ^= other
        one = (one << 1) & 0xFFFFFFFF
        other = (other >> 1) ^ (_POLYNOMIAL if other & 1 else 0)
    return product
