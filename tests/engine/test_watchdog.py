"""The watchdog on the real Firestore and Storage: what nobody was there to say is found, and told once."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskSpec, specs
from shared.tasks.backends.scheduler import Jobs, JobState
from shared.tasks.cron import ticks_before
from shared.tasks.errors import WriteUnknown
from shared.tasks.protocol.incidents import TICK_GRACE, due_ticks
from tests.engine.world import TASK, HandClock, World

CONTRACT_COPY = "tasks_data/collect_charge_cdrs.json"
SCHEDULE = f"nx-tasks/{TASK.value}/nx-schedule/current"

pytestmark = pytest.mark.usefixtures("jobs")


def dies(options: dict[str, Any] | None = None) -> None:
    """Leave a run as a killed process leaves it: running, its lease alive for now."""

    class Killed(BaseException):
        pass

    def is_killed() -> None:
        raise Killed

    killed = TaskEngine()
    killed.store.commit = only_the_first(killed.store.commit)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        killed.execute_task("s", TASK, is_killed, options)


def only_the_first(commit: Any) -> Any:
    """Commits whose process is dead after the first."""
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
    """Let the watchdog pass over the task; return what it logged."""
    capsys.readouterr()
    engine._operations.watch_task(spec or TaskSpec(TASK))
    return capsys.readouterr().out


def test_a_dead_run_is_failed_and_told_once(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed process leaves no task running for ever (lesson 21); its last good result stays."""
    engine.execute_task("s", TASK, lambda: [1])
    dies()
    assert watched(engine, capsys) == ""
    assert world.status()["status"] == "running"
    let_lease_expire(world)
    told = watched(engine, capsys)
    assert "ERROR" in told
    assert "incident=dead_run task=collect_charge_cdrs" in told
    status = world.status()
    assert (status["status"], status["run"]["state"], status["data"]) == ("failed", "failed", [1])
    assert status["error"].startswith("LeaseExpired")
    assert "lease_until" not in status["run"]
    assert sorted(run["state"] for run in world.history().values()) == ["completed", "failed"]
    assert watched(engine, capsys) == ""


def test_a_dead_run_s_tick_runs_again_after_the_watchdog(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only its own tick may reopen it: Cloud Scheduler's retry becomes its next attempt."""
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


def test_a_suspended_task_s_dead_run_stays_suspended(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The watchdog's write keeps the suspension, as all writes do."""
    dies()
    world.database.document(f"nx-tasks/{TASK.value}").update(
        {"status": "suspeneded", "run.suspended": {"by": "me", "reason": "works"}}
    )
    let_lease_expire(world)
    watched(engine, capsys)
    assert (world.status()["status"], world.status()["run"]["state"]) == ("suspeneded", "failed")


def test_a_history_left_running_is_closed(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose task another holds is not running, whatever its history says."""
    engine.execute_task("s", TASK, lambda: [1])
    left = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/left")
    left.set({"state": "running", "token": "lost", "attempt": 1})
    told = watched(engine, capsys)
    assert "superseded_runs=['left']" in told
    assert (world.history()["left"]["state"], world.history()["left"]["error"]["type"]) == (
        "failed",
        "RunSuperseded",
    )


def loses_answers(engine: TaskEngine) -> None:
    """Every commit is applied, and its answer lost."""
    store = engine.store
    commit = store.commit

    def commits(*arguments: Any, **options: Any) -> Any:
        commit(*arguments, **options)
        raise WriteUnknown("lost")

    store.commit = commits  # type: ignore[method-assign]  # commits for real


def test_an_incident_whose_record_s_answer_was_lost_is_told_all_the_same(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """No other pass would: it is in the status by now, and so known already."""
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
    """A process that died between commit and contract copy leaves readers of the contract's path behind."""
    engine.execute_task("s", TASK, lambda: ["new"], {"save_in": "storage"})
    if left == "gone":
        world.bucket.blob(CONTRACT_COPY).delete()
    else:
        world.bucket.blob(CONTRACT_COPY).upload_from_string('["old"]')
    assert "contract_copy=True" in watched(engine, capsys)
    assert world.bucket.blob(CONTRACT_COPY).download_as_bytes() == b'["new"]'
    assert watched(engine, capsys) == ""


@pytest.mark.parametrize("status", ["completed", "failed", "suspeneded"])
def test_a_document_of_the_originals_is_left_alone(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    """The watchdog writes nothing to what another implementation holds."""
    before = {"source": "ts", "status": status, "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "data": [1]}
    world.write(before)
    assert watched(engine, capsys) == ""
    assert world.status() == before


def test_a_run_of_the_originals_that_never_ends_is_told_once(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """It knows no lease, so a person must look; its document is not touched."""
    before = {"status": "running", "started": datetime(2026, 1, 1, tzinfo=UTC)}
    world.write(before)
    assert "incident=overdue_original" in watched(engine, capsys)
    assert watched(engine, capsys) == ""
    assert world.status() == before


#: Long before any tick of these tests.
DAWN = datetime(2000, 1, 1, tzinfo=UTC)


class DayClock(HandClock):
    """A clock that stands still at a time of day that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.time = datetime(2099, 11, 24, 12, tzinfo=UTC)  # after the documents were made

    def now(self) -> datetime:
        return self.time

    def at(self, hour: int, minute: int) -> None:
        self.time = self.time.replace(hour=hour, minute=minute)


@pytest.fixture
def day(clock: HandClock) -> DayClock:
    return DayClock()


@pytest.fixture
def punctual(world: World, day: DayClock) -> TaskEngine:
    """An engine whose time of day a test sets, and whose task ran once this morning."""
    engine = TaskEngine(clock=day)
    day.at(8, 0)
    engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": day.time})
    return engine


def every(schedule: str) -> TaskSpec:
    return TaskSpec(TASK, schedule=schedule)


def knows(engine: TaskEngine, day: DayClock, spec: TaskSpec) -> None:
    """Let the watchdog see the task's schedule early in the morning, long before the ticks of a test."""
    now = day.time
    day.at(7, 0)
    engine._operations.watch_task(spec)
    day.time = now


def known(world: World) -> dict[str, Any]:
    """What is recorded of the task's schedule, {} if nothing is."""
    return world.database.document(SCHEDULE).get().to_dict() or {}


def ticks_told(told: str) -> list[str]:
    """The times of day of the missed ticks that a log tells, in order."""
    return sorted(re.findall(r"incident=missed_tick .*?run_id=2099-11-24T(\d\d:\d\d)", told))


def test_a_tick_that_nobody_started_is_told_once(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cloud Scheduler stopped, or its job is gone: the watchdog says so, with the tick's run id."""
    hourly = every("0 * * * *")
    knows(punctual, day, hourly)
    day.at(9, 4)
    assert watched(punctual, capsys, hourly) == ""  # its grace is not over
    day.at(9, 5)
    assert ticks_told(watched(punctual, capsys, hourly)) == ["09:00"]
    assert watched(punctual, capsys, hourly) == ""
    assert [run["state"] for key, run in world.history().items() if "missed" in key] == ["missed_tick"]


def test_a_missed_tick_whose_record_s_answer_was_lost_is_told_all_the_same(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """No other pass would: it is in the history by now, and so known already."""
    hourly, unlucky = every("0 * * * *"), TaskEngine(clock=day)
    knows(punctual, day, hourly)
    day.at(9, 5)
    loses_answers(unlucky)
    assert ticks_told(watched(unlucky, capsys, hourly)) == ["09:00"]
    assert watched(punctual, capsys, hourly) == ""


def test_a_missed_tick_is_told_although_the_next_one_came(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that began after the grace was not that tick's: what nobody started stays missed."""
    often = every("*/5 8 * * *")
    knows(punctual, day, often)
    for minute in (5, 15):  # at 8:10 nothing comes
        day.at(8, minute)
        punctual.execute_task("s", TASK, lambda: [1], {"scheduled_for": day.time})
    assert ticks_told(watched(punctual, capsys, often)) == ["08:10"]


def test_each_of_several_missed_ticks_is_told(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schedule may have more ticks than the watchdog has passes."""
    knows(punctual, day, every("* 8 * * *"))
    day.at(8, 10)
    assert ticks_told(watched(punctual, capsys, every("* 8 * * *"))) == [f"08:0{n}" for n in range(1, 6)]


def test_a_tick_from_before_a_first_deployment_is_not_missed(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor one from while it was deployed: the job may be updated minutes after the watchdog."""
    often = every("* * * * *")
    day.at(9, 0)
    assert due_ticks(often, DAWN, day.time) != []
    assert watched(punctual, capsys, often) == ""
    assert known(world) == {"schedule": "* * * * *", "time_zone": "Etc/UTC", "since": day.time}
    day.at(9, 9)
    assert watched(punctual, capsys, often) == ""
    day.at(9, 11)
    assert ticks_told(watched(punctual, capsys, often)) == ["09:05", "09:06"]


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
    """Another schedule or zone counts from when the watchdog first sees it; then its ticks are due."""
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
    assert ticks_told(watched(punctual, capsys, changed)) == [due]


def test_ticks_while_nothing_scheduled_the_task_are_not_missed(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task that is removed and deployed again later has its schedule since then."""
    hourly = every("0 * * * *")
    knows(punctual, day, hourly)
    day.at(8, 30)
    assert watched(punctual, capsys) == ""
    assert known(world)["schedule"] is None
    day.at(12, 30)
    assert watched(punctual, capsys) == ""
    assert watched(punctual, capsys, hourly) == ""
    day.at(13, 5)
    assert ticks_told(watched(punctual, capsys, hourly)) == ["13:00"]


def test_a_schedule_is_written_only_when_it_changes(
    punctual: TaskEngine, world: World, day: DayClock
) -> None:
    """A pass of the watchdog over a task that is as before writes nothing."""
    hourly, document = every("0 * * * *"), world.database.document(SCHEDULE)
    knows(punctual, day, hourly)
    before = document.get().update_time
    for minute in (1, 2):
        day.at(8, minute)
        punctual._operations.watch_task(hourly)
    assert document.get().update_time == before


@pytest.mark.parametrize(
    "left", [None, {}, {"since": "yesterday"}, {"since": datetime(2100, 1, 1, tzinfo=UTC)}]
)
def test_a_schedule_whose_record_is_gone_or_damaged_is_known_since_now(
    punctual: TaskEngine,
    world: World,
    day: DayClock,
    capsys: pytest.CaptureFixture[str],
    left: dict[str, Any] | None,
) -> None:
    """No false alarm, and no silence for ever: the next pass writes it again."""
    hourly, document = every("0 * * * *"), world.database.document(SCHEDULE)
    knows(punctual, day, hourly)
    document.delete() if left is None else document.set({**known(world), "since": None, **left})
    day.at(9, 6)
    assert watched(punctual, capsys, hourly) == ""
    assert known(world)["since"] == day.time
    day.at(10, 6)
    assert ticks_told(watched(punctual, capsys, hourly)) == ["10:00"]


def test_two_watchdogs_at_once_record_a_schedule_once(
    punctual: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The later one read the record before it was written: its write is refused, and it reports nothing."""
    hourly, late = every("0 * * * *"), TaskEngine(clock=day)
    before = late.store.read_schedule(TASK)
    late.store.read_schedule = lambda *_, **__: before  # type: ignore[method-assign]  # a stale read
    knows(punctual, day, hourly)
    first = known(world)
    day.at(9, 6)
    assert watched(late, capsys, hourly) == ""
    assert known(world) == first
    assert ticks_told(watched(punctual, capsys, hourly)) == ["09:00"]


def test_a_schedule_whose_record_s_answer_was_lost_is_known(
    engine: TaskEngine, world: World, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pass goes on, and the next one reads what was written."""
    hourly, unlucky = every("0 * * * *"), TaskEngine(clock=day)
    day.at(8, 0)
    loses_answers(unlucky)
    assert watched(unlucky, capsys, hourly) == ""
    assert known(world)["since"] == day.time


def test_a_run_by_hand_within_the_grace_stands_for_the_tick(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody was quicker than the alert: there is nothing to be told."""
    knows(punctual, day, every("0 * * * *"))
    day.at(9, 3)
    punctual.execute_task("person", TASK, lambda: [1])
    day.at(9, 7)
    punctual.execute_task("person", TASK, lambda: [1])
    assert watched(punctual, capsys, every("0 * * * *")) == ""


def test_a_request_that_was_cancelled_stands_for_no_tick(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was started: neither the tick nor what was requested beside it."""
    hourly = every("0 * * * *")
    monkeypatch.setitem(specs._specs, TASK, hourly)
    monkeypatch.setattr(Jobs, "run", lambda *_, **__: None)  # no delivery comes
    knows(punctual, day, hourly)
    day.at(9, 1)
    asked = punctual.request_run(TASK, by="ops@example.com", reason="new prices", timeout_seconds=0)
    day.at(9, 3)
    punctual.cancel_run(TASK, str(asked.run_id), by="ops@example.com", reason="a mistake")
    day.at(9, 7)
    assert ticks_told(watched(punctual, capsys, hourly)) == ["09:00"]


def test_a_tick_that_is_not_to_run_is_not_missed(
    punctual: TaskEngine, world: World, day: DayClock, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suspended, skipped, or suspended then and resumed since: nothing was to start."""
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
    jobs.set_state(TASK, JobState.enabled)  # paused with the task, where its schedule is known
    day.at(10, 6)
    assert watched(punctual, capsys, hourly) == ""


def test_the_first_due_tick_of_a_task_that_never_ran_is_missed(
    world: World, day: DayClock, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its job was paused before its first tick: the watchdog says so, and makes no status document."""
    engine, hourly = TaskEngine(clock=day), every("0 * * * *")
    jobs.set_state(TASK, JobState.paused)
    knows(engine, day, hourly)
    day.at(8, 4)
    assert watched(engine, capsys, hourly) == ""  # its grace is not over
    day.at(8, 6)
    assert ticks_told(watched(engine, capsys, hourly)) == ["08:00"]
    assert watched(engine, capsys, hourly) == ""
    day.at(15, 6)
    assert ticks_told(watched(engine, capsys, hourly)) == ["15:00"]
    assert world.status() == {}


def test_a_task_whose_first_tick_was_skipped_or_run_by_hand_missed_nothing(
    world: World, day: DayClock, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suspended before it ever ran, then resumed: it has a status document without a run."""
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
    """It leaves no history: its document tells when it last started."""
    engine, hourly = TaskEngine(clock=day), every("0 * * * *")
    knows(engine, day, hourly)
    day.at(9, 6)
    world.write({"status": "completed", "started": day.time - timedelta(minutes=5), "data": [1]})
    assert watched(engine, capsys, hourly) == ""
    day.at(10, 6)
    assert ticks_told(watched(engine, capsys, hourly)) == ["10:00"]
    world.write({"status": "suspeneded", "started": day.time, "data": [1]})
    day.at(11, 6)
    assert watched(engine, capsys, hourly) == ""


def test_what_history_has_forgotten_is_not_missed(
    punctual: TaskEngine, day: DayClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record of a yearly run is gone after a month: its absence then says nothing."""
    assert due_ticks(every("0 0 1 1 *"), DAWN, day.time) == []
    assert len(due_ticks(every("0 0 1 11 *"), DAWN, day.time)) == 1


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "tick"),
    [
        ("*/5 * * * *", "Etc/UTC", (2026, 11, 24, 12, 4), (2026, 11, 24, 11, 55)),
        ("*/5 * * * *", "Etc/UTC", (2026, 11, 24, 12, 5), (2026, 11, 24, 12, 0)),
        ("0 9 * * 1", "America/Los_Angeles", (2026, 11, 24, 1, 4), (2026, 11, 23, 17, 0)),
        ("30 2 * * *", "Europe/Berlin", (2026, 3, 29, 3, 0), (2026, 3, 28, 1, 30)),  # no such time that night
        ("30 2 * * *", "Europe/Berlin", (2026, 10, 25, 0, 40), (2026, 10, 25, 0, 30)),  # twice that night
        ("30 2 * * *", "Europe/Berlin", (2026, 10, 25, 1, 40), (2026, 10, 25, 1, 30)),
        ("0 0 1 1 *", "Australia/Lord_Howe", (2026, 10, 25, 1, 40), (2025, 12, 31, 13, 0)),
    ],
)
def test_the_last_due_tick_is_in_the_task_s_own_zone(
    schedule: str, zone: str, now: tuple[int, ...], tick: tuple[int, ...]
) -> None:
    """Five minutes of grace, and the clock's changes, count as they do for Cloud Scheduler."""
    spec = TaskSpec(TASK, schedule=schedule, time_zone=zone)
    last = next(ticks_before(spec, datetime(*now, tzinfo=UTC) - TICK_GRACE))  # type: ignore[arg-type,misc]
    assert last == datetime(*tick, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_task_without_a_schedule_has_no_tick_to_miss() -> None:
    """Nothing starts it."""
    assert due_ticks(TaskSpec(TASK), DAWN, datetime.now(UTC)) == []


def test_one_task_s_trouble_does_not_keep_the_others_from_being_looked_after(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pass goes on, and its answer is no success."""
    watch_task = engine._operations.watch_task

    def watches(spec: TaskSpec) -> None:
        if spec.name == "collect_charge_locations":
            raise RuntimeError("boom")
        watch_task(spec)

    engine._operations.watch_task = watches  # type: ignore[method-assign]  # one of four is in trouble
    dies()
    let_lease_expire(world)
    assert engine.watch_tasks() is False
    assert "task not looked after task=collect_charge_locations" in capsys.readouterr().out
    assert world.status()["status"] == "failed"


@pytest.fixture
def old_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven days pass in no time: objects can't be made old, so what counts as old is changed."""
    monkeypatch.setattr("shared.tasks.protocol.retention.RETENTION", timedelta(0))


@pytest.mark.usefixtures("old_objects")
def test_objects_that_nobody_can_want_are_removed(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Superseded results and strays of attempts that ended go; the last good result and its copy stay."""
    for number in range(3):
        engine.execute_task("s", TASK, lambda number=number: [number], {"save_in": "storage"})  # type: ignore[misc]
    own = world.status()["run"]["result"]["object"]
    others = {f"tasks_data/{TASK.value}/{name}" for name in ("", "backup.json", "a.b.csv")}
    for path in (*others, f"tasks_data/{TASK.value}/gone.token.json"):
        world.bucket.blob(path).upload_from_string("[]")
    assert len(world.objects()) == 8
    assert "old results removed" in watched(engine, capsys)
    assert world.objects() == {own, CONTRACT_COPY, *others}  # what no run wrote is nobody's business here
    assert TaskEngine().get_task_data(TASK) == [2]


@pytest.mark.usefixtures("old_objects")
def test_an_object_that_may_become_a_result_stays(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run at work has uploaded and not yet published: its token is not fenced out."""

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
    """Whoever was handed its signed URL may use it that long."""
    for number in range(2):
        engine.execute_task("s", TASK, lambda number=number: [number], {"save_in": "storage"})  # type: ignore[misc]
    before = world.objects()
    watched(engine, capsys)
    assert world.objects() == before


@pytest.mark.parametrize("status", ["running", "completed", "suspeneded"])
def test_a_job_that_is_paused_for_the_original_is_left_alone(
    world: World, engine: TaskEngine, jobs: Jobs, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    """While another implementation runs the task, nothing is written into its document, and nothing told."""
    jobs.set_state(TASK, JobState.paused)
    world.write({"source": "ts", "status": status, "started": datetime.now(UTC), "data": [1]})
    before = world.status()
    assert "job_disagrees" not in watched(engine, capsys, every("0 0 1 1 *"))
    assert (world.status(), jobs.state(TASK, timeout=5)) == (before, JobState.paused)
