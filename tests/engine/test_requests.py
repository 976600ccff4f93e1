"""Runs that people request: each is one run with attempts, separate from ticks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks import TaskEngine, TaskOutcome, TaskSpec, specs
from shared.tasks.admin.queries import view_tasks
from shared.tasks.clock import Clock
from shared.tasks.documents.actions import RunRequest
from shared.tasks.documents.models import RunDocument
from shared.tasks.errors import SchedulerUnavailable, TaskSuspended
from shared.tasks.protocol.cancellation import CancelOutcome
from shared.tasks.protocol.request_decision import REQUEST_WINDOW, answers_request
from shared.tasks.protocol.requested_runs import RequestOutcome
from shared.tasks.specs import RETRY_PERIOD
from tests.support.counting import Counter
from tests.support.world import TASK, World

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "new prices"}
OTHER: dict[str, Any] = {"by": "other@example.com", "reason": "newer prices"}


class Jobs:
    """Cloud Scheduler as far as a request calls it; it delivers nothing by itself."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails = False

    def run(self, *_: Any, **__: Any) -> None:
        self.runs += 1
        if self.fails:
            raise SchedulerUnavailable("no answer")


@pytest.fixture(autouse=True)
def _scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(specs.REGISTERED, TASK, TaskSpec(TASK, schedule="0 0 1 1 *"))


@pytest.fixture
def scheduler() -> Jobs:
    return Jobs()


@pytest.fixture
def desk(world: World, scheduler: Jobs) -> TaskEngine:
    """The engine of the callables."""
    return TaskEngine(jobs=scheduler)  # type: ignore[arg-type]


class StoppedClock(Clock):
    """A time of day that does not change during a test."""

    def __init__(self) -> None:
        self._now = super().now()

    def now(self) -> datetime:
        return self._now


def requested(desk: TaskEngine, who: dict[str, Any] = WHO) -> str:
    """Request a run that is not delivered yet; return its id."""
    became = desk.request_run(TASK, **who, timeout_seconds=0)
    assert became.outcome == "requested"
    assert became.run_id is not None
    return became.run_id


def forced(task: Any = lambda: [1], engine: TaskEngine | None = None, **how: Any) -> TaskOutcome:
    """Deliver a forced run like the service, with the time of the next tick."""
    how = {"schedule_time": datetime.now(UTC) + timedelta(minutes=5), **how}
    return (engine or TaskEngine()).execute_task("firebase-schedule-x", TASK, task, how)


def fails() -> None:
    raise ValueError("no prices")


# One run with attempts


@pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(0)])
def test_the_retries_of_a_requested_run_are_attempts_of_that_run(
    desk: TaskEngine, world: World, ahead: timedelta
) -> None:
    """With the time of the next tick or of the request; the record has the person."""
    run_id = requested(desk)
    when = datetime.now(UTC) + ahead
    outcomes = [forced(task, schedule_time=when) for task in (fails, fails, lambda: [1])]
    assert [(each.run_id, each.status) for each in outcomes] == [
        (run_id, "failed"),
        (run_id, "failed"),
        (run_id, "completed"),
    ]
    record = world.history()[run_id]
    assert (record["attempt"], record["scheduled_for"]) == (3, None)
    assert record["requested"].items() >= WHO.items()
    assert forced(schedule_time=when).status == "duplicate"
    assert len([run for run in world.history().values() if "run_id" in run]) == 1


def test_the_record_of_a_requested_run_has_the_person_from_its_start(desk: TaskEngine, world: World) -> None:
    run_id = requested(desk)
    found: list[dict[str, Any]] = []
    forced(lambda: found.append(world.history()[run_id]))
    assert found[0]["state"] == "running"
    assert found[0]["requested"].items() >= WHO.items()


def test_a_warm_instance_continues_the_requested_run(desk: TaskEngine) -> None:
    """With its cached state of the task the retry is still the same run."""
    engine = TaskEngine()
    forced(engine=engine)
    run_id = requested(desk)
    outcomes = [forced(task, engine) for task in (fails, lambda: [1])]
    assert [(each.run_id, each.status) for each in outcomes] == [(run_id, "failed"), (run_id, "completed")]


def test_the_retries_of_a_requested_run_can_be_cancelled(desk: TaskEngine, world: World) -> None:
    """The next delivery is acknowledged without running the task."""
    run_id = requested(desk)
    assert forced(fails).run_id == run_id
    (task,) = view_tasks(desk.store, (TASK,))
    assert task.retries_end is not None
    assert desk.cancel_run(TASK, run_id, **WHO) is CancelOutcome.cancelled
    assert forced().status == "duplicate"
    assert world.history()[run_id]["error"]["type"] == "RunCancelled"


def test_a_request_without_a_delivery_can_be_cancelled(desk: TaskEngine, world: World) -> None:
    """A late delivery does not run the task."""
    run_id = requested(desk)
    assert desk.cancel_run(TASK, run_id, **WHO) is CancelOutcome.cancelled
    assert (forced().run_id, forced().status) == (run_id, "duplicate")
    assert world.history()[run_id]["error"]["message"] == f"cancelled by {WHO['by']}: {WHO['reason']}"
    assert desk.cancel_run(TASK, run_id, **WHO) is CancelOutcome.ended


# Requests and ticks


def test_a_tick_and_a_request_just_before_it_both_run(desk: TaskEngine, world: World) -> None:
    """Three seconds before: the forced delivery is not the tick."""
    run_id = requested(desk)
    clock = StoppedClock()
    engine = TaskEngine(clock=clock)
    tick = clock.now() + timedelta(seconds=3)
    same = {"engine": engine, "scheduled_for": tick, "schedule_time": tick}
    assert forced(**same).run_id == run_id
    own = forced(**same)
    assert (own.run_id.startswith(f"{tick:%Y-%m-%dT%H:%M:%S}"), own.status) == (True, "completed")


def test_of_two_equal_deliveries_one_is_the_tick_and_one_the_request(desk: TaskEngine) -> None:
    """A delivery after the tick may be either; the first one counts as the tick."""
    run_id = requested(desk)
    tick = datetime.now(UTC)
    same = {"scheduled_for": tick, "schedule_time": tick}
    assert [forced(**same).run_id == run_id for _ in range(2)] == [False, True]
    assert forced(**same).status == "duplicate"


def test_a_tick_before_the_request_does_not_fulfil_it(desk: TaskEngine, world: World) -> None:
    """Nor do its retries and duplicates."""
    tick = datetime.now(UTC) - timedelta(minutes=1)
    same = {"scheduled_for": tick, "schedule_time": tick}
    assert forced(fails, **same).status == "failed"
    run_id = requested(desk)
    assert [forced(**same).status for _ in range(2)] == ["completed", "duplicate"]
    assert run_id not in world.history()


def test_a_forced_run_without_a_request_has_a_random_id(desk: TaskEngine, world: World) -> None:
    """For example from Google's console; other calls do not fulfil a request."""
    run_id = requested(desk)
    called = TaskEngine().execute_task("me", TASK, lambda: [1])
    assert called.run_id != run_id
    assert "requested" not in world.history()[called.run_id]
    assert forced().run_id == run_id


def test_an_expired_request_is_not_fulfilled(desk: TaskEngine, world: World) -> None:
    """If its process died before it called Cloud Scheduler, a later forced run is independent."""
    run_id = requested(desk)
    status = world.database.document(f"nx-tasks/{TASK.value}")
    long_ago = datetime.now(UTC) - REQUEST_WINDOW
    status.update({"run.request.at": long_ago, "run.request.since": long_ago})
    assert forced().run_id != run_id
    assert desk.cancel_run(TASK, run_id, **WHO) is CancelOutcome.ended


# Requests


def test_two_concurrent_requests_share_one_run(desk: TaskEngine, world: World, scheduler: Jobs) -> None:
    """Both people are recorded, and the second delivery is a duplicate."""
    run_id = requested(desk)
    assert requested(desk, OTHER) == run_id
    assert scheduler.runs == 2
    assert [forced().status for _ in range(2)] == ["completed", "duplicate"]
    records = [each for each in world.history().values() if each["state"] == "requested"]
    assert [(each["by"], each["holder"]) for each in records] == [
        (WHO["by"], run_id),
        (OTHER["by"], run_id),
    ]


def test_a_request_after_a_failed_one_is_a_new_run(desk: TaskEngine, world: World) -> None:
    """Later retries of the first run are attempts of the new one."""
    first_time = datetime.now(UTC)
    first = requested(desk)
    assert forced(fails, schedule_time=first_time).run_id == first
    second = requested(desk, OTHER)
    assert second != first
    assert forced(schedule_time=first_time).run_id == second
    assert forced().status == "duplicate"
    assert world.history()[second]["requested"]["by"] == OTHER["by"]


def test_the_next_request_joins_one_whose_call_failed(desk: TaskEngine, scheduler: Jobs) -> None:
    """It is not known whether Cloud Scheduler got the first call, so it is called again for the same run."""
    scheduler.fails = True
    with pytest.raises(SchedulerUnavailable):
        requested(desk)
    scheduler.fails = False
    run_id = requested(desk)
    assert forced().run_id == run_id
    assert scheduler.runs == 2


def test_a_request_during_another_run_is_skipped(desk: TaskEngine, world: World) -> None:
    """One that started between request and delivery; the outcome names it."""
    run_id = requested(desk)
    met: list[TaskOutcome] = []
    holder = TaskEngine().execute_task("me", TASK, lambda: met.append(forced()))
    assert (met[0].run_id, met[0].status) == (run_id, "skipped")
    assert world.history()[f"{run_id}.skipped"]["holder"] == holder.run_id


def test_a_request_after_a_skipped_one_is_a_new_run(desk: TaskEngine) -> None:
    skipped = requested(desk)
    met: list[TaskOutcome] = []
    TaskEngine().execute_task("me", TASK, lambda: met.append(forced()))
    assert met[0].status == "skipped"
    run_id = requested(desk)
    assert run_id != skipped
    assert forced().run_id == run_id


def test_a_request_returns_its_outcome(desk: TaskEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started, busy, or refused if the task was suspended before the delivery."""

    def at_once(before: Any) -> RequestOutcome:
        monkeypatch.setattr(Jobs, "run", lambda *_, **__: before())
        return desk.request_run(TASK, **WHO, timeout_seconds=30)

    assert at_once(forced).outcome == "started"
    held = TaskEngine().execute_task(
        "me", TASK, lambda: desk.request_run(TASK, **WHO, timeout_seconds=0).outcome
    )
    assert TaskEngine().get_task_data(TASK) == "busy", held

    def suspends() -> None:
        TaskEngine(jobs=_NoJobs()).suspend_task(TASK, **WHO)  # type: ignore[arg-type]
        assert forced().status == "skipped"

    with pytest.raises(TaskSuspended):
        at_once(suspends)


class _NoJobs:
    """A Cloud Scheduler that accepts every call."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_, **__: None


def test_a_task_that_never_ran_can_be_requested(desk: TaskEngine, world: World) -> None:
    """Its status document has only the request; readers still find no result."""
    assert TaskEngine().get_task_data(TASK) == []
    run_id = requested(desk)
    assert set(world.status()) == {"run"}
    assert set(world.status()["run"]) == {"request"}
    assert TaskEngine().get_task_data(TASK) == []
    (task,) = view_tasks(desk.store, (TASK,))
    assert (task.status, task.state, task.result) == (None, None, None)
    assert forced().run_id == run_id
    assert TaskEngine().get_task_data(TASK) == [1]


def test_a_start_that_overwrites_the_document_keeps_the_request(desk: TaskEngine) -> None:
    """A retry is still an attempt of the requested run."""
    run_id = requested(desk)
    outcomes = [forced(task, keep_last_result=False) for task in (fails, lambda: [1])]
    assert [each.run_id for each in outcomes] == [run_id] * 2


def test_a_tick_after_a_request_needs_no_additional_call(
    desk: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """Two calls on a warm instance, with or without a fulfilled request."""
    requested(desk)
    forced(engine=counted)
    counter.calls.clear()
    tick = datetime.now(UTC)
    forced(engine=counted, scheduled_for=tick, schedule_time=tick)
    assert counter.calls == ["Commit", "Commit"]


# The rule of fulfilment


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ASKED = RunRequest("r", "p", "why", NOW, NOW)
LATER = NOW + timedelta(seconds=1)


def run(state: str, **fields: Any) -> RunDocument:
    return RunDocument(Timestamp(), state, completed=NOW, **fields)


@pytest.mark.parametrize(
    ("answers", "how"),
    [
        (True, {}),
        (True, {"schedule_time": NOW}),
        (False, {"schedule_time": NOW - timedelta(minutes=1)}),
        (False, {"now": NOW + REQUEST_WINDOW}),
        (False, {"tick": NOW, "schedule_time": NOW}),
        (True, {"tick": NOW, "schedule_time": NOW, "is_done": True}),
        (True, {"tick": NOW, "schedule_time": NOW + timedelta(seconds=23)}),
        (True, {"tick": NOW + timedelta(seconds=3)}),
        (True, {"record": run("running")}),
        (True, {"record": run("failed")}),
        (False, {"record": run("failed"), "now": NOW + RETRY_PERIOD}),
        (True, {"record": run("failed", cancel={"by": "p"})}),
        (False, {"record": run("failed", cancel={"by": "p"}), "tick": NOW + timedelta(seconds=3)}),
        (True, {"record": run("completed")}),
        (False, {"record": run("completed"), "now": NOW + REQUEST_WINDOW}),
        (False, {"record": run("completed"), "tick": NOW, "schedule_time": NOW, "is_done": True}),
        (False, {"record": run("running"), "tick": NOW, "schedule_time": NOW, "is_done": True}),
    ],
)
def test_which_deliveries_fulfil_a_request(answers: bool, how: dict[str, Any]) -> None:
    """One after the request that cannot be a tick's, or whose tick has run, until the request expires."""
    delivered = {"record": None, "tick": None, "is_done": False, "schedule_time": NOW + timedelta(minutes=5)}
    delivered |= {"now": LATER, **how}
    assert answers_request(ASKED, delivered.pop("record"), **delivered) is answers  # type: ignore[arg-type]
