"""A real run of a task that a test controls."""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shared.tasks import TaskName, TaskOutcome, TaskRun, execute_task
from tests.support.world import in_thread
from tests.waiting import PAUSE_SECONDS

#: Seconds after which a run ends if the test no longer controls it.
ABANDONED_SECONDS = 600


class HeldRun:
    """A run in a thread of this process."""

    def __init__(self, task: TaskName, result: Any, source: str) -> None:
        self._steps: queue.Queue[Callable[[TaskRun], None] | None] = queue.Queue()
        self._result = result
        self._thread, self._outcomes = in_thread(lambda: execute_task(source, task, self._work))

    def _work(self, run: TaskRun) -> Any:
        while (step := self._steps.get(timeout=ABANDONED_SECONDS)) is not None:
            step(run)
        return self._result

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Report progress."""
        self._steps.put(lambda run: run.progress(done, total, message))

    def log(self, level: str, event: str, **fields: object) -> None:
        """Log a line, which is kept with the next progress report or the end of the run."""
        self._steps.put(lambda run: getattr(run.log, level)(event, **fields))

    def go_on_until(self, error: type[Exception]) -> None:
        """Report progress repeatedly until the call raises an error."""

        def work_on(run: TaskRun) -> None:
            done = 1
            while not run.lost:
                run.progress(done := done + 1)
                time.sleep(PAUSE_SECONDS)

        self._steps.put(work_on)
        self._thread.join(ABANDONED_SECONDS)
        assert error.__name__ in str(self._outcomes[0].error)

    def end(self) -> TaskOutcome:
        """End the run if necessary, and return its outcome."""
        self._steps.put(None)
        self._thread.join(ABANDONED_SECONDS)
        outcome: TaskOutcome = self._outcomes[0]
        return outcome


@contextmanager
def held_run(task: TaskName, result: Any = None, source: str = "a test") -> Iterator[HeldRun]:
    run = HeldRun(task, [{"n": 1}] if result is None else result, source)
    try:
        yield run
    finally:
        run.end()
