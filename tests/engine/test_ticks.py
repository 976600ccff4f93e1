"""The ticks of a schedule equal those of the local Cloud Scheduler, which has its own implementation."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emulators.scheduler.schedule import parse_schedule
from shared.tasks import TaskName, TaskSpec
from shared.tasks.cron import COMING, coming_ticks, next_tick, recent_ticks, tick_at, ticks_before

SCHEDULES = [
    *("*/5 * * * *", "37 * * * *", "30 2 * * *", "0 0 1 * *", "15,45 1-3 * * 0", "0 3 29 2 *"),
    *("2-2,30-40/5 * * * MON-FRI", "0 9 1 feb,Mar *", "*/25 0-6/3 13 * 5", "0 12 * * 6-7"),
]
ZONES = ["Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
#: Times around the changes of the clock in some of these zones.
MOMENTS = st.one_of(
    st.integers(0, 8_760 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    st.sampled_from([datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]).flatmap(
        lambda day: st.integers(-120, 300).map(
            lambda minutes: day + timedelta(minutes=minutes) - datetime(2026, 1, 1, tzinfo=UTC)
        )
    ),
)


@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS)
def test_the_next_tick_is_that_of_cloud_scheduler(schedule: str, zone: str, since: timedelta) -> None:
    """Also in hours that are left out or repeated."""
    moment = datetime(2026, 1, 1, tzinfo=UTC) + since
    spec = TaskSpec(TaskName.send_reset_sms, schedule=schedule, time_zone=zone)
    assert next_tick(spec, moment) == parse_schedule(schedule, zone, moment).next_after(moment)


def test_a_task_without_a_schedule_has_no_next_tick() -> None:
    assert next_tick(TaskSpec(TaskName.send_reset_sms), datetime.now(UTC)) is None


@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS, st.floats(0, 59.999999))
def test_a_tick_is_identified_by_its_minute(schedule: str, zone: str, since: timedelta, late: float) -> None:
    """Any time within the minute of a tick, in any zone, is that tick; the minute before is not."""
    moment = datetime(2026, 1, 1, tzinfo=UTC) + since
    tick = parse_schedule(schedule, zone, moment).next_after(moment)
    within = (tick + timedelta(seconds=late)).astimezone(ZoneInfo("Asia/Kathmandu"))
    assert tick_at(schedule, zone, within) == tick
    previous = next(
        ticks_before(TaskSpec(TaskName.send_reset_sms, schedule, zone), tick - timedelta(seconds=1))
    )
    before = tick - timedelta(seconds=60 - late)
    assert tick_at(schedule, zone, before) == (previous if before < previous + timedelta(minutes=1) else None)


def test_a_time_in_a_repeated_hour_is_two_ticks() -> None:
    """The clock goes back from 03:00 to 02:00: both 02:30 are ticks, an hour apart."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    berlin, second = ZoneInfo("Europe/Berlin"), first + timedelta(hours=1)
    half = timedelta(seconds=0.5)
    assert tick_at("30 2 * * *", "Europe/Berlin", (first + half).astimezone(berlin)) == first
    assert tick_at("30 2 * * *", "Europe/Berlin", (second + half).astimezone(berlin)) == second


#: Time from the start of 2026 until Berlin's clock goes back from 03:00 to 02:00.
PUT_BACK = datetime(2026, 10, 25, 1, tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC)


@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS)
@example("*/5 * * * *", "Europe/Berlin", PUT_BACK + timedelta(minutes=10))
@example("30 * * * *", "Europe/Berlin", PUT_BACK)
@example("30 * * * *", "Europe/Berlin", PUT_BACK + timedelta(minutes=29))
def test_recent_ticks_are_those_before_now(schedule: str, zone: str, since: timedelta) -> None:
    """Newest first; a request after a tick includes it."""
    spec = TaskSpec(TaskName.send_reset_sms, schedule=schedule, time_zone=zone)
    now = datetime(2026, 1, 1, tzinfo=UTC) + since
    ticks = recent_ticks(spec, now, 3)
    assert ticks == sorted(ticks, reverse=True)
    assert all(tick <= now for tick in ticks)
    following = next_tick(spec, now)
    assert following is not None
    assert recent_ticks(spec, following, 3) == [following, *ticks[:2]]


@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS)
@example("*/5 * * * *", "Europe/Berlin", PUT_BACK - timedelta(hours=3))
@example("15,45 1-3 * * 0", "Australia/Lord_Howe", timedelta(days=93, hours=6))
def test_coming_ticks_are_those_of_the_next_25_hours(schedule: str, zone: str, since: timedelta) -> None:
    """Oldest first, each tick once, also on a day of 23 or 25 hours."""
    spec = TaskSpec(TaskName.send_reset_sms, schedule=schedule, time_zone=zone)
    now = tick = datetime(2026, 1, 1, tzinfo=UTC) + since
    scheduler, expected = parse_schedule(schedule, zone, now), []
    while (tick := scheduler.next_after(tick)) <= now + COMING:
        expected.append(tick)
    assert coming_ticks(spec, now) == expected


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "30 * * * *", "30 2 * * *", "15,45 1-3 * * 0"])
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ],
)
def test_ticks_around_a_change_of_the_clock_are_those_of_cloud_scheduler(
    schedule: str, zone: str, change: datetime
) -> None:
    """Newest first and complete, also for changes of half an hour and two hours."""
    local = change.astimezone(ZoneInfo(zone)).utcoffset()
    assert local != (change - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).utcoffset()
    spec, cron = TaskSpec(TaskName.send_reset_sms, schedule, zone), parse_schedule(schedule, zone, change)
    ticks = [cron.next_after(change - timedelta(days=3))]
    while ticks[-1] < change + timedelta(hours=4):
        ticks.append(cron.next_after(ticks[-1]))
    around = [number for number, tick in enumerate(ticks) if tick > change - timedelta(hours=4)]
    assert around
    for number in around:
        expected, due = ticks[number::-1][:30], ticks[number]
        assert [*islice(ticks_before(spec, due), len(expected))] == expected
        just_before = ticks_before(spec, due - timedelta(seconds=1))
        assert [*islice(just_before, len(expected) - 1)] == expected[1:]
