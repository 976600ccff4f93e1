"""Where a leg ends, and what a task does after it, on one thread or several."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import pytest

from shared import firebase
from shared.tasks import TaskRun
from shared.tasks.backends.storage import Objects
from shared.tasks.contract import DocumentNames
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.errors import CheckpointInvalid, InvalidOptions, LegEnded
from shared.tasks.results.stream import Records
from shared.tasks.runtime.prepared_result import prepare_result
from shared.tasks.runtime.task_thread import Loop
from shared.tasks.specs import LEG_OVERTIME
from shared.tasks.testing import RecordedRun, leg_ending
from tests.engine.unreliable import ALL_PAGES, TASK, pages, persisted


@pytest.fixture
def run() -> RecordedRun:
    return RecordedRun(TASK, deadline_seconds=300)


def test_a_leg_ends_when_the_next_unit_may_not_fit() -> None:
    """It persists the position, and the next leg continues there."""
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=100, checkpoint_seconds=1_000)
    ends = []

    def task(run: RecordedRun) -> list[int]:
        cursor = run.cursor("pages", 0)
        while cursor.value < 10:
            run.clock.sleep(30)
            cursor.advance(cursor.value + 1)
        return ["done"]

    while True:
        try:
            assert run.leg_remaining() == pytest.approx(100 * LEG_OVERTIME)
            assert run.execute(task) == ["done"]
            break
        except LegEnded:
            ends.append(run.clock.monotonic())
            run.resume(next_leg=True)
            assert run.memory.saved.cursors["pages"].value == str(3 * len(ends))
    assert ends == [90, 180, 270]  # a fourth unit of 30 s would end after 100 s
    assert (run.leg, run.attempt, run.remaining()) == (4, 1, 700)


def test_a_leg_ends_before_a_step() -> None:
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=100)
    run.step("first", lambda: run.clock.sleep(60))
    with pytest.raises(LegEnded):
        run.step("second", lambda: pytest.fail("a step of 60 s does not fit into 40 s"))
    run.resume(next_leg=True)
    assert run.step("first", lambda: "again") is None
    assert run.step("second", lambda: 2) == 2


@pytest.mark.parametrize("unit", ["step", "cursor"])
def test_each_leg_does_at_least_one_unit(unit: str) -> None:
    """Even if its time is over before, or the instance receives SIGTERM."""
    run = RecordedRun(TASK, deadline_seconds=10_000, leg_seconds=10)
    for number in range(5):
        run.clock.sleep(5)
        if number % 2:
            run.checkpoints.end_leg()
        run.ensure_leg_time(1_000_000)
        if unit == "step":
            assert run.step(f"step {number}", run.clock.sleep, 4) is None
            with pytest.raises(LegEnded):
                run.step("next", lambda: pytest.fail("the leg must end"))
        else:
            cursor = run.cursor("pages", 0)
            assert cursor.value == number
            run.clock.sleep(4)
            with pytest.raises(LegEnded):
                cursor.advance(number + 1)
        run.resume(next_leg=True)


def test_remembered_steps_are_no_unit() -> None:
    """Otherwise a leg that only skips remembered steps would end, again and again."""
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=10)
    run.step("first", run.clock.sleep, 1)
    run.resume(next_leg=True)
    run.clock.sleep(9.5)
    assert run.step("first", lambda: "again") is None
    assert run.step("second", lambda: 2) == 2


def test_the_time_of_a_unit_contains_no_other_cursor() -> None:
    """Cursors that are asked for together are moved one after another."""
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=100)
    first, second = run.cursor("first", 0), run.cursor("second", 0)
    for number in range(4):
        run.clock.sleep(15)
        first.advance(number)
    run.clock.sleep(15)
    second.advance(1)  # 75 s after it was asked for; another 15 s fit into the leg
    run.clock.sleep(15)
    with pytest.raises(LegEnded):
        second.advance(2)


def test_after_a_leg_has_ended_each_call_ends_it_again(run: RecordedRun) -> None:
    """And nothing more is persisted: code that goes on may have skipped its work."""
    cursor = run.cursor("pages", 0)
    run.checkpoints.end_leg()
    calls: list[Callable[[], Any]] = [
        lambda: cursor.advance(1),
        lambda: cursor.advance(2),
        lambda: run.step("step", lambda: pytest.fail("must not be called")),
        lambda: run.cursor("other"),
        lambda: run.cursor("pages"),
        cursor.kept,
        lambda: run.ensure_leg_time(0),
        lambda: run.progress(1),
        run.check,
    ]
    for call in calls:
        with pytest.raises(LegEnded):
            call()
    assert persisted(run) == {"pages": "1"}


def test_the_error_handling_of_a_task_does_not_catch_the_end(run: RecordedRun) -> None:
    def task(run: TaskRun) -> Iterator[dict[str, int]]:
        try:
            yield from pages(run)
        except Exception:  # noqa: BLE001
            pytest.fail("LegEnded must not be a subclass of Exception")

    with leg_ending(run, at=2):
        run.execute(task)
    assert run.execute(task) == ALL_PAGES


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("uses", ["step", "cursor"])
def test_a_task_that_catches_the_end_publishes_nothing(run: RecordedRun, uses: str, streams: bool) -> None:
    def work(run: TaskRun) -> None:
        run.checkpoints.end_leg()
        try:
            if uses == "cursor":
                run.cursor("pages", 0).advance(1)
            else:
                run.step("first", lambda: 1)
                run.step("second", lambda: 2)
        except BaseException:  # noqa: BLE001
            pass

    def streaming(run: TaskRun) -> Iterator[int]:
        if uses == "cursor":
            run.cursor("pages", 0)
        yield 1
        work(run)

    with pytest.raises(LegEnded):
        run.execute(streaming if streams else work)


def test_records_that_are_not_kept_do_not_hide_the_end(run: RecordedRun) -> None:
    """A task that catches it would be published although its result is kept nowhere."""

    def task() -> Iterator[int]:
        yield 1
        run.checkpoints.end_leg()
        run.step("first", lambda: 1)
        with suppress(LegEnded):
            run.step("second", lambda: 2)

    identity = AttemptIdentity(
        DocumentNames("projects/p/databases/d/documents", TASK), "run", "token", "test"
    )
    with closing(Loop()) as loop, pytest.raises(LegEnded):
        prepare_result(Records(task(), loop), identity, run, "none", Objects(firebase.bucket))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, "60", None, True, timedelta(minutes=1)])
def test_ensure_leg_time_takes_a_number_of_seconds(run: RecordedRun, seconds: Any) -> None:
    with pytest.raises(InvalidOptions, match=f"number of seconds, 0 or more, got {re.escape(repr(seconds))}"):
        run.ensure_leg_time(seconds)


def test_ensure_leg_time_ends_a_leg_that_is_too_short() -> None:
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=100)
    run.step("first", run.clock.sleep, 1)
    run.ensure_leg_time(99)
    with pytest.raises(LegEnded):
        run.ensure_leg_time(99.5)
    run.resume(next_leg=True)
    run.ensure_leg_time(1_000)  # no leg is longer
    assert run.step("second", lambda: 2) == 2


def test_a_run_without_legs_ends_only_for_sigterm(run: RecordedRun) -> None:
    cursor = run.cursor("pages", 0)
    run.clock.sleep(299)
    cursor.advance(1)
    run.ensure_leg_time(1_000)
    assert run.leg_remaining() == run.remaining() == 1
    run.checkpoints.end_leg()
    with pytest.raises(LegEnded):
        run.ensure_leg_time(0)


def test_several_threads_with_a_cursor_each() -> None:
    """The first one that finds no time left ends the leg; what the others have done is persisted."""
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=100)
    count, halfway = 4, threading.Barrier(4)

    def collect(number: int) -> None:
        cursor = run.cursor(f"operator {number}", 0)
        while cursor.value < 10:
            done = cursor.value + 1
            if done == 5 and run.leg == 1:
                if halfway.wait(10) == 0:
                    run.checkpoints.end_leg()
                halfway.wait(10)
            cursor.advance(done, keep=[[number, done]])

    def task() -> list[Any]:
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(collect, number) for number in range(count)]
        for future in futures:
            future.result()
        return [[*run.cursor(f"operator {number}").kept()] for number in range(count)]

    with pytest.raises(LegEnded):
        run.execute(task)
    run.resume(next_leg=True)
    assert {*persisted(run).values()} == {"5"}
    assert run.execute(task) == [[[number, n] for n in range(1, 11)] for number in range(count)]


def test_a_thread_ends_with_the_leg_although_it_has_time() -> None:
    """What it has done until then is persisted."""
    run = RecordedRun(TASK, deadline_seconds=1_000, leg_seconds=100, checkpoint_seconds=1_000)
    slow, fast = run.cursor("slow", 0), run.cursor("fast", 0)
    for number in range(6):
        run.clock.sleep(10)
        fast.advance(number)
    with ThreadPoolExecutor(1) as pool:  # another unit of 60 s does not fit
        assert isinstance(pool.submit(slow.advance, 1).exception(), LegEnded)
    run.clock.sleep(10)
    with pytest.raises(LegEnded):
        fast.advance(6)
    assert persisted(run) == {"slow": "1", "fast": "6"}


def test_a_cursor_moves_on_the_thread_that_yields(run: RecordedRun) -> None:
    """Elsewhere it could be persisted without records that were yielded before, or with later ones."""

    def task(run: TaskRun) -> Iterator[int]:
        cursor = run.cursor("pages", 0)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(cursor.advance, 1).result()  # nothing was yielded yet
            yield 1
            pool.submit(cursor.advance, 2).result()

    with pytest.raises(CheckpointInvalid, match="cursor 'pages' was moved on another thread"):
        run.execute(task)
    assert persisted(run) == {"pages": "1"}


def yields(_: TaskRun, __: Future[int]) -> Iterator[int]:
    yield 1


def waits(_: TaskRun, other: Future[int]) -> Iterator[int]:
    other.result()
    yield 1


def reports(run: TaskRun, _: Future[int]) -> Iterator[int]:
    run.progress(1)
    yield 1


@pytest.mark.parametrize("unit", [yields, waits, reports])
def test_clean_up_moves_no_cursor_after_another_thread_has_ended_the_leg(
    run: RecordedRun, unit: Callable[[TaskRun, Future[int]], Iterator[int]]
) -> None:
    """A thread learns of the end from a record, a future, or a report. Its unit of work is not complete."""

    def task(run: TaskRun) -> Iterator[int]:
        cursor = run.cursor("pages", 0)
        with ThreadPoolExecutor(1) as pool:
            while cursor.value < 3:
                page = cursor.value
                if page == 1 and not run.resumed:
                    run.checkpoints.end_leg()
                try:
                    yield page  # the leg does not end on this thread before the cursor moves
                    other = pool.submit(run.step, f"page {page}", lambda: 1)
                    wait([other])
                    yield from unit(run, other)
                    yield -page
                finally:
                    cursor.advance(page + 1)

    with pytest.raises(LegEnded):
        run.execute(task)
    assert persisted(run) == {"pages": "1"}
    run.resume(next_leg=True)
    assert run.execute(task) == [0, 1, 0, 1, 1, -1, 2, 1, -2]


def test_a_step_on_another_thread_ends_the_leg_of_a_stream(run: RecordedRun) -> None:
    """The records that were yielded since the last move are repeated, and are in the result once."""

    def task(run: TaskRun) -> Iterator[int]:
        cursor = run.cursor("pages", 0)
        with ThreadPoolExecutor(1) as pool:
            while cursor.value < 4:
                yield cursor.value
                if cursor.value == 2:
                    pool.submit(run.step, "step", lambda: 1).result()
                cursor.advance(cursor.value + 1)
                if cursor.value == 2 and not run.resumed:
                    run.checkpoints.end_leg()  # SIGTERM; the step comes first, because a record was yielded

    with pytest.raises(LegEnded):
        run.execute(task)
    run.resume(next_leg=True)
    assert run.execute(task) == [0, 1, 2, 3]
