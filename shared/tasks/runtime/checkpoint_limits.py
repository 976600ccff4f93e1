"""How large, how many and how frequent the checkpoints of a run are."""

from __future__ import annotations

#: Largest value of a step in a document, in bytes of JSON; a larger one is kept in Storage.
MAX_STEP_BYTES = 10_000
#: Steps of a run: each leg reads all of them.
MAX_STEPS = 1_000
#: Parts of a run. The seconds between two checkpoints keep a long run well below it.
MAX_PARTS = 10_000
#: Shortest time between two checkpoints of cursors, in seconds.
CHECKPOINT_SECONDS = 5.0
#: Most checkpoints with one part each in the time of a run; `MAX_PARTS` leaves room for further parts.
_CHECKPOINTS = 8_000


def pause_between(seconds_left: float, *, parts: int) -> float:
    """Return the shortest time between two checkpoints of cursors, in seconds.

    Args:
        seconds_left: Time until the run's deadline.
        parts: Number of parts that the run has.
    """
    return max(CHECKPOINT_SECONDS, seconds_left / max(1, _CHECKPOINTS - parts))
