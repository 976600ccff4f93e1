"""How much time is left of a leg, compared with what the next unit of work may take."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from shared.tasks.errors import InvalidOptions

if TYPE_CHECKING:
    from shared.tasks.clock import Clock

#: Share of a leg that a unit of work may need, if it needs a whole leg.
LEG_SHARE = 0.9


def check_seconds(seconds: object) -> None:
    """Check what `TaskRun.ensure_leg_time` was called with; raise InvalidOptions if it is not a time."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise InvalidOptions(
            f"ensure_leg_time takes a number of seconds, 0 or more, got {seconds!r}; "
            "pass the time that the next unit of work needs"
        )


class LegTime:
    """The time of one leg. Steps and cursors report their units of work, on several threads at once.

    Args:
        clock: Measures the time.

    Attributes:
        must_end: Whether the leg must end although it has time, because the process ends.
    """

    def __init__(self, clock: Clock) -> None:
        self.must_end = False
        self._clock = clock
        self._ends = float("inf")
        self._length = float("inf")
        self._unit: float | None = None  # seconds of the last unit of work
        self._thread = threading.local()  # `since`: when the thread last ended a unit of work

    def begin(self, ends: float) -> None:
        """Set when the leg should end, on the clock's monotonic scale; infinite without legs."""
        self._ends = ends
        self._length = ends - self._clock.monotonic()

    def count_unit(self, began: float) -> None:
        """Note that a unit of work has ended, which began then, or when this thread last ended one."""
        now = self._clock.monotonic()
        self._unit = now - max(began, getattr(self._thread, "since", began))
        self._thread.since = now

    def is_over(self, seconds: float | None = None) -> bool:
        """Return whether a unit of so many seconds, or one like the last one, may not fit. Each leg does one.

        More than a leg has would end each leg after its first unit of work, so it counts as most of a leg.
        """
        if self._unit is None:
            return False
        if seconds is None:
            seconds = self._unit
        elif seconds > self._length:
            seconds = LEG_SHARE * self._length
        return self.must_end or self._clock.monotonic() + seconds > self._ends
