"""`RecordedRun` and its interruptions, with which the tests of tasks work."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from shared.tasks import (
    DeadlineExceeded,
    LegEnded,
    ResultNotStorable,
    RunCancelled,
    TaskName,
    TaskRun,
    TaskSpec,
    specs,
)
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.testing import Killed, LogEntry, RecordedRun, interrupted, leg_ending
from tests.engine.unreliable import ALL_PAGES, TASK, pages, persisted


@pytest.fixture
def run() -> RecordedRun:
    return RecordedRun(TASK, deadline_seconds=300)


async def asynchronous(run: TaskRun) -> list[int]:
    return [run.attempt]


@pytest.mark.parametrize(
    ("task", "result"),
    [
        (lambda: None, []),
        (lambda: ({"a": (1, 2)},), [{"a": [1, 2]}]),
        (lambda run: {"attempt": run.attempt}, {"attempt": 1}),
        (asynchronous, [1]),
        (pages, ALL_PAGES),
        (lambda: iter(range(3)), [0, 1, 2]),
        (lambda: iter(()), []),
    ],
)
def test_a_result_is_what_readers_get(run: RecordedRun, task: Callable[..., Any], result: Any) -> None:
    """Of a task with its run or without, that returns or yields, with a cursor or without."""
    assert run.execute(task) == result


def test_a_result_that_cannot_be_stored_fails_the_run(run: RecordedRun) -> None:
    with pytest.raises(ResultNotStorable):
        run.execute(lambda: {1})


def test_a_run_records_what_its_task_reports(run: RecordedRun) -> None:
    run.progress(1, 2)
    run.progress(2, 2, "done")
    run.log.warning("operator failed", operator="a")
    run.summarise({"count": 2}, details={"all": [1, 2]})
    assert [(report.done, report.message) for report in run.reports] == [(1, ""), (2, "done")]
    assert [report.done for report in run.written] == [1]  # the second came within a second
    assert run.logged == [LogEntry("warning", "operator failed", {"operator": "a"})]
    assert (run.summary, run.details) == ({"count": 2}, b'{"all":[1,2]}')


def test_the_clock_moves_only_by_hand(run: RecordedRun) -> None:
    assert (run.remaining(), run.remaining()) == (300, 300)
    run.clock.sleep(299)
    run.check()
    run.clock.sleep(1)
    with pytest.raises(DeadlineExceeded):
        run.check()


def test_the_deadline_is_that_of_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task without a spec has the default of specs."""
    spec = TaskSpec(TASK, deadline_seconds=120)
    monkeypatch.setattr(specs, "REGISTERED", {TASK: spec})
    assert RecordedRun(TASK).remaining() == 120
    assert RecordedRun(TASK, deadline_seconds=60).remaining() == 60
    assert (
        RecordedRun(TaskName.send_reset_sms).remaining() == TaskSpec(TaskName.send_reset_sms).deadline_seconds
    )


@pytest.mark.parametrize("error", [LegEnded, Killed])
def test_what_a_task_must_let_pass_says_so(error: Callable[[], BaseException]) -> None:
    """A task that logs what it catches shows this text."""
    assert re.search(r"let (LegEnded|Killed) pass|must let Killed pass", str(error()))


def test_an_attempt_begins_without_the_last_one_s_summary(run: RecordedRun) -> None:
    """As in production: a task that summarises only in its first leg has no summary."""

    def task(run: TaskRun) -> Iterator[Any]:
        if not run.resumed:
            run.summarise({"pages": 5})
        yield from pages(run)

    with leg_ending(run, at=2):
        run.execute(task)
    run.execute(task)
    assert run.summary is None


def test_an_error_of_a_task_ends_its_attempt(run: RecordedRun) -> None:
    """The next call of `execute` continues from the last checkpoint."""

    def task(run: TaskRun) -> Iterator[Any]:
        for record in pages(run):
            yield record
            if run.attempt == 1 and record["page"] == 3:
                raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        run.execute(task)
    assert persisted(run) == {"pages": "3"}
    assert run.execute(task) == ALL_PAGES
    assert (run.attempt, run.leg) == (2, 1)


@pytest.mark.parametrize("interruption", [interrupted, leg_ending])
def test_an_interruption_must_happen(
    run: RecordedRun, interruption: Callable[..., AbstractContextManager[None]]
) -> None:
    """Otherwise a test of the resumption of a task would not test it."""
    with pytest.raises(AssertionError, match="at position 'nowhere'"), interruption(run, at="nowhere"):
        run.execute(pages)
    with pytest.raises(AssertionError, match="after step 'none'"), interruption(run, after="none"):
        run.execute(pages)
    for both in ({}, {"at": None, "after": "a"}):
        with pytest.raises(ValueError, match="pass either after="), interruption(run, **both):
            pytest.fail("the block must not begin")


def test_an_interruption_at_none(run: RecordedRun) -> None:
    """None is a position, with which many tasks end their loop."""

    def task(run: TaskRun) -> Iterator[int]:
        cursor = run.cursor("pages", 1)
        while cursor.value is not None:
            yield cursor.value
            cursor.advance(cursor.value + 1 if cursor.value < 2 else None)

    with interrupted(run, at=None):
        run.execute(task)
    assert persisted(run) == {"pages": "2"}
    assert run.execute(task) == [1, 2]


def test_a_run_that_is_used_without_execute(run: RecordedRun) -> None:
    with interrupted(run, at=2):
        list(pages(run))
    assert list(pages(run)) == ALL_PAGES[2:]  # the records before are in parts, not in this list


def test_a_killed_process_persists_nothing_more(run: RecordedRun) -> None:
    """Whatever a `finally` of the task does."""

    def task(run: TaskRun) -> None:
        cursor = run.cursor("pages", 0)
        try:
            cursor.advance(1)
        finally:
            for call in (lambda: cursor.advance(2), lambda: run.step("step", lambda: 1)):
                with suppress(Killed):
                    call()

    with interrupted(run, at=1):
        run.execute(task)
    assert run.memory.saved == Saved()


def test_a_task_that_catches_the_kill_is_dead_too(run: RecordedRun) -> None:
    def task(run: TaskRun) -> list[int]:
        with suppress(BaseException):
            run.cursor("pages", 0).advance(1)
        return [1]

    with interrupted(run, at=1):
        run.execute(task)


def test_other_errors_pass_an_interruption(run: RecordedRun) -> None:
    run.mark_cancelled("by an operator")
    with pytest.raises(RunCancelled), interrupted(run, at=1):
        run.execute(pages)


def test_a_leg_of_a_recorded_run_ends_in_time() -> None:
    run = RecordedRun(TASK, deadline_seconds=300, leg_seconds=100)
    assert run.leg_remaining() == pytest.approx(116)
    cursor = run.cursor("pages", 0)
    run.clock.sleep(60)
    with pytest.raises(LegEnded):
        cursor.advance(1)
    run.resume(next_leg=True)
    assert (run.leg, run.attempt, run.remaining()) == (2, 1, 240)
