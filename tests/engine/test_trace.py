"""The traceback of a failed run, and the present line of a hung task."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from shared.tasks import TaskName
from shared.tasks.clock import Clock
from shared.tasks.errors import DeadlineExceeded
from shared.tasks.failure import MAX_TRACE, Failure
from shared.tasks.runtime.task_thread import Work
from shared.tasks.testing import RecordedRun
from shared.tasks.trace import MAX_LINE
from tests.support.values import Unprintable
from tests.waiting import wait_for

HERE = "tests/engine/test_trace.py"


def trace_of(task: Callable[[], Any]) -> list[str]:
    """The traceback of a task's error, without line numbers."""
    try:
        task()
    except Exception as error:  # noqa: BLE001
        return unnumbered(Failure.of(error).trace)
    raise AssertionError("the task raised nothing")


def unnumbered(trace: str) -> list[str]:
    lines = []
    for line in trace.splitlines():
        place, separator, rest = line.partition(" in ")
        lines.append(
            f"{place.rpartition(':')[0]}{separator}{rest}" if separator and ".py:" in place else line
        )
    return lines


def read(row: dict[str, Any]) -> Any:
    try:
        return row["id"]
    except KeyError as error:
        error.add_note("row 7\nof page 3")
        raise RuntimeError("no id") from error


def test_a_trace_contains_the_cause_and_its_notes() -> None:
    """The run's error comes first; its message is stored beside the traceback."""
    trace = trace_of(lambda: read({}))
    assert trace[1:] == [
        f"{HERE} in <lambda>: trace = trace_of(lambda: read({{}}))",
        f'{HERE} in read: raise RuntimeError("no id") from error',
        "caused by KeyError: 'id'",
        f'{HERE} in read: return row["id"]',
        "note: row 7 of page 3",
    ]


def test_a_trace_contains_the_handled_exception() -> None:
    """An error in an error handler does not hide the first one, unless raised with `from None`."""

    def handles(*, hides: bool) -> None:
        try:
            read({"id": int("x")})
        except ValueError:
            if hides:
                raise LookupError("two") from None
            raise LookupError("two")  # noqa: B904

    heading = "raised while handling ValueError: invalid literal for int() with base 10: 'x'"
    assert heading in trace_of(lambda: handles(hides=False))
    assert heading not in trace_of(lambda: handles(hides=True))


def test_a_trace_contains_each_member_of_a_group() -> None:
    """With its calls and causes; a task group raises only groups."""

    async def fails(row: dict[str, Any]) -> None:
        read(row)

    async def works() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails({}))
            group.create_task(fails({"no": 1}))

    trace = trace_of(lambda: asyncio.run(works()))
    at = trace.index("1 of 2: RuntimeError: no id")
    assert trace[at + 1 : at + 5] == [
        f"  {HERE} in fails: read(row)",
        f'  {HERE} in read: raise RuntimeError("no id") from error',
        "  caused by KeyError: 'id'",
        f'  {HERE} in read: return row["id"]',
    ]
    assert "2 of 2: RuntimeError: no id" in trace


def test_the_tasks_own_calls_come_before_those_of_libraries() -> None:
    """Paths are relative to the source or to the library's folder."""
    trace = trace_of(lambda: json.loads("{"))
    own = [line.startswith(HERE) for line in trace]
    assert own == sorted(own, reverse=True)
    assert trace[own.count(True)].startswith("[library] json/__init__.py in loads: ")
    assert all(line.startswith("[library] json/") for line in trace[own.count(True) :])


def test_calls_of_the_engine_are_marked() -> None:
    """They are the same for each run and not specific to the task."""
    work = at_work(lambda: read({}))
    assert work.done.wait(10)
    assert work.error is not None
    trace = unnumbered(Failure.of(work.error).trace)
    assert trace[1].startswith(f"{HERE} in read: ")
    assert trace[2].startswith("[engine] shared/tasks/runtime/task_thread.py in _work: ")


def test_a_long_trace_is_bounded_and_keeps_the_tasks_own_calls() -> None:
    """Calls of libraries are left out first; a chain of any length ends."""

    def chain(depth: int) -> None:
        try:
            json.loads("{" * 200)
        except ValueError as error:
            if depth:
                try:
                    chain(depth - 1)
                except ValueError as inner:
                    raise ValueError("x" * 1_000) from inner
            raise ValueError("bottom") from error

    try:
        chain(40)
    except ValueError as error:
        trace = Failure.of(error).trace
    assert len(trace) <= MAX_TRACE
    assert HERE in trace.splitlines()[0]
    assert "[library]" not in trace


def test_a_trace_survives_errors_that_cannot_be_shown() -> None:
    """Cycles, and messages and notes that raise."""

    cause = Unprintable()
    cause.__notes__ = [cause]  # type: ignore[list-item]
    cause.__cause__ = failure = ValueError("a")

    def fails() -> None:
        raise failure from cause

    trace = trace_of(fails)
    assert trace[-2:] == [
        "caused by Unprintable: (its message can't be read)",
        "note: Unprintable: (its message can't be read)",
    ]


def test_a_trace_contains_no_token() -> None:
    """Messages of causes, notes and source lines are redacted, but no names of files and functions."""

    def refresh_token() -> None:
        cause = ValueError("GET https://h/p?X-Goog-Signature=abc failed")
        cause.add_note("Authorization: Bearer eyJhbGciOi.x.y")
        cause.add_note(f"{'x' * (MAX_LINE - 20)} https://user:pa55word@host/")
        raise RuntimeError("no", {"password": "pa55"}) from cause

    trace = "\n".join(trace_of(refresh_token))
    assert f'{HERE} in refresh_token: raise RuntimeError("no", {{"password": "…"}}) from cause' in trace
    assert "pa55" not in trace
    assert "abc" not in trace
    assert "eyJ" not in trace
    assert "caused by ValueError: GET https://h/p?… failed" in trace


def test_the_type_of_a_cause_is_not_redacted() -> None:
    """Its message is kept, apart from the secrets in it."""

    class InvalidToken(Exception):
        pass

    def fails() -> None:
        raise RuntimeError("no") from InvalidToken("expired at 12:00, password=abc")

    assert "caused by InvalidToken: expired at 12:00, password=…" in trace_of(fails)


def at_work(task: Callable[..., Any], prepare: Callable[[Any], Any] = lambda value: value) -> Work[Any]:
    work = Work(task, RecordedRun(TaskName.send_reset_sms), prepare, Clock())
    work.start()
    return work


def test_the_trace_of_a_hung_task_ends_at_its_present_line() -> None:
    """Of its thread, of an awaited coroutine, or of a stream that yields nothing."""
    hangs = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    ends: list[asyncio.Event] = []

    def synchronous() -> None:
        hangs.wait(60)

    async def awaited() -> None:
        loops.append(asyncio.get_running_loop())
        ends.append(asyncio.Event())
        await ends[-1].wait()

    async def coroutine() -> None:
        await awaited()

    async def blocking() -> None:
        hangs.wait(60)

    async def stream() -> AsyncIterator[int]:
        yield 1
        await awaited()

    def drained(records: Any) -> bool:
        records.feed(lambda _: False)
        return True

    hung_tasks: list[tuple[Callable[..., Any], str]] = [
        (synchronous, f"{HERE} in synchronous: hangs.wait(60)"),
        (blocking, f"{HERE} in blocking: hangs.wait(60)"),
        (coroutine, f"{HERE} in awaited: await ends[-1].wait()"),
        (stream, f"{HERE} in awaited: await ends[-1].wait()"),
    ]
    for task, line in hung_tasks:
        work = at_work(task, drained if task is stream else lambda value: value or True)
        wait_for(line, lambda work=work, line=line: line in trace_at(work) or None)
        own = [each for each in trace_at(work) if each.startswith(HERE)]
        assert own[-1] == line
        if task in {coroutine, stream}:
            loops[-1].call_soon_threadsafe(ends[-1].set)
            assert work.done.wait(10)
    hangs.set()


def trace_at(work: Work[Any]) -> list[str]:
    error = DeadlineExceeded("the task was still at work after 1 s")
    error.stack = work.stack()
    return unnumbered(Failure.of(error).trace)


def test_a_task_that_has_ended_has_no_present_line() -> None:
    """Its thread may already run the next task."""
    work = at_work(time.monotonic)
    assert work.done.wait(10)
    assert work.stack() is None
