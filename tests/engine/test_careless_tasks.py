"""Code of tasks that could lose or repeat records, and what the engine makes of it."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from shared.tasks import TaskName, TaskRun
from shared.tasks.documents.checkpoints import Changes
from shared.tasks.errors import (
    CheckpointInvalid,
    LegEnded,
    ResultNotKept,
    ResultNotStorable,
    StoreUnavailable,
)
from shared.tasks.runtime import record_parts
from shared.tasks.runtime.checkpoint_limits import MAX_STEPS
from shared.tasks.testing import MemoryCheckpoints, RecordedRun, leg_ending

TASK = TaskName.collect_charge_cdrs
PAGES = 5


@pytest.fixture
def run() -> RecordedRun:
    return RecordedRun(TASK, deadline_seconds=3_600, leg_seconds=600)


def pages(run: TaskRun, *, bad: int | None = None) -> Iterator[Any]:
    """Yield one record per page, and move the cursor in a `finally`, even if the page failed."""
    cursor = run.cursor("pages", 0)
    while cursor.value < PAGES:
        page = cursor.value
        try:
            yield {1} if page == bad else page
        finally:
            cursor.advance(page + 1)


def test_a_finally_does_not_move_a_cursor_after_the_end_of_a_leg(run: RecordedRun) -> None:
    """It would skip a page that was not read."""

    def task(run: TaskRun) -> Iterator[int]:
        cursor = run.cursor("pages", 0)
        try:
            while cursor.value is not None and cursor.value < PAGES:
                yield cursor.value
                cursor.advance(cursor.value + 1)
        finally:
            cursor.advance(None)

    with leg_ending(run, at=2):
        run.execute(task)
    assert run.execute(task) == list(range(PAGES))


def test_a_finally_does_not_move_a_cursor_past_a_record_that_is_refused(run: RecordedRun) -> None:
    """The next attempt reads its page again, and fails again, rather than publish a result without it."""
    for _ in range(2):
        with pytest.raises(ResultNotStorable):
            run.execute(lambda run: pages(run, bad=2))
    assert run.execute(pages) == list(range(PAGES))


def test_a_part_that_could_not_be_uploaded_is_not_lost(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records are yielded again by the next attempt."""
    monkeypatch.setattr(record_parts, "PART_BYTES", 1)
    failures = [ResultNotKept("injected")]
    upload = MemoryCheckpoints.upload

    def fails_once(self: MemoryCheckpoints, content: bytes) -> str:
        if failures:
            raise failures.pop()
        return upload(self, content)

    monkeypatch.setattr(MemoryCheckpoints, "upload", fails_once)
    text = random.Random(1).randbytes(200_000).hex()  # more than is compressed at once

    def task(run: TaskRun) -> Iterator[str]:
        cursor = run.cursor("pages", 0)
        while cursor.value < PAGES:
            page = cursor.value
            try:
                yield f"{page}{text}"
            finally:
                cursor.advance(page + 1)

    with pytest.raises(ResultNotKept):
        run.execute(task)
    assert [record[0] for record in run.execute(task)] == [str(page) for page in range(PAGES)]


def test_code_that_returns_does_not_replace_records_that_were_yielded(run: RecordedRun) -> None:
    """A deployment has changed the task between two legs."""
    with leg_ending(run, at=2):
        run.execute(pages)
    with pytest.raises(CheckpointInvalid, match="earlier legs yielded records"):
        run.execute(lambda run: list(range(run.cursor("pages").value, PAGES)))
    assert run.execute(pages) == list(range(PAGES))


def cursor_per_operator(end: Any) -> Any:
    """A task with a cursor of its own for each of three operators, which moves to `end`."""

    def task(run: TaskRun) -> Iterator[int]:
        operators = run.cursor("operators", 0)
        while operators.value < 3:
            operator = operators.value
            records = run.cursor(f"records of {operator}", "start")
            if records.value == "start":
                yield operator
                records.advance(end)
            operators.advance(operator + 1)

    return task


def test_a_finished_cursor_need_not_be_asked_for(run: RecordedRun) -> None:
    """It has moved to None."""
    with leg_ending(run, at=1):
        run.execute(cursor_per_operator(None))
    assert run.execute(cursor_per_operator(None)) == [0, 1, 2]


def test_a_cursor_that_is_not_finished_must_be_asked_for(run: RecordedRun) -> None:
    """Otherwise it may have been renamed, and its work would be done again."""
    with leg_ending(run, at=1):
        run.execute(cursor_per_operator("done"))
    with pytest.raises(CheckpointInvalid, match="the cursor 'records of 0'"):
        run.execute(cursor_per_operator("done"))


def test_steps_without_end_are_refused(run: RecordedRun) -> None:
    """Each leg reads all of them."""
    for number in range(MAX_STEPS):
        run.step(f"step {number}", lambda: None)
    with pytest.raises(CheckpointInvalid, match=r"at most 1000 steps.*use run\.cursor"):
        run.step("one more", lambda: None)


def test_a_unit_longer_than_a_leg_gets_most_of_one(run: RecordedRun) -> None:
    """Otherwise each leg would end after its first unit, until the deadline."""
    run.step("first", run.clock.sleep, 1)
    run.ensure_leg_time(100_000)
    run.step("second", run.clock.sleep, 60)
    with pytest.raises(LegEnded):
        run.ensure_leg_time(100_000)


def test_a_result_of_many_parts_is_joined_in_a_leg_of_its_own(run: RecordedRun) -> None:
    """The last page was read shortly before the end of the leg."""

    def task(run: TaskRun) -> Iterator[int]:
        cursor = run.cursor("pages", 0)
        while cursor.value < 100:
            yield cursor.value
            run.clock.sleep(5.95)  # type: ignore[attr-defined]
            cursor.advance(cursor.value + 1)

    with pytest.raises(LegEnded):
        run.execute(task)
    run.resume(next_leg=True)
    assert run.execute(task) == list(range(100))


def test_a_leg_ends_although_its_last_checkpoint_fails_at_first(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is time to try again."""
    failures = [StoreUnavailable("injected"), StoreUnavailable("injected")]
    save = MemoryCheckpoints.save

    def fails_twice(self: MemoryCheckpoints, changes: Changes) -> None:
        if failures:
            raise failures.pop()
        save(self, changes)

    monkeypatch.setattr(MemoryCheckpoints, "save", fails_twice)
    cursor = run.cursor("pages", 0)
    run.clock.sleep(599)
    with pytest.raises(LegEnded):
        cursor.advance(1)
    assert run.memory.saved.cursors["pages"].value == "1"
