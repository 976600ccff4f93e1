"""How a task is called: `def` or `async def`, with its run or without."""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from shared.tasks import DeadlineExceeded, RunLost, TaskName, TaskRun
from shared.tasks.clock import Clock
from shared.tasks.documents.run_writes import RunIdentity
from shared.tasks.runtime.task_thread import Loop, Work, call_task


@pytest.fixture
def run() -> TaskRun:
    identity = RunIdentity("d", TaskName.send_reset_sms, "r", "t", "test", datetime(2026, 1, 1, tzinfo=UTC))
    run = TaskRun(identity, Clock().monotonic() + 100, Clock(), lambda _: None)
    run.attempt = 2
    return run


async def asks_for_the_run(run: TaskRun) -> str:
    await asyncio.sleep(0)
    return run.run_id


async def wants_nothing() -> str:
    return "nothing"


class Instance:
    def __call__(self, run: TaskRun) -> int:
        return run.attempt


@pytest.mark.parametrize(
    ("task", "returns"),
    [
        (lambda: 1, 1),
        (lambda run: run.attempt, 2),
        (lambda run, /: run.source, "test"),
        (lambda limit=5: limit, 5),
        (lambda run=None: run.attempt, 2),
        (lambda *, limit=5: limit, 5),
        (lambda *more: len(more), 0),
        (asks_for_the_run, "r"),
        (wants_nothing, "nothing"),
        (partial(asks_for_the_run), "r"),
        (Instance(), 2),
        (dict, {}),
    ],
)
def test_a_task_gets_its_run_if_it_takes_one(task: Callable[..., Any], returns: Any, run: TaskRun) -> None:
    """One argument without a default, or named `run`, is the run; the rest is the task's own business."""
    with closing(Loop()) as loop:
        assert call_task(task, run, loop) == returns


def test_the_context_of_the_caller_goes_with_the_task(run: TaskRun) -> None:
    """What the request set, its trace say, holds in the task's thread."""
    seen = contextvars.ContextVar("seen", default="")
    seen.set("mine")
    work = Work(seen.get, run, lambda value: value, Clock())
    work.start()
    assert work.done.wait(10)
    assert work.made == "mine"


def test_what_a_task_raises_is_kept_for_the_caller(run: TaskRun) -> None:
    """An error in the task's thread, of whatever kind, is not lost in it."""

    def task() -> None:
        raise SystemExit(3)

    work = Work(task, run, lambda value: value, Clock())
    work.start()
    assert work.done.wait(10)
    assert isinstance(work.error, SystemExit)
    assert work.made is None


def test_a_run_tells_what_is_left_and_when_to_stop() -> None:
    """Time left falls to the deadline; a lost or late run says so at the task's next look."""

    class Hand(Clock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    clock = Hand()
    recorded: list[Any] = []
    identity = RunIdentity("d", TaskName.send_reset_sms, "r", "t", "test")
    run = TaskRun(identity, 10.0, clock, recorded.append)
    assert run.remaining() == 10
    run.progress(1, 3)
    run.progress(2, 3)  # within the same second
    clock.at = 1.5
    run.progress(3, 3, "done")
    assert [(seen.done, seen.message) for seen in recorded] == [(1, ""), (3, "done")]
    clock.at = 10.0
    with pytest.raises(DeadlineExceeded):
        run.check()
    clock.at = 5.0
    run.mark_lost()
    with pytest.raises(RunLost):
        run.progress(4)
    assert run.lost


def test_a_log_entry_of_a_run_can_t_be_given_another_identity(
    run: TaskRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task's own fields join the run's; they don't replace them, nor fail the task."""
    run.log.info("step", task="other", rows=3)
    told = capsys.readouterr().out
    assert "task=send_reset_sms" in told
    assert "rows=3" in told


def test_work_that_is_done_is_not_taken_for_a_hung_task(run: TaskRun) -> None:
    """Its thread outlives it by a moment; the next run on this instance is not refused for that."""
    work = Work(lambda: 1, run, lambda value: value, Clock())
    work.start()
    assert work.done.wait(10)
    assert not work.alive
