"""Results that a task yields record by record, and reading results record by record."""

import asyncio
import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from shared.tasks import NoRecords, ResultUnavailable, TaskEngine, TaskRun
from shared.tasks.results import gzipped
from tests.engine.eager import EagerStorage
from tests.engine.line import Line
from tests.engine.test_get_task_data import CONTRACT_PATH, MOMENT, legacy_document
from tests.faults.faulty import Fault, Faulty, HastyClock, engine_behind
from tests.support.world import TASK, HandClock, World

ROOT = Path(__file__).resolve().parents[2]
RECORDS = [{"id": number, "name": f"ü{number}", "costs": [0.5, None, True]} for number in range(3)]
STREAM = {"save_in": "storage"}


def yields() -> Iterator[Any]:
    yield from RECORDS


def yields_with_run(run: TaskRun) -> Iterator[Any]:
    assert run.attempt == 1
    yield from RECORDS


async def yields_asynchronously() -> AsyncIterator[Any]:
    for record in RECORDS:
        await asyncio.sleep(0)
        yield record


async def returns_asynchronously() -> AsyncIterator[Any]:
    made_here = asyncio.Queue[Any]()
    for record in RECORDS:
        made_here.put_nowait(record)

    async def in_the_same_loop() -> AsyncIterator[Any]:
        while not made_here.empty():
            yield await made_here.get()

    waiting = asyncio.get_running_loop()
    waiting.call_soon(lambda: None)
    return in_the_same_loop()


EVERY_KIND = [
    yields,
    yields_with_run,
    lambda: iter(RECORDS),
    lambda: map(dict, RECORDS),
    yields_asynchronously,
    returns_asynchronously,
]


def random_records(number: int) -> Iterator[dict[str, str]]:
    """Records of 2 KB that compress to no less than half."""
    import random  # noqa: PLC0415

    draw = random.Random(1)
    for _ in range(number):
        yield {"raw": draw.randbytes(1000).hex()}


def stored(world: World) -> bytes:
    """The result object's bytes in the bucket."""
    path = world.status()["run"]["result"]["object"]
    return bytes(world.bucket.blob(path).download_as_bytes(raw_download=True))


@pytest.mark.parametrize("task", EVERY_KIND)
def test_yielded_records_are_the_result(engine: TaskEngine, world: World, task: Callable[..., Any]) -> None:
    """A generator or iterator, synchronous or not, gives an array for every reader."""
    assert engine.execute_task("s", TASK, task, STREAM).status == "completed"
    result = world.status()["run"]["result"]
    assert (result["saved_in"], result["count"]) == ("storage", len(RECORDS))
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == RECORDS
    assert TaskEngine().get_task_data_from_storage(TASK) == RECORDS
    assert json.loads(world.bucket.blob(CONTRACT_PATH).download_as_bytes()) == RECORDS
    assert list(engine.iter_task_data(TASK)) == RECORDS


def test_each_record_is_on_its_own_line(engine: TaskEngine, world: World) -> None:
    """The object is an array in one gzip member, ready for responses, and can be read by lines."""
    engine.execute_task("s", TASK, yields, STREAM)
    plain = gzip.decompress(stored(world))
    opening, *lines, closing = plain.decode().split("\n")
    assert (opening, closing) == ("[", "]")
    assert [json.loads(line.removesuffix(",")) for line in lines] == RECORDS
    assert world.status()["run"]["result"]["size_bytes"] == len(plain)
    assert gzipped.blocks_of(stored(world)) is not None
    payload = TaskEngine().get_task_result(TASK).payload
    assert payload is not None
    assert payload.json == plain


def test_a_stream_without_records_is_an_empty_array(engine: TaskEngine, world: World) -> None:
    engine.execute_task("s", TASK, lambda: iter(()), STREAM)
    assert engine.get_task_data(TASK) == list(engine.iter_task_data(TASK)) == []
    assert world.status()["run"]["result"]["count"] == 0


@pytest.mark.parametrize("save_in", ["db", None])
def test_a_stream_is_stored_in_storage_whatever_save_in_specifies(
    engine: TaskEngine, world: World, save_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A document cannot be written in parts; the change is logged."""
    engine.execute_task("s", TASK, yields, {"save_in": save_in})
    assert world.status()["run"]["result"]["saved_in"] == "storage"
    assert "result moved to Storage" in capsys.readouterr().out


def test_a_stream_with_save_in_none_is_consumed(engine: TaskEngine, world: World) -> None:
    """Its records are discarded, whatever they are; the task runs to its end."""
    done: list[object] = []

    def works() -> Iterator[object]:
        for record in ({1, 2}, object()):
            done.append(record)
            yield record

    assert engine.execute_task("s", TASK, works, {"save_in": "none"}).status == "completed"
    assert len(done) == 2
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == []
    assert world.objects() == set()


@pytest.mark.parametrize("value", [RECORDS, "text", {"a": 1}, (1, 2)], ids=["list", "text", "map", "tuple"])
def test_collections_are_not_streams(engine: TaskEngine, world: World, value: Any) -> None:
    """Only an iterator is streamed; other values are stored as `save_in` specifies."""
    engine.execute_task("s", TASK, lambda: value, {"save_in": "db"})
    assert world.status()["run"]["result"]["saved_in"] == "db"


def test_a_stream_is_not_cached(engine: TaskEngine, world: World) -> None:
    """It may be larger than the memory; readers of the instance read the new result at once."""
    engine.execute_task("s", TASK, lambda: ["old"])
    engine.execute_task("s", TASK, yields, STREAM)
    assert engine.cache.held_bytes == 0
    assert list(engine.iter_task_data(TASK)) == RECORDS
    assert engine.cache.held_bytes == 0
    assert engine.get_task_data(TASK) == RECORDS


def test_large_streams_are_uploaded_in_pieces(
    engine: TaskEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pieces form one object with the right bytes."""
    monkeypatch.setattr("shared.tasks.backends.storage.CHUNK_BYTES", 1 << 18)
    assert engine.execute_task("s", TASK, lambda: random_records(1500), STREAM).status == "completed"
    assert len(stored(world)) > 4 << 18
    assert json.loads(gzip.decompress(stored(world))) == list(random_records(1500))
    assert sum(1 for _ in engine.iter_task_data(TASK)) == 1500


def raises_at(number: int, error: BaseException | None = None, record: Any = None) -> Callable[[], Any]:
    def task() -> Iterator[Any]:
        yield from random_records(number)
        if error is not None:
            raise error
        yield record

    return task


@pytest.mark.parametrize("before", [17, 600], ids=["before the first piece is sent", "after"])
@pytest.mark.parametrize(
    ("task", "text"),
    [
        (lambda n: raises_at(n, ValueError("no more")), "ValueError: no more"),
        (lambda n: raises_at(n, record={"price": float("nan")}), "ResultNotStorable: result[{n}].price: nan"),
        (lambda n: raises_at(n, record={"a": {1}}), "ResultNotStorable: result[{n}].a: JSON cannot hold set"),
        (lambda n: raises_at(n, record=2**64), "ResultNotStorable: result[{n}]: an int beyond"),
    ],
    ids=["raised", "nan", "set", "large int"],
)
def test_a_stream_that_fails_is_not_published(
    engine: TaskEngine,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    task: Callable[[int], Callable[[], Any]],
    text: str,
) -> None:
    """No object stays, nor does the last good result change; the error has the record's place."""
    monkeypatch.setattr("shared.tasks.backends.storage.CHUNK_BYTES", 1 << 18)
    engine.execute_task("s", TASK, lambda: ["good"])
    outcome = engine.execute_task("s", TASK, task(before), STREAM)
    assert outcome.status == "failed"
    assert world.status()["error"].startswith(text.replace("{n}", str(before)))
    assert world.objects() == set()
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == ["good"]


def test_a_stream_cleans_up_before_its_run_ends(engine: TaskEngine, world: World) -> None:
    """The generator's `finally` runs whatever ends it, synchronous or not."""
    cleaned: list[str] = []

    def task() -> Iterator[Any]:
        try:
            yield float("nan")
        finally:
            cleaned.append("synchronous")

    async def asynchronous() -> AsyncIterator[Any]:
        try:
            yield float("nan")
        finally:
            await asyncio.sleep(0)
            cleaned.append("asynchronous")

    for each in (task, asynchronous):
        assert engine.execute_task("s", TASK, each, STREAM).status == "failed"
    assert cleaned == ["synchronous", "asynchronous"]


def test_a_base_exception_in_a_stream_is_recorded_and_raised_again(engine: TaskEngine, world: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        engine.execute_task("s", TASK, raises_at(1, KeyboardInterrupt()), STREAM)
    assert world.status()["status"] == "failed"


@pytest.mark.parametrize("save_in", ["storage", "none"])
def test_a_stream_that_lost_its_lease_ends_at_its_next_record(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """Another attempt holds the task; the upload is not completed and no result published."""

    went_on: list[str] = []

    def task(run: TaskRun) -> Iterator[Any]:
        world.database.document(f"nx-tasks/{TASK.value}").update({"run.token": "another's"})
        until = time.monotonic() + 30
        while not run.lost and time.monotonic() < until:
            yield "before the loss is noticed"
        yield "one more"
        went_on.append(run.run_id)

    outcome = engine.execute_task("s", TASK, task, {"save_in": save_in, "lease_seconds": 0.6})
    assert (outcome.status, went_on) == ("lost", [])
    assert world.objects() == set()


@pytest.mark.parametrize("save_in", ["storage", "none"])
def test_a_stream_ends_at_its_deadline(
    engine: TaskEngine, world: World, clock: HandClock, save_in: str
) -> None:
    """It is recorded as failed in time and uploads no further piece."""

    went_on: list[int] = []

    def task() -> Iterator[Any]:
        yield 1
        clock.ahead += 1000
        yield 2
        went_on.append(3)

    outcome = engine.execute_task("s", TASK, task, {"save_in": save_in, "deadline_seconds": 500})
    assert (outcome.status, went_on) == ("failed", [])
    assert "DeadlineExceeded" in world.status()["error"]
    assert world.objects() == set()


def test_progress_shows_records_and_bytes(engine: TaskEngine, world: World, clock: HandClock) -> None:
    """Readers of the run record see them, updated at most once per second."""
    clock.monotonic = lambda: clock.ahead  # type: ignore[method-assign]  # independent of the machine's speed
    found: list[Any] = []

    def task(run: TaskRun) -> Iterator[Any]:
        for number in range(4):
            yield {"n": number}
            found.append(world.history()[run.run_id].get("progress"))
            clock.ahead += 0.6

    engine.execute_task("s", TASK, task, STREAM)
    progress_reports = [
        None if progress is None else (progress["done"], progress["message"]) for progress in found
    ]
    assert progress_reports == [None, None, (3, "27 bytes"), (3, "27 bytes")]


def test_a_failed_stream_records_its_progress(engine: TaskEngine, world: World) -> None:
    """Including records of the last second."""

    def task() -> Iterator[Any]:
        yield from range(57)
        raise ValueError("record 57")

    outcome = engine.execute_task("s", TASK, task, STREAM)
    progress = world.history()[outcome.run_id]["progress"]
    assert (outcome.status, progress["done"], progress["total"]) == ("failed", 57, None)


def test_progress_of_the_task_is_not_overwritten_by_that_of_the_stream(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """A task that knows the total reports more than a count."""

    def task(run: TaskRun) -> Iterator[Any]:
        for number in range(3):
            run.progress(number, 3, "of three")
            clock.ahead += 2
            yield number

    outcome = engine.execute_task("s", TASK, task, STREAM)
    progress = world.history()[outcome.run_id]["progress"]
    assert (progress["done"], progress["total"], progress["message"]) == (2, 3, "of three")


def test_the_summary_and_the_duration_of_a_stream_are_those_at_its_end(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    def task(run: TaskRun) -> Iterator[Any]:
        yield 1
        clock.ahead += 30
        run.summarise({"kept": 1})

    outcome = engine.execute_task("s", TASK, task, STREAM)
    assert world.status()["run"]["result"]["summary"] == {"kept": 1}
    assert outcome.duration_seconds >= 30


def test_an_outage_of_storage_fails_a_stream(
    far_engine: TaskEngine, storage_line: Line, world: World
) -> None:
    """A stream that could not be stored is not published."""

    def task() -> Iterator[Any]:
        storage_line.cut()
        yield 1

    outcome = far_engine.execute_task("s", TASK, task, STREAM)
    assert outcome.status == "failed"
    assert world.status()["error"].startswith("ResultNotKept: Storage did not take the result")


BEGINNING, PIECE, LAST_PIECE = 1, 2, 4


class FaultyUploads(Faulty):
    """Counts and fails only calls that upload."""

    def _strikes(self, call: str) -> str:
        return super()._strikes(call) if call == "upload" else ""


def struck(at: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Stream 600 records in three pieces with one failing call; return the outcome."""
    monkeypatch.setattr("shared.tasks.backends.storage.CHUNK_BYTES", 1 << 18)
    faulty = FaultyUploads(Fault(at, kind))
    engine = engine_behind(faulty, HastyClock(), document_seconds=10.0, object_seconds=20.0)
    outcome = engine.execute_task("s", TASK, lambda: random_records(600), STREAM)
    assert len(faulty.calls) >= LAST_PIECE + (kind == "fail 1")
    return outcome.error or outcome.status


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (BEGINNING, "fail 1"),
        (BEGINNING, "lose answer"),
        (PIECE, "fail 1"),
        (LAST_PIECE, "fail 1"),
        (LAST_PIECE, "lose answer"),
    ],
)
def test_an_upload_survives_a_lost_call(
    world: World, monkeypatch: pytest.MonkeyPatch, at: int, kind: str
) -> None:
    """The piece is sent again without asking the task again, unless the server already has it."""
    assert struck(at, kind, monkeypatch) == "completed"
    assert json.loads(gzip.decompress(stored(world))) == list(random_records(600))


def test_a_piece_stored_twice_fails_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage discards repeated bytes; a server that does not must not corrupt a result."""
    engine = TaskEngine()
    engine.execute_task("s", TASK, lambda: ["good"])
    ended = struck(PIECE, "lose answer", monkeypatch)
    if ended == "completed":
        assert json.loads(gzip.decompress(stored(world))) == list(random_records(600))
    else:
        assert "DataCorruption" in ended
        assert world.objects() == set()
        assert engine.get_task_data(TASK) == ["good"]


# Servers that store one piece of an upload as if it were the whole object.

ONE_REQUEST = "upload repeated in one request"


def eager_engine(monkeypatch: pytest.MonkeyPatch, at: int = 1) -> TaskEngine:
    """An engine that sends pieces of 256 KiB to a server that stores one of them at once."""
    monkeypatch.setattr("shared.tasks.backends.storage.CHUNK_BYTES", 1 << 18)
    return engine_behind(EagerStorage(at), HastyClock(), document_seconds=10.0, object_seconds=60.0)


@pytest.mark.parametrize(
    ("at", "number"),
    [(1, 240), (1, 480), (2, 480), (1, 1500), (3, 1500)],
    ids=["1 of a piece and a bit", "1 of two and a bit", "2 of two and a bit", "1 of many", "3 of many"],
)
def test_after_a_piece_was_stored_as_the_whole_the_object_is_uploaded_again(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: int, number: int
) -> None:
    """Object and contract copy have every record, the task runs once, and one line is logged."""
    asked: list[int] = []

    def task() -> Iterator[Any]:
        asked.append(1)
        yield from random_records(number)

    assert eager_engine(monkeypatch, at).execute_task("s", TASK, task, STREAM).status == "completed"
    assert len(asked) == 1
    assert len(stored(world)) > number // 240 << 18
    assert json.loads(gzip.decompress(stored(world))) == list(random_records(number))
    assert world.bucket.blob(CONTRACT_PATH).download_as_bytes(raw_download=True) == stored(world)
    assert capsys.readouterr().out.count(ONE_REQUEST) == 1


@pytest.mark.parametrize("error", [ValueError("no more"), OSError("the task's own"), KeyboardInterrupt()])
def test_a_failure_after_a_piece_was_stored_as_the_whole_leaves_no_object(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The run fails with the task's own error; the stored piece is removed."""
    engine = eager_engine(monkeypatch)
    with nullcontext() if isinstance(error, Exception) else pytest.raises(type(error)):
        engine.execute_task("s", TASK, raises_at(600, error), STREAM)
    assert world.status()["status"] == "failed"
    assert world.status()["error"].startswith(f"{type(error).__name__}: {error}".rstrip(": "))
    assert world.objects() == set()


def test_the_error_of_a_full_disk_names_the_directory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data for a single request does not fit there: the run fails and no object stays."""
    engine = eager_engine(monkeypatch)
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def task() -> Iterator[Any]:
        yield from random_records(300)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))
        yield from random_records(600)

    try:
        outcome = engine.execute_task("s", TASK, task, STREAM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert outcome.status == "failed"
    assert str(outcome.error).startswith(f"ResultNotKept: the temporary directory {gettempdir()} cannot hold")
    assert "set TMPDIR" in str(outcome.error)
    assert world.objects() == set()


def test_a_large_returned_result_is_stored_completely(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client library uploads more than 100 MiB in pieces, here more than 256 KiB."""
    monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", 1 << 18)
    monkeypatch.setattr("google.cloud.storage.blob._DEFAULT_CHUNKSIZE", 1 << 18)
    value = list(random_records(600))
    assert eager_engine(monkeypatch).execute_task("s", TASK, lambda: value, STREAM).status == "completed"
    assert json.loads(gzip.decompress(stored(world))) == value
    assert world.bucket.blob(CONTRACT_PATH).download_as_bytes(raw_download=True) == stored(world)
    assert capsys.readouterr().out.count(ONE_REQUEST) == 2


# Reading


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("value", [RECORDS, [], ["ü", 1, None, [1], {}]])
def test_any_array_is_read_record_by_record(
    engine: TaskEngine, world: World, save_in: str, value: Any
) -> None:
    """Streamed or not, from the document or from Storage."""
    engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    assert list(TaskEngine().iter_task_data(TASK)) == value


def test_without_a_result_there_are_no_records(engine: TaskEngine, world: World) -> None:
    """Like `get_task_data`: never run, not saved, or a text of the legacy writer."""
    assert list(engine.iter_task_data(TASK)) == []
    engine.execute_task("s", TASK, lambda: None)
    assert list(engine.iter_task_data(TASK)) == []
    world.write(legacy_document(data="no data to save"))
    assert list(engine.iter_task_data(TASK)) == []


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("value", [{"a": 1}, {}, "text", 5])
def test_reading_records_of_another_type_is_an_error(
    engine: TaskEngine, world: World, save_in: str, value: Any
) -> None:
    """The message names the function that reads it."""
    engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    with pytest.raises(NoRecords, match=r"collect_charge_cdrs: .*get_task_data"):
        list(engine.iter_task_data(TASK))


def test_legacy_records_are_read(engine: TaskEngine, world: World) -> None:
    """From its document or from the contract's path, in any format of JSON."""
    world.write(legacy_document(data=[{"at": MOMENT}]))
    assert list(engine.iter_task_data(TASK)) == [{"at": "2026-11-01T12:00:00Z"}]
    blob = world.bucket.blob(CONTRACT_PATH)
    blob.upload_from_string(json.dumps(RECORDS, indent=2), content_type="application/json")
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
    assert list(engine.iter_task_data(TASK)) == RECORDS
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(json.dumps(RECORDS).encode()), content_type="application/json")
    assert list(engine.iter_task_data(TASK)) == RECORDS
    blob.delete()
    assert list(engine.iter_task_data(TASK)) == []


def test_a_contract_copy_is_not_taken_for_legacy_records(engine: TaskEngine, world: World) -> None:
    """An object with a version at the contract's path is of an earlier run of this engine."""
    engine.execute_task("s", TASK, lambda: ["ours"], STREAM)
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
    with pytest.raises(ResultUnavailable):
        list(engine.iter_task_data(TASK))


def test_a_task_can_merge_its_last_result_into_the_next(engine: TaskEngine, world: World) -> None:
    """It reads one object and writes another; readers get either one completely."""

    def merges(run: TaskRun) -> Iterator[Any]:
        yield from engine.iter_task_data(run.task_name)
        assert TaskEngine().get_task_data(TASK) == RECORDS
        yield {"id": 3}

    engine.execute_task("s", TASK, yields, STREAM)
    assert engine.execute_task("s", TASK, merges, STREAM).status == "completed"
    assert list(engine.iter_task_data(TASK)) == engine.get_task_data(TASK) == [*RECORDS, {"id": 3}]


def test_a_reader_gets_its_result_to_the_end(engine: TaskEngine, world: World) -> None:
    """A result published in the meantime is for the next reader."""
    engine.execute_task("s", TASK, lambda: random_records(2000), STREAM)
    reading = engine.iter_task_data(TASK)
    first = next(reading)
    engine.execute_task("s", TASK, yields, STREAM)
    assert [first, *reading] == list(random_records(2000))


def test_an_interrupted_download_is_resumed(far_engine: TaskEngine, storage_line: Line, world: World) -> None:
    """A slow reader that loses its connection gets each record exactly once."""
    TaskEngine().execute_task("s", TASK, lambda: random_records(20_000), STREAM)
    came = []
    for number, record in enumerate(far_engine.iter_task_data(TASK)):
        if number in {10, 9000}:
            storage_line.cut()
            storage_line.restore()
        came.append(record)
    assert came == list(random_records(20_000))


def test_a_download_that_cannot_be_resumed_is_an_error(
    far_engine: TaskEngine, storage_line: Line, world: World
) -> None:
    """It is never taken for a shorter result."""
    TaskEngine().execute_task("s", TASK, lambda: random_records(20_000), STREAM)
    reading = far_engine.iter_task_data(TASK)
    next(reading)
    storage_line.cut()
    with pytest.raises(ResultUnavailable, match="could not be read to its end"):
        list(reading)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored[:-1],
        lambda stored: stored[: len(stored) // 2],
        lambda stored: stored[:-8] + b"\x00" * 8,
        lambda _: gzip.compress(b"[\n1,\n2\n"),
        lambda _: b"[1, 2",
        lambda _: b"[1, 2] 3",
        lambda _: b"[1, NaN]",
        lambda _: b"[1 2]",
        lambda _: b"[1,]",
        lambda _: b"",
    ],
)
def test_reading_a_damaged_object_ends_with_an_error(
    engine: TaskEngine, world: World, damage: Callable[[bytes], bytes]
) -> None:
    """Whatever the damage is."""
    engine.execute_task("s", TASK, lambda: random_records(100), STREAM)
    blob = world.bucket.blob(world.status()["run"]["result"]["object"])
    blob.upload_from_string(damage(stored(world)), content_type="application/json")
    with pytest.raises((ResultUnavailable, NoRecords)):
        list(engine.iter_task_data(TASK))


def test_a_missing_object_is_an_error(engine: TaskEngine, world: World) -> None:
    """A result that the status document points to is never read as missing data."""
    engine.execute_task("s", TASK, yields, STREAM)
    world.bucket.blob(world.status()["run"]["result"]["object"]).delete()
    world.bucket.blob(CONTRACT_PATH).delete()
    with pytest.raises(ResultUnavailable, match="missing"):
        list(engine.iter_task_data(TASK))


def test_the_error_of_a_result_that_is_too_large_names_the_streaming_function(
    engine: TaskEngine, world: World
) -> None:
    """It is not downloaded, because its size is known."""
    engine.execute_task("s", TASK, yields, STREAM)
    world.database.document(f"nx-tasks/{TASK.value}").update({"run.result.size_bytes": 5_000_000_000})
    with pytest.raises(ResultUnavailable, match="iter_task_data"):
        TaskEngine().get_task_data(TASK)
    assert list(TaskEngine().iter_task_data(TASK)) == RECORDS


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports the peak memory")
def test_memory_does_not_grow_with_the_number_of_records(world: World) -> None:
    """200,000 records take the memory of 2,000 plus buffers, written and read back."""
    grown = subprocess.run(
        [sys.executable, "-m", "tests.engine.streamer", "2000", "200000"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=300,
    )
    few, many = map(int, grown.stdout.split()[-2:])
    assert many - few < 60_000_000, (few, many)


def test_a_duplicate_delivery_of_a_stream_does_not_run_the_task(engine: TaskEngine, world: World) -> None:
    options = {**STREAM, "scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)}
    assert engine.execute_task("s", TASK, yields, options).status == "completed"
    assert engine.execute_task("s", TASK, yields, options).status == "duplicate"
