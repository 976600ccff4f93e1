"""The local Cloud Scheduler computes the ticks of schedules in time zones and refuses invalid ones."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.scheduler.errors import ScheduleError
from emulators.scheduler.schedule import parse_schedule
from tests.emulators.scheduler_doubles import utc

MADE = utc("2026-01-01T00:00:10.500000Z")


def ticks(text: str, zone: str, after: str, count: int) -> list[str]:
    """Return the next ticks in local time with offset."""
    schedule, moment, found = parse_schedule(text, zone, MADE), utc(after), []
    for _ in range(count):
        moment = schedule.next_after(moment)
        found.append(moment.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("* * * * *", "2026-01-01T00:01+00:00"),
        ("*/15 * * * *", "2026-01-01T00:15+00:00"),
        ("0-30/20 3 * * *", "2026-01-01T03:00+00:00"),
        ("05 09 * * *", "2026-01-01T09:05+00:00"),
        ("0 9 * * 0", "2026-01-04T09:00+00:00"),
        ("0 9 * * 7", "2026-01-04T09:00+00:00"),
        ("0 9 * * SUN", "2026-01-04T09:00+00:00"),
        ("0 9 * * 6-7", "2026-01-03T09:00+00:00"),
        ("0 9 * * mon-fri", "2026-01-01T09:00+00:00"),
        ("0 9 1 feb,Mar *", "2026-02-01T09:00+00:00"),
        ("0 0 13 * 5", "2026-01-02T00:00+00:00"),  # With both day fields restricted, either one fires.
        ("0 9 * * 2-2", "2026-01-06T09:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00+00:00"),
        ("every day 09:00", "2026-01-01T09:00+00:00"),
        ("every monday 9:05", "2026-01-05T09:05+00:00"),
        ("every mon,thursday 17:30", "2026-01-01T17:30+00:00"),
    ],
)
def test_a_schedule_first_fires_when_its_fields_match(text: str, first: str) -> None:
    """This holds for each schedule format of the service."""
    assert ticks(text, "UTC", "2026-01-01T00:00:30Z", 1) == [first]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("every 5 minutes", 5),
        ("every 1 mins", 1),
        ("every 2 hours", 120),
        ("Every  7 minutes", 7),
        ("every 1 hours", 60),
    ],
)
def test_an_interval_starts_at_the_creation_of_the_job(text: str, minutes: int) -> None:
    """It keeps fractions of a second and skips past ticks."""
    schedule = parse_schedule(text, "Europe/Berlin", MADE)
    assert schedule.next_after(MADE - timedelta(days=1)) == MADE + timedelta(minutes=minutes)
    assert schedule.next_after(MADE) == MADE + timedelta(minutes=minutes)
    assert schedule.next_after(MADE + timedelta(minutes=10 * minutes, seconds=1)) == MADE + timedelta(
        minutes=11 * minutes
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "0 * * * * *",
        "@daily",
        "@hourly",
        "H * * * *",
        "R * * * *",
        "0 0 L * *",
        "0 0 ? * *",
        "0 0 * * 5#1",
        "0 0 15W * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "5-1 * * * *",
        "5/10 * * * *",
        "*/0 * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "\u0661-\u0663 * * * *",
        "0 0 30 2 *",
        "0 0 * mon *",
        "every minute",
        "every 1 minute",
        "every 1 hour",
        "every 1 min",
        "every 5 minute",
        "every \u0665 minutes",
        "0 0 * * 0mon",
        "0 0 1 1jan *",
        "every 0 minutes",
        "every 5 seconds",
        "every 5 minutes from 10:00 to 14:00",
        "1st monday of month 09:00",
        "every fooday 09:00",
        "every day 24:00",
    ],
)
def test_the_error_for_an_invalid_schedule_quotes_it(text: str) -> None:
    """Schedules that cannot be deployed cannot run locally."""
    with pytest.raises(ScheduleError, match="schedule") as caught:
        parse_schedule(text, "UTC", MADE)
    assert f'"{text}"' in str(caught.value)


def test_the_error_for_an_unknown_format_lists_the_formats() -> None:
    with pytest.raises(ScheduleError, match="every N minutes"):
        parse_schedule("daily at nine", "UTC", MADE)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "Europe", "Europe/Berlin\0"])
def test_an_unknown_time_zone_is_an_error(zone: str) -> None:
    """The name must be in the IANA database."""
    with pytest.raises(ScheduleError, match="time zone"):
        parse_schedule("* * * * *", zone, MADE)


@pytest.mark.parametrize("zone", ["utc", "UTC", "Etc/UTC"])
def test_utc_has_the_name_that_the_service_documents(zone: str) -> None:
    """The service documents "utc"."""
    assert parse_schedule("0 9 * * *", zone, MADE).next_after(MADE) == utc("2026-01-01T09:00:00Z")


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        # 02:30 does not exist on 8 March, and no tick replaces it.
        (
            "America/Los_Angeles",
            "30 2 * * *",
            "2026-03-07T00:00:00-08:00",
            ["2026-03-07T02:30-08:00", "2026-03-09T02:30-07:00"],
        ),
        ("America/Los_Angeles", "0 3 * * *", "2026-03-08T00:00:00-08:00", ["2026-03-08T03:00-07:00"]),
        (
            "America/Los_Angeles",
            "*/30 * * * *",
            "2026-03-08T01:10:00-08:00",
            ["2026-03-08T01:30-08:00", "2026-03-08T03:00-07:00", "2026-03-08T03:30-07:00"],
        ),
        # 01:30 occurs twice on 1 November, and both fire.
        (
            "America/Los_Angeles",
            "30 1 * * *",
            "2026-11-01T00:00:00-07:00",
            ["2026-11-01T01:30-07:00", "2026-11-01T01:30-08:00", "2026-11-02T01:30-08:00"],
        ),
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00+01:00", ["2026-03-30T02:30+02:00"]),
        (
            "Europe/Berlin",
            "0 * * * *",
            "2026-10-25T01:30:00+02:00",
            ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"],
        ),
        ("Europe/Berlin", "0 9 * * *", "2026-10-24T12:00:00+02:00", ["2026-10-25T09:00+01:00"]),
        # The offset changes by half an hour here and in October.
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-05T00:00:00+11:00",
            ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30", "2026-04-06T01:45+10:30"],
        ),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00:00+10:30", ["2026-10-05T02:15+11:00"]),
        ("Asia/Kolkata", "30 5 * * *", "2026-05-05T00:00:00Z", ["2026-05-06T05:30+05:30"]),
    ],
)
def test_cron_follows_the_wall_clock_through_time_changes(
    zone: str, text: str, after: str, expected: list[str]
) -> None:
    """A skipped local time does not fire, a repeated one fires twice."""
    assert ticks(text, zone, after, len(expected)) == expected


ZONES = [
    "America/Los_Angeles",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "UTC",
]


#: Times in 2026 at which one of the zones changes its offset.
CHANGES = [
    *("2026-03-08T10:00Z", "2026-11-01T09:00Z", "2026-03-29T01:00Z", "2026-10-25T01:00Z"),
    *("2026-04-04T15:00Z", "2026-10-03T15:30Z", "2026-02-15T02:00Z", "2026-03-22T02:00Z"),
]


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Times in 2026, most of them within hours of a change."""
    minutes = draw(st.integers(0, 365 * 24 * 60))
    near = draw(st.sampled_from([None, *CHANGES]))
    base, span = (MADE, minutes) if near is None else (utc(near), minutes % 360 - 180)
    return base + timedelta(minutes=span, seconds=draw(st.integers(0, 59)))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """A cron field and its numbers, computed independently of the code under test."""
    kind = draw(st.sampled_from(["any", "list", "range", "step"]))
    if kind == "any":
        return "*", set(range(low, high + 1))
    if kind == "list":
        numbers = draw(st.sets(st.integers(low, high), min_size=1, max_size=3))
        return ",".join(map(str, sorted(numbers))), numbers
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, 20)) if kind == "step" else 1
    return f"{first}-{last}" + (f"/{step}" if kind == "step" else ""), set(range(first, last + 1, step))


@settings(max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    start=moments(),
    minute=fields(0, 59),
    hour=fields(0, 23),
    weekday=fields(0, 7),
)
def test_ticks_are_exactly_the_matching_local_times(
    zone: str,
    start: datetime,
    minute: tuple[str, set[int]],
    hour: tuple[str, set[int]],
    weekday: tuple[str, set[int]],
) -> None:
    """Ticks strictly increase, and no matching minute is missing."""
    schedule = parse_schedule(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone, MADE)
    days = {day % 7 for day in weekday[1]}
    info = ZoneInfo(zone)

    def matches(moment: datetime) -> bool:
        local = moment.astimezone(info)
        return local.minute in minute[1] and local.hour in hour[1] and local.isoweekday() % 7 in days

    tick = schedule.next_after(start)
    expected = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(2):
        assert matches(tick)
        while not matches(expected):
            expected += timedelta(minutes=1)
        assert tick == expected
        following = schedule.next_after(tick)
        assert following > tick
        tick, expected = following, expected + timedelta(minutes=1)


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_schedule_fires_every_day_of_a_year(zone: str) -> None:
    """This includes the days of time changes."""
    schedule, tick = parse_schedule("30 1,2 * * *", zone, MADE), utc("2026-01-01T00:00:00Z")
    while tick < utc("2027-01-01T00:00:00Z"):
        following = schedule.next_after(tick)
        assert timedelta() < following - tick <= timedelta(days=1, hours=1)
        tick = following
