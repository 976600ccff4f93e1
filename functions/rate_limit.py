"""Limits the calls of each caller to an instance, with a token bucket per caller.

The limit protects other callers from one that sends too many requests. It is not a quota: each instance
counts for itself, and forgets the callers that have not called for longest.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Callers that an instance remembers, in about 2 MB.
MAX_CALLERS = 10_000


class RateLimit:
    """A bucket of calls for each caller, full at first. It is thread-safe.

    Args:
        per_minute: Size of a bucket, and calls per minute that refill it; at least 1.
        clock: Returns monotonic seconds.
        max_callers: Number of buckets. If a bucket is dropped, its caller gets a full one.
    """

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        max_callers: int = MAX_CALLERS,
    ) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._max_callers = max_callers
        self._lock = threading.Lock()
        #: Calls left in each bucket, and the time of that count; least recently used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take a call from the caller's bucket.

        Args:
            caller: Id of the caller.

        Returns:
            0 if there was a call, otherwise the seconds until there is one.
        """
        per_second = self.per_minute / 60
        with self._lock:
            now = self._clock()
            left, counted_at = self._buckets.get(caller, (float(self.per_minute), now))
            left = min(left + (now - counted_at) * per_second, float(self.per_minute))
            taken = left >= 1
            self._buckets[caller] = (left - 1 if taken else left, now)
            self._buckets.move_to_end(caller)
            if len(self._buckets) > self._max_callers:
                self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - left) / per_second
