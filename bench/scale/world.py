"""Simulated time for code that blocks threads.

In the cache, readers wait for each other. Each simulated wait therefore blocks a thread, but only one
thread runs at a time, and time passes only while all threads wait. A thread that waits passes its turn
to another one, which carries out the next event. The same seed gives the same run.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.tasks.serving.single_flight import Call, Result, SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

_START = datetime(2026, 1, 1, tzinfo=UTC)
#: Stack size of a thread, small because there may be thousands.
_STACK_BYTES = 256 * 1024


class World:
    """The events in the order of simulated time, and the clock of the simulated code."""

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = itertools.count()
        #: Time, number and event; a lock is the turn of a thread that waits for that time.
        self._events: list[tuple[float, int, Callable[[], None] | threading.Lock]] = []
        self._idle: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self._error: BaseException | None = None

    def at(self, moment: float, happens: Callable[[], None] | threading.Lock) -> None:
        """Schedule an event, in seconds from the start."""
        heapq.heappush(self._events, (moment, next(self._numbers), happens))

    def run(self) -> None:
        """Carry out all events, including those that they schedule.

        Raises:
            RuntimeError: A thread waits for an event that never happens.
        """
        before = threading.stack_size(_STACK_BYTES)
        try:
            self._start_thread()
            self._over.wait()
        finally:
            threading.stack_size(before)
        for turn in self._idle:
            turn.release()
        if self._error is not None:
            raise self._error
        for thread in self._threads:
            thread.join(10)
            if thread.is_alive():
                raise RuntimeError("a thread waits for an event that never happens")

    def now(self) -> datetime:
        """Return the simulated time, UTC."""
        return _START + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        """Return the simulated seconds from the start."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Wait for simulated seconds."""
        turn = _taken()
        self.at(self._now + max(seconds, 0.0), turn)
        self.wait_for(turn)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Not supported: the simulated code waits without a timeout."""
        raise NotImplementedError(f"{event} for {seconds} s")

    def wait_for(self, turn: threading.Lock) -> None:
        """Pass the turn on, and wait until it returns."""
        if self._idle:
            self._idle.pop().release()
        else:
            self._start_thread()
        turn.acquire()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        """Carry out events until there are none; a lock passes the turn to the thread that waits for it."""
        while self._events and self._error is None:
            self._now, _, happens = heapq.heappop(self._events)
            if callable(happens):
                try:
                    happens()
                except BaseException as error:  # noqa: BLE001  (raised again in `run`)
                    self._error = error
            else:
                mine = _taken()
                self._idle.append(mine)
                happens.release()
                mine.acquire()
        self._over.set()


class Event(threading.Event):
    """An event with simulated waits."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._waiting: list[threading.Lock] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set."""
        if timeout is not None:
            raise NotImplementedError("timeouts are not simulated")
        if not self.is_set():
            turn = _taken()
            self._waiting.append(turn)
            self._world.wait_for(turn)
        return True

    def set(self) -> None:
        """Wake all waiting threads in the order of their arrival."""
        super().set()
        for turn in self._waiting:
            self._world.at(self._world.monotonic(), turn)
        self._waiting.clear()


class SimulatedSingleFlight(SingleFlight[Result]):
    """The product's single-flight; its waits are simulated."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def join(self, now: float) -> tuple[Call[Result], bool]:
        """Return the current call and False, or a new one and True."""
        call, is_leader = super().join(now)
        if is_leader:
            call.done = Event(self._world)
        return call, is_leader


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock
