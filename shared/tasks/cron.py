"""The ticks of a unix-cron schedule in its time zone, as Cloud Scheduler fires them.

Cloud Scheduler's English forms ("every 5 minutes") are refused: it documents the header that identifies
a tick for unix-cron only, and without it a duplicate delivery would run the task again.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from shared.tasks.clock import CLOCK_SKEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shared.tasks.specs import TaskSpec

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: The fields of unix-cron: name, lowest and highest number, and the numbers of its names.
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
#: The most days that each month has.
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ITEM = re.compile(r"(\*|([a-z]{3}|\d\d?)(?:-([a-z]{3}|\d\d?))?)(?:/([1-9]\d?))?", re.ASCII)
_INTERVAL = re.compile(r"every (?:([1-9]\d{0,3}) )?(min|minute|hour)s?", re.ASCII)
_DAILY = re.compile(r"every ([a-z,]+) ([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)

#: A delivery is not a tick's own if the tick is further ahead of this instance's clock than this.
MAX_TICK_LEAD = CLOCK_SKEW
#: The limit while a request waits for its delivery, which is then more likely than a slow clock.
MAX_TICK_LEAD_WITH_REQUEST = timedelta(seconds=1)

#: How far ahead ticks are listed: a day, and an hour after which a reader asks again.
COMING = timedelta(hours=25)
#: More than any zone's clock is set back.
_SET_BACK = timedelta(hours=2)

#: The next tick of each spec and a time before it, so that polls do not search for it each time.
_next: dict[TaskSpec, tuple[datetime, datetime | None]] = {}
#: The last ticks of each spec, with the next tick and the count that they were searched for.
_recent: dict[TaskSpec, tuple[datetime | None, int, list[datetime]]] = {}


@functools.cache
def unix_cron(schedule: str) -> str:
    """Return the five fields of a schedule, with numbers for names and lists for ranges.

    Stricter than croniter, which accepts more than Cloud Scheduler does (seconds, `@daily`, `L`) and takes
    the range `2-2` for every number.

    Raises:
        ValueError: The schedule is not unix-cron, or matches no date.
    """
    fields = schedule.split(" ")
    if len(fields) != len(_FIELDS):
        use = _cron_for(schedule) or "five fields such as '*/5 * * * *'"
        raise ValueError(f"schedule must be a unix-cron expression, got {schedule!r}; use {use}")
    listed, numbers = [], []
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        items = {item: _numbers(item, low, high, names) for item in text.lower().split(",")}
        if not all(items.values()):
            raise ValueError(
                f"schedule {schedule!r}: {name} must be *, */N or a list of numbers and ranges "
                f"from {low} to {high}, got {text!r}{_reversed(items, low, high, names)}"
            )
        numbers.append({number for found in items.values() for number in found})
        listed.append(",".join(x if "*" in x else ",".join(map(str, found)) for x, found in items.items()))
    _, _, days, months, _ = numbers
    if listed[-1] == "*" and min(days) > max(_DAYS[month - 1] for month in months):
        raise ValueError(f"schedule {schedule!r} matches no date; use a day that one of its months has")
    return " ".join(listed)


def _numbers(item: str, low: int, high: int, names: Mapping[str, int]) -> range:
    """Return the numbers of one item of a field; an empty range if it is not valid."""
    parts = _ITEM.fullmatch(item)
    if parts is None:
        return range(0)
    step = int(parts[4] or 1)
    if parts[1] == "*":
        return range(low, high + 1, step)
    if parts[3] is None and parts[4]:  # a step needs * or a range
        return range(0)
    first, last = (
        names.get(bound, int(bound) if bound.isdigit() else high + 1)
        for bound in (parts[2], parts[3] or parts[2])
    )
    return range(first, last + 1, step) if low <= first <= last <= high else range(0)


def _reversed(items: Iterable[str], low: int, high: int, names: Mapping[str, int]) -> str:
    """Return the fix for the first range of a field that ends before it starts; "" if there is none."""
    for item in items:
        first, dash, last = item.partition("-")
        if dash and _numbers(f"{last}-{first}", low, high, names):
            return f"; the range {item} is reversed, write '{first}-{high},{low}-{last}'"
    return ""


def _cron_for(schedule: str) -> str | None:
    """Return the unix-cron form of an English schedule, quoted, if there is an exact one."""
    words = " ".join(schedule.lower().split())
    cron = None
    if interval := _INTERVAL.fullmatch(words):
        minutes = int(interval[1] or 1) * (60 if interval[2] == "hour" else 1)
        hours = minutes // 60
        if minutes in {1, 60, 1440}:
            cron = {1: "* * * * *", 60: "0 * * * *", 1440: "0 0 * * *"}[minutes]
        elif 60 % minutes == 0:
            cron = f"*/{minutes} * * * *"
        elif minutes % 60 == 0 and 24 % hours == 0:
            cron = f"0 */{hours} * * *"
    elif daily := _DAILY.fullmatch(words):
        days = ["*"] if daily[1] == "day" else [name[:3] for name in daily[1].split(",")]
        if {*days} <= {"*", *_WEEKDAYS}:
            cron = f"{int(daily[3])} {int(daily[2])} * * {','.join(days).upper()}"
    return None if cron is None else repr(cron)


def tick_at(schedule: str, time_zone: str, moment: datetime) -> datetime | None:
    """Return the tick in the minute of a moment, in UTC; None if that minute has none.

    Args:
        schedule: Unix-cron.
        time_zone: IANA name of the schedule's zone.
        moment: Any moment, with a time zone.
    """
    from croniter import croniter  # noqa: PLC0415  (functions without ticks need not load it)

    minute = moment.astimezone(ZoneInfo(time_zone)).replace(second=0, microsecond=0)
    matches = croniter.match(unix_cron(schedule), minute.replace(tzinfo=None))
    return minute.astimezone(UTC) if matches else None


def is_forced(tick: datetime | None, schedule_time: datetime, *, now: datetime) -> bool:
    """Return whether a delivery must come from a forced run, because no tick is delivered with these times.

    Cloud Scheduler delivers a forced run (`jobs.run`, "Force run") with the time of the next tick, or with
    that of the call. It delivers a tick with the tick's own time, to the second.
    """
    return tick is None or tick > now + MAX_TICK_LEAD_WITH_REQUEST or schedule_time > tick + CLOCK_SKEW


def ticks_before(spec: TaskSpec, due: datetime) -> Iterator[datetime]:
    """Yield the ticks up to a time, in UTC, newest first; none for a task without a schedule."""
    if spec.schedule is None:
        return
    zone = ZoneInfo(spec.time_zone)
    # If the clock was set back shortly before `due`, earlier ticks have later times on the clock.
    latest = max(
        (moment.astimezone(zone).replace(tzinfo=None) + before)
        for moment, before in ((due, timedelta()), (due - _SET_BACK, _SET_BACK))
    )
    pending: list[datetime] = []
    for wall in _wall_times(spec.schedule, latest + timedelta(seconds=1), backwards=True):
        pending = sorted([*pending, *(tick for tick in _moments(wall, zone) if tick <= due)])
        # The clock shows all earlier times before the last moment at which it shows this one.
        last = max(_passes(wall, zone))
        while pending and pending[-1] >= last:
            yield pending.pop()


def ticks_after(spec: TaskSpec, after: datetime) -> Iterator[datetime]:
    """Yield the ticks later than a time, in UTC, oldest first; none for a task without a schedule."""
    if spec.schedule is None:
        return
    zone = ZoneInfo(spec.time_zone)
    # When the clock is set back, a tick of the repeated hour follows ticks with later times on the clock.
    start = after.astimezone(zone).replace(tzinfo=None) - _SET_BACK
    pending: list[datetime] = []
    for wall in _wall_times(spec.schedule, start):
        # The clock shows all later times after the first moment at which it shows this one.
        first = min(_passes(wall, zone))
        while pending and pending[0] < first:
            yield pending.pop(0)
        pending = sorted([*pending, *(tick for tick in _moments(wall, zone) if tick > after)])


def next_tick(spec: TaskSpec, after: datetime) -> datetime | None:
    """Return the first tick later than a moment, in UTC; None for a task without a schedule.

    Args:
        spec: The task's schedule and time zone.
        after: The moment, UTC.
    """
    found = _next.get(spec)
    if found is None or not found[0] <= after < (found[1] or datetime.max.replace(tzinfo=UTC)):
        found = _next[spec] = (after, next(ticks_after(spec, after), None))
    return found[1]


def recent_ticks(spec: TaskSpec, now: datetime, count: int) -> list[datetime]:
    """List the last ticks up to now, newest first, in UTC; none if the task has no schedule.

    Args:
        spec: The task's schedule and time zone.
        now: Current time, UTC.
        count: Largest number of ticks.
    """
    following = next_tick(spec, now)
    found = _recent.get(spec)
    if found is None or found[:2] != (following, count):
        found = _recent[spec] = (following, count, list(islice(ticks_before(spec, now), count)))
    return found[2]


def coming_ticks(spec: TaskSpec, now: datetime) -> list[datetime]:
    """List the ticks of the next `COMING`, oldest first, in UTC; none if the task has no schedule.

    Args:
        spec: The task's schedule and time zone.
        now: Current time, UTC.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)  # so that an instance searches once per hour
    found = _ticks_between(spec, hour, hour + COMING + timedelta(hours=1))
    return [tick for tick in found if now < tick <= now + COMING]


@functools.lru_cache(maxsize=128)
def _ticks_between(spec: TaskSpec, after: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda tick: tick <= until, ticks_after(spec, after)))


def _wall_times(schedule: str, start: datetime, *, backwards: bool = False) -> Iterator[datetime]:
    """Return the times on the clock at which the schedule fires, from a start."""
    from croniter import croniter  # noqa: PLC0415  (functions without ticks need not load it)

    times = croniter(unix_cron(schedule), start)
    found: Iterator[datetime] = times.all_prev(datetime) if backwards else times.all_next(datetime)
    return found


def _moments(wall: datetime, zone: ZoneInfo) -> set[datetime]:
    """Return the moments, in UTC, at which the clock shows a time.

    In an hour that the clock repeats there are two. In an hour that it skips there is none, and Cloud
    Scheduler fires nothing then.
    """
    return {moment for moment in _passes(wall, zone) if moment.astimezone(zone).replace(tzinfo=None) == wall}


def _passes(wall: datetime, zone: ZoneInfo) -> set[datetime]:
    """Return the moments, in UTC, of a time on the clock by the offsets before and after a change."""
    return {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
