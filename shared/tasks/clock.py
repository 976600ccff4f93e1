"""Time as the engine sees it, so that a test sets it and does not wait."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


#: Largest difference between the clocks of two instances. A lease counts as valid that much longer.
CLOCK_SKEW = timedelta(seconds=5)


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, UTC, which documents contain and other instances compare."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never decrease, to measure durations with."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait for the event, at most `timeout` seconds; return whether it is set."""
        return event.wait(max(timeout, 0.0))

    def sleep(self, duration: float) -> None:
        """Wait for a number of seconds."""
        time.sleep(max(duration, 0.0))
