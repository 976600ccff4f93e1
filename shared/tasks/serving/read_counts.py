"""Counts what an instance serves, and logs it at most once per minute, when a read needs a call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from shared import logger

if TYPE_CHECKING:
    from shared.tasks.clock import Clock

#: Shortest time between two entries of an instance, in seconds.
LOG_SECONDS = 60.0


class ReadCounts:
    """The reads of an instance since the last entry.

    Args:
        clock: Measures the time between two entries.

    Attributes:
        hits: Reads that were served from the cache without waiting for a call. Readers add to it without a
            lock: one count that is lost costs less than a lock in each read.
    """

    def __init__(self, clock: Clock) -> None:
        self.hits = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at = clock.monotonic()
        self._misses = self._fetches = self._fetched_bytes = 0

    def add_miss(self) -> None:
        """Count a read that waits for a call, its own or another reader's."""
        with self._lock:
            self._misses += 1

    def add_fetch(self, size_bytes: int) -> None:
        """Count a result that was read from Firestore or Storage, with the bytes that it takes here."""
        with self._lock:
            self._fetches += 1
            self._fetched_bytes += size_bytes

    def log_if_due(self) -> None:
        """Log the counts since the last entry, unless that was less than a minute ago."""
        with self._lock:
            now = self._clock.monotonic()
            if now - self._logged_at < LOG_SECONDS:
                return
            hits, misses = self.hits, self._misses
            fetches, fetched_bytes = self._fetches, self._fetched_bytes
            self.hits -= hits
            self._misses = self._fetches = self._fetched_bytes = 0
            self._logged_at = now
        logger.info(
            "results served",
            reads=hits + misses,
            cache_hits=hits,
            fetches=fetches,
            fetched_bytes=fetched_bytes,
        )
