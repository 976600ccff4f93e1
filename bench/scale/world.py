"""Time that is simulated, under code that waits for real: many threads, one of which works at a time.

The cache is code for threads: readers wait for each other. So each wait is a thread's, but time
passes only where all of them wait: whoever waits hands the turn to another thread, which carries
out the next of what is to happen. The same seed gives the same run, to the last read.
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
#: Bytes of a thread's stack: there may be thousands.
_STACK_BYTES = 256 * 1024


class World:
    """What happens, in the order of its simulated time. It is also the clock of those who live in it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = itertools.count()
        #: What happens when; a lock is the turn of a thread that waits for that moment.
        self._events: list[tuple[float, int, Callable[[], None] | threading.Lock]] = []
        self._idle: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self._error: BaseException | None = None

    def at(self, moment: float, happens: Callable[[], None] | threading.Lock) -> None:
        """Have something happen at a moment, in seconds from the beginning; it may take time."""
        heapq.heappush(self._events, (moment, next(self._numbers), happens))

    def run(self) -> None:
        """Let everything happen that is to, and what follows from it.

        Raises:
            RuntimeError: somebody waits for what never happens.
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
                raise RuntimeError("somebody waits for what never happens")

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return _START + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        """Return seconds from the beginning."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        turn = _taken()
        self.at(self._now + max(seconds, 0.0), turn)
        self.wait_for(turn)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event of this world; none here is waited for with a bound."""
        raise NotImplementedError(f"{event} for {seconds} s")

    def wait_for(self, turn: threading.Lock) -> None:
        """Give the turn away until it comes back."""
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
        """Carry out what happens next, until nothing does; the turn goes to whoever it is the turn of."""
        while self._events and self._error is None:
            self._now, _, happens = heapq.heappop(self._events)
            if callable(happens):
                try:
                    happens()
                except BaseException as error:  # noqa: BLE001  (raised again where the world was set going)
                    self._error = error
            else:
                mine = _taken()
                self._idle.append(mine)
                happens.release()
                mine.acquire()
        self._over.set()


class Event(threading.Event):
    """An event whose waiting is the world's."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._waiting: list[threading.Lock] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set."""
        if timeout is not None:
            raise NotImplementedError("calls are waited for without a time-out")
        if not self.is_set():
            turn = _taken()
            self._waiting.append(turn)
            self._world.wait_for(turn)
        return True

    def set(self) -> None:
        """Let all who wait go on, in the order in which they came."""
        super().set()
        for turn in self._waiting:
            self._world.at(self._world.monotonic(), turn)
        self._waiting.clear()


class SimulatedSingleFlight(SingleFlight[Result]):
    """The product's single-flight; its calls end by an event of the simulated world."""

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
