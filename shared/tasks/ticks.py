"""The ticks of a schedule, before and after a moment, as Cloud Scheduler fires them.

Only unix-cron has any here: the ticks of "every N minutes" count from when Cloud Scheduler's job was
made, which nobody here knows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks.specs import TaskSpec

#: More than a zone's clock is ever put back.
_PUT_BACK = timedelta(hours=2)

#: The next tick of each spec, as long as it is to come: one that polls need not search for it each time.
_next: dict[TaskSpec, tuple[datetime, datetime | None]] = {}


def ticks_before(spec: TaskSpec, due: datetime) -> Iterator[datetime]:
    """Yield the ticks until a time, in UTC, the last one first."""
    from croniter import CroniterError  # noqa: PLC0415  (no other function needs it)

    zone = ZoneInfo(spec.time_zone)
    walls = _walls(spec, due.astimezone(zone).replace(tzinfo=None) + timedelta(seconds=1))
    if walls is None:
        return
    while True:
        try:
            wall: datetime = walls.get_prev(datetime)
        except CroniterError:  # no such day for years: 30 February
            return
        for tick in sorted(_moments(wall, zone), reverse=True):
            if tick <= due:
                yield tick


def next_tick(spec: TaskSpec, after: datetime) -> datetime | None:
    """Return the first tick later than a moment, in UTC; None where no schedule tells.

    Args:
        spec: the task's schedule and time zone.
        after: UTC.
    """
    found = _next.get(spec)
    if found is None or not found[0] <= after < (found[1] or datetime.max.replace(tzinfo=UTC)):
        found = _next[spec] = (after, _search(spec, after))
    return found[1]


def _search(spec: TaskSpec, after: datetime) -> datetime | None:
    from croniter import CroniterError  # noqa: PLC0415  (no other function needs it)

    zone = ZoneInfo(spec.time_zone)
    # Where the clock is put back, a tick of its second pass follows one that its hands show later.
    walls = _walls(spec, after.astimezone(zone).replace(tzinfo=None) - _PUT_BACK)
    if walls is None:
        return None
    best: datetime | None = None
    while True:
        try:
            wall: datetime = walls.get_next(datetime)
        except CroniterError:
            return best
        if best is not None and wall.replace(tzinfo=zone).astimezone(UTC) > best:
            return best
        later = [tick for tick in _moments(wall, zone) if tick > after]
        best = min([*later, *([best] if best else [])], default=None)


def _walls(spec: TaskSpec, start: datetime) -> Any:
    """Return what finds the times on the clock at which the schedule fires; None where it can't be known."""
    from croniter import croniter  # noqa: PLC0415  (no other function needs it)

    if spec.schedule is None or not croniter.is_valid(spec.schedule):
        return None
    return croniter(spec.schedule, start)


def _moments(wall: datetime, zone: ZoneInfo) -> set[datetime]:
    """Return when the clock shows this, in UTC.

    On its two passes through the same hour there are two such moments; in the hour that it leaves
    out there is none, and Cloud Scheduler fires nothing then.
    """
    moments = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return {moment for moment in moments if moment.astimezone(zone).replace(tzinfo=None) == wall}
