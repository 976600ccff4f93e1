"""Each record is in the result once, wherever a run is interrupted."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.tasks import TaskRun
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.errors import (
    CheckpointInvalid,
    DeadlineExceeded,
    LegEnded,
    ResultNotKept,
    ResultNotStorable,
    RunLost,
    StoreUnavailable,
    WriteRejected,
)
from shared.tasks.results import stream
from shared.tasks.runtime import checkpoints, record_parts
from shared.tasks.runtime.checkpoints import MAX_FAILURES
from shared.tasks.testing import Killed, RecordedRun, interrupted, leg_ending
from tests.engine.unreliable import (
    ALL_PAGES,
    IN_DOUBT,
    TASK,
    UNAVAILABLE,
    Failure,
    UnreliableCheckpoints,
    pages,
    persisted,
)


@pytest.fixture
def memory() -> UnreliableCheckpoints:
    return UnreliableCheckpoints()


@pytest.fixture
def run(memory: UnreliableCheckpoints) -> RecordedRun:
    return RecordedRun(TASK, memory=memory)


def test_sync_and_async_generators() -> None:
    async def asynchronous(run: TaskRun) -> AsyncIterator[dict[str, int]]:
        for record in pages(run):
            await asyncio.sleep(0)
            yield record

    for task in (pages, asynchronous):
        run = RecordedRun(TASK)
        with interrupted(run, at=2):
            run.execute(task)
        with leg_ending(run, at=4):
            run.execute(task)
        assert persisted(run) == {"pages": "4"}
        assert run.execute(task) == ALL_PAGES


def test_records_after_the_last_move_are_in_the_result(run: RecordedRun) -> None:
    def task(run: TaskRun) -> Iterator[Any]:
        yield from pages(run)
        yield "the end"

    with interrupted(run, at=5):
        run.execute(task)
    assert run.execute(task) == [*ALL_PAGES, "the end"]


def test_a_leg_does_not_end_between_records_and_their_move(run: RecordedRun) -> None:
    """A step or `ensure_leg_time` there would persist records that the next leg yields again."""

    def task(run: RecordedRun) -> Iterator[Any]:
        cursor = run.cursor("pages", 0)
        while cursor.value < 4:
            if cursor.value == 2 and not run.resumed:
                run.checkpoints.end_leg()
            yield cursor.value
            run.ensure_leg_time(1_000)
            run.step(f"page {cursor.value}", lambda: 1)
            cursor.advance(cursor.value + 1)

    run = RecordedRun(TASK, checkpoint_seconds=1_000)
    with pytest.raises(LegEnded):
        run.execute(task)
    run.resume(next_leg=True)
    assert persisted(run) == {"pages": "3"}
    assert run.execute(task) == [0, 1, 2, 3]


def test_a_cursor_belongs_before_the_first_record(run: RecordedRun) -> None:
    """Records that it did not move past would be yielded again."""

    def late(run: TaskRun) -> Iterator[int]:
        yield 1
        run.cursor("pages")

    def later(run: TaskRun) -> Iterator[int]:
        run.cursor("pages").advance(1)
        yield 1
        run.cursor("pages").advance(2)
        yield 2
        run.cursor("others")

    for task in (late, later):
        with pytest.raises(CheckpointInvalid, match="was asked for after records were yielded"):
            run.execute(task)


def test_records_of_a_renamed_cursor_fail_the_run(run: RecordedRun) -> None:
    """Its records would be in the result twice, or not at all."""

    def renamed(run: TaskRun) -> Iterator[int]:
        run.cursor("new name", 0).advance(1)
        yield 1

    def without(_: TaskRun) -> Iterator[int]:
        yield 1

    for task in (renamed, without):
        with interrupted(run, at=3):
            run.execute(pages)
        with pytest.raises(CheckpointInvalid, match="cursor 'pages', which this code does not use"):
            run.execute(task)


def test_records_belong_to_the_cursor_that_moved_last() -> None:
    """A later version of the code that does not ask for that cursor must not publish them."""

    def task(run: RecordedRun) -> Iterator[int]:
        first, second, third = (run.cursor(name, 0) for name in ("first", "second", "third"))
        third.advance(1)
        yield 1
        second.advance(1)
        run.clock.sleep(1)
        run.checkpoints.end_leg()
        first.advance(1)

    run = RecordedRun(TASK, checkpoint_seconds=1_000)
    with pytest.raises(LegEnded):
        run.execute(task)
    assert [part.cursor for part in run.memory.saved.parts] == ["first"]


def test_a_record_that_is_not_json_fails_the_run(run: RecordedRun) -> None:
    """The text has its place in the whole result."""

    def task(run: TaskRun) -> Iterator[Any]:
        yield from pages(run)
        yield {1}

    with interrupted(run, at=3):
        run.execute(task)
    with pytest.raises(ResultNotStorable, match=r"result\[10\]"):
        run.execute(task)


def test_many_records_are_uploaded_before_a_checkpoint(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays flat. Those that no checkpoint names are dropped with their attempt."""
    monkeypatch.setattr(record_parts, "PART_BYTES", 10_000)
    records = [random.Random(place).randbytes(1_000).hex() for place in range(200)]

    def task(run: TaskRun) -> Iterator[Any]:
        cursor = run.cursor("all", 0)
        yield from records[cursor.value :]
        cursor.advance(200)

    with interrupted(run, at=200):
        run.execute(task)
    assert len(run.memory.objects) > 2
    assert run.memory.saved == Saved()
    assert run.execute(task) == records


def test_progress_counts_the_records_of_all_legs(run: RecordedRun) -> None:
    def task(run: RecordedRun) -> Iterator[Any]:
        for record in pages(run):
            yield record
            run.clock.sleep(1)

    with leg_ending(run, at=3):
        run.execute(task)
    before = run.written[-1].done
    run.execute(task)
    assert (before, run.written[-1].done) == (6, 10)


def test_a_checkpoint_that_fails_loses_nothing(run: RecordedRun, memory: UnreliableCheckpoints) -> None:
    """Neither Firestore's failures nor Storage's; the next checkpoint persists what they did not."""
    memory.saves = [UNAVAILABLE, None, IN_DOUBT]
    memory.uploads = [None, None, None, ResultNotKept]
    with interrupted(run, at=5):
        run.execute(pages)
    assert persisted(run) == {"pages": "3"}
    assert run.execute(pages) == ALL_PAGES


@pytest.mark.parametrize("failure", [UNAVAILABLE, IN_DOUBT])
def test_failures_in_a_row_fail_the_attempt(
    run: RecordedRun, memory: UnreliableCheckpoints, failure: Failure
) -> None:
    memory.saves = [failure] * MAX_FAILURES
    with pytest.raises(StoreUnavailable):
        run.execute(pages)
    assert run.execute(pages) == ALL_PAGES
    assert run.attempt == 2


def test_a_success_ends_the_row(run: RecordedRun, memory: UnreliableCheckpoints) -> None:
    memory.saves = [UNAVAILABLE, UNAVAILABLE, None, UNAVAILABLE, UNAVAILABLE]
    assert run.execute(pages) == ALL_PAGES


def test_a_failed_checkpoint_is_tried_again_after_the_pause(memory: UnreliableCheckpoints) -> None:
    """Not at each move: a Firestore that does not answer takes a minute each time."""
    run = RecordedRun(TASK, memory=memory, checkpoint_seconds=5)
    memory.saves = [UNAVAILABLE]
    cursor = run.cursor("pages", 0)
    run.clock.sleep(5)
    for number in range(10):
        cursor.advance(number)
    assert len(memory.sizes) == 1
    run.clock.sleep(5)
    cursor.advance(10)
    assert persisted(run) == {"pages": "10"}


def test_a_leg_that_cannot_be_persisted_does_not_end(run: RecordedRun, memory: UnreliableCheckpoints) -> None:
    """The task gets the error, and its attempt fails; or it works on, and its next move ends the leg."""
    memory.saves = [UNAVAILABLE]
    cursor = run.cursor("pages", 0)
    run.checkpoints.end_leg()
    with pytest.raises(StoreUnavailable):
        cursor.advance(1, keep=[1])
    assert (run.checkpoints.ended, cursor.value) == (False, 1)
    with pytest.raises(LegEnded):
        cursor.advance(2, keep=[2])
    run.resume(next_leg=True)
    assert (run.cursor("pages").value, [*run.cursor("pages").kept()]) == (2, [1, 2])


def test_each_commit_contains_what_is_in_doubt(run: RecordedRun, memory: UnreliableCheckpoints) -> None:
    """The run record counts documents, so a commit that was applied must be counted."""
    memory.saves = [IN_DOUBT, IN_DOUBT, None]
    cursor = run.cursor("pages", 0)
    cursor.advance(1, keep=[1])
    with pytest.raises(StoreUnavailable):
        run.step("step", lambda: "lost")
    assert run.step("step", lambda: "remembered") == "remembered"
    assert memory.sizes == [(0, 1, 1), (1, 1, 1), (1, 1, 1)]
    cursor.advance(2, keep=[2])
    assert memory.sizes[-1] == (0, 1, 1)  # nothing is in doubt any more
    run.resume()
    assert run.step("step", lambda: "again") == "remembered"
    assert [*run.cursor("pages").kept()] == [1, 2]


def test_a_refused_commit_is_not_repeated(run: RecordedRun, memory: UnreliableCheckpoints) -> None:
    memory.saves = [(WriteRejected, False)]
    with pytest.raises(WriteRejected):
        run.step("step", lambda: 1)
    run.cursor("pages", 0).advance(1)
    assert memory.sizes == [(1, 0, 0), (0, 1, 0)]


def test_a_lost_run_persists_nothing_more(run: RecordedRun, memory: UnreliableCheckpoints) -> None:
    memory.saves = [(RunLost, False)]
    with pytest.raises(RunLost):
        run.execute(pages)
    assert memory.saved == Saved()


Units: TypeAlias = list[tuple[int, int, int, bool]]
#: How many records a unit of work yields and keeps, the seconds that it takes, and whether it has a step.
units = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 7), st.booleans()), max_size=8
)
#: What happens to an attempt: the call at which its process dies, and the ends of its saves and uploads.
plans = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.lists(st.sampled_from([None, UNAVAILABLE, IN_DOUBT]), max_size=8),
        st.lists(st.sampled_from([None, ResultNotKept]), max_size=4),
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(units, plans, st.sampled_from([0.0, 5.0]), st.sampled_from([1, 8 << 20]))
def test_each_record_is_in_the_result_once(
    work: Units, attempts: list[Any], pause: float, part_bytes: int
) -> None:
    """Wherever the process dies, a leg ends, or a checkpoint fails, is lost, or is in doubt."""
    run = RecordedRun(
        TASK,
        deadline_seconds=100_000,
        leg_seconds=20,
        checkpoint_seconds=pause,
        memory=UnreliableCheckpoints(),
    )
    remembered: dict[str, int] = {}
    calls = itertools.count()

    def remember(run: TaskRun, name: str) -> None:
        value = run.step(name, lambda: next(calls))
        assert remembered.setdefault(name, value) == value

    def task(run: RecordedRun) -> Iterator[Any]:
        remember(run, "first")
        cursor, total = run.cursor("units", 0), run.cursor("kept records", 0)
        for place in range(cursor.value, len(work)):
            records, kept, seconds, has_step = work[place]
            for number in range(records):
                yield [place, number]
                run.memory.burn()  # type: ignore[attr-defined]
            if has_step:
                remember(run, f"step {place}")
            run.clock.sleep(seconds)
            cursor.advance(place + 1, keep=[["kept", place, number] for number in range(kept)])
            total.advance(len([*cursor.kept()]))
        yield from cursor.kept()

    with pytest.MonkeyPatch.context() as patch:
        for module in (checkpoints, record_parts):
            patch.setattr(module, "PART_BYTES", part_bytes)
        patch.setattr(stream, "_BATCH_BYTES", part_bytes)
        result = None
        while result is None:
            memory: Any = run.memory
            plan: Any = attempts.pop(0) if attempts else (1_000_000, [], [])
            memory.calls_left, memory.saves, memory.uploads = plan[0], [*plan[1]], [*plan[2]]
            try:
                result = run.execute(task)
            except LegEnded:
                run.resume(next_leg=True)
            except (Killed, StoreUnavailable, ResultNotKept, DeadlineExceeded):
                run.resume()
    yielded = [[place, number] for place, unit in enumerate(work) for number in range(unit[0])]
    kept = [["kept", place, number] for place, unit in enumerate(work) for number in range(unit[1])]
    assert result == yielded + kept
