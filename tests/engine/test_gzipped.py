"""Compressed JSON that is put into answers as it is."""

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
    """What a browser makes of a gzip stream: its first member, and nothing else."""
    unzip = zlib.decompressobj(wbits=31)
    plain = unzip.decompress(stream)
    assert unzip.eof
    assert unzip.unused_data == b""
    return plain


@given(texts, st.binary(max_size=200), st.binary(max_size=200))
def test_an_answer_is_one_member_with_the_result_inside(plain: bytes, head: bytes, tail: bytes) -> None:
    """Whatever is put around a result, any reader of gzip gets all of it, checksum included."""
    blocks = gzipped.compress(plain)
    before, after = blocks.around(head, tail)
    assert first_member(before + blocks.blocks + after) == head + plain + tail


@given(texts)
def test_what_is_stored_is_plain_gzip_and_its_blocks_are_found_again(plain: bytes) -> None:
    """Any reader can read the object; this engine gets its blocks back without decompressing."""
    blocks = gzipped.compress(plain)
    stored = gzipped.member(blocks)
    assert gzip.decompress(stored) == plain
    assert gzipped.blocks_of(stored) == blocks
    assert gzipped.decompress(blocks) == plain


@given(texts, st.integers(0, 9))
def test_what_others_compressed_is_not_taken_for_ours(plain: bytes, level: int) -> None:
    """Blocks that don't end at a byte can't be continued: they have to be decompressed."""
    assert gzipped.blocks_of(gzip.compress(plain, level)) is None
    assert gzipped.blocks_of(plain) is None


@given(texts, texts)
def test_two_of_ours_strung_together_are_none_of_ours(first: bytes, second: bytes) -> None:
    """The trailer at the end is that of the last alone; read as a stream, both are there."""
    stored = gzipped.member(gzipped.compress(first)) + gzipped.member(gzipped.compress(second))
    assert gzipped.blocks_of(stored) is None
    assert b"".join(gzipped.plain_pieces([stored])) == first + second


@given(st.lists(texts, min_size=1, max_size=4), st.integers(1, 60))
def test_members_are_read_to_the_last_wherever_they_are_cut(members: list[bytes], size: int) -> None:
    """A piece may end with a member, or in the midst of its head."""
    stored = b"".join(map(gzip.compress, members))
    pieces = [stored[start : start + size] for start in range(0, len(stored), size)]
    assert b"".join(gzipped.plain_pieces(pieces)) == b"".join(members)
    with pytest.raises(zlib.error):
        list(gzipped.plain_pieces([*pieces, b"?"]))
    with pytest.raises(zlib.error):
        list(gzipped.plain_pieces([stored[:-1]]))


def test_damage_is_found() -> None:
    """Blocks with another's checksum are no result."""
    blocks = gzipped.compress(b"[1, 2, 3]")
    with pytest.raises(zlib.error):
        gzipped.decompress(gzipped.Blocks(blocks.blocks, blocks.crc ^ 1, blocks.size))
    with pytest.raises(zlib.error):
        gzipped.decompress(gzipped.Blocks(blocks.blocks, blocks.crc, blocks.size + 1))


def test_only_so_much_is_put_around() -> None:
    """A block that is not compressed has a length of two bytes."""
    with pytest.raises(ValueError, match="65535 at most"):
        gzipped.compress(b"").around(b"x" * 65_536, b"")
