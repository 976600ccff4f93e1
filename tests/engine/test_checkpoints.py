"""What a run remembers: steps, positions of cursors, and the records that cursors keep."""

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from shared.tasks.documents.checkpoints import Saved
from shared.tasks.errors import (
    CheckpointInvalid,
    DeadlineExceeded,
    ResultNotKept,
    ResultNotStorable,
    RunCancelled,
    RunLost,
)
from shared.tasks.runtime import checkpoints
from shared.tasks.runtime.checkpoint_limits import CHECKPOINT_SECONDS, MAX_STEP_BYTES, pause_between
from shared.tasks.runtime.cursors import MAX_NAME, MAX_POSITION_BYTES
from shared.tasks.testing import RecordedRun
from tests.engine.unreliable import TASK, UnreliableCheckpoints, persisted


@pytest.fixture
def run() -> RecordedRun:
    return RecordedRun(TASK, deadline_seconds=300)


def numbers() -> Callable[[], int]:
    """A function that returns 1, 2, 3, …"""
    count = iter(range(1, 100))
    return lambda: next(count)


def test_a_step_is_called_once_in_the_whole_run(run: RecordedRun) -> None:
    """Each call, attempt and leg gets the remembered value."""
    count = numbers()
    assert (run.step("count", count), run.step("count", count)) == (1, 1)
    run.resume()
    assert (run.resumed, run.step("count", count), run.step("other", count)) == (True, 1, 2)
    run.resume(next_leg=True)
    assert (run.step("count", count), run.step("other", count)) == (1, 2)
    assert (run.attempt, run.leg) == (2, 2)


def test_a_step_passes_arguments_on(run: RecordedRun) -> None:
    assert run.step("sum", lambda a, b, *, c: [a, b, c], 1, 2, c=3) == [1, 2, 3]


def test_a_value_is_decoded_the_first_time_too(run: RecordedRun) -> None:
    """A tuple becomes a list, a time becomes text, and a change stays with the caller."""
    value = (1, {"at": datetime(2026, 1, 1, tzinfo=UTC)})
    first = run.step("value", lambda: value)
    assert first == [1, {"at": "2026-01-01T00:00:00Z"}]
    first.append(2)
    assert run.step("value", lambda: value) == [1, {"at": "2026-01-01T00:00:00Z"}]


@pytest.mark.parametrize("value", [{1}, object(), float("nan"), b"bytes"])
def test_a_value_that_is_not_json_names_its_step(run: RecordedRun, value: object) -> None:
    with pytest.raises(ResultNotStorable, match="the value of step 'list operators' is not JSON"):
        run.step("list operators", lambda: value)
    assert run.memory.saved.steps == {}


async def fetch() -> int:
    return 1


async def stream() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fetch, r"a coroutine; pass an ordinary function, such as lambda: asyncio.run\(fetch\(\)\)"),
        (partial(fetch), r"a coroutine; .* such as lambda: asyncio.run\(fetch\(\)\)"),
        (stream, "an async_generator; pass an ordinary function that returns a list"),
        (lambda: (number for number in range(3)), "a generator; return a list of what it yields"),
        (lambda: map(str, range(3)), "a map; return a list of what it yields"),
    ],
)
def test_a_step_that_returns_no_value_says_what_to_do(
    run: RecordedRun, function: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ResultNotStorable, match=f"step 'fetch' is not JSON: .* returned {message}"):
        run.step("fetch", function)
    assert run.memory.saved.steps == {}


def test_the_advice_for_a_coroutine_works(run: RecordedRun) -> None:
    """In an ordinary task, and in an asynchronous one, whose event loop is running."""
    assert run.step("ordinary", lambda: asyncio.run(fetch())) == 1

    async def task() -> Any:
        return await asyncio.to_thread(run.step, "async", lambda: asyncio.run(fetch()))

    assert run.execute(task) == 1


class Operator:
    """An object with a method that a step calls."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fetch(self) -> str:
        return self.name

    __call__ = fetch


def operators_in_a_loop(run: RecordedRun) -> None:
    for name in ("north", "south"):
        run.step("page", Operator(name).fetch)


def pages_in_a_loop(run: RecordedRun) -> None:
    for page in (1, 2):
        run.step("page", lambda: page)  # noqa: B023  (the mistake)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda run: [run.step("page", str, page) for page in (1, 2)],
        lambda run: [run.step("page", int, "1", base=base) for base in (10, 16)],
        lambda run: [run.step("page", function, "1") for function in (str, int)],
        lambda run: [run.step("page", partial(str, page)) for page in (1, 2)],
        lambda run: [run.step("page", lambda page=page: page) for page in (1, 2)],
        lambda run: [run.step("page", str, page) for page in (1, True)],
        lambda run: [run.step("page", str, page) for page in (-1, -2)],  # both have the same hash
        lambda run: [run.step("page", partial(Operator(name).fetch)) for name in ("north", "south")],
        lambda run: [run.step("page", Operator(name)) for name in ("north", "south")],
        operators_in_a_loop,
        pages_in_a_loop,
    ],
)
def test_one_name_for_two_calls_is_an_error(run: RecordedRun, misuse: Callable[[RecordedRun], Any]) -> None:
    """The second call would get the value of the first one."""
    with pytest.raises(CheckpointInvalid, match="step 'page' already has the value of another"):
        misuse(run)
    assert {*run.memory.saved.steps} == {"page"}


def test_the_same_call_again_is_no_error(run: RecordedRun) -> None:
    """Lists and maps are not compared, because the task may have changed them. Attempts are independent."""
    items: list[int] = []
    for _ in range(2):
        assert run.step("fill", lambda items: items.append(1) or items, items) == [1]
    north = Operator("north")
    assert [run.step("method", north.fetch) for _ in range(2)] == ["north", "north"]
    run.resume()
    assert run.step("fill", lambda: "other") == [1]
    assert run.step("method", Operator("south").fetch) == "north"


def test_a_step_keeps_no_object_in_memory(run: RecordedRun) -> None:
    """Each page of a crawl may be an object with the records of the page."""
    page = Operator("north")
    run.step("page", page.fetch)
    kept = weakref.ref(page)
    del page
    gc.collect()
    assert kept() is None


def test_an_error_of_a_step_is_not_remembered(run: RecordedRun) -> None:
    with pytest.raises(ZeroDivisionError):
        run.step("divide", lambda: 1 / 0)
    assert run.step("divide", lambda: 1) == 1


@pytest.mark.parametrize("size", [MAX_STEP_BYTES, MAX_STEP_BYTES + 1])
def test_a_large_value_is_kept_in_storage(run: RecordedRun, size: int) -> None:
    value = "x" * (size - 2)  # its JSON has two quotation marks
    assert run.step("large", lambda: value) == value
    assert len(run.memory.objects) == (size > MAX_STEP_BYTES)
    run.resume()
    assert run.step("large", lambda: "another") == value
    assert len(run.memory.saved.steps["large"].value or "") <= MAX_STEP_BYTES


def test_a_missing_value_in_storage_is_an_error(run: RecordedRun) -> None:
    run.step("large", lambda: "x" * MAX_STEP_BYTES)
    run.memory.objects.clear()
    with pytest.raises(ResultNotKept, match="the value of step 'large' is missing at memory/0"):
        run.step("large", lambda: "another")


def test_two_threads_in_one_step_get_the_same_value() -> None:
    """Both call the function. The run remembers one value and counts one step."""
    memory = UnreliableCheckpoints()
    run = RecordedRun(TASK, memory=memory)
    both, count = threading.Barrier(2), numbers()

    def function() -> int:
        both.wait(10)
        return count()

    with ThreadPoolExecutor(2) as pool:
        values = list(pool.map(lambda _: run.step("once", function), range(2)))
    assert values[0] == values[1] == run.step("once", function)
    assert count() == 3
    assert memory.sizes == [(1, 0, 0)]


def test_a_step_inside_a_step(run: RecordedRun) -> None:
    assert run.step("outer", lambda: run.step("inner", lambda: 1) + 1) == 2
    assert {*run.memory.saved.steps} == {"outer", "inner"}


@pytest.mark.parametrize("kind", ["step", "cursor"])
@pytest.mark.parametrize("name", ["a", "x" * MAX_NAME, "Größe 1.5", "..", "__a", "a__", "__"])
def test_valid_names(run: RecordedRun, kind: str, name: str) -> None:
    asked = (lambda: run.step(name, lambda: 1)) if kind == "step" else lambda: run.cursor(name, 1).value
    assert asked() == 1


@pytest.mark.parametrize("kind", ["step", "cursor"])
@pytest.mark.parametrize(
    "name", ["", "x" * (MAX_NAME + 1), "a/b", "/", "a\n", "\ud800", "__a__", "____", None, 1, b"a"]
)
def test_invalid_names(run: RecordedRun, kind: str, name: Any) -> None:
    with pytest.raises(CheckpointInvalid, match=f"the name of a {kind} must have 1 to 100 printable"):
        _ = run.step(name, lambda: 1) if kind == "step" else run.cursor(name)
    assert (run.memory.saved.steps, run.checkpoints.cursors) == ({}, {})


@pytest.mark.parametrize("kind", ["step", "cursor"])
def test_a_step_and_a_cursor_may_share_a_name(run: RecordedRun, kind: str) -> None:
    run.step(kind, lambda: 1)
    assert run.cursor(kind, 2).value == 2


def test_a_cursor_starts_at_its_start_and_continues_at_its_position(run: RecordedRun) -> None:
    cursor = run.cursor("pages", {"page": 1})
    assert (cursor.value, run.cursor("empty").value, run.resumed) == ({"page": 1}, None, False)
    cursor.advance(("b", 2))
    assert cursor.value == run.cursor("pages").value == ["b", 2]
    run.resume()
    assert (run.cursor("pages", {"page": 1}).value, run.cursor("empty", 3).value) == (["b", 2], 3)
    assert run.resumed


def test_none_is_a_position(run: RecordedRun) -> None:
    run.cursor("pages", 1).advance(None)
    run.resume()
    assert run.cursor("pages", 1).value is None


def test_a_position_is_decoded_for_each_access(run: RecordedRun) -> None:
    start = [1]
    cursor = run.cursor("list", start)
    start.append(2)
    cursor.value.append(3)
    assert cursor.value == [1]


def test_a_position_is_limited(run: RecordedRun) -> None:
    """A refused position changes nothing."""
    cursor = run.cursor("pages", "x" * (MAX_POSITION_BYTES - 2))
    message = f"position of cursor 'pages' must have at most 10000 bytes, got {MAX_POSITION_BYTES + 1}"
    with pytest.raises(ResultNotStorable, match=message):
        cursor.advance("x" * (MAX_POSITION_BYTES - 1), keep=[1])
    with pytest.raises(ResultNotStorable, match="position of cursor 'other'"):
        run.cursor("other", "x" * MAX_POSITION_BYTES)
    with pytest.raises(ResultNotStorable, match="the value of cursor 'pages' is not JSON"):
        cursor.advance({1})
    assert len(cursor.value) == MAX_POSITION_BYTES - 2
    assert (list(cursor.kept()), persisted(run)) == ([], {})


@pytest.mark.parametrize(
    ("stop", "error"),
    [
        (lambda run: run.mark_lost(), RunLost),
        (lambda run: run.mark_cancelled("by an operator"), RunCancelled),
        (lambda run: run.clock.sleep(300), DeadlineExceeded),
    ],
)
def test_a_run_that_must_stop_moves_no_cursor(
    run: RecordedRun, stop: Callable[[RecordedRun], None], error: type[Exception]
) -> None:
    """Each call raises what `progress` raises, and persists nothing."""
    cursor = run.cursor("pages", 1)
    stop(run)
    calls: list[Callable[[], Any]] = [
        lambda: cursor.advance(2),
        lambda: run.step("step", lambda: 1),
        lambda: run.cursor("other"),
        lambda: run.ensure_leg_time(1),
        lambda: run.progress(1),
    ]
    for call in calls:
        with pytest.raises(error):
            call()
    assert (cursor.value, run.memory.saved) == (1, Saved())


def test_positions_are_persisted_every_few_seconds() -> None:
    run = RecordedRun(TASK, checkpoint_seconds=CHECKPOINT_SECONDS)
    cursor, other = run.cursor("pages", 0), run.cursor("other", 0)
    run.clock.sleep(CHECKPOINT_SECONDS / 2)
    other.advance(1)
    cursor.advance(1)
    assert persisted(run) == {}
    run.clock.sleep(CHECKPOINT_SECONDS / 2)
    cursor.advance(2)
    assert persisted(run) == {"pages": "2", "other": "1"}  # all that have moved
    run.clock.sleep(CHECKPOINT_SECONDS / 2)
    cursor.advance(3)
    assert persisted(run) == {"pages": "2", "other": "1"}
    run.resume()
    assert run.cursor("pages").value == 2


def test_the_seconds_between_checkpoints_grow_with_the_deadline() -> None:
    """A run of 24 hours makes less than 8,000 parts."""
    assert (pause_between(3_600, parts=0), pause_between(86_400, parts=0)) == (5.0, 10.8)
    assert pause_between(3_600, parts=7_900) == 36.0


def test_several_parts_in_one_checkpoint_delay_the_next_one() -> None:
    """Many cursors that keep records would reach the limit of parts otherwise."""
    run = RecordedRun(TASK, checkpoint_seconds=5)
    cursors = [run.cursor(f"operator {number}", 0) for number in range(4)]
    for second in range(1, 40):
        run.clock.sleep(1)
        for cursor in cursors:
            cursor.advance(second, keep=[second])
    assert [each.count for each in run.memory.saved.parts] == [5, 4, 4, 4, 20, 20, 20, 20]  # at 5 and 25 s


def test_too_many_parts_are_an_error(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_PARTS", 2)
    cursor = run.cursor("pages", 0)
    cursor.advance(1, keep=[1])
    cursor.advance(2, keep=[2])
    with pytest.raises(CheckpointInvalid, match="a run may have at most 2 parts"):
        cursor.advance(3, keep=[3])


def test_kept_records_are_those_of_all_attempts(run: RecordedRun) -> None:
    """In their order, and also those that are not persisted yet."""
    run = RecordedRun(TASK, checkpoint_seconds=5)
    cursor, other = run.cursor("pages", 0), run.cursor("other", 0)
    cursor.advance(1, keep=[{"n": 1}, {"n": 2}])
    other.advance(1, keep=["another cursor's"])
    run.clock.sleep(5)
    cursor.advance(2)
    cursor.advance(3, keep=({"n": n} for n in (3, 4)))
    assert [record["n"] for record in cursor.kept()] == [1, 2, 3, 4]
    run.resume()
    cursor = run.cursor("pages", 0)
    assert cursor.value == 2  # records 3 and 4 are lost with it
    assert [record["n"] for record in cursor.kept()] == [1, 2]
    cursor.advance(3, keep=[{"n": 3}])
    assert [record["n"] for record in cursor.kept()] == [1, 2, 3]
    assert list(run.cursor("other").kept()) == ["another cursor's"]
    assert list(run.cursor("none").kept()) == []


def test_reading_kept_records_makes_no_parts() -> None:
    """However often a task reads them between two checkpoints: a run may have few parts."""
    run = RecordedRun(TASK, deadline_seconds=10_000, checkpoint_seconds=1_000)
    cursor, text = run.cursor("pages", 0), "x" * 10_000
    for page in range(1, 101):
        cursor.advance(page, keep=[{"page": page, "text": text}])
        kept = cursor.kept()
        assert next(kept) == {"page": 1, "text": text}
        assert len([*kept]) == page - 1
    assert run.memory.objects == {}
    run.clock.sleep(1_000)
    cursor.advance(101)
    assert (len(run.memory.objects), len(run.memory.saved.parts)) == (1, 1)
    run.resume()
    assert [record["page"] for record in run.cursor("pages").kept()] == [*range(1, 101)]


def test_a_refused_record_keeps_nothing(run: RecordedRun) -> None:
    """Neither the records before it nor the position: the task may call `advance` again."""
    cursor = run.cursor("pages", 0)
    with pytest.raises(ResultNotStorable, match=r"result\[1\]"):
        cursor.advance(1, keep=[1, {2}])

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        cursor.advance(1, keep=failing())
    assert cursor.value == 0
    cursor.advance(1, keep=[1, 2])
    run.resume()
    assert list(run.cursor("pages").kept()) == [1, 2]


def test_many_kept_records_are_persisted_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow until the next checkpoint is due."""
    monkeypatch.setattr(checkpoints, "PART_BYTES", 10_000)
    run = RecordedRun(TASK, checkpoint_seconds=1_000)
    cursor = run.cursor("pages", 0)
    moved = 0
    while not persisted(run):
        cursor.advance(moved := moved + 1, keep=[random.Random(moved).randbytes(1_000).hex()])
    assert 10 < moved < 100
    assert persisted(run) == {"pages": str(moved)}


def test_a_missing_part_is_an_error(run: RecordedRun) -> None:
    run.cursor("pages").advance(1, keep=[1])
    run.memory.objects.clear()
    with pytest.raises(ResultNotKept, match="part memory/0 is missing"):
        list(run.cursor("pages").kept())
