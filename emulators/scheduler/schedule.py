"""Schedules of jobs: unix-cron and Cloud Scheduler's English forms, in a time zone.

croniter parses the cron fields and accepts more than the service does. Seconds, `@daily`, `L`, `H` and
descending ranges are refused here, so that a schedule that works locally can be deployed.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from emulators.scheduler.errors import ScheduleError

FORMS = (
    'five cron fields ("*/5 * * * *"), "every N minutes", "every N mins" or "every N hours", in the plural '
    'also for 1, "every day HH:MM" or "every monday,friday HH:MM"'
)

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_WHOLE_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_NUMBERS = {name: str(n) for n, name in enumerate(_MONTHS, start=1)} | {
    d: str(n) for n, d in enumerate(_DAYS)
}
_ITEM = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?", re.ASCII)
_INTERVAL = re.compile(r"every ([1-9]\d{0,4}) (minutes|mins|hours)", re.ASCII)
_DAILY = re.compile(r"every ([a-z,]+) ([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_SECOND = timedelta(seconds=1)


class Schedule(Protocol):
    """A rule that determines ticks."""

    def next_after(self, moment: datetime) -> datetime:
        """Return the first tick after a moment, in UTC."""


class CronSchedule:
    """Ticks at each moment at which the local wall-clock time matches five cron fields.

    The service "runs on wall clock time", and its documentation does not define clock changes. Here, a local
    time that is skipped in spring has no tick that day, and one that is repeated in autumn has two.

    Args:
        fields: Five unix-cron fields.
        zone: Time zone of the wall clock.

    Raises:
        ScheduleError: The fields are not unix-cron, or match no day.
    """

    def __init__(self, fields: str, zone: ZoneInfo) -> None:
        self._fields = _checked(fields)
        self._zone = zone
        try:
            self._next_wall_time(datetime(2000, 1, 1))  # noqa: DTZ001 wall-clock time has no zone
        except CroniterError as error:
            raise ScheduleError(f'schedule "{fields}" is not unix-cron: {error}') from error

    def next_after(self, moment: datetime) -> datetime:
        """Return the first tick after a moment, in UTC."""
        since = after = moment.astimezone(UTC).replace(microsecond=0)
        while True:
            offset = self._offset(since)
            candidate = (self._next_wall_time(after.replace(tzinfo=None) + offset) - offset).replace(
                tzinfo=UTC
            )
            change = self._offset_change(since, candidate)
            if change is None:
                return candidate
            # The offset changes before the candidate: continue at the change, which may itself be a tick.
            since, after = change, change - _SECOND

    def _next_wall_time(self, after: datetime) -> datetime:
        found: datetime = croniter(self._fields, after).get_next(datetime)
        return found

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta()

    def _offset_change(self, start: datetime, end: datetime) -> datetime | None:
        """Return the first second in (start, end] at which the offset differs from the one at start."""
        offset, low = self._offset(start), start
        while low < end:
            high = min(low + timedelta(hours=12), end)  # no zone changes twice within half a day
            if self._offset(high) != offset:
                while high - low > _SECOND:
                    middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
                    low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
                return high
            low = high
        return None


class IntervalSchedule:
    """Ticks at an interval from the job's creation, as in the service; they are not aligned to the hour.

    Args:
        interval: Time between two ticks.
        anchor: Time at which the job was created or resumed; its first tick is one interval later.
    """

    def __init__(self, interval: timedelta, anchor: datetime) -> None:
        self._interval = interval
        self._anchor = anchor

    def next_after(self, moment: datetime) -> datetime:
        """Return the first tick after a moment, in UTC."""
        passed = max((moment - self._anchor) // self._interval, 0)
        return self._anchor + (passed + 1) * self._interval


def parse_schedule(text: str, time_zone: str, created_at: datetime) -> Schedule:
    """Parse a schedule as Cloud Scheduler does.

    Args:
        text: The schedule, in one of the forms in `FORMS`.
        time_zone: Name of an IANA time zone.
        created_at: Time from which the ticks of "every N minutes" count.

    Raises:
        ScheduleError: The service would refuse the schedule; the text lists the forms that it accepts.
    """
    zone = zone_of(time_zone)
    words = " ".join(text.lower().split())
    if interval := _INTERVAL.fullmatch(words):
        unit = timedelta(hours=1) if interval[2] == "hours" else timedelta(minutes=1)
        return IntervalSchedule(int(interval[1]) * unit, created_at)
    if daily := _DAILY.fullmatch(words):
        return CronSchedule(f"{int(daily[3])} {int(daily[2])} * * {_weekdays(text, daily[1])}", zone)
    return CronSchedule(text, zone)


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of a name.

    Raises:
        ScheduleError: The IANA database has no such time zone.
    """
    try:
        return ZoneInfo("UTC" if name.lower() == "utc" else name)
    except (KeyError, ValueError, OSError) as error:  # unknown, malformed, or a folder of names
        raise ScheduleError(
            f'time zone "{name}" is not in the IANA database; use a name such as Europe/Berlin'
        ) from error


def _weekdays(text: str, names: str) -> str:
    if names == "day":
        return "*"
    if not set(names.split(",")) <= {*_DAYS, *_WHOLE_DAYS}:
        raise ScheduleError(f'schedule "{text}" is not valid; use {FORMS}')
    return ",".join(name[:3] for name in names.split(","))


def _checked(text: str) -> str:
    """Return the five fields with names as numbers and ranges as lists; refuse what the service refuses."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise ScheduleError(f'schedule "{text}" is not valid; use {FORMS}')
    for place, names in ((3, _MONTHS), (4, _DAYS)):
        name = rf"\b(?:{'|'.join(names)})\b"  # whole words: "0mon" is not "01"
        fields[place] = re.sub(name, lambda found: _NUMBERS[found[0]], fields[place])
    return " ".join(",".join(_listed(text, item) for item in field.split(",")) for field in fields)


def _listed(text: str, item: str) -> str:
    """Return a range as its numbers: croniter reads 2-2 as "all", and lets 5-1 wrap around."""
    parts = _ITEM.fullmatch(item)
    if parts and (parts[1] is None or (parts[2] is None and parts[3] is None)):
        return item
    numbers = range(int(parts[1]), int(parts[2] or -1) + 1, int(parts[3] or 1)) if parts else range(0)
    if not numbers:
        raise ScheduleError(
            f'schedule "{text}": "{item}" is not unix-cron; use *, 5, 1-5, */5, 0-30/5 or a list'
        )
    return ",".join(map(str, numbers))
