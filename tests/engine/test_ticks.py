"""The next tick of a schedule, compared with the local Cloud Scheduler's, which was made apart from it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.scheduler.schedule import parse_schedule
from shared.tasks import TaskName, TaskSpec
from shared.tasks.desk import next_tick

SCHEDULES = ["*/5 * * * *", "37 * * * *", "30 2 * * *", "0 0 1 * *", "15,45 1-3 * * 0", "0 3 29 2 *"]
ZONES = ["Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
#: Around where clocks are put forward and back, in some of these zones.
MOMENTS = st.one_of(
    st.integers(0, 8_760 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    st.sampled_from([datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]).flatmap(
        lambda day: st.integers(-120, 300).map(
            lambda minutes: day + timedelta(minutes=minutes) - datetime(2026, 1, 1, tzinfo=UTC)
        )
    ),
)


@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS)
def test_the_next_tick_is_cloud_schedulers(schedule: str, zone: str, since: timedelta) -> None:
    """Also in hours that a clock leaves out or passes twice."""
    moment = datetime(2026, 1, 1, tzinfo=UTC) + since
    spec = TaskSpec(TaskName.send_reset_sms, schedule=schedule, time_zone=zone)
    assert next_tick(spec, moment) == parse_schedule(schedule, zone, moment).next_after(moment)


@pytest.mark.parametrize("schedule", [None, "every 5 minutes", "0 0 30 2 *"])
def test_where_no_schedule_tells_there_is_none(schedule: str | None) -> None:
    """Nobody here knows from when "every 5 minutes" counts."""
    assert next_tick(TaskSpec(TaskName.send_reset_sms, schedule=schedule), datetime.now(UTC)) is None
