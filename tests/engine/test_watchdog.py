"""The watchdog on the real Firestore and Storage finds incidents and reports each one once."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskSpec, specs
from shared.tasks.admin.operations import Operations
from shared.tasks.backends.scheduler import Jobs, JobState
from shared.tasks.cron import ticks_before
from shared.tasks.errors import WriteUnknown
from shared.tasks.protocol.incidents import TICK_GRACE, overdue_ticks
from shared.tasks.protocol.watchdog import Findings
from tests.support.paged_run import DEADLINE, PagedRun
from tests.support.world import TASK, HandClock, World

CONTRACT_COPY = "tasks_data/collect_charge_cdrs.json"
SCHEDULE = f"nx-tasks/{TASK.value}/nx-schedule/current"

pytestmark = pytest.mark.usefixtures("jobs")


def dies(options: dict[str, Any] | None = None) -> None:
    """Leave a run like a killed process: running, with an unexpired lease."""

    class Killed(BaseException):
        pass

    def is_killed() -> None:
        raise Killed

    killed = TaskEngine()
    killed.store.commit = only_the_first(killed.store.commit)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        killed.execute_task("s", TASK, is_killed, options)


def only_the_first(commit: Any) -> Any:
    """A commit function that fails after its first call, as if the process had died."""
    sent: list[int] = []

    def commits(*arguments: Any, **options: Any) -> Any:
        sent.append(1)
        if len(sent) > 1:
            raise ConnectionError("dead")
        return commit(*arguments, **options)

    return commits


def let_lease_expire(world: World) -> None:
    past = datetime.now(UTC) - timedelta(minutes=1)
    world.database.document(f"nx-tasks/{TASK.value}").update({"run.lease_until": past})


def watched(engine: TaskEngine, capsys: pytest.CaptureFixture[str], spec: TaskSpec | None = None) -> str:
    """Run the watchdog for the task; return the log."""
    capsys.readouterr()
    engine.watch_task(spec or TaskSpec(TASK))
    return capsys.readouterr().out


def test_a_dead_run_is_failed_and_reported_once(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed process leaves no task running (lesson 21); the last good result stays."""
    engine.execute_task("s", TASK, lambda: [1])
    dies()
    assert watched(engine, capsys) == ""
    assert world.status()["status"] == "running"
    let_lease_expire(world)
    logged = watched(engine, capsys)
    assert "ERROR" in logged
    assert "incident=dead_run task=collect_charge_cdrs" in logged
    status = world.status()
    assert (status["status"], status["run"]["state"], status["data"]) == ("failed", "failed", [1])
    assert status["error"].startswith("LeaseExpired")
    assert "lease_until" not in status["run"]
    assert sorted(run["state"] for run in world.history().values()) == ["completed", "failed"]
    assert watched(engine, capsys) == ""


def test_a_lost_hand_over_is_repaired_and_reported_each_time(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log and the run history have it; the run goes on, and its delivery takes another name."""
    run = PagedRun.waiting(TASK)
    for creation in (2, 3):
        assert watched(run.engine, capsys) == ""
        let_lease_expire(world)
        run.clock.at = datetime.now(UTC)
        logged = watched(run.engine, capsys)
        assert "WARNING leg lost incident=lost_leg task=collect_charge_cdrs" in logged
        assert "leg 2 was not delivered in time" in logged
        assert run.queue.created[-1] == (run.run_id, 2, creation)
        incident = world.history()[f"{run.run_id}.{creation}.lost_leg"]
        assert (incident["state"], incident["run_id"]) == ("lost_leg", run.run_id)
    assert run.deliver(2).status == "waiting"
    assert world.history()[run.run_id]["state"] == "waiting"


def test_a_long_run_that_the_watchdog_fails_is_a_dead_run(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """At its deadline; no leg is delivered any more."""
    run = PagedRun.waiting(TASK)
    run.clock.advance(DEADLINE.total_seconds())
    assert "ERROR the deadline passed in leg 2 incident=dead_run" in watched(run.engine, capsys)
    assert world.history()[run.run_id]["state"] == "failed"
    assert run.queue.legs == [2]


def test_the_tick_of_a_dead_run_is_retried_after_the_watchdog(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the same tick may reopen the run: Cloud Scheduler's retry is its next attempt."""
    tick = {"scheduled_for": datetime(2026, 11, 24, tzinfo=UTC)}
    dies(tick)
    assert engine.execute_task("s", TASK, lambda: [1], tick).status == "busy"
    let_lease_expire(world)
    watched(engine, capsys)
    assert engine.execute_task("s", TASK, lambda: [1], tick).status == "completed"
    assert [(run["state"], run.get("attempt")) for run in world.history().values()] == [
        ("completed", 2),
        ("refused", None),
    ]


def test_a_suspended_task_with_a_dead_run_stays_suspended(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The watchdog's write keeps the suspension."""
    dies()
    world.database.document(f"nx-tasks/{TASK.value}").update(
        {"status": "suspeneded", "run.suspended": {"by": "me", "reason": "works"}}
    )
    let_lease_expire(world)
    watched(engine, capsys)
    assert (world.status()["status"], world.status()["run"]["state"]) == ("suspeneded", "failed")


def test_a_superseded_run_record_is_closed(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run is not running when another holds its task, whatever its record contains."""
    engine.execute_task("s", TASK, lambda: [1])
    left = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/left")
    left.set({"state": "running", "token": "lost", "attempt": 1})
    logged = watched(engine, capsys)
    assert "superseded_runs=['left']" in logged
    assert (world.history()["left"]["state"], world.history()["left"]["error"]["type"]) == (
        "failed",
        "RunSuperseded",
    )


def loses_answers(engine: TaskEngine) -> None:
    """Apply every commit, but lose its response."""
    store = engine.store
    commit = store.commit

    def commits(*arguments: Any, **options: Any) -> Any:
        commit(*arguments, **options)
        raise WriteUnknown("lost")

    store.commit = commits  # type: ignore[method-assign]  # commits, then loses the response


def test_an_incident_is_reported_after_a_lost_response_to_its_record(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next pass finds it recorded and does not report it."""
    engine.execute_task("s", TASK, lambda: [1])
    dies()
    let_lease_expire(world)
    unlucky = TaskEngine()
    loses_answers(unlucky)
    assert "incident=dead_run" in watched(unlucky, capsys)
    assert watched(engine, capsys) == ""


@pytest.mark.parametrize("left", ["gone", "old"])
def test_a_stale_contract_copy_is_repaired(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    """A process died between commit and copy."""
    engine.execute_task("s", TASK, lambda: ["new"], {"save_in": "storage"})
    if left == "gone":
        world.bucket.blob(CONTRACT_COPY).delete()
    else:
        world.bucket.blob(CONTRACT_COPY).upload_from_string('["old"]')
    assert "contract_copy=True" in watched(engine, capsys)
    assert world.bucket.blob(CONTRACT_COPY).download_as_bytes() == b'["new"]'
    assert watched(engine, capsys) == ""


@pytest.mark.parametrize("status", ["completed", "failed", "suspeneded"])
def test_a_legacy_document_is_not_changed(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    """The watchdog does not write to tasks of another implementation."""
    before = {"source": "ts", "status": status, "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "data": [1]}
    world.write(before)
    assert watched(engine, capsys) == ""
    assert world.status() == before


def test_an_overdue_legacy_run_is_reported_once(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no lease, so a person must check it; its document does not change."""
    before = {"status": "running", "started": datetime(2026, 1, 1, tzinfo=UTC)}
    world.write(before)
    assert "incident=overdue_original" in watched(engine, capsys)
    assert watched(engine, capsys) == ""
    assert world.status() == before


#: A time long before all ticks of these tests.
DAWN = datetime(2000, 1, 1, tzinfo=UTC)


class DayClock(HandClock):
    """A clock that stays at the time of day that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.time = datetime(2099, 11, 24, 12, tzinfo=UTC)  # later than the documents' creation

    def now(self) -> datetime:
        return self.time

    def at(self, hour: int, minute: int) -> None:
        self.time = self.time.replace(hour=hour, minute=minute)


@pytest.fixture
def day(clock: HandClock) -> DayClock:
    return DayClock()


@pytest.fixture
def punctual(world: World, day: DayClock) -> TaskEngine:
    """An engine with a time of day that a test sets; its task ran once this morning."""
    engine = TaskEngine(clock=day)
    day.at(8, 0)
    engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": day.time})
    return engine


def every(schedule: str) -> TaskSpec:
    return TaskSpec(TASK, schedule=schedule)


def knows(engine: TaskEngine, day: DayClock, spec: TaskSpec) -> None:
    """Let the watchdog record the task's schedule early in the morning, before the ticks of a test."""
    now = day.time
    day.at(7, 0)
    engine.watch_task(spec)
    day.time = now


def known(world: World) -> dict[str, Any]:
    """The record of the task's schedule; {} if there is none."""
    return world.database.document(SCHEDULE).get().to_dict() or {}


def missed_ticks(logged: str) -> list[str]:
    """The times of day of the missed ticks in a log, sorted."""
    return sorted(re.findall(r"incident=missed_tick .*?run_id=2099-11-24T(\d\d:\d\d)", logged))


def test_a_missed_tick_is_reported_once(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the tick's run id; Cloud Scheduler stopped, or the job is missing."""
    hourly = every("0 * * * *")
    knows(punctual, day, hourly)
    day.at(9, 4)
    assert watched(punctual, capsys, hourly) == ""  # still within its grace period
    day.at(9, 5)
    assert missed_ticks(watched(punctual, capsys, hourly)) == ["09:00"]
    assert watched(punctual, capsys, hourly) == ""
    assert [run["state"] for key, run in world.history().items() if "missed" in key] == ["missed_tick"]


def test_a_missed_tick_is_reported_after_a_lost_response_to_its_record(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next pass finds it recorded and does not report it."""
    hourly, unlucky = every("0 * * * *"), TaskEngine(clock=day)
    knows(punctual, day, hourly)
    day.at(9, 5)
    loses_answers(unlucky)
    assert missed_ticks(watched(unlucky, capsys, hourly)) == ["09:00"]
    assert watched(punctual, capsys, hourly) == ""


def test_a_missed_tick_is_reported_even_if_the_next_one_ran(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that started after the grace period does not count for that tick."""
    often = every("*/5 8 * * *")
    knows(punctual, day, often)
    for minute in (5, 15):  # there is no delivery at 8:10
        day.at(8, minute)
        punctual.execute_task("s", TASK, lambda: [1], {"scheduled_for": day.time})
    assert missed_ticks(watched(punctual, capsys, often)) == ["08:10"]


def test_each_of_several_missed_ticks_is_reported(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schedule may have more ticks than the watchdog has passes."""
    knows(punctual, day, every("* 8 * * *"))
    day.at(8, 10)
    assert missed_ticks(watched(punctual, capsys, every("* 8 * * *"))) == [f"08:0{n}" for n in range(1, 6)]


def test_a_tick_from_before_a_first_deployment_is_not_missed(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is one from during the deployment: the job may be updated minutes after the watchdog."""
    often = every("* * * * *")
    day.at(9, 0)
    assert overdue_ticks(often, DAWN, day.time) != []
    assert watched(punctual, capsys, often) == ""
    assert known(world) == {"schedule": "* * * * *", "time_zone": "Etc/UTC", "since": day.time}
    day.at(9, 9)
    assert watched(punctual, capsys, often) == ""
    day.at(9, 11)
    assert missed_ticks(watched(punctual, capsys, often)) == ["09:05", "09:06"]


@pytest.mark.parametrize(
    ("changed", "due"),
    [
        (TaskSpec(TASK, "*/5 * * * *"), "10:10"),
        (TaskSpec(TASK, "37 * * * *", "Asia/Kolkata"), "10:07"),
        (TaskSpec(TASK, "7 * * * *"), "10:07"),
    ],
)
def test_a_tick_from_before_its_schedule_changed_is_not_missed(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str], changed: TaskSpec, due: str
) -> None:
    """Another schedule or zone counts from the first pass of the watchdog that finds it."""
    before = every("37 * * * *")
    knows(punctual, day, before)
    for hour in (8, 9):
        day.at(hour, 37)
        punctual.execute_task("s", TASK, lambda: [1], {"scheduled_for": day.time})
    day.at(10, 0)
    assert watched(punctual, capsys, before) == ""
    day.at(10, 1)
    assert watched(punctual, capsys, changed) == ""
    assert watched(punctual, capsys, changed) == ""
    day.at(10, 16)
    assert missed_ticks(watched(punctual, capsys, changed)) == [due]


def test_ticks_while_the_task_was_not_deployed_are_not_missed(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a removal and a later deployment, the schedule counts from the later one."""
    hourly = every("0 * * * *")
    knows(punctual, day, hourly)
    day.at(8, 30)
    assert watched(punctual, capsys) == ""
    assert known(world)["schedule"] is None
    day.at(12, 30)
    assert watched(punctual, capsys) == ""
    assert watched(punctual, capsys, hourly) == ""
    day.at(13, 5)
    assert missed_ticks(watched(punctual, capsys, hourly)) == ["13:00"]


def test_a_schedule_is_written_only_when_it_changes(
    punctual: TaskEngine, world: World, day: DayClock
) -> None:
    """A pass over an unchanged task writes nothing."""
    hourly, document = every("0 * * * *"), world.database.document(SCHEDULE)
    knows(punctual, day, hourly)
    before = document.get().update_time
    for minute in (1, 2):
        day.at(8, minute)
        punctual.watch_task(hourly)
    assert document.get().update_time == before


@pytest.mark.parametrize(
    "left", [None, {}, {"since": "yesterday"}, {"since": datetime(2100, 1, 1, tzinfo=UTC)}]
)
def test_a_missing_or_damaged_record_of_a_schedule_is_replaced(
    punctual: TaskEngine,
    world: World,
    day: DayClock,
    capsys: pytest.CaptureFixture[str],
    left: dict[str, Any] | None,
) -> None:
    """The next pass writes it again: no false alarm, and later ticks are reported."""
    hourly, document = every("0 * * * *"), world.database.document(SCHEDULE)
    knows(punctual, day, hourly)
    document.delete() if left is None else document.set({**known(world), "since": None, **left})
    day.at(9, 6)
    assert watched(punctual, capsys, hourly) == ""
    assert known(world)["since"] == day.time
    day.at(10, 6)
    assert missed_ticks(watched(punctual, capsys, hourly)) == ["10:00"]


def test_two_concurrent_watchdogs_record_a_schedule_once(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The later write is refused, because its read is stale, and reports nothing."""
    hourly, late = every("0 * * * *"), TaskEngine(clock=day)
    before = late.store.read_schedule(TASK)
    late.store.read_schedule = lambda *_, **__: before  # type: ignore[method-assign]  # a stale read
    knows(punctual, day, hourly)
    first = known(world)
    day.at(9, 6)
    assert watched(late, capsys, hourly) == ""
    assert known(world) == first
    assert missed_ticks(watched(punctual, capsys, hourly)) == ["09:00"]


def test_a_schedule_is_recorded_despite_a_lost_response(
    engine: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pass continues, and the next one reads the record."""
    hourly, unlucky = every("0 * * * *"), TaskEngine(clock=day)
    day.at(8, 0)
    loses_answers(unlucky)
    assert watched(unlucky, capsys, hourly) == ""
    assert known(world)["since"] == day.time


def test_a_run_by_hand_within_the_grace_period_counts_for_the_tick(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person was faster than the alert."""
    knows(punctual, day, every("0 * * * *"))
    day.at(9, 3)
    punctual.execute_task("person", TASK, lambda: [1])
    day.at(9, 7)
    punctual.execute_task("person", TASK, lambda: [1])
    assert watched(punctual, capsys, every("0 * * * *")) == ""


def test_a_cancelled_request_does_not_count_for_a_tick(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the tick nor the requested run started."""
    hourly = every("0 * * * *")
    monkeypatch.setitem(specs.REGISTERED, TASK, hourly)
    monkeypatch.setattr(Jobs, "run", lambda *_, **__: None)  # no delivery follows
    knows(punctual, day, hourly)
    day.at(9, 1)
    asked = punctual.request_run(TASK, by="ops@example.com", reason="new prices", timeout_seconds=0)
    day.at(9, 3)
    punctual.cancel_run(TASK, str(asked.run_id), by="ops@example.com", reason="a mistake")
    day.at(9, 7)
    assert missed_ticks(watched(punctual, capsys, hourly)) == ["09:00"]


def test_a_skipped_or_suspended_tick_is_not_missed(
    punctual: TaskEngine, world: World, day: DayClock, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the task was suspended then and has been resumed."""
    hourly = every("0 * * * *")
    knows(punctual, day, hourly)
    day.at(8, 30)
    punctual.suspend_task(TASK, by="me", reason="r")
    jobs.set_state(TASK, JobState.paused)
    day.at(9, 6)
    assert watched(punctual, capsys, hourly) == ""
    jobs.set_state(TASK, JobState.enabled)
    punctual.resume_task(TASK, by="me", reason="r")
    assert watched(punctual, capsys, hourly) == ""
    day.at(9, 50)
    punctual.suspend_task(TASK, by="me", reason="r")
    day.at(10, 0)
    punctual.execute_task("s", TASK, lambda: [1], {"scheduled_for": day.time})  # skipped, and recorded
    world.database.document(f"nx-tasks/{TASK.value}").update({"status": "completed", "run.suspended": None})
    jobs.set_state(TASK, JobState.enabled)  # the suspension has paused the job if the schedule is known
    day.at(10, 6)
    assert watched(punctual, capsys, hourly) == ""


def test_the_first_due_tick_of_a_task_that_never_ran_is_missed(
    world: World, day: DayClock, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its job was paused before its first tick; the watchdog reports it and creates no status document."""
    engine, hourly = TaskEngine(clock=day), every("0 * * * *")
    jobs.set_state(TASK, JobState.paused)
    knows(engine, day, hourly)
    day.at(8, 4)
    assert watched(engine, capsys, hourly) == ""  # still within its grace period
    day.at(8, 6)
    assert missed_ticks(watched(engine, capsys, hourly)) == ["08:00"]
    assert watched(engine, capsys, hourly) == ""
    day.at(15, 6)
    assert missed_ticks(watched(engine, capsys, hourly)) == ["15:00"]
    assert world.status() == {}


def test_a_first_tick_that_was_skipped_or_run_by_hand_is_not_missed(
    world: World, day: DayClock, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suspended before its first run, then resumed, the task has a status document without a run."""
    engine, hourly = TaskEngine(clock=day), every("0 * * * *")
    knows(engine, day, hourly)
    day.at(8, 30)
    engine.suspend_task(TASK, by="me", reason="r")
    day.at(9, 6)
    jobs.set_state(TASK, JobState.paused)
    assert watched(engine, capsys, hourly) == ""
    jobs.set_state(TASK, JobState.enabled)
    engine.resume_task(TASK, by="me", reason="r")
    assert watched(engine, capsys, hourly) == ""
    day.at(10, 3)
    engine.execute_task("person", TASK, lambda: [1])
    day.at(10, 6)
    assert watched(engine, capsys, hourly) == ""


def test_a_tick_that_a_legacy_writer_started_is_not_missed(
    world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes no run record; its document has the last start."""
    engine, hourly = TaskEngine(clock=day), every("0 * * * *")
    knows(engine, day, hourly)
    day.at(9, 6)
    world.write({"status": "completed", "started": day.time - timedelta(minutes=5), "data": [1]})
    assert watched(engine, capsys, hourly) == ""
    day.at(10, 6)
    assert missed_ticks(watched(engine, capsys, hourly)) == ["10:00"]
    world.write({"status": "suspeneded", "started": day.time, "data": [1]})
    day.at(11, 6)
    assert watched(engine, capsys, hourly) == ""


def test_a_tick_without_a_record_after_its_expiry_is_not_missed(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record of a yearly run expires after a month."""
    assert overdue_ticks(every("0 0 1 1 *"), DAWN, day.time) == []
    assert len(overdue_ticks(every("0 0 1 11 *"), DAWN, day.time)) == 1


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "tick"),
    [
        ("*/5 * * * *", "Etc/UTC", (2026, 11, 24, 12, 4), (2026, 11, 24, 11, 55)),
        ("*/5 * * * *", "Etc/UTC", (2026, 11, 24, 12, 5), (2026, 11, 24, 12, 0)),
        ("0 9 * * 1", "America/Los_Angeles", (2026, 11, 24, 1, 4), (2026, 11, 23, 17, 0)),
        ("30 2 * * *", "Europe/Berlin", (2026, 3, 29, 3, 0), (2026, 3, 28, 1, 30)),  # left out that night
        ("30 2 * * *", "Europe/Berlin", (2026, 10, 25, 0, 40), (2026, 10, 25, 0, 30)),  # repeated that night
        ("30 2 * * *", "Europe/Berlin", (2026, 10, 25, 1, 40), (2026, 10, 25, 1, 30)),
        ("0 0 1 1 *", "Australia/Lord_Howe", (2026, 10, 25, 1, 40), (2025, 12, 31, 13, 0)),
    ],
)
def test_the_last_due_tick_is_computed_in_the_task_s_zone(
    schedule: str, zone: str, now: tuple[int, ...], tick: tuple[int, ...]
) -> None:
    """With five minutes of grace and the clock changes of Cloud Scheduler."""
    spec = TaskSpec(TASK, schedule=schedule, time_zone=zone)
    last = next(ticks_before(spec, datetime(*now, tzinfo=UTC) - TICK_GRACE))  # type: ignore[arg-type,misc]
    assert last == datetime(*tick, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_task_without_a_schedule_has_no_tick_to_miss() -> None:
    assert overdue_ticks(TaskSpec(TASK), DAWN, datetime.now(UTC)) == []


def test_an_error_with_one_task_does_not_stop_the_pass(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tasks are watched, and the pass is not successful."""
    watch_task = Operations.watch_task

    def watches(operations: Operations, spec: TaskSpec) -> Findings:
        if spec.name == "collect_charge_locations":
            raise RuntimeError("boom")
        return watch_task(operations, spec)

    monkeypatch.setattr(Operations, "watch_task", watches)
    dies()
    let_lease_expire(world)
    assert engine.watch_tasks() is False
    assert "task not checked task=collect_charge_locations" in capsys.readouterr().out
    assert world.status()["status"] == "failed"


@pytest.fixture
def old_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the age limit of objects, because objects cannot be created in the past."""
    monkeypatch.setattr("shared.tasks.protocol.retention.RETENTION", timedelta(0))


@pytest.mark.usefixtures("old_objects")
def test_unused_objects_are_removed(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Superseded results and objects of ended attempts; the last good result and its copy stay."""
    for number in range(3):
        engine.execute_task("s", TASK, lambda number=number: [number], {"save_in": "storage"})  # type: ignore[misc]
    own = world.status()["run"]["result"]["object"]
    others = {f"tasks_data/{TASK.value}/{name}" for name in ("", "backup.json", "a.b.csv")}
    for path in (*others, f"tasks_data/{TASK.value}/gone.token.json"):
        world.bucket.blob(path).upload_from_string("[]")
    assert len(world.objects()) == 8
    assert "old results removed" in watched(engine, capsys)
    assert world.objects() == {own, CONTRACT_COPY, *others}  # objects that no run wrote stay
    assert TaskEngine().get_task_data(TASK) == [2]


@pytest.mark.usefixtures("old_objects")
def test_the_object_of_a_running_attempt_stays(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has been uploaded and not published yet, and its token is valid."""

    def works() -> list[int]:
        path = f"tasks_data/{TASK.value}/{world.status()['run']['id']}.{world.status()['run']['token']}.json"
        world.bucket.blob(path).upload_from_string("[1]")
        watched(TaskEngine(), capsys)
        assert path in world.objects()
        return [1]

    assert engine.execute_task("s", TASK, works).status == "completed"


def test_a_superseded_object_stays_for_seven_days(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clients may use its signed URL that long."""
    for number in range(2):
        engine.execute_task("s", TASK, lambda number=number: [number], {"save_in": "storage"})  # type: ignore[misc]
    before = world.objects()
    watched(engine, capsys)
    assert world.objects() == before


@pytest.mark.parametrize("status", ["running", "completed", "suspeneded"])
def test_a_job_paused_for_the_legacy_writer_is_not_reported(
    world: World, engine: TaskEngine, jobs: Jobs, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    """While another implementation runs the task, its document does not change either."""
    jobs.set_state(TASK, JobState.paused)
    world.write({"source": "ts", "status": status, "started": datetime.now(UTC), "data": [1]})
    before = world.status()
    assert "job_disagrees" not in watched(engine, capsys, every("0 0 1 1 *"))
    assert (world.status(), jobs.read(TASK, timeout=5).state) == (before, JobState.paused)
