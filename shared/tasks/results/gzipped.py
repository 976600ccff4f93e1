"""Compressed JSON that can be put into an answer as it is: one gzip member made from another.

An answer is a stored result with a few bytes around it. Browsers read only the first member of
a gzip stream, so members can't be strung together. But a deflate stream is a row of blocks, and
blocks can: `compress` ends the result's own at a byte, and an answer adds its bytes around them
as blocks that are not compressed. What a stored result costs to serve is a checksum, not a pass.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: A gzip member's head: no name, no time, so that the same JSON gives the same bytes.
HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
MAGIC = HEAD[:2]
#: How the blocks end where nothing follows: at a byte (zlib's sync flush), then an empty last block.
_FLUSHED = b"\x00\x00\xff\xff"
_LAST = b"\x03\x00"
_TRAILER = struct.Struct("<II")
#: Bytes that a block which is not compressed holds at most.
_MAX_PLAIN = 0xFFFF
_POLYNOMIAL = 0xEDB88320
LEVEL = 6
#: Bytes that are decompressed at a time where a stream is read.
_STEP_BYTES = 1 << 20


class Blocks(Struct, frozen=True):
    """Deflate blocks that end at a byte, none of them the last, and what they decompress to.

    Attributes:
        blocks: the bytes.
        crc: CRC-32 of the decompressed bytes.
        size: how many these are.
    """

    blocks: bytes
    crc: int
    size: int

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """Return what makes one gzip member of `head`, these blocks and `tail`: before, and after.

        Args:
            head: bytes that come before, at most 65,535.
            tail: bytes that come after, at most 65,535.
        """
        crc = zlib.crc32(tail, _joined(zlib.crc32(head), self.crc, self.size))
        size = (len(head) + self.size + len(tail)) & 0xFFFFFFFF
        return HEAD + _plain(head, last=False), _plain(tail, last=True) + _TRAILER.pack(crc, size)


class Compressor:
    """Makes blocks of bytes as they come, the same however they are cut.

    Attributes:
        crc: CRC-32 of the bytes so far.
        size: how many these are.
    """

    def __init__(self) -> None:
        self.crc = 0
        self.size = 0
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)

    def add(self, plain: bytes) -> bytes:
        """Take the next bytes; return what there is of the blocks, which may be nothing yet."""
        self.crc = zlib.crc32(plain, self.crc)
        self.size += len(plain)
        return self._deflate.compress(plain)

    def finish(self) -> bytes:
        """Return the rest of the blocks; they end at a byte."""
        return self._deflate.flush(zlib.Z_SYNC_FLUSH)


def compress(plain: bytes) -> Blocks:
    """Compress bytes so that they can be put into an answer."""
    compressor = Compressor()
    blocks = compressor.add(plain) + compressor.finish()
    return Blocks(blocks, compressor.crc, compressor.size)


def member(blocks: Blocks) -> bytes:
    """Return blocks as the gzip member that is stored."""
    return b"".join((HEAD, blocks.blocks, tail(blocks)))


def tail(of: Blocks | Compressor) -> bytes:
    """Return what ends the member whose blocks these are."""
    return _LAST + _TRAILER.pack(of.crc, of.size & 0xFFFFFFFF)


def blocks_of(stored: bytes) -> Blocks | None:
    """Return the blocks of a member that `member` made; None for any other bytes.

    Of two that are strung together only the last one's trailer is in its place: they are none.
    """
    end = len(stored) - _TRAILER.size - len(_LAST)
    if not stored.startswith(HEAD) or not stored.endswith(_FLUSHED + _LAST, 0, end + len(_LAST)):
        return None
    if stored.find(HEAD, len(HEAD)) >= 0:
        return None
    crc, size = _TRAILER.unpack_from(stored, len(stored) - _TRAILER.size)
    return Blocks(stored[len(HEAD) : end], crc, size)


def decompress(blocks: Blocks) -> bytes:
    """Return what blocks decompress to.

    Raises:
        zlib.error: they are damaged.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflate.decompress(blocks.blocks, blocks.size + 1)  # and no more, whatever they say
    if len(plain) != blocks.size or zlib.crc32(plain) != blocks.crc:
        raise zlib.error("the checksum does not match")
    return plain


def plain_pieces(stored: Iterable[bytes]) -> Iterator[bytes]:
    """Return an object's bytes, decompressed as they come, whoever wrote them.

    Args:
        stored: its bytes as they are stored, in pieces: gzip members, or not compressed at all.

    Raises:
        zlib.error: they are damaged, or not whole.
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
            unzip, piece = _unzip(), head  # noqa: PLW2901  (its first bytes came before)
        while True:
            if unzip.eof and piece:
                unzip = _unzip()  # the next member
            plain = unzip.decompress(piece, _STEP_BYTES)
            yield plain
            piece = unzip.unused_data if unzip.eof else unzip.unconsumed_tail  # noqa: PLW2901  (what is left)
            if not piece and len(plain) < _STEP_BYTES:
                break
    if unzip is None:
        yield head
    elif not unzip.eof:
        raise zlib.error("the stream is not whole")


def _unzip() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _plain(said: bytes, *, last: bool) -> bytes:
    """Return a block that holds bytes as they are."""
    if len(said) > _MAX_PLAIN:
        raise ValueError(f"{len(said)} bytes around a result: {_MAX_PLAIN} at most")
    return struct.pack("<BHH", last, len(said), len(said) ^ 0xFFFF) + said


def _joined(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two runs of bytes from the CRC of each and the length of the second."""
    shift, power, bits = 1 << 31, 1 << 30, 8 * size  # 1 and x, as polynomials with the bits reversed
    while bits:
        if bits & 1:
            shift = _times(power, shift)
        power = _times(power, power)
        bits >>= 1
    return _times(shift, first) ^ second


def _times(one: int, other: int) -> int:
    """Return the product of two polynomials modulo that of CRC-32."""
    product = 0
    while one:
        if one & (1 << 31):
            product ^= other
        one = (one << 1) & 0xFFFFFFFF
        other = (other >> 1) ^ (_POLYNOMIAL if other & 1 else 0)
    return product
