"""Records that a run stores before it ends, and joins into its result."""

import gzip
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.cloud.storage import Client as Storage
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from emulators.environment import Addresses
from shared import firebase
from shared.tasks.backends.storage import Objects
from shared.tasks.contract import details_object, part_object, run_object
from shared.tasks.documents.checkpoints import Part
from shared.tasks.documents.legs import WAITING
from shared.tasks.documents.models import RunDocument, TaskDocument
from shared.tasks.errors import ResultNotKept, RunCancelled
from shared.tasks.protocol.effects import ListObjects, ReadDocuments, RemoveObject
from shared.tasks.protocol.retention import MAX_REMOVALS, PART_RETENTION, RETENTION, remove_old_objects
from shared.tasks.results import gzipped
from shared.tasks.results.normalisation import encode_record
from shared.tasks.results.parts import JoinedParts, PartContent, PartWriter, records_in
from shared.tasks.results.records import records_of
from shared.tasks.results.stream import Records, ResultStream, StoredStream
from tests.engine.test_records import values
from tests.faults.faulty import Fault, Faulty
from tests.support.world import TASK, World

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 12, 1, tzinfo=UTC)

groups = st.lists(st.lists(values, max_size=4), max_size=6)


class Continuing:
    """A run that continues."""

    def stream_progress(self, records: int, size_bytes: int) -> None:
        """Accept the record."""


def streamed(records: list[Any]) -> ResultStream:
    return ResultStream(Records(iter(records), None), Continuing())  # type: ignore[arg-type]


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
    parts: list[Part | PartContent] = [first, second.stored_at("p1")]
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
@pytest.mark.parametrize("parts", [600, pytest.param(2_000, marks=pytest.mark.full)])
def test_memory_does_not_grow_with_the_number_of_parts(parts: int) -> None:
    """So many parts of 100 KB take the memory of 20 plus buffers, joined and read again."""
    grown = subprocess.run(
        [sys.executable, "-m", "tests.engine.joiner", "20", str(parts)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=300,
    )
    few, many = map(int, grown.stdout.split()[-2:])
    assert many - few < 30_000_000, (few, many)


# Parts in Storage.


@pytest.fixture
def objects(world: World) -> Objects:
    return Objects(firebase.bucket)


def path_of(number: int) -> str:
    return part_object(TASK, "2026-11-24T120000Z", "token", number)


def test_the_path_of_a_part_has_run_token_and_number() -> None:
    assert path_of(17) == f"tasks_data/{TASK.value}/2026-11-24T120000Z.token.000017.part"


@pytest.mark.parametrize("size", [1, 300_000, 9_000_000], ids=["byte", "pieces", "more than one request"])
def test_a_part_is_stored_and_read_unchanged(objects: Objects, world: World, size: int) -> None:
    """It is neither JSON nor a gzip member, so no server decompresses it."""
    content = random.Random(size).randbytes(size)
    objects.write_part(path_of(1), content)
    download = objects.open(path_of(1))
    assert download is not None
    assert b"".join(download) == content
    assert objects.read(path_of(1)) == content
    blob = world.bucket.get_blob(path_of(1))
    assert blob is not None
    assert (blob.content_type, blob.content_encoding) == ("application/octet-stream", None)
    assert objects.open(path_of(2)) is None


def test_a_part_is_stored_once(objects: Objects, world: World, stack: Addresses) -> None:
    """An object that exists was sent before a response was lost; it is not changed."""
    if stack.storage_server != "fake-gcs":
        pytest.skip("the official Storage emulator ignores if_generation_match")
    objects.write_part(path_of(1), b"first")
    generation = world.bucket.get_blob(path_of(1)).generation
    objects.write_part(path_of(1), b"first")
    assert world.bucket.get_blob(path_of(1)).generation == generation


def test_a_part_is_stored_although_a_response_was_lost(world: World) -> None:
    faulty = Faulty(Fault(1, "lose answer"))
    bucket = Storage(project=firebase.bucket().client.project, _http=faulty).bucket(world.bucket.name)
    Objects(lambda: bucket).write_part(path_of(1), b"content")
    assert faulty.calls[0] == "upload"
    assert world.bucket.blob(path_of(1)).download_as_bytes() == b"content"


def test_parts_in_storage_become_a_result(objects: Objects) -> None:
    """Stored by several legs, joined by the last one, whose own part is not stored."""
    records = [[{"leg": leg, "text": f"{leg}" * 200_000} for _ in range(3)] for leg in range(4)]
    *earlier, last = written(records)
    parts: list[Part | PartContent] = []
    for number, part in enumerate(earlier):
        objects.write_part(path_of(number), part.blocks)
        parts.append(part.stored_at(path_of(number)))
    parts.append(last)
    path = run_object(TASK, "2026-11-24T120000Z", "token")
    objects.write_stream(path, JoinedParts(parts, objects.open), version="v", timeout=60)
    stored = objects.read(path)
    assert stored is not None
    everything = [record for group in records for record in group]
    assert gzip.decompress(stored) == gzip.decompress(whole(streamed(everything)))
    assert list(records_in(parts, objects.open)) == everything


def test_no_result_is_stored_without_one_of_its_parts(objects: Objects, world: World) -> None:
    """An operator may have removed its object."""
    first, second = written([["a"], ["b"]])
    objects.write_part(path_of(0), first.blocks)
    parts = [first.stored_at(path_of(0)), second.stored_at(path_of(1))]
    path = run_object(TASK, "2026-11-24T120000Z", "token")
    with pytest.raises(ResultNotKept, match=rf"{path_of(1)} .*is missing"):
        objects.write_stream(path, JoinedParts(parts, objects.open), version="v", timeout=60)
    assert world.objects() == {path_of(0)}


# Removal of parts.

RUN = "2026-11-24T120000Z"
LONG_AGO = NOW - 2 * RETENTION
LONG_ENDED = RunDocument(Timestamp(), state="completed", token="other", completed=NOW - PART_RETENTION)
RECENTLY = NOW - PART_RETENTION + timedelta(seconds=1)


def removed(
    paths: list[str], document: TaskDocument, record: RunDocument | None, created: datetime = LONG_AGO
) -> tuple[list[str], int]:
    """The objects that one pass removes, and the number of its reads."""
    gone: list[str] = []
    reads = 0
    procedure = remove_old_objects(TASK, gone, now=NOW)
    answer: Any = None
    try:
        while True:
            match procedure.send(answer):
                case ListObjects():
                    answer = [(path, created) for path in paths]
                case ReadDocuments():
                    answer = (document, record)
                    reads += 1
                case RemoveObject():
                    answer = None
    except StopIteration:
        return gone, reads


@pytest.mark.parametrize("state", ["running", WAITING])
@pytest.mark.parametrize("token", ["token", "a later attempt's"])
def test_the_parts_of_a_run_stay_while_it_may_need_them(state: str, token: str) -> None:
    """Whichever attempt stored them, and whichever of the two documents contains the run's state."""
    idle = TaskDocument(run_id="another", state="completed", token="x")
    at_work = TaskDocument(run_id=RUN, state=state, token=token)
    record = RunDocument(Timestamp(), state=state, token=token, started=LONG_AGO)
    for document, run in ((idle, record), (at_work, record), (at_work, None), (at_work, LONG_ENDED)):
        assert removed([part_object(TASK, RUN, "token", 1)], document, run) == ([], 1)


@pytest.mark.parametrize("state", ["completed", "failed"])
@pytest.mark.parametrize("token", ["token", "a later attempt's"])
def test_parts_are_removed_a_day_after_the_end_of_their_run(state: str, token: str) -> None:
    """Those that no checkpoint names, too. The status document may still have the run."""
    paths = [part_object(TASK, RUN, "token", 1), part_object(TASK, RUN, "dead", 1)]
    document = TaskDocument(run_id=RUN, state=state, token=token)
    for end, gone in ((NOW - PART_RETENTION, paths), (RECENTLY, []), (None, [])):
        record = RunDocument(Timestamp(), state=state, token=token, completed=end)
        assert removed(paths, document, record) == (gone, 1)


def test_parts_are_removed_when_the_record_of_their_run_has_expired() -> None:
    """Not within a day of their creation."""
    paths = [part_object(TASK, RUN, "token", 1)]
    other = TaskDocument(run_id="another", state="running", token="token")
    assert removed(paths, other, None) == (paths, 1)
    assert removed(paths, other, None, created=RECENTLY) == ([], 0)


def test_one_read_decides_about_all_parts_of_a_run() -> None:
    """A run has up to 10,000 parts. A pass removes a limited number of objects."""
    paths = [part_object(TASK, RUN, "token", number) for number in range(MAX_REMOVALS + 10)]
    record = RunDocument(Timestamp(), state="failed", completed=LONG_AGO)
    assert removed(paths, TaskDocument(), record) == (paths[:MAX_REMOVALS], 1)
    assert removed(paths, TaskDocument(run_id=RUN, state=WAITING), record) == ([], 1)


@pytest.mark.parametrize("name", ["a.part", "a.b.part", "a.b.1.part", "a.b.0000001.part", ".b.000001.part"])
def test_objects_that_no_run_wrote_stay(name: str) -> None:
    assert removed([f"tasks_data/{TASK.value}/{name}"], TaskDocument(), None) == ([], 0)


def test_parts_are_not_taken_for_results() -> None:
    """Results and details of the same run are decided about by their tokens."""
    paths = [run_object(TASK, RUN, "token"), details_object(TASK, RUN, "token")]
    record = RunDocument(Timestamp(), state="running", token="another")
    gone, _ = removed([*paths, part_object(TASK, RUN, "token", 1)], TaskDocument(), record)
    assert gone == paths
