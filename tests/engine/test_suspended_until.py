"""A task that is suspended until a time, on the local Cloud Scheduler and Firestore."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks import InvalidOptions, SchedulerUnavailable, TaskEngine, TaskSpec, specs
from shared.tasks.admin.queries import view_history, view_tasks
from shared.tasks.backends.scheduler import Jobs, JobState
from shared.tasks.clock import Clock
from shared.tasks.documents.models import JobNote
from shared.tasks.errors import WriteConflict
from shared.tasks.protocol.job_sync import problem_of
from shared.tasks.protocol.operator_action import MAX_SUSPENSION, checked_suspension
from tests.engine.test_jobs import nowhere
from tests.engine.test_watchdog import watched
from tests.support.world import TASK, World

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}
#: A schedule whose next tick is too far away to be missed.
SPEC = TaskSpec(TASK, schedule="0 0 1 1 *")
HOUR = timedelta(hours=1)


class AheadClock(Clock):
    """The machine's clock, put forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def ahead() -> AheadClock:
    return AheadClock()


@pytest.fixture
def later(world: World, jobs: Jobs, ahead: AheadClock, monkeypatch: pytest.MonkeyPatch) -> TaskEngine:
    """An engine on that clock, whose task has run once."""
    monkeypatch.setitem(specs.REGISTERED, TASK, SPEC)
    engine = TaskEngine(clock=ahead)
    engine.execute_task("s", TASK, lambda: [1])
    return engine


def in_an_hour() -> datetime:
    return datetime.now(UTC) + HOUR


def test_the_watchdog_resumes_the_task_then_and_logs_it(
    later: TaskEngine, world: World, jobs: Jobs, ahead: AheadClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not before; the job is enabled in the same pass, and the history contains who resumed it."""
    until = in_an_hour()
    assert later.suspend_task(TASK, **WHO, until=until)
    assert watched(later, capsys, SPEC) == ""
    (task,) = view_tasks(later.store, (TASK,))
    assert (task.status, task.suspended and task.suspended.until) == ("suspended", until)
    assert jobs.read(TASK).state == JobState.paused
    ahead.ahead = 2 * HOUR  # the watchdog may be late
    logged = watched(later, capsys, SPEC)
    assert "task resumed task=collect_charge_cdrs" in logged
    assert "suspended_by=ops@example.com" in logged
    assert "WARNING" not in logged
    status = world.status()
    assert (status["status"], jobs.read(TASK).state) == ("completed", JobState.enabled)
    assert not {"suspended", "job"} & set(status["run"])
    resumed, suspended, _ = view_history(later.store, TASK, limit=10).records
    assert (resumed.state, resumed.by) == ("resumed", "watchdog")
    assert resumed.reason == f"suspended until {until:%Y-%m-%d %H:%M:%S} UTC"
    assert (suspended.state, suspended.by, suspended.until) == ("suspended", WHO["by"], until)
    assert watched(later, capsys, SPEC) == ""


def test_another_end_replaces_a_suspension(later: TaskEngine, world: World) -> None:
    """The same end changes nothing; without an end, only an operator resumes the task."""
    until = in_an_hour()
    assert later.suspend_task(TASK, **WHO)
    assert later.suspend_task(TASK, **WHO, until=until)
    assert not later.suspend_task(TASK, by="otto", reason="same", until=until.astimezone(timezone(HOUR)))
    assert world.status()["run"]["suspended"]["by"] == WHO["by"]
    assert later.suspend_task(TASK, by="otto", reason="longer", until=until + HOUR)
    assert later.suspend_task(TASK, by="otto", reason="for good")
    suspended = world.status()["run"]["suspended"]
    assert (suspended["by"], suspended["reason"], "until" in suspended) == ("otto", "for good", False)
    assert later.resume_task(TASK, **WHO)
    assert world.status()["status"] == "completed"


def test_a_suspension_that_was_replaced_meanwhile_stays(
    later: TaskEngine, world: World, ahead: AheadClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The watchdog's commit is conditional on the document that it read."""
    later.suspend_task(TASK, **WHO, until=in_an_hour())
    ahead.ahead = 2 * HOUR
    commit, refused = later.store.commit, []

    def commit_after_an_operator(*what: Any, **how: Any) -> Any:
        later.store.commit = commit  # type: ignore[method-assign]
        assert TaskEngine().suspend_task(TASK, by="otto", reason="for good")
        try:
            return commit(*what, **how)
        except WriteConflict as error:
            refused.append(error)
            raise

    later.store.commit = commit_after_an_operator  # type: ignore[method-assign]
    assert "task resumed" not in watched(later, capsys, SPEC)
    assert refused
    assert (world.status()["status"], world.status()["run"]["suspended"]["by"]) == ("suspeneded", "otto")


def test_a_task_that_an_operator_resumed_is_left_alone(
    later: TaskEngine, world: World, ahead: AheadClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A later suspension without an end has no end of an earlier one."""
    later.suspend_task(TASK, **WHO, until=in_an_hour())
    later.resume_task(TASK, **WHO)
    later.suspend_task(TASK, **WHO)
    ahead.ahead = 2 * HOUR
    assert watched(later, capsys, SPEC) == ""
    assert world.status()["status"] == "suspeneded"


def test_a_job_that_could_not_be_enabled_is_enabled_by_a_later_pass(
    later: TaskEngine, world: World, jobs: Jobs, ahead: AheadClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an operator's resume: the document has the requested state."""
    later.suspend_task(TASK, **WHO, until=in_an_hour())
    ahead.ahead = 2 * HOUR
    with pytest.raises(SchedulerUnavailable):
        TaskEngine(jobs=Jobs(nowhere), clock=ahead).watch_task(SPEC)
    assert (world.status()["status"], jobs.read(TASK).state) == ("completed", JobState.paused)
    assert world.status()["run"]["job"]["wanted"] == JobState.enabled
    assert "job=True" in watched(later, capsys, SPEC)
    note = JobNote.parse(world.status()["run"].get("job"))
    assert (jobs.read(TASK).state, problem_of(note)) == (JobState.enabled, None)


def test_a_run_at_work_goes_on_while_the_watchdog_resumes_its_task(
    later: TaskEngine, world: World, ahead: AheadClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It publishes its result; the task is running again until then."""

    def work() -> list[int]:
        later.suspend_task(TASK, **WHO, until=in_an_hour())
        ahead.ahead = 2 * HOUR
        assert "dead_run" not in watched(later, capsys, SPEC)
        assert world.status()["status"] == "running"
        return [2]

    assert later.execute_task("s", TASK, work, {"lease_seconds": 6 * 3600}).status == "completed"
    assert (world.status()["status"], world.status()["data"]) == ("completed", [2])


@given(st.datetimes(timezones=st.timezones()))
def test_any_end_is_accepted_or_refused(until: datetime) -> None:
    """Also one at the edge of the calendar in a far zone."""
    now = datetime(2026, 11, 30, tzinfo=UTC)
    is_valid = now < until <= now + MAX_SUSPENSION
    try:
        assert checked_suspension("ops", "why", until, now).until == until
    except InvalidOptions:
        assert not is_valid
    else:
        assert is_valid


@pytest.mark.parametrize(
    ("until", "message"),
    [
        (datetime(2020, 1, 1, tzinfo=UTC), "must be later than now"),
        (datetime(9999, 1, 1, tzinfo=UTC), "at most 366 days away, got 9999-01-01T00:00"),
        (datetime(2026, 12, 24), "must be a time with a time zone, or None, got datetime"),  # noqa: DTZ001
        ("2026-12-24T00:00:00Z", "must be a time with a time zone, or None, got '2026"),
    ],
)
def test_an_invalid_end_is_refused(later: TaskEngine, world: World, until: Any, message: str) -> None:
    """The text contains the value and what is valid; nothing changes."""
    with pytest.raises(InvalidOptions, match=message):
        later.suspend_task(TASK, **WHO, until=until)
    assert world.status()["status"] == "completed"
