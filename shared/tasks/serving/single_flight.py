"""Single-flight: concurrent requests for one thing share one call.

A call that fails raises for every request that shares it. Nothing of it is kept: the next request
makes a call of its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class Call(Generic[Result]):
    """One call, which its leader makes and others wait for.

    Attributes:
        started_at: When it started, on the leader's monotonic scale, in seconds.
        result: What it returned; None until then.
        error: What it raised.
        done: Set once it has ended.
    """

    started_at: float
    result: Result | None = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> Result | None:
        """Return the call's result once it has ended; None if its leader's thread was ended.

        Raises:
            Exception: What the call raised.
        """
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.result


class SingleFlight(Generic[Result]):
    """Calls for one thing: at most one at a time. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: Call[Result] | None = None

    def join(self, now: float) -> tuple[Call[Result], bool]:
        """Return the current call and False, or a new one and True: its leader then passes it to `run`.

        Args:
            now: Start of a new call, on the caller's monotonic scale, in seconds.
        """
        with self._lock:
            if self._current is not None:
                return self._current, False
            self._current = Call(now)
            return self._current, True

    def run(self, call: Call[Result], fetch: Callable[[], Result]) -> Result:
        """Make the call for every request that shares it.

        Args:
            call: The call that this thread leads.
            fetch: Makes it.

        Raises:
            BaseException: What `fetch` raises.
        """
        try:
            call.result = fetch()
        except Exception as error:
            call.error = error
            raise
        else:
            return call.result
        finally:
            with self._lock:
                self._current = None
            call.done.set()
