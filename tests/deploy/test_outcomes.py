"""The metrics count each run once by its outcome, and no result of a suspended task as late."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from deploy.policies import metrics
from shared import firebase
from shared.tasks import TaskEngine, TaskRun, TaskSpec, specs
from shared.tasks.backends.firestore import Store
from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.documents.legs import MAX_TRIES
from shared.tasks.errors import WriteConflict, WriteUnknown
from shared.tasks.protocol.cancellation import CancelOutcome
from tests.deploy.log_entries import Entry, extract, is_matched, recorded
from tests.support.long_runs import FixedJob, HeldQueue
from tests.support.paged_run import DEADLINE, PagedRun
from tests.support.world import TASK, World, in_thread

METRICS = metrics()
WHO: dict[str, Any] = {"by": "operator@example.com", "reason": "a test"}
TICK = {"scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)}
RUN = "2026-11-24T12:00:00.000000Z"
AGES = ("nx-tasks-result-age", "nx-tasks-result-age-ticks")
LOST = [None, "before", "after"]


class Unanswered(Store):
    """It does not answer its first commit, which it loses before or after it is applied; None: it answers."""

    def __init__(self, lost: str | None) -> None:
        super().__init__(firebase.firestore_wire)
        self.lost = lost

    def commit(self, writes: Any, **how: Any) -> Any:
        lost, self.lost = self.lost, None
        if lost == "before":
            raise WriteUnknown("injected")
        update_time = super().commit(writes, **how)
        if lost == "after":
            raise WriteUnknown("injected")
        return update_time


def counted(metric: str, entries: list[Entry]) -> list[dict[str, Any]]:
    """The labels of each entry that a metric counts, and its value."""
    definition = METRICS[metric]
    extractors = {**definition["labelExtractors"], "value": definition.get("valueExtractor")}
    return [
        {label: extractor and extract(extractor, entry) for label, extractor in extractors.items()}
        for entry in entries
        if is_matched(definition["filter"], entry)
    ]


def outcomes(entries: list[Entry]) -> list[str]:
    """The outcomes that the metric counts; each is one of the task."""
    found = counted("nx-tasks-runs", entries)
    assert {each["task"] for each in found} <= {TASK.value}
    return [each["outcome"] for each in found]


def dies(world: World) -> None:
    """Let the lease of the running run expire."""
    past = datetime.now(UTC) - timedelta(hours=1)
    world.database.document(f"nx-tasks/{TASK.value}").update({"run.lease_until": past})


def has_cancel(world: World) -> None:
    """Let the status document contain an operator's cancel."""
    cancel = {**WHO, "at": datetime.now(UTC)}
    world.database.document(f"nx-tasks/{TASK.value}").update({"run.cancel": cancel})


def ends_dead(world: World, end: Callable[[], object], *, cancelled: bool = True) -> None:
    """Let a run that an operator cancelled die, and something else end it."""

    def task(run: TaskRun) -> None:
        if cancelled:
            TaskEngine().cancel_run(TASK, run.run_id, **WHO)
        dies(world)
        end()

    TaskEngine().execute_task("test", TASK, task, {**TICK, "debug_logs": False})


def watches() -> None:
    TaskEngine()._operations.watch_task(TaskSpec(TASK))


def starts_the_next_run() -> None:
    outcome = TaskEngine().execute_task("test", TASK, lambda: [1], {"debug_logs": False})
    assert outcome.status == "completed"


def starts_the_next_run_without_a_response() -> None:
    engine = TaskEngine(Unanswered("after"))
    assert engine.execute_task("test", TASK, lambda: [1], {"debug_logs": False}).status == "completed"


ENDS = pytest.mark.parametrize(
    "end",
    [watches, starts_the_next_run, starts_the_next_run_without_a_response],
    ids=lambda end: end.__name__,
)


@ENDS
def test_a_cancelled_run_whose_process_died_counts_as_cancelled(
    world: World, end: Callable[[], object]
) -> None:
    """It is counted once; its duration is unknown, and no alert policy matches the entry."""
    with recorded() as entries:
        ends_dead(world, end)
    assert outcomes(entries) == ["cancelled"]
    assert counted("nx-tasks-duration", entries) == []
    assert not [entry for entry in entries if entry["severity"] == "ERROR"]


@ENDS
def test_a_dead_run_that_was_not_cancelled_is_an_incident(world: World, end: Callable[[], object]) -> None:
    """It is reported once, by the watchdog or by the next run's start, and has no outcome in the log."""
    with recorded() as entries:
        ends_dead(world, end, cancelled=False)
    assert outcomes(entries) == []
    assert [each["incident"] for each in counted("nx-tasks-incidents", entries)] == ["dead_run"]


@pytest.mark.parametrize("ended_by", ["watchdog", "operator"])
def test_a_cancelled_run_whose_task_a_legacy_writer_took_counts_as_cancelled(
    world: World, ended_by: str
) -> None:
    """The watchdog ends it, or the cancel itself if it comes later."""

    def task(run: TaskRun) -> None:
        if ended_by == "watchdog":
            TaskEngine().cancel_run(TASK, run.run_id, **WHO)
        world.write({"source": "ts", "status": "completed", "data": [1]})
        if ended_by == "operator":
            TaskEngine().cancel_run(TASK, run.run_id, **WHO)
        watches()

    with recorded() as entries:
        outcome = TaskEngine().execute_task("test", TASK, task, {**TICK, "debug_logs": False})
    assert (outcome.status, outcomes(entries)) == ("superseded", ["cancelled"])


@pytest.mark.usefixtures("world")
def test_a_waiting_run_that_is_cancelled_counts_as_cancelled() -> None:
    """With the duration of its legs. A delivery of its next leg counts nothing again."""
    run = PagedRun.waiting(TASK)
    with recorded() as entries:
        run.engine.cancel_run(TASK, run.run_id, **WHO)
        assert run.deliver(2).status == "duplicate"
    assert outcomes(entries) == ["cancelled"]
    (duration,) = counted("nx-tasks-duration", entries)
    assert (duration["outcome"], duration["value"]) == ("cancelled", 1500)


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.usefixtures("world")
def test_a_cancel_without_a_response_counts_once(lost: str) -> None:
    """Whether or not its commit was applied."""
    run = PagedRun.waiting(TASK)
    with recorded() as entries:
        TaskEngine(Unanswered(lost)).cancel_run(TASK, run.run_id, **WHO)
    assert outcomes(entries) == ["cancelled"]


@pytest.mark.usefixtures("world")
def test_a_run_that_begins_its_next_leg_during_a_cancel_counts_once() -> None:
    """The cancel of the waiting run is refused, and the attempt that took it reports the end."""
    at_work, go_on = threading.Event(), threading.Event()

    class Held(PagedRun):
        def _work(self, run: TaskRun) -> list[int]:
            if run.leg == 2:
                at_work.set()
                assert go_on.wait(60)
            return super()._work(run)

    run = Held.waiting(TASK)
    legs: list[tuple[threading.Thread, list[Any]]] = []

    class Overtaken(Store):
        """Before its first commit, the next leg begins."""

        def commit(self, writes: Any, **how: Any) -> Any:
            if not legs:
                legs.append(in_thread(partial(run.deliver, 2)))
                assert at_work.wait(60)
                with pytest.raises(WriteConflict):
                    super().commit(writes, **how)
                raise WriteConflict("refused")
            return super().commit(writes, **how)

    with recorded() as entries:
        became = TaskEngine(Overtaken(firebase.firestore_wire)).cancel_run(TASK, run.run_id, **WHO)
        go_on.set()
        ((thread, ended),) = legs
        thread.join(60)
    assert (became, ended[0].status) == (CancelOutcome.cancelling, "cancelled")
    assert outcomes(entries) == ["cancelled"]


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize(("cancelled", "outcome"), [(True, "cancelled"), (False, "failed")])
def test_a_long_run_that_a_delivery_ends_counts(
    world: World, cancelled: bool, outcome: str, lost: str | None
) -> None:
    """It was cancelled and died, or its deadline passed before its next leg was delivered."""
    run = PagedRun.waiting(TASK)
    if cancelled:
        has_cancel(world)
    else:
        run.clock.advance(DEADLINE.total_seconds())
    run.engine = TaskEngine(Unanswered(lost), clock=run.clock, jobs=FixedJob(), queue=run.queue)
    with recorded() as entries:
        assert run.deliver(2).status == "duplicate"
        assert run.deliver(2).status == "duplicate"
    assert outcomes(entries) == [outcome]
    (duration,) = counted("nx-tasks-duration", entries)
    assert duration["value"] == 1500
    errors = [entry["jsonPayload"]["error"] for entry in entries if entry["severity"] == "ERROR"]
    assert errors == ([] if cancelled else ["DeadlineExceeded: the deadline passed in leg 2"])


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize(("cancelled", "outcome"), [(True, "cancelled"), (False, "failed")])
def test_a_long_run_that_the_next_start_ends_counts(
    world: World, cancelled: bool, outcome: str, lost: str | None
) -> None:
    """Its next leg was not delivered, and the watchdog did not pass after its deadline."""
    run = PagedRun.waiting(TASK)
    if cancelled:
        has_cancel(world)
    run.clock.advance((DEADLINE + CLOCK_SKEW).total_seconds())
    engine = TaskEngine(Unanswered(lost), clock=run.clock)
    with recorded() as entries:
        next_run = engine.execute_task("test", TASK, lambda: [1], {"debug_logs": False})
    assert outcomes(entries) == [outcome]
    (duration,) = counted("nx-tasks-duration", entries)
    assert duration["value"] == 1500
    error = world.history()[run.run_id]["error"]
    assert f"its deadline passed; {next_run.run_id} took over" in error["message"]
    reported = [each["jsonPayload"] for each in entries if each["severity"] == "ERROR"]
    assert [(each["run_id"], each["error"]) for each in reported] == (
        [] if cancelled else [(run.run_id, f"{error['type']}: {error['message']}")]
    )


@pytest.mark.usefixtures("world")
def test_a_long_run_that_two_deliveries_end_counts_once() -> None:
    """The second one gets no response, and finds the end that the first one has logged."""
    run = PagedRun.waiting(TASK)
    run.clock.advance(DEADLINE.total_seconds())
    answering = run.engine

    class Overtaken(Store):
        """Instead of its first commit, another delivery is carried out."""

        def commit(self, *_: Any, **__: Any) -> Any:
            run.clock.advance(1)
            run.engine = answering
            assert run.deliver(2).status == "duplicate"
            raise WriteUnknown("injected")

    store = Overtaken(firebase.firestore_wire)
    run.engine = TaskEngine(store, clock=run.clock, jobs=FixedJob(), queue=run.queue)
    with recorded() as entries:
        assert run.deliver(2).status == "duplicate"
    assert outcomes(entries) == ["failed"]


@pytest.mark.parametrize("lost", LOST)
def test_a_long_run_that_a_delivery_ends_in_its_first_leg_is_not_tried_again(
    world: World, lost: str | None
) -> None:
    """Its attempts have died, and the same delivery does not start another one."""
    options = {**TICK, "debug_logs": False, "leg_seconds": 900.0, "deadline_seconds": 7200.0}
    engine = TaskEngine(Unanswered(lost), jobs=FixedJob(), queue=HeldQueue())
    delivered: list[str] = []

    def task() -> list[int]:
        world.database.document(f"nx-tasks/{TASK.value}").update({"run.legs.tries": MAX_TRIES})
        dies(world)
        delivered.append(engine.execute_task("test", TASK, lambda: [2], options).status)
        return [1]

    with recorded() as entries:
        first = TaskEngine(jobs=FixedJob(), queue=HeldQueue()).execute_task("test", TASK, task, options)
    assert (first.status, delivered, outcomes(entries)) == ("superseded", ["duplicate"], ["failed"])


@pytest.mark.usefixtures("world")
def test_a_failed_run_whose_retries_are_cancelled_counts_as_failed() -> None:
    """Its attempt has ended before, and a cancelled request has never begun."""

    def fails() -> None:
        raise OSError("connection lost")

    with recorded() as entries:
        TaskEngine().execute_task("test", TASK, fails, {**TICK, "debug_logs": False})
        TaskEngine().cancel_run(TASK, RUN, **WHO)
    assert outcomes(entries) == ["failed"]


@pytest.mark.usefixtures("world")
def test_the_result_of_a_suspended_task_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its age is counted again once the task is resumed."""
    monkeypatch.setattr(specs, "REGISTERED", {TASK: TaskSpec(TASK, "*/5 * * * *")})
    engine = TaskEngine()
    engine.execute_task("test", TASK, lambda: [1])
    found = []
    for change in (lambda **_: None, engine.suspend_task, engine.resume_task):
        change(task_name=TASK, **WHO)
        with recorded() as entries:
            engine.watch_tasks()
        found.append([[each["task"] for each in counted(name, entries)] for name in AGES])
    assert found == [[[TASK.value]] * 2, [[], []], [[TASK.value]] * 2]
