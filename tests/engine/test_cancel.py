"""Cancelling a run on the real Firestore: the task gets an exception, and its result is not published."""

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from shared import firebase
from shared.tasks import InvalidOptions, RunCancelled, TaskEngine, TaskOutcome, TaskRun, TaskSpec
from shared.tasks.backends.firestore import Store
from shared.tasks.contract import DocumentNames
from shared.tasks.documents import run_writes
from shared.tasks.documents.models import RunDocument, TaskDocument
from shared.tasks.documents.run_ids import AttemptIdentity, run_id_of
from shared.tasks.errors import WriteUnknown
from shared.tasks.protocol.cancellation import CancelOutcome, cancel
from shared.tasks.protocol.effects import Commit, Pause, ReadDocuments
from shared.tasks.runtime.task_run import PROGRESS_SECONDS
from shared.tasks.specs import RETRY_PERIOD
from tests.support.counting import Counter
from tests.support.long_runs import UNIT_SECONDS, FixedJob, LongRun, PassingClock
from tests.support.world import TASK, HandClock, World, in_thread
from tests.waiting import wait_for

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "wrong operators"}
MESSAGE = "cancelled by ops@example.com: wrong operators"
TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)


def cancels(run: TaskRun) -> None:
    """Cancel a run from another instance."""
    assert TaskEngine().cancel_run(TASK, run.run_id, **WHO) is CancelOutcome.cancelling


def is_cancelled(world: World, outcome: TaskOutcome) -> None:
    """Assert that the run failed with the person who cancelled it."""
    status, run = world.status(), world.history()[outcome.run_id]
    assert (outcome.status, outcome.error) == ("cancelled", f"RunCancelled: {MESSAGE}")
    assert (status["status"], status["error"]) == ("failed", f"RunCancelled: {MESSAGE}")
    assert (run["state"], run["error"]["message"]) == ("failed", MESSAGE)
    assert run["cancel"].items() >= WHO.items()


def test_a_cancelled_task_is_stopped_at_its_next_progress(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """The last good result stays."""
    engine.execute_task("s", TASK, lambda: [1])
    met: list[str] = []

    def task(run: TaskRun) -> list[int]:
        run.progress(1)
        cancels(run)
        clock.ahead += 1
        try:
            run.progress(2)
        except RunCancelled as error:
            met.append(str(error))
            raise
        return [2]

    is_cancelled(world, engine.execute_task("s", TASK, task))
    assert met == [MESSAGE]
    assert TaskEngine().get_task_data(TASK) == [1]


def test_a_cancelled_task_is_stopped_at_its_first_progress(engine: TaskEngine, world: World) -> None:
    """The first progress does not overwrite an earlier cancel."""

    def task(run: TaskRun) -> None:
        cancels(run)
        run.progress(1)
        pytest.fail("the cancel was not met")

    is_cancelled(world, engine.execute_task("s", TASK, task))


def test_a_task_without_progress_is_cancelled_when_its_lease_is_extended(
    engine: TaskEngine, world: World
) -> None:
    """It finds out at its next look or check."""

    def task(run: TaskRun) -> None:
        assert not run.cancelled
        cancels(run)
        wait_for("the cancel", lambda: run.cancelled)
        run.check()

    is_cancelled(world, engine.execute_task("s", TASK, task, {"lease_seconds": 1.5}))


def test_a_cancelled_stream_is_stopped_at_its_next_record(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """It may clean up, and its records are not published."""
    closed: list[bool] = []

    def task(run: TaskRun) -> Iterator[int]:
        try:
            yield 1
            cancels(run)
            for number in range(100):
                clock.ahead += 1
                yield number
            pytest.fail("the cancel was not met")
        finally:
            closed.append(True)

    is_cancelled(world, engine.execute_task("s", TASK, task))
    assert closed == [True]
    assert world.status().get("data") is None
    assert "result" not in world.status()["run"]


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_the_result_of_a_cancelled_task_is_not_published(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """Even if the task never checked for the cancel."""

    def task(run: TaskRun) -> list[int]:
        cancels(run)
        return [2]

    outcome = engine.execute_task("s", TASK, task, {"save_in": save_in})
    is_cancelled(world, outcome)
    assert TaskEngine().get_task_data(TASK) == []


def test_an_error_of_the_task_after_its_cancel_is_recorded_beside_it(
    engine: TaskEngine, world: World
) -> None:
    """The message still names the person who cancelled the run."""

    def task(run: TaskRun) -> None:
        cancels(run)
        try:
            run.progress(1)
        except RunCancelled as error:
            raise ValueError("half done") from error

    outcome = engine.execute_task("s", TASK, task)
    assert outcome.status == "cancelled"
    assert outcome.error == f"RunCancelled: {MESSAGE} (ValueError: half done)"


def test_a_task_that_raises_run_cancelled_itself_has_failed(engine: TaskEngine) -> None:
    """No person cancelled it, so Cloud Scheduler retries."""

    def task() -> None:
        raise RunCancelled("by myself")

    assert engine.execute_task("s", TASK, task).status == "failed"


def test_a_cancelled_tick_is_not_retried_and_the_next_tick_runs(engine: TaskEngine, world: World) -> None:
    """A retry is a duplicate on any instance."""
    tick = {"scheduled_for": TICK}
    assert engine.execute_task("s", TASK, cancels, tick).status == "cancelled"
    for instance in (engine, TaskEngine()):
        assert instance.execute_task("s", TASK, lambda: [2], tick).status == "duplicate"
    assert engine.execute_task("s", TASK, lambda: [3]).status == "completed"
    assert "cancel" not in world.status()["run"]
    assert TaskEngine().execute_task("s", TASK, lambda: [4]).status == "completed"


def test_a_failed_tick_that_is_cancelled_is_not_retried(engine: TaskEngine, world: World) -> None:
    """Neither on a warm instance nor on another one; its error stays in the message."""

    def fails() -> None:
        raise ValueError("no")

    outcome = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK})
    assert engine.cancel_run(TASK, outcome.run_id, **WHO) is CancelOutcome.cancelled
    for instance in (engine, TaskEngine()):
        again = instance.execute_task("s", TASK, lambda: [2], {"scheduled_for": TICK})
        assert again.status == "duplicate"
    run, status = world.history()[outcome.run_id], world.status()
    message = f"{MESSAGE} (ValueError: no)"
    assert (run["error"]["type"], run["error"]["message"], run["attempt"]) == ("RunCancelled", message, 1)
    assert "fails" in run["error"]["traceback"]
    assert (status["status"], status["error"]) == ("failed", f"RunCancelled: {message}")
    assert run["cancel"].items() >= WHO.items()
    assert status["run"]["cancel"] == run["cancel"]
    changes = [one for one in world.history().values() if one["state"] == "cancelling"]
    assert [(one["by"], one["reason"], one["holder"]) for one in changes] == [(*WHO.values(), outcome.run_id)]
    assert TaskEngine().cancel_run(TASK, outcome.run_id, by="late", reason="too") is CancelOutcome.ended


def test_a_failed_tick_can_be_cancelled_after_later_runs(engine: TaskEngine, world: World) -> None:
    """The status document belongs to a later run and does not change."""

    def fails() -> None:
        raise ValueError("no")

    failed = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK}).run_id

    def task() -> list[int]:
        assert TaskEngine().cancel_run(TASK, failed, **WHO) is CancelOutcome.cancelled
        return [1]

    assert engine.execute_task("s", TASK, task).status == "completed"
    again = TaskEngine().execute_task("s", TASK, lambda: [2], {"scheduled_for": TICK})
    assert (again.status, TaskEngine().get_task_data(TASK)) == ("duplicate", [1])


def test_a_failed_run_without_retries_cannot_be_cancelled(engine: TaskEngine, world: World) -> None:
    """It has no tick, or its retries are over; its error stays."""

    def fails() -> None:
        raise ValueError("no")

    called = engine.execute_task("s", TASK, fails).run_id
    old = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK}).run_id
    history = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{old}")
    history.update({"completed": datetime.now(UTC) - RETRY_PERIOD})
    before = world.status(), world.history()
    for run_id in (called, old):
        assert engine.cancel_run(TASK, run_id, **WHO) is CancelOutcome.ended
    assert (world.status(), world.history()) == before


def test_a_run_that_lost_its_task_to_a_legacy_writer_can_be_cancelled(
    engine: TaskEngine, world: World
) -> None:
    """Its process died, and its tick may be delivered again."""

    def task() -> list[int]:
        world.write({"source": "ts", "status": "completed", "data": [1]})
        assert TaskEngine().cancel_run(TASK, run_id_of(TICK), **WHO) is CancelOutcome.cancelled
        return [2]

    assert engine.execute_task("s", TASK, task, {"scheduled_for": TICK}).status == "superseded"
    error = world.history()[run_id_of(TICK)]["error"]
    assert (error["type"], error["message"]) == ("RunCancelled", f"{MESSAGE} (another attempt took the task)")
    again = TaskEngine().execute_task("s", TASK, lambda: [3], {"scheduled_for": TICK})
    assert (again.status, world.status()["data"]) == ("duplicate", [1])


def test_inconsistent_reads_of_status_and_run_record_are_repeated() -> None:
    """The status is from before the start of the run, the record from after it."""
    steps = cancel(DocumentNames("d", TASK), "r", **WHO, now=TICK)
    assert isinstance(next(steps), ReadDocuments)
    version = Timestamp(seconds=1)
    run = RunDocument(update_time=version, state="running")
    assert isinstance(steps.send((TaskDocument(), run)), Pause)
    assert isinstance(next(steps), ReadDocuments)
    assert isinstance(steps.send((TaskDocument(version, run_id="r", state="running"), run)), Commit)
    with pytest.raises(StopIteration) as became:
        steps.send(version)
    assert became.value.value is CancelOutcome.cancelling


def test_a_run_whose_record_was_removed_has_ended(engine: TaskEngine, world: World) -> None:
    """TTL removes it after thirty days; the status document still has the run."""
    last = engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": TICK}).run_id
    world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{last}").delete()
    assert engine.cancel_run(TASK, last, **WHO) is CancelOutcome.ended


def test_a_record_of_another_kind_cannot_be_cancelled(engine: TaskEngine, world: World) -> None:
    """Such as a skip or a change."""
    engine.suspend_task(TASK, **WHO)
    engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": TICK})
    records = world.history()
    assert {one["state"] for one in records.values()} == {"suspended", "skipped"}
    for record in records:
        assert engine.cancel_run(TASK, record, **WHO) is CancelOutcome.unknown
    assert world.history() == records


def test_a_cancel_that_is_found_only_at_the_end_is_recorded(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message has the person and the task's error, and nothing is logged at ERROR."""

    def task(run: TaskRun) -> None:
        cancels(run)
        raise ValueError("no")

    outcome = engine.execute_task("s", TASK, task, {"scheduled_for": TICK})
    error = f"RunCancelled: {MESSAGE} (ValueError: no)"
    assert (outcome.status, outcome.error, world.status()["error"]) == ("cancelled", error, error)
    assert "ValueError" in world.history()[outcome.run_id]["error"]["message"]
    logged = capsys.readouterr().out
    assert "task cancelled" in logged
    assert "ERROR" not in logged


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_superseded_failure_is_not_reported_as_failed(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], cancelled: bool
) -> None:
    """Another run took the task; this one's failure was not recorded, and its record has another cause.

    That it was taken for dead is an incident, unless an operator had cancelled it.
    """

    def task(run: TaskRun) -> None:
        if cancelled:
            cancels(run)
        dead = {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(dead)
        assert TaskEngine().execute_task("s", TASK, lambda: [2]).status == "completed"
        raise ValueError

    assert engine.execute_task("s", TASK, task).status == "superseded"
    logged = capsys.readouterr().out
    assert ("run superseded" in logged, "WARNING task raised" in logged) == (True, True)
    assert "task failed" not in logged
    errors = [line for line in logged.splitlines() if "ERROR" in line]
    assert ["incident=dead_run" in line for line in errors] == ([] if cancelled else [True])


def test_a_cancelled_run_is_reported_as_cancelled_although_the_next_run_has_begun(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The response to its end was lost, so that the task's document is read, which is the next run's then.

    The duration is that of all legs.
    """
    clock = PassingClock()
    events: list[str] = []

    class Unanswered(Store):
        """It does not answer the first commit that is applied after the cancel."""

        def commit(self, writes: Any, **how: Any) -> Any:
            update_time = super().commit(writes, **how)
            if events == ["cancelled"]:
                events.append("ended")
                assert TaskEngine().execute_task("s", TASK, lambda: [2]).status == "completed"
                raise WriteUnknown("injected")
            return update_time

    class Long(LongRun):
        def engine(self) -> TaskEngine:
            store = Unanswered(firebase.firestore_wire)
            return TaskEngine(store, clock=clock, jobs=FixedJob(), queue=self.queue)

    def task(run: TaskRun) -> None:
        cursor = run.cursor("pages", 0)
        if run.leg == 2:
            cancels(run)
            events.append("cancelled")
            raise ValueError
        clock.ahead += UNIT_SECONDS
        cursor.advance(1)

    long = Long(task, clock)
    assert (long.deliver_tick().status, long.deliver().status) == ("waiting", "cancelled")
    assert (events, world.status()["data"]) == (["cancelled", "ended"], [2])
    logged = capsys.readouterr().out
    assert "ERROR" not in logged
    (seconds,) = re.findall(r"task cancelled .*duration_seconds=([\d.]+)", logged)
    assert float(seconds) >= UNIT_SECONDS


def test_an_object_uploaded_before_the_cancel_is_removed(engine: TaskEngine, world: World) -> None:
    """No document can point to it, because a late publication is refused."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    before = world.objects()

    def task(run: TaskRun) -> list[int]:
        cancels(run)
        return [2]

    assert engine.execute_task("s", TASK, task, {"save_in": "storage"}).status == "cancelled"
    assert world.objects() == before


def test_a_takeover_records_the_cancel_of_a_dead_run(engine: TaskEngine, world: World) -> None:
    """The next tick closes it, before the watchdog runs."""

    def task(run: TaskRun) -> None:
        cancels(run)
        dead = {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(dead)
        assert TaskEngine().execute_task("s", TASK, lambda: [2]).status == "completed"

    died = engine.execute_task("s", TASK, task)
    assert died.status == "superseded"
    error = world.history()[died.run_id]["error"]
    assert (error["type"], error["message"].startswith(f"{MESSAGE} (its lease expired")) == (
        "RunCancelled",
        True,
    )


def test_a_run_that_has_ended_cannot_be_cancelled(engine: TaskEngine, world: World) -> None:
    """No document is written, and the published result stays."""
    outcome = engine.execute_task("s", TASK, lambda: [1])
    before = world.status(), world.history()
    assert engine.cancel_run(TASK, outcome.run_id, **WHO) is CancelOutcome.ended
    assert engine.cancel_run(TASK, "never-was", **WHO) is CancelOutcome.unknown
    assert (world.status(), world.history()) == before


def test_only_the_named_run_is_cancelled(engine: TaskEngine, world: World) -> None:
    """The last run has ended; the current one continues."""
    last = engine.execute_task("s", TASK, lambda: [1]).run_id

    def task(run: TaskRun) -> list[int]:
        assert TaskEngine().cancel_run(TASK, last, **WHO) is CancelOutcome.ended
        run.progress(1)
        return [2]

    assert engine.execute_task("s", TASK, task).status == "completed"


def test_only_the_first_cancel_counts(engine: TaskEngine, world: World) -> None:
    """A second one returns the same and changes nothing."""

    def task(run: TaskRun) -> None:
        cancels(run)
        assert TaskEngine().cancel_run(TASK, run.run_id, by="late", reason="too") is CancelOutcome.cancelling

    outcome = engine.execute_task("s", TASK, task)
    is_cancelled(world, outcome)
    changes = [run for run in world.history().values() if run["state"] == "cancelling"]
    assert [(run["by"], run["reason"], run["holder"]) for run in changes] == [(*WHO.values(), outcome.run_id)]


@pytest.mark.parametrize("wrong", [{"by": ""}, {"reason": " "}, {"reason": "x" * 501}])
def test_a_cancel_without_who_or_why_is_refused(engine: TaskEngine, wrong: dict[str, Any]) -> None:
    """Before any read."""
    with pytest.raises(InvalidOptions, match="must be a text of 1 to 500 characters, got"):
        engine.cancel_run(TASK, "r", **{**WHO, **wrong})


def test_the_run_of_a_suspended_task_can_be_cancelled(engine: TaskEngine, world: World) -> None:
    """The task stays suspended."""

    def task(run: TaskRun) -> None:
        TaskEngine().suspend_task(TASK, **WHO)
        cancels(run)

    assert engine.execute_task("s", TASK, task).status == "cancelled"
    assert (world.status()["status"], world.status()["run"]["state"]) == ("suspeneded", "failed")


def test_a_dead_run_can_be_cancelled(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The watchdog ends it as cancelled and reports no incident. Its tick is not retried."""

    def task(run: TaskRun) -> None:
        cancels(run)
        dead = {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(dead)
        TaskEngine()._operations.watch_task(TaskSpec(TASK))

    outcome = engine.execute_task("s", TASK, task, {"scheduled_for": TICK})
    assert outcome.status == "superseded"
    assert world.status()["error"].startswith(f"RunCancelled: {MESSAGE} (its process died")
    logged = capsys.readouterr().out
    assert "task cancelled task=collect_charge_cdrs" in logged
    assert "dead_run" not in logged
    assert engine.execute_task("s", TASK, lambda: [2], {"scheduled_for": TICK}).status == "duplicate"


def test_checking_for_a_cancel_needs_no_additional_call(
    counted: TaskEngine, counter: Counter, clock: HandClock
) -> None:
    """A progress record is one call; only a conflicting write causes one additional read."""
    calls: list[list[str]] = []

    def reports(run: TaskRun) -> None:
        counter.calls.clear()
        clock.ahead += PROGRESS_SECONDS  # so that the next progress is recorded
        run.progress(1)
        calls.append(list(counter.calls))

    def task(before: Callable[[TaskRun], object]) -> Callable[[TaskRun], None]:
        def task(run: TaskRun) -> None:
            reports(run)
            before(run)
            reports(run)

        return task

    counted.execute_task("s", TASK, task(lambda _: None))
    assert calls == [["Commit"], ["Commit"]]
    calls.clear()
    counted.execute_task("s", TASK, task(lambda run: TaskEngine().store.commit(_touch(run))))
    assert calls == [["Commit"], ["Commit", "BatchGetDocuments", "Commit"]]


def _touch(run: TaskRun) -> list[Any]:
    names = TaskEngine().store.names(TASK)
    identity = AttemptIdentity(names, run.run_id, "", "s")
    return run_writes.progress(identity, True, {"done": 9, "at": datetime.now(UTC)})


def test_of_a_concurrent_cancel_and_end_exactly_one_wins(engine: TaskEngine, world: World) -> None:
    """Either the result is published and the cancel reports the end, or neither."""
    for _ in range(20):
        meet, begun = threading.Barrier(2), list[str]()

        def task(run: TaskRun, meet: threading.Barrier = meet, begun: list[str] = begun) -> list[str]:
            begun.append(run.run_id)
            meet.wait(30)
            return begun

        thread, outcomes = in_thread(partial(engine.execute_task, "s", TASK, task))
        wait_for("the run", partial(len, begun))
        meet.wait(30)
        became = TaskEngine().cancel_run(TASK, begun[0], **WHO)
        thread.join(60)
        published = world.status().get("data") == begun
        assert (became, outcomes[0].status, published) in {
            (CancelOutcome.ended, "completed", True),
            (CancelOutcome.cancelling, "cancelled", False),
        }
