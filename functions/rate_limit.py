"""How often one caller may call one instance: a token bucket for each.

It keeps a caller that went wild from taking the instance from all others. It is no quota:
each instance counts for itself, and forgets whoever has not called for longest.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Callers that an instance remembers, about 2 MB of them.
MOST_CALLERS = 10_000


class RateLimit:
    """A bucket of calls for each caller, full at first. Safe to share between threads.

    Args:
        per_minute: calls that a bucket holds, and that flow back into it in a minute; at least 1.
        clock: seconds that only ever grow.
        most_callers: buckets that are kept. A caller whose bucket was dropped has a full one.
    """

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        most_callers: int = MOST_CALLERS,
    ) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._most_callers = most_callers
        self._lock = threading.Lock()
        #: What was left in each bucket, and when; least recently used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take a call from the caller's bucket.

        Returns:
            0, or where the bucket is empty the seconds until it holds a call again.
        """
        a_second = self.per_minute / 60
        with self._lock:
            now = self._clock()
            left, at = self._buckets.get(caller, (float(self.per_minute), now))
            left = min(left + (now - at) * a_second, float(self.per_minute))
            taken = left >= 1
            self._buckets[caller] = (left - 1 if taken else left, now)
            self._buckets.move_to_end(caller)
            if len(self._buckets) > self._most_callers:
                self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - left) / a_second
