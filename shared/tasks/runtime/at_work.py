"""What this process has at work: runs, and tasks that go on although their run has ended.

Python cannot stop a thread. A run ends at its deadline, or when the process is shut down, even if
its task does not.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.tasks.clock import Clock
    from shared.tasks.contract import TaskName
    from shared.tasks.runtime.execution import Execution
    from shared.tasks.runtime.task_thread import Work


class AtWork:
    """The runs and the hung tasks of this process. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: set[Execution] = set()
        self._hung: list[tuple[TaskName, Work[Any]]] = []
        self._unreported: list[tuple[TaskName, Work[Any]]] = []
        #: Whether the process was told to end: it ends tasks that are at work with it.
        self.is_shutting_down = False

    def begin(self, run: Execution) -> bool:
        """Note a run that begins; return False if the process is shutting down: it must not begin."""
        with self._lock:
            if not self.is_shutting_down:
                self._runs.add(run)
            return not self.is_shutting_down

    def end(self, run: Execution) -> None:
        """Note that a run has ended."""
        with self._lock:
            self._runs.discard(run)

    def leave(self, name: TaskName, work: Work[Any]) -> None:
        """Note that a task goes on although its run has ended."""
        with self._lock:
            self._hung.append((name, work))
            self._unreported.append((name, work))

    def hung(self) -> list[tuple[TaskName, str]]:
        """Return the tasks that still go on although their run has ended, with the ids of these runs."""
        with self._lock:
            self._hung = [(name, work) for name, work in self._hung if work.alive]
            return [(name, work.run_id) for name, work in self._hung]

    def take_unreported(self) -> list[tuple[TaskName, str]]:
        """Return those of the hung tasks, with the ids of their runs, that no earlier call returned."""
        with self._lock:
            unreported, self._unreported = self._unreported, []
            return [(name, work.run_id) for name, work in unreported if work.alive]

    def shut_down(self, clock: Clock, timeout_seconds: float) -> bool:
        """Let no other run begin, end those at work as failed, and wait until that is recorded.

        Args:
            clock: The time.
            timeout_seconds: Longest wait.

        Returns:
            Whether all runs have ended.
        """
        with self._lock:
            self.is_shutting_down = True
            runs = list(self._runs)
        for run in runs:
            run.shut_down()
        ends_at = clock.monotonic() + timeout_seconds
        return all(clock.wait(run.ended, ends_at - clock.monotonic()) for run in runs)
