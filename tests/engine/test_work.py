"""Calling a task: `def` or `async def`, with its run or without."""

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
from shared.tasks.runtime.task_thread import Loop, Work, call_task
from shared.tasks.testing import RecordedRun


@pytest.fixture
def run() -> TaskRun:
    run = RecordedRun(TaskName.send_reset_sms, scheduled_for=datetime(2026, 1, 1, tzinfo=UTC))
    run.attempt = 2
    return run


async def asks_for_the_run(run: TaskRun) -> str:
    await asyncio.sleep(0)
    return run.run_id


async def wants_nothing() -> str:
    return "nothing"


class CallableObject:
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
        (asks_for_the_run, "test-run"),
        (wants_nothing, "nothing"),
        (partial(asks_for_the_run), "test-run"),
        (CallableObject(), 2),
        (dict, {}),
    ],
)
def test_a_task_gets_its_run_if_it_has_a_parameter_for_it(
    task: Callable[..., Any], returns: Any, run: TaskRun
) -> None:
    """One parameter without a default, or one named `run`."""
    with closing(Loop()) as loop:
        assert call_task(task, run, loop) == returns


def test_a_task_runs_in_the_context_of_its_caller(run: TaskRun) -> None:
    """Context variables of the request, such as its trace, are set in the task's thread."""
    variable = contextvars.ContextVar("variable", default="")
    variable.set("mine")
    work = Work(variable.get, run, lambda value: value, Clock())
    work.start()
    assert work.done.wait(10)
    assert work.prepared == "mine"


def test_an_error_of_a_task_is_returned_to_the_caller(run: TaskRun) -> None:
    """An exception of any kind in the task's thread."""

    def task() -> None:
        raise SystemExit(3)

    work = Work(task, run, lambda value: value, Clock())
    work.start()
    assert work.done.wait(10)
    assert isinstance(work.error, SystemExit)
    assert work.prepared is None


def test_a_run_has_its_time_left_and_raises_when_it_must_stop() -> None:
    """At the task's next check after the deadline or the loss of its lease."""
    run = RecordedRun(TaskName.send_reset_sms, deadline_seconds=10)
    assert run.remaining() == 10
    run.progress(1, 3)
    run.progress(2, 3)  # within one second
    run.clock.sleep(1.5)
    run.progress(3, 3, "done")
    assert [(progress.done, progress.message) for progress in run.written] == [(1, ""), (3, "done")]
    assert [report.done for report in run.reports] == [1, 2, 3]
    run.clock.sleep(8.5)
    with pytest.raises(DeadlineExceeded):
        run.check()
    run.mark_lost()
    with pytest.raises(RunLost):
        run.progress(4)
    assert run.lost


def test_a_log_entry_of_a_run_keeps_its_identity(run: TaskRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A task's own fields are added; they neither replace the run's fields nor fail the task."""
    run.log.info("step", task="other", rows=3)
    logged = capsys.readouterr().out
    assert "task=send_reset_sms" in logged
    assert "rows=3" in logged


def test_a_task_that_has_just_ended_does_not_count_as_hung(run: TaskRun) -> None:
    """Its thread ends a moment later, which must not refuse the next run."""
    work = Work(lambda: 1, run, lambda value: value, Clock())
    work.start()
    assert work.done.wait(10)
    assert not work.alive
