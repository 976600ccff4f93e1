"""A task's work, on a thread of its own, so that its run can extend the lease and end in time.

Python cannot stop a thread. While a task that outlived its deadline is still working, its instance takes
no other run of the task.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared.tasks.results.stream import Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from types import FrameType

    from shared.tasks.clock import Clock
    from shared.tasks.options import TaskFunction
    from shared.tasks.runtime.task_run import TaskRun

Prepared = TypeVar("Prepared")


class Work(Generic[Prepared]):
    """The work of one run: the task, then the preparation of its result.

    Args:
        task: The task. If it yields, or returns an iterator, `prepare` receives that as `Records`.
        task_run: The run, which a task that takes an argument receives.
        prepare: Prepares the task's result on the task's thread and within its deadline.
        clock: Measures the task's duration.

    Attributes:
        done: Set when the work has ended, in any way.
        over: Set with `done`, or earlier when the run ends without waiting for the work.
        prepared: What `prepare` returned.
        error: The exception that ended the work.
    """

    def __init__(
        self, task: TaskFunction, task_run: TaskRun, prepare: Callable[[object], Prepared], clock: Clock
    ) -> None:
        self.done = threading.Event()
        self.over = threading.Event()
        self.prepared: Prepared | None = None
        self.error: BaseException | None = None
        self._began: float | None = None
        self._task_seconds: float | None = None
        self._task = task
        self._task_run = task_run
        self._prepare = prepare
        self._clock = clock
        self._started = False
        self._thread: int | None = None
        self._loop = Loop()

    def start(self) -> None:
        """Start the task's thread.

        Raises:
            RuntimeError: The process can start no more threads.
        """
        context = contextvars.copy_context()  # the task's log entries have the request's trace
        threading.Thread(target=context.run, args=(self._work,), name="task", daemon=True).start()
        self._started = True

    def result(self) -> Prepared:
        """Return what `prepare` returned, or raise what the task raised, once the work is done."""
        if self.error is not None:
            raise self.error
        if self.prepared is None:
            raise AssertionError("the work ended without a result or an error")
        return self.prepared

    @property
    def task_seconds(self) -> float:
        """Seconds that the task itself took, or has taken so far."""
        if self._task_seconds is not None:
            return self._task_seconds
        return 0.0 if self._began is None else self._clock.monotonic() - self._began

    def stack(self) -> traceback.StackSummary | None:
        """Return the calls that the task is in now, outermost first; None if it is not working.

        A thread that waits for a coroutine is in its event loop: the calls of the coroutine follow.
        """
        try:
            frames = sys._current_frames()  # noqa: SLF001  (documented for this purpose)
            frame = frames[self._thread or 0] if self.alive else None
            calls = [*traceback.walk_stack(frame)][::-1] if frame else []
            calls += _calls_of(self._loop.coroutine)
            return traceback.StackSummary.extract(iter(calls)) if calls else None
        except Exception:  # noqa: BLE001  (the task continues meanwhile, and its calls end)
            return None

    @property
    def alive(self) -> bool:
        """Whether the work has started and not ended."""
        return self._started and not self.done.is_set()

    def _work(self) -> None:
        self._thread = threading.get_ident()
        try:
            self.prepared = self._run_task()
        except BaseException as error:  # noqa: BLE001  (the caller records it and raises it again)
            self.error = error
        finally:
            self.done.set()
            self.over.set()

    def _run_task(self) -> Prepared:
        began = self._began = self._clock.monotonic()
        loop = self._loop
        try:
            value = call_task(self._task, self._task_run, loop)
            if Records.accepts(value):
                records = Records(value, loop)
                try:
                    return self._prepare(records)
                finally:
                    records.close()
        finally:
            self._task_seconds = self._clock.monotonic() - began
            loop.close()
        return self._prepare(value)


class Loop:
    """Runs the coroutines of a task, one at a time, in one event loop.

    Attributes:
        coroutine: The coroutine that runs now, if any.
    """

    def __init__(self) -> None:
        self.coroutine: Coroutine[object, None, object] | None = None
        self._runner = asyncio.Runner()  # creates no event loop before its first use

    def run(self, coroutine: Coroutine[object, None, Prepared]) -> Prepared:
        """Run a coroutine to its end."""
        self.coroutine = coroutine
        try:
            return self._runner.run(coroutine)
        finally:
            self.coroutine = None

    def close(self) -> None:
        """Close the event loop, if there is one."""
        self._runner.close()


def _calls_of(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """Yield the calls that a suspended coroutine is in, outermost first.

    A running coroutine yields none: its calls are those of its thread.
    """
    awaited: Any
    while coroutine is not None:
        if inspect.isasyncgen(coroutine):
            frame, awaited = coroutine.ag_frame, coroutine.ag_await
        elif inspect.iscoroutine(coroutine):
            frame, awaited = coroutine.cr_frame, coroutine.cr_await
        else:  # what `anext` returns refers to its generator, but has no attribute for it
            frame, awaited = None, next(filter(inspect.isasyncgen, gc.get_referents(coroutine)), None)
        if frame is not None and awaited is not None:
            yield frame, frame.f_lineno
        coroutine = awaited


def is_ordinary(error: BaseException) -> bool:
    """Return whether an error only ends the run, rather than the process.

    Only the task itself can have cancelled its coroutine, because its event loop runs nothing else.
    """
    return isinstance(error, Exception | asyncio.CancelledError)


def call_task(task: TaskFunction, task_run: TaskRun, loop: Loop) -> object:
    """Call a task with its run, if it takes an argument, and wait for it, if it is asynchronous."""
    value = task(task_run) if _takes_run(task) else task()
    if inspect.isawaitable(value):
        return loop.run(_await(value))
    return value


async def _await(value: Awaitable[object]) -> object:
    return await value


def _takes_run(task: TaskFunction) -> bool:
    try:
        parameters = inspect.signature(task).parameters.values()
    except (TypeError, ValueError):  # built-in callables may have no signature
        return False
    return any(
        (parameter.default is parameter.empty or parameter.name == "run")
        and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        for parameter in parameters
    )
