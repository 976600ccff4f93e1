"""Compressed JSON that is put into responses unchanged."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.results import gzipped

texts = st.binary(max_size=2000) | st.builds(
    lambda piece, times: piece * times, st.binary(), st.integers(0, 3000)
)


def first_member(stream: bytes) -> bytes:
    """The first member of a gzip stream, which is all that a browser reads."""
    unzip = zlib.decompressobj(wbits=31)
    plain = unzip.decompress(stream)
    assert unzip.eof
    assert unzip.unused_data == b""
    return plain


@given(texts, st.binary(max_size=200), st.binary(max_size=200))
def test_a_response_is_one_member_with_the_result_inside(plain: bytes, head: bytes, tail: bytes) -> None:
    """Any gzip reader gets all of it, with a valid checksum."""
    blocks = gzipped.compress(plain)
    before, after = blocks.around(head, tail)
    assert first_member(before + blocks.blocks + after) == head + plain + tail


@given(texts)
def test_a_stored_object_is_plain_gzip_with_recognisable_blocks(plain: bytes) -> None:
    """Any reader can read it; this engine gets its blocks without decompressing it."""
    blocks = gzipped.compress(plain)
    stored = gzipped.member(blocks)
    assert gzip.decompress(stored) == plain
    assert gzipped.blocks_of(stored) == blocks
    assert gzipped.decompress(blocks) == plain


@given(texts, st.integers(0, 9))
def test_gzip_of_other_writers_is_not_taken_for_ours(plain: bytes, level: int) -> None:
    """Blocks that do not end at a byte cannot be continued and must be decompressed."""
    assert gzipped.blocks_of(gzip.compress(plain, level)) is None
    assert gzipped.blocks_of(plain) is None


@given(texts, texts)
def test_two_concatenated_members_are_not_taken_for_ours(first: bytes, second: bytes) -> None:
    """The trailer belongs to the last one only; a stream reader gets both."""
    stored = gzipped.member(gzipped.compress(first)) + gzipped.member(gzipped.compress(second))
    assert gzipped.blocks_of(stored) is None
    assert b"".join(gzipped.plain_pieces([stored])) == first + second


@given(st.lists(texts, min_size=1, max_size=4), st.integers(1, 60))
def test_all_members_are_read_wherever_pieces_end(members: list[bytes], size: int) -> None:
    """A piece may end with a member or inside its header."""
    stored = b"".join(map(gzip.compress, members))
    pieces = [stored[start : start + size] for start in range(0, len(stored), size)]
    assert b"".join(gzipped.plain_pieces(pieces)) == b"".join(members)
    with pytest.raises(zlib.error):
        list(gzipped.plain_pieces([*pieces, b"?"]))
    with pytest.raises(zlib.error):
        list(gzipped.plain_pieces([stored[:-1]]))


def test_a_wrong_checksum_is_an_error() -> None:
    blocks = gzipped.compress(b"[1, 2, 3]")
    with pytest.raises(zlib.error):
        gzipped.decompress(gzipped.Blocks(blocks.blocks, blocks.crc ^ 1, blocks.size))
    with pytest.raises(zlib.error):
        gzipped.decompress(gzipped.Blocks(blocks.blocks, blocks.crc, blocks.size + 1))


def test_the_length_of_the_surrounding_bytes_is_limited() -> None:
    """An uncompressed block has a length of two bytes."""
    with pytest.raises(ValueError, match="at most 65535"):
        gzipped.compress(b"").around(b"x" * 65_536, b"")
