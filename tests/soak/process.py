"""A process of the soak, which is restarted when it dies."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any

import psutil

from tests.soak.instance import Order

#: Seconds without an answer after which an instance counts as hung: more than a run's deadline, the
#: contract copy after it, and two freezes.
HUNG_SECONDS = 120.0
#: Seconds in which a process must end after the request to end.
END_SECONDS = 30.0


class Process:
    """A process that is restarted when it dies.

    Args:
        name: Name for the findings.
        start: Returns the target and the arguments of a generation, from 0.
        on_event: Receives the events that the process sends.
        timeout: Seconds without an answer after which the process counts as hung.

    Attributes:
        ended: Exit codes of the generations that ended without a request.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[int], tuple[Any, Any]],
        on_event: Callable[[Any], None],
        *,
        timeout: float = HUNG_SECONDS,
    ) -> None:
        self.name = name
        self.ended: list[int | None] = []
        self._start, self._hear, self._timeout = start, on_event, timeout
        self._lock = threading.Lock()
        self._pending: dict[int, Future[str]] = {}
        self._over = False
        self._begin(0)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _begin(self, generation: int) -> None:
        self._pipe, there = multiprocessing.Pipe()
        target, arguments = self._start(generation)
        spawn = multiprocessing.get_context("spawn")
        self.process = spawn.Process(target=target, args=(there,), kwargs=arguments, daemon=True)
        self.process.start()
        there.close()

    def _live(self) -> None:
        for generation in count(1):
            with suppress(EOFError, OSError):
                while True:
                    match self._pipe.recv():
                        case ("answer", number, answer):
                            self._answer(number, answer)
                        case event:
                            self._hear(event)
            self._pipe.close()
            self.process.join()
            with self._lock:
                for number in list(self._pending):
                    self._answer(number, "killed")
                if self._over:
                    return
                self.ended.append(self.process.exitcode)
                self._begin(generation)

    def _answer(self, number: int, answer: str) -> None:
        waiting = self._pending.pop(number, None)  # None if the delivery gave up on a hung process
        if waiting is not None:
            waiting.set_result(answer)

    def deliver(self, order: Order) -> str:
        """Send an order and return its answer, or "killed" or "hung" if none arrived."""
        waiting: Future[str] = Future()
        with self._lock:
            self._pending[order.number] = waiting
            with suppress(OSError):  # it has just died
                self._pipe.send(order)
        try:
            return waiting.result(self._timeout)
        except TimeoutError:
            self._pending.pop(order.number, None)
            self.process.kill()  # as the platform does
            return "hung"

    def strike(self, blow: signal.Signals) -> None:
        with self._lock, suppress(ProcessLookupError):
            if self.process.is_alive() and self.process.pid:
                os.kill(self.process.pid, blow)

    def end(self, seconds: float = END_SECONDS) -> bool:
        """Let it finish its work and end; return False if it had to be killed after these seconds."""
        with self._lock:
            self._over = True
            with suppress(OSError):
                self._pipe.send(None)
        self._thread.join(seconds)
        if not self._thread.is_alive():
            return True
        self.process.kill()
        self._thread.join(seconds)
        return False

    def memory(self) -> int | None:
        """Return the bytes of memory, or None if the process has just died."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).memory_info().rss or None
        return None
