"""The task's own work, on a thread of its own, so that its run can be held and can end in time.

Python can't stop a thread. A task that outlives its deadline is left behind, and known: its
instance takes no other run of the task while that thread lives.
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
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

    from shared.tasks.clock import Clock
    from shared.tasks.runtime.task_run import TaskRun

Made = TypeVar("Made")


class Work(Generic[Made]):
    """A task at work.

    Args:
        task: the task, `def` or `async def`; one that takes an argument receives the run. If it
            yields, or returns an iterator, that is handed on as `Records`: it has just begun.
        run: the run.
        then: makes of what the task returned what is to be published, still on the task's
            thread and its deadline: an upload may take as long as a task.
        clock: the time.

    Attributes:
        done: set once the work has ended, in whatever way.
        over: set with `done`, or earlier when the run ends without waiting for the work.
        made: what `then` returned.
        error: what was raised instead, of whatever kind.
    """

    def __init__(
        self,
        task: Callable[..., Any],
        run: TaskRun,
        then: Callable[[Any], Made],
        clock: Clock,
    ) -> None:
        self.done = threading.Event()
        self.over = threading.Event()
        self.made: Made | None = None
        self.error: BaseException | None = None
        self._began: float | None = None
        self._task_seconds: float | None = None
        self._task = task
        self._run = run
        self._then = then
        self._clock = clock
        self._started = False
        self._thread: int | None = None
        self._loop = Loop()

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: the process can start no more threads.
        """
        context = contextvars.copy_context()  # the request's trace goes with the task
        threading.Thread(target=context.run, args=(self._work,), name="task", daemon=True).start()
        self._started = True

    def result(self) -> Made:
        """Return what `then` made of the task's result, once the work is done.

        Raises:
            BaseException: what the task raised.
        """
        if self.error is not None:
            raise self.error
        if self.made is None:
            raise AssertionError("the work is done, raised nothing and made nothing")
        return self.made

    @property
    def task_seconds(self) -> float:
        """How long the task itself took, or has taken so far."""
        if self._task_seconds is not None:
            return self._task_seconds
        return 0.0 if self._began is None else self._clock.monotonic() - self._began

    def stack(self) -> traceback.StackSummary | None:
        """Return the calls that the task is in now, outermost first; None if it is not at work.

        A thread that waits for a coroutine stands in its event loop: the calls of the coroutine follow.
        """
        try:
            frames = sys._current_frames()  # noqa: SLF001  (documented, for this purpose)
            frame = frames[self._thread or 0] if self.alive else None
            calls = [*traceback.walk_stack(frame)][::-1] if frame else []
            calls += _awaiting(self._loop.coroutine)
            return traceback.StackSummary.extract(iter(calls)) if calls else None
        except Exception:  # noqa: BLE001  (the task goes on meanwhile, and its calls end)
            return None

    @property
    def run_id(self) -> str:
        """The run that the task works for."""
        return self._run.run_id

    @property
    def alive(self) -> bool:
        """Whether the task is still at work."""
        return self._started and not self.done.is_set()

    def _work(self) -> None:
        self._thread = threading.get_ident()
        try:
            self.made = self._make()
        except BaseException as error:  # noqa: BLE001  (the caller records it and raises it again)
            self.error = error
        finally:
            self.done.set()
            self.over.set()

    def _make(self) -> Made:
        began = self._began = self._clock.monotonic()
        loop = self._loop
        try:
            value = call_task(self._task, self._run, loop)
            if Records.are(value):
                records = Records(value, loop)
                try:
                    return self._then(records)
                finally:
                    records.close()
        finally:
            self._task_seconds = self._clock.monotonic() - began
            loop.close()
        return self._then(value)


class Loop:
    """Runs the coroutines of a task, one at a time, in one event loop.

    Attributes:
        coroutine: The one that runs now; None between two.
    """

    def __init__(self) -> None:
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self._runner = asyncio.Runner()  # makes nothing before it is used

    def run(self, coroutine: Coroutine[Any, Any, Made]) -> Made:
        """Run a coroutine to its end."""
        self.coroutine = coroutine
        try:
            return self._runner.run(coroutine)
        finally:
            self.coroutine = None

    def close(self) -> None:
        """Close the event loop, if there was one."""
        self._runner.close()


def _awaiting(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """Yield the calls that a suspended coroutine is in, outermost first.

    A running coroutine has none here: its calls are those of its thread.
    """
    awaited: Any
    while coroutine is not None:
        if inspect.isasyncgen(coroutine):
            frame, awaited = coroutine.ag_frame, coroutine.ag_await
        elif inspect.iscoroutine(coroutine):
            frame, awaited = coroutine.cr_frame, coroutine.cr_await
        else:  # what `anext` returned knows its generator, but has no attribute for it
            frame, awaited = None, next(filter(inspect.isasyncgen, gc.get_referents(coroutine)), None)
        if frame is not None and awaited is not None:
            yield frame, frame.f_lineno
        coroutine = awaited


def is_ordinary(error: BaseException) -> bool:
    """Tell whether an error is the task's, and not the wish to end the process.

    A cancelled coroutine is the task's own doing: its loop was made for it alone.
    """
    return isinstance(error, Exception | asyncio.CancelledError)


def call_task(task: Callable[..., Any], run: TaskRun, loop: Loop) -> Any:
    """Call a task with its run, if it takes an argument, and wait for it, if it is asynchronous."""
    value = task(run) if _takes_run(task) else task()
    if inspect.isawaitable(value):
        return loop.run(_awaited(value))
    return value


async def _awaited(value: Any) -> Any:
    return await value


def _takes_run(task: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(task).parameters.values()
    except (TypeError, ValueError):  # built-in callables may have no signature
        return False
    return any(
        (parameter.default is parameter.empty or parameter.name == "run")
        and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        for parameter in parameters
    )
