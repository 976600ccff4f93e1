"""The legs of a long run (docs/protocol.md, "Long runs"): the map `legs` in its two documents.

A run whose deadline is longer than one leg is long. Its documents have this map from its start to its end.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from shared.tasks.documents.codec import as_int, as_time

if TYPE_CHECKING:
    from datetime import datetime

#: State of a long run between two legs. The contract's `status` stays "running".
WAITING = "waiting"
#: How long a run may wait for the delivery of its next leg; then the watchdog sends it again.
HAND_OVER_GRACE = timedelta(minutes=5)
#: The same for a leg that failed: longer than the longest backoff of the queue, which delivers it again.
RETRY_GRACE = timedelta(minutes=20)
#: Attempts of a leg that reach no checkpoint before the run fails. The backoff of the queue spreads them over
#: more than an hour, so that the work of hours survives an outage.
MAX_TRIES = 10
#: Seconds before the queue delivers a failed leg again, which double each time, and the most of them. The
#: command that creates the queue sets them.
LEG_BACKOFF_SECONDS = 30
LONGEST_LEG_BACKOFF_SECONDS = 900


def grace(*, failed: bool) -> timedelta:
    """Return how long a run may wait for its leg. A leg that `failed` is delivered again after a backoff."""
    return RETRY_GRACE if failed else HAND_OVER_GRACE


class Legs(Struct, frozen=True):
    """Where a long run is (`run.legs` in the status document, `legs` in the run record).

    Attributes:
        deadline: When the run fails, UTC. It is written once.
        number: The leg that works or is awaited, from 1.
        creation: Number in the name of the Cloud Task that delivers the leg. It only grows, because Cloud
            Tasks refuses a name that was used.
        tries: Attempts in a row that reached no checkpoint, with the present one. Failures of the first leg
            before any checkpoint do not count.
        worked_ms: Duration of the task's work in all attempts after which the run waited, milliseconds.
    """

    deadline: datetime
    number: int = 1
    creation: int = 0
    tries: int = 1
    worked_ms: int = 0

    @classmethod
    def parse(cls, value: object) -> Legs | None:
        """Return what the map contains; None for a run without legs."""
        if not isinstance(value, dict):
            return None
        deadline = as_time(value.get("deadline"))
        if deadline is None:
            return None
        numbers = {name: as_int(value.get(name)) for name in ("number", "creation", "tries", "worked_ms")}
        return cls(deadline, **{name: number for name, number in numbers.items() if number is not None})

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def after(self, duration: float, *, number: int, progressed: bool) -> Legs:
        """Return the legs after an attempt, which waits for a delivery of the leg `number`.

        Args:
            duration: How long the attempt's task worked, seconds.
            number: The next leg, or the same one to try it again.
            progressed: Whether the attempt reached a checkpoint.
        """
        return replace(
            self,
            number=number,
            creation=self.creation + 1,
            tries=0 if progressed else self.tries,
            worked_ms=self.worked_ms + round(duration * 1000),
        )
