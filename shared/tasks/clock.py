"""Time as the engine sees it, in one place, so that a test sets it and waits for nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> datetime:
        """Return the time of day, UTC: what documents say and other instances compare."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow: what durations are measured with."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for the event, at most that many seconds; return whether it is set."""

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for the event, at most that many seconds; return whether it is set."""
        return event.wait(max(seconds, 0.0))

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        time.sleep(max(seconds, 0.0))
