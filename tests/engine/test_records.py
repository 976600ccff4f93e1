"""Arrays are split into records, however their bytes are cut."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks import NoRecords, ResultUnavailable
from shared.tasks.results import gzipped
from shared.tasks.results.normalisation import CALLABLE_KEYS, encode_record, normalise
from shared.tasks.results.records import records_of
from tests.support.values import nested

#: Keys that are stored unchanged.
KEYS = st.text().filter(lambda key: key not in CALLABLE_KEYS)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def cut(plain: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces of one size."""
    return (plain[start : start + size] for start in range(0, len(plain), size))


@given(st.lists(values, max_size=6), st.integers(1, 40), st.sampled_from([None, 2]), st.booleans())
def test_any_array_is_split_into_records(
    records: list[Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    """With or without white space, and cut inside a number, a letter or a record."""
    plain = json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert list(records_of(cut(plain, size), ours=False)) == records


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_ignored(size: int) -> None:
    """Editors write one."""
    assert list(records_of(cut(b'\xef\xbb\xbf["\xef\xbb\xbf"]', size), ours=False)) == ["\ufeff"]


@given(st.lists(values, max_size=6), st.integers(1, 40))
def test_lines_are_split_into_records(records: list[Any], size: int) -> None:
    """Streams of this engine are read by lines."""
    lines = b",\n".join(encode_record(record, place) for place, record in enumerate(records))
    plain = b"[\n" + lines + b"\n]" if records else b"[\n]"
    assert list(records_of(cut(plain, size), ours=True)) == records
    assert list(records_of(cut(orjson.dumps(records), size), ours=True)) == records


@given(st.lists(values, min_size=1, max_size=4), st.integers(1, 40), st.booleans(), st.data())
def test_an_incomplete_array_is_an_error(
    records: list[Any], size: int, ours: bool, data: st.DataObject
) -> None:
    """Wherever it ends."""
    plain = b"[\n" + b",\n".join(map(orjson.dumps, records)) + b"\n]" if ours else orjson.dumps(records)
    short = plain[: data.draw(st.integers(0, len(plain) - 1))]
    with pytest.raises((ResultUnavailable, NoRecords, ValueError)):
        list(records_of(cut(short, size), ours=ours))


def test_the_length_of_a_record_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless content that is not JSON does not fill the memory."""
    monkeypatch.setattr("shared.tasks.results.records.MAX_RECORD", 10_000)
    came = 0

    def endless() -> Iterator[bytes]:
        nonlocal came
        yield b'["'
        while True:
            came += 1000
            yield b"x" * 1000

    with pytest.raises(ResultUnavailable, match="more than 10000 characters"):
        list(records_of(endless(), ours=False))
    assert came < 50_000


@given(values)
def test_a_record_is_encoded_like_in_a_list(record: Any) -> None:
    """The fast path for plain values gives the same bytes as the general one."""
    assert encode_record(record, 0) == normalise([record]).encoded[1:-1]


@pytest.mark.parametrize("levels", [198, 199, 200, 300])
def test_a_record_may_be_as_deep_as_an_element_of_a_list(levels: int) -> None:
    """The fast path has the same limits."""

    def ends(encode: Any) -> str:
        try:
            encode()
        except ValueError as error:
            return str(error)[-60:]
        return "encoded"

    record = nested(levels, lambda value: [value])
    assert ends(lambda: encode_record(record, 0)) == ends(lambda: normalise([record]))


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000)), st.integers(1, 500))
def test_pieces_are_compressed_and_decompressed_like_the_whole(
    plain: bytes, cuts: list[int], size: int
) -> None:
    """However the bytes are cut, they become one member with recognisable blocks."""
    compressor = gzipped.Compressor()
    places = [0, *sorted(min(place, len(plain)) for place in cuts), len(plain)]
    pieces = [plain[start:end] for start, end in pairwise(places)]
    stored = b"".join([gzipped.HEAD, *map(compressor.add, pieces), compressor.finish()])
    stored += gzipped.tail(compressor)
    blocks = gzipped.blocks_of(stored)
    assert blocks is not None
    assert gzipped.decompress(blocks) == plain
    assert b"".join(gzipped.plain_pieces(cut(stored, size))) == plain
    if not plain.startswith(gzipped.MAGIC):
        assert b"".join(gzipped.plain_pieces(cut(plain, size))) == plain


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 5 << 20])
def test_highly_compressed_data_is_decompressed_in_steps(size: int) -> None:
    """No step returns more than a mebibyte, and no data is lost at the end."""
    stored = gzipped.member(gzipped.compress(b"x" * size))
    steps = [len(step) for step in gzipped.plain_pieces(iter([stored]))]
    assert sum(steps) == size
    assert max(steps) <= 1 << 20
