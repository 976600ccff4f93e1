"""Whether a delivery is one of the run that an operator requested: a pure function, like `decisions`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.contract import TaskStatus
from shared.tasks.cron import is_forced
from shared.tasks.documents.legs import WAITING
from shared.tasks.specs import RETRY_PERIOD

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.documents.actions import RunRequest
    from shared.tasks.documents.models import RunDocument

#: How long a request waits for its first delivery. By then Cloud Scheduler has given up a delivery that
#: was refused each time (10 + 20 + 40 + 80 + 160 s).
REQUEST_WINDOW = timedelta(minutes=10)


def answers_request(
    request: RunRequest,
    record: RunDocument | None,
    *,
    tick: datetime | None,
    is_done: bool,
    schedule_time: datetime,
    now: datetime,
) -> bool:
    """Return whether a delivery is one of the run that an operator requested.

    Nothing in a delivery shows that `jobs.run` forced it, so this rule decides:

    - Only a delivery with a schedule time after the request can answer it. A retry of an earlier tick
      never does.
    - A delivery that must have been forced (`is_forced`) answers the request. It is the next attempt of a
      requested run that failed, and a duplicate of one that completed or was cancelled.
    - A request shortly before a tick leads to two deliveries that may look the same. The tick goes first,
      whichever of them arrives first, so it is never lost. Once its run has completed, the other
      delivery answers the request, if that still needs an attempt.
    - A request that no delivery answered within `REQUEST_WINDOW` has expired. So has a failed run when
      its retries are over.

    Args:
        request: The last request.
        record: Record of the run that answers it.
        tick: The tick that the delivery's schedule time names, UTC; None if it names none.
        is_done: Whether the run of that tick has completed.
        schedule_time: Schedule time of the delivery, UTC.
        now: UTC.
    """
    forced = is_forced(tick, schedule_time, now=now)
    if schedule_time < request.since - CLOCK_SKEW or not (forced or is_done):
        return False
    is_open = now < request.at + REQUEST_WINDOW
    if record is None:
        return is_open
    if record.state in {TaskStatus.running, WAITING}:
        return forced
    may_be_retried = record.completed is None or now < record.completed + RETRY_PERIOD
    if record.state == TaskStatus.failed and record.cancel is None:
        return may_be_retried
    is_duplicate = is_open if record.state == TaskStatus.completed else may_be_retried
    return forced and tick is None and is_duplicate
