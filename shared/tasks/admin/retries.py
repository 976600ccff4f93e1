"""What comes next for a run that failed: which attempt, of how many, and about when.

Cloud Scheduler and Cloud Tasks promise no time, so the times are the earliest ones by their settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.tasks.documents.legs import (
    LEG_BACKOFF_SECONDS,
    LONGEST_LEG_BACKOFF_SECONDS,
    MAX_TRIES,
    RETRY_GRACE,
)
from shared.tasks.documents.run_ids import is_retried
from shared.tasks.specs import RETRY_COUNT, RETRY_PERIOD, retry_backoff

if TYPE_CHECKING:
    from shared.tasks.documents.legs import Legs


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The next attempt of a run that failed.

    Attributes:
        number: Its number. In a long run it counts the attempts since the last checkpoint.
        of: Number of the last attempt that may follow.
        at: Earliest time, UTC; None if it is not known, because the process of the attempt before died.
    """

    number: int
    of: int
    at: datetime | None


def retries_end(run_id: str, attempt: int, ended: datetime, legs: Legs | None) -> datetime | None:
    """Return when Cloud Scheduler's retries of a failed run are over, UTC; None if it does not retry it.

    Args:
        run_id: The run.
        attempt: Number of the attempt that failed.
        ended: When it failed, UTC.
        legs: Where a long run failed; None for a run without legs.
    """
    if not is_retried(run_id) or attempt > RETRY_COUNT:
        return None
    if legs is not None and legs.number > 1:
        return None  # only the first leg is Cloud Scheduler's
    return ended + RETRY_PERIOD


def attempt_after_failure(
    run_id: str, attempt: int, ended: datetime, legs: Legs | None, *, died: bool, now: datetime
) -> NextAttempt | None:
    """Return the next attempt of a run that ended as failed; None if there will be none.

    Args:
        run_id: The run.
        attempt: Number of the attempt that failed.
        ended: When it failed, UTC.
        legs: Where a long run failed; None for a run without legs.
        died: Whether its process died, so that Cloud Scheduler's count began at an unknown time.
        now: UTC.
    """
    end = retries_end(run_id, attempt, ended, legs)
    if end is None or now >= end:
        return None
    return NextAttempt(attempt + 1, RETRY_COUNT + 1, None if died else ended + retry_backoff(attempt))


def why_not_retried(run_id: str, attempt: int, ended: datetime, legs: Legs | None) -> str:
    """Return why a run that ended as failed is not tried again; the arguments are those of `retries_end`."""
    if legs is not None and ended >= legs.deadline:
        return "its deadline has passed"
    if legs is not None and legs.tries >= MAX_TRIES:
        return f"{legs.tries} attempts of leg {legs.number} in a row reached no checkpoint"
    if legs is not None and legs.number > 1:
        return "Cloud Scheduler delivers only the first leg of a long run again"
    if not is_retried(run_id):
        return "only ticks and requested runs are tried again, and this run is neither"
    if attempt > RETRY_COUNT:
        return f"Cloud Scheduler delivers a run {RETRY_COUNT + 1} times at most"
    return "Cloud Scheduler's retries are over"


def attempt_of_leg(legs: Legs, attempt: int, since: datetime) -> NextAttempt:
    """Return the next attempt of a leg that failed.

    Args:
        legs: The leg that the run waits for.
        attempt: Number of the next attempt in the run.
        since: Since when the run waits, UTC.
    """
    if legs.number > 1:
        backoff = min(LEG_BACKOFF_SECONDS * 2 ** max(legs.tries - 1, 0), LONGEST_LEG_BACKOFF_SECONDS)
        at = since + timedelta(seconds=backoff)
    elif 1 < attempt <= RETRY_COUNT + 1:
        at = since + retry_backoff(attempt - 1)  # the first leg is Cloud Scheduler's
    else:
        at = since + RETRY_GRACE  # then the watchdog delivers it
    return NextAttempt(legs.tries + 1, MAX_TRIES, at)
