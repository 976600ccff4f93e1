"""Records that a run stores before it ends, and joins into its result."""

import gzip
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.errors import ResultNotKept, RunCancelled
from shared.tasks.results import gzipped
from shared.tasks.results.normalisation import encode_record
from shared.tasks.results.parts import JoinedParts, Part, PartContent, PartWriter, records_in
from shared.tasks.results.records import records_of
from shared.tasks.results.stream import Records, ResultStream, StoredStream
from tests.engine.test_records import values

ROOT = Path(__file__).resolve().parents[2]

groups = st.lists(st.lists(values, max_size=4), max_size=6)


class Watching:
    """A run that accepts every record."""

    def stream_progress(self, records: int, size_bytes: int) -> None:
        self.last = records, size_bytes


def streamed(records: list[Any]) -> ResultStream:
    return ResultStream(Records(iter(records), None), Watching())  # type: ignore[arg-type]


def whole(stream: StoredStream, size: int = 1 << 20) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))


def written(records: list[list[Any]], *, follows: bool = False) -> list[PartContent]:
    """The parts of groups of records, cut after each group."""
    writer = PartWriter(follows=follows)
    parts = []
    for group in records:
        for record in group:
            writer.add(encode_record(record, 0))
        part = writer.cut()
        assert (part is None) == (not group)
        parts += [part] if part else []
    return parts


def nothing(_: str) -> None:
    """A bucket without objects."""


@given(groups, st.integers(1, 200), st.data())
def test_joined_parts_have_the_content_of_a_stream(
    records: list[list[Any]], size: int, data: st.DataObject
) -> None:
    """Wherever the parts are cut, wherever they are, and however the object's bytes are read."""
    parts = written(records)
    bucket = {f"p{number}": part.blocks for number, part in enumerate(parts)}
    somewhere = [
        part.stored_at(f"p{number}") if data.draw(st.booleans()) else part
        for number, part in enumerate(parts)
    ]
    joined = JoinedParts(somewhere, lambda path: cut(bucket[path], size))
    everything = [record for group in records for record in group]
    stream = streamed(everything)
    member = whole(joined, size)
    assert joined.ended
    plain = gzip.decompress(whole(stream))
    assert gzip.decompress(member) == plain
    assert (joined.count, joined.size) == (stream.count, stream.size) == (len(everything), len(plain))
    assert joined.tell() == len(member)
    assert joined.failure is None
    assert list(records_of(gzipped.plain_pieces(cut(member, size)), ours=True)) == everything
    blocks = gzipped.blocks_of(member)  # a response embeds them
    assert blocks is not None
    assert gzipped.decompress(blocks) == plain
    before, after = blocks.around(b'{"data": ', b"}")
    assert orjson.loads(gzip.decompress(before + blocks.blocks + after)) == {"data": everything}


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@given(groups, groups)
def test_records_of_parts_are_read_again(first: list[list[Any]], later: list[list[Any]]) -> None:
    """A later leg's parts follow those of earlier legs."""
    parts = written(first)
    parts += written(later, follows=bool(parts))
    assert list(records_in(parts, nothing)) == [record for group in first + later for record in group]


def test_parts_larger_than_a_batch_are_those_of_a_stream() -> None:
    """Lines are compressed in batches, as a stream compresses them."""
    records = [random.Random(place).randbytes(500).hex() for place in range(2000)]
    writer = PartWriter(follows=False)
    for record in records[:1500]:
        writer.add(encode_record(record, 0))
    assert writer.count == 1500
    assert 500_000 < writer.stored_bytes < writer.size
    first = writer.cut()
    assert first is not None
    assert (first.count, first.size) == (1500, 1500 * 1004)
    assert (writer.count, writer.size, writer.stored_bytes) == (0, 0, 0)
    assert writer.cut() is None
    for record in records[1500:]:
        writer.add(encode_record(record, 0))
    second = writer.cut()
    assert second is not None
    assert gzip.decompress(whole(JoinedParts([first, second], nothing))) == gzip.decompress(
        whole(streamed(records))
    )


@pytest.mark.parametrize(
    ("bucket", "problem"),
    [
        (lambda _: None, "part p1 .*is missing"),
        (lambda stored: [stored[:-1]], "part p1 .*instead of"),
        (lambda _: [], "part p1 .*has 0 instead of"),
        (lambda stored: [stored, b"?"], "part p1 .*has more"),
    ],
    ids=["missing", "short", "empty", "long"],
)
def test_a_part_that_is_not_as_it_was_written_fails_the_run(
    bucket: Callable[[bytes], list[bytes] | None], problem: str
) -> None:
    """The error names the part. No result is made without it."""
    first, second = written([["a"], ["b"]])
    parts = [first, second.stored_at("p1")]
    joined = JoinedParts(parts, lambda _: bucket(second.blocks))
    with pytest.raises(ResultNotKept, match=f"{problem}.*a new run") as caught:
        whole(joined)
    assert joined.failure is caught.value
    assert not joined.ended
    with pytest.raises(ResultNotKept, match=problem):
        list(records_in(parts, lambda _: bucket(second.blocks)))


def test_damaged_records_are_not_read_again() -> None:
    """Reading decompresses them and compares the checksum."""
    (part,) = written([[1, 2, 3]])
    damaged = Part("p0", part.crc ^ 1, part.size, part.stored_bytes, part.count)
    with pytest.raises(ResultNotKept, match=r"p0 .*is damaged.*a new run"):
        list(records_in([damaged], lambda _: [part.blocks]))
    with pytest.raises(ResultNotKept, match="is damaged"):
        list(records_in([part.stored_at("p0")], lambda _: [b"x" * part.stored_bytes]))


def test_the_run_is_checked_before_each_piece() -> None:
    """A cancelled run stops joining."""
    checks = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 3:
            raise RunCancelled("by an operator")

    joined = JoinedParts(written([[1], [2], [3], [4]]), nothing, check)
    with pytest.raises(RunCancelled):
        whole(joined)
    assert isinstance(joined.failure, RunCancelled)


def test_many_parts_are_joined_in_reasonable_time() -> None:
    """A result has at most 10,000 parts; their checksums are combined in Python."""
    first, other = written([["first"], ["other"]])
    parts = [part.stored_at(str(place)) for place, part in enumerate([first, *[other] * 9_999])]
    start = time.perf_counter()
    joined = JoinedParts(parts, lambda path: [other.blocks if int(path) else first.blocks])
    member = whole(joined)
    print(f"10,000 parts joined in {time.perf_counter() - start:.1f} s")  # noqa: T201
    assert orjson.loads(gzip.decompress(member)) == ["first", *["other"] * 9_999]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports the peak memory")
def test_memory_does_not_grow_with_the_number_of_parts() -> None:
    """2,000 parts of 100 KB take the memory of 20 plus buffers, joined and read again."""
    grown = subprocess.run(
        [sys.executable, "-m", "tests.engine.joiner", "20", "2000"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=300,
    )
    few, many = map(int, grown.stdout.split()[-2:])
    assert many - few < 30_000_000, (few, many)
