"""One does a thing, the others wait for it: what many ask for at once is asked for once.

A flight that fails fails everybody aboard, once; nothing of it is kept, and the next who comes
begins another.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Landed = TypeVar("Landed")


@dataclass(eq=False, slots=True)
class Flight(Generic[Landed]):
    """One doing of a thing.

    Attributes:
        began: when, on the monotonic scale of whoever began it.
    """

    began: float
    landed: Landed | None = None
    error: Exception | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> Landed | None:
        """Return what came of it, once it is over; None where the one who did it was ended.

        Raises:
            Exception: what it failed with.
        """
        self.over.wait()
        if self.error is not None:
            raise self.error
        return self.landed


class Flights(Generic[Landed]):
    """The flights of one thing: at most one at a time. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: Flight[Landed] | None = None

    def join(self, now: float) -> tuple[Flight[Landed], bool]:
        """Return the flight that is on, or a new one and True: then `lead` it.

        Args:
            now: when a new one begins.
        """
        with self._lock:
            if self._current is not None:
                return self._current, False
            self._current = Flight(now)
            return self._current, True

    def lead(self, flight: Flight[Landed], do: Callable[[], Landed]) -> Landed:
        """Do it, for everybody aboard.

        Raises:
            BaseException: what `do` raises.
        """
        try:
            flight.landed = do()
        except Exception as error:
            flight.error = error
            raise
        else:
            return flight.landed
        finally:
            with self._lock:
                self._current = None
            flight.over.set()
