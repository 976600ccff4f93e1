"""Cancelling a run, on the real Firestore: its task is told, and nothing that it returns is published."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks import InvalidOptions, RunCancelled, TaskEngine, TaskOutcome, TaskRun, TaskSpec
from shared.tasks.documents import run_writes
from shared.tasks.documents.models import RunDocument, TaskDocument
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.protocol.cancellation import Cancelled, cancel
from shared.tasks.protocol.effects import Commit, Pause, ReadRun
from shared.tasks.specs import RETRIES_OVER
from tests.engine.counting import Counter
from tests.engine.world import TASK, HandClock, World, in_thread
from tests.waiting import wait_for

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "wrong operators"}
SAID = "cancelled by ops@example.com: wrong operators"
TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)


def cancels(run: TaskRun) -> None:
    """Cancel a run as somebody elsewhere does."""
    assert TaskEngine().cancel_run(TASK, run.run_id, **WHO) is Cancelled.cancelling


def is_cancelled(world: World, outcome: TaskOutcome) -> None:
    """The run failed, and says who wanted that."""
    status, run = world.status(), world.history()[outcome.run_id]
    assert (outcome.status, outcome.error) == ("cancelled", f"RunCancelled: {SAID}")
    assert (status["status"], status["error"]) == ("failed", f"RunCancelled: {SAID}")
    assert (run["state"], run["error"]["message"]) == ("failed", SAID)
    assert run["cancel"].items() >= WHO.items()


def test_a_task_meets_its_cancel_at_its_next_progress(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """It is raised there, and the last good result stays."""
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
    assert met == [SAID]
    assert TaskEngine().get_task_data(TASK) == [1]


def test_the_first_progress_meets_it_as_well(engine: TaskEngine, world: World) -> None:
    """A cancel that came before the task told anything is not written over."""

    def task(run: TaskRun) -> None:
        cancels(run)
        run.progress(1)
        pytest.fail("the cancel was not met")

    is_cancelled(world, engine.execute_task("s", TASK, task))


def test_a_task_without_progress_meets_it_when_its_lease_is_extended(
    engine: TaskEngine, world: World
) -> None:
    """It looks, or checks."""

    def task(run: TaskRun) -> None:
        assert not run.cancelled
        cancels(run)
        wait_for("the cancel", lambda: run.cancelled)
        run.check()

    is_cancelled(world, engine.execute_task("s", TASK, task, {"lease_seconds": 1.5}))


def test_a_stream_meets_it_at_its_next_record(engine: TaskEngine, world: World, clock: HandClock) -> None:
    """It is asked for no more, may clean up, and nothing of it is a result."""
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
def test_what_a_task_returns_that_never_looked_is_not_published(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """Whoever was told that it will end can rely on that."""

    def task(run: TaskRun) -> list[int]:
        cancels(run)
        return [2]

    outcome = engine.execute_task("s", TASK, task, {"save_in": save_in})
    is_cancelled(world, outcome)
    assert TaskEngine().get_task_data(TASK) == []


def test_what_the_task_made_of_it_is_told_beside(engine: TaskEngine, world: World) -> None:
    """An error of its own after a cancel does not hide who wanted the end."""

    def task(run: TaskRun) -> None:
        cancels(run)
        try:
            run.progress(1)
        except RunCancelled as error:
            raise ValueError("half done") from error

    outcome = engine.execute_task("s", TASK, task)
    assert (outcome.status, outcome.error) == ("cancelled", f"RunCancelled: {SAID} (ValueError: half done)")


def test_a_task_that_says_so_itself_has_just_failed(engine: TaskEngine) -> None:
    """Nobody cancelled it: Cloud Scheduler is to try again."""

    def task() -> None:
        raise RunCancelled("by myself")

    assert engine.execute_task("s", TASK, task).status == "failed"


def test_a_cancelled_tick_is_not_run_again_and_the_next_one_is(engine: TaskEngine, world: World) -> None:
    """A retry is a duplicate, on any instance; the next run knows of no cancel."""
    tick = {"scheduled_for": TICK}
    assert engine.execute_task("s", TASK, cancels, tick).status == "cancelled"
    for instance in (engine, TaskEngine()):
        assert instance.execute_task("s", TASK, lambda: [2], tick).status == "duplicate"
    assert engine.execute_task("s", TASK, lambda: [3]).status == "completed"
    assert "cancel" not in world.status()["run"]
    assert TaskEngine().execute_task("s", TASK, lambda: [4]).status == "completed"


def test_a_failed_tick_that_is_cancelled_is_not_tried_again(engine: TaskEngine, world: World) -> None:
    """Cloud Scheduler delivers it again, to a warm instance and to another: neither begins it anew."""

    def fails() -> None:
        raise ValueError("no")

    outcome = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK})
    assert engine.cancel_run(TASK, outcome.run_id, **WHO) is Cancelled.cancelled
    for instance in (engine, TaskEngine()):
        again = instance.execute_task("s", TASK, lambda: [2], {"scheduled_for": TICK})
        assert again.status == "duplicate"
    run, status = world.history()[outcome.run_id], world.status()
    told = f"{SAID} (ValueError: no)"  # what it failed with is not hidden
    assert (run["error"]["type"], run["error"]["message"], run["attempt"]) == ("RunCancelled", told, 1)
    assert "fails" in run["error"]["traceback"]
    assert (status["status"], status["error"]) == ("failed", f"RunCancelled: {told}")
    assert run["cancel"].items() >= WHO.items()
    assert status["run"]["cancel"] == run["cancel"]
    changes = [one for one in world.history().values() if one["state"] == "cancelling"]
    assert [(one["by"], one["reason"], one["holder"]) for one in changes] == [(*WHO.values(), outcome.run_id)]
    assert TaskEngine().cancel_run(TASK, outcome.run_id, by="late", reason="too") is Cancelled.ended


def test_a_failed_tick_that_others_followed_is_cancelled_as_well(engine: TaskEngine, world: World) -> None:
    """The status is another run's by then, and is not touched."""

    def fails() -> None:
        raise ValueError("no")

    failed = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK}).run_id

    def task() -> list[int]:
        assert TaskEngine().cancel_run(TASK, failed, **WHO) is Cancelled.cancelled
        return [1]

    assert engine.execute_task("s", TASK, task).status == "completed"
    again = TaskEngine().execute_task("s", TASK, lambda: [2], {"scheduled_for": TICK})
    assert (again.status, TaskEngine().get_task_data(TASK)) == ("duplicate", [1])


def test_a_failed_run_that_nobody_delivers_again_has_ended(engine: TaskEngine, world: World) -> None:
    """No tick asked for it, or its retries are over: it goes on telling what it failed with."""

    def fails() -> None:
        raise ValueError("no")

    called = engine.execute_task("s", TASK, fails).run_id
    old = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK}).run_id
    history = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{old}")
    history.update({"completed": datetime.now(UTC) - RETRIES_OVER})
    before = world.status(), world.history()
    for run_id in (called, old):
        assert engine.cancel_run(TASK, run_id, **WHO) is Cancelled.ended
    assert (world.status(), world.history()) == before


def test_a_run_that_nobody_holds_any_more_is_cancelled(engine: TaskEngine, world: World) -> None:
    """Its process died, and the original wrote over its status: its tick may be delivered again."""

    def task() -> list[int]:
        world.write({"source": "ts", "status": "completed", "data": [1]})
        assert TaskEngine().cancel_run(TASK, run_id_of(TICK), **WHO) is Cancelled.cancelled
        return [2]

    assert engine.execute_task("s", TASK, task, {"scheduled_for": TICK}).status == "superseded"
    error = world.history()[run_id_of(TICK)]["error"]
    assert (error["type"], error["message"]) == ("RunCancelled", f"{SAID} (another attempt took the task)")
    again = TaskEngine().execute_task("s", TASK, lambda: [3], {"scheduled_for": TICK})
    assert (again.status, world.status()["data"]) == ("duplicate", [1])


def test_what_was_read_of_two_moments_is_read_again() -> None:
    """The status of before the run began, its history of after: it is at work, though by no tick."""
    steps = cancel("d", TASK, "r", **WHO, now=TICK)
    assert isinstance(next(steps), ReadRun)
    version = Timestamp(seconds=1)
    run = RunDocument(update_time=version, state="running")
    assert isinstance(steps.send((TaskDocument(), run)), Pause)
    assert isinstance(next(steps), ReadRun)
    assert isinstance(steps.send((TaskDocument(version, run_id="r", state="running"), run)), Commit)
    with pytest.raises(StopIteration) as became:
        steps.send(version)
    assert became.value.value is Cancelled.cancelling


def test_a_run_whose_history_was_removed_has_ended(engine: TaskEngine, world: World) -> None:
    """TTL removes it after thirty days; the status still tells of it."""
    last = engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": TICK}).run_id
    world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{last}").delete()
    assert engine.cancel_run(TASK, last, **WHO) is Cancelled.ended


def test_what_is_no_run_is_not_cancelled(engine: TaskEngine, world: World) -> None:
    """The history has records of other things: a skip, a change."""
    engine.suspend_task(TASK, **WHO)
    engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": TICK})
    records = world.history()
    assert {one["state"] for one in records.values()} == {"suspended", "skipped"}
    for record in records:
        assert engine.cancel_run(TASK, record, **WHO) is Cancelled.unknown
    assert world.history() == records


def test_a_cancel_that_is_met_with_the_end_alone_is_told(engine: TaskEngine, world: World) -> None:
    """The task failed by itself, and never looked: who wanted the end is told, and its error beside."""

    def task(run: TaskRun) -> None:
        cancels(run)
        raise ValueError("no")

    outcome = engine.execute_task("s", TASK, task, {"scheduled_for": TICK})
    said = f"RunCancelled: {SAID} (ValueError: no)"
    assert (outcome.status, outcome.error, world.status()["error"]) == ("cancelled", said, said)
    assert "ValueError" in world.history()[outcome.run_id]["error"]["message"]


def test_what_was_uploaded_before_the_cancel_is_removed(engine: TaskEngine, world: World) -> None:
    """Nothing can point to it any more: a late publication is refused."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    before = world.objects()

    def task(run: TaskRun) -> list[int]:
        cancels(run)
        return [2]

    assert engine.execute_task("s", TASK, task, {"save_in": "storage"}).status == "cancelled"
    assert world.objects() == before


def test_a_dead_run_that_was_cancelled_is_told_so_by_who_takes_over(engine: TaskEngine, world: World) -> None:
    """The next tick closes it, before the watchdog comes."""

    def task(run: TaskRun) -> None:
        cancels(run)
        dead = {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(dead)
        assert TaskEngine().execute_task("s", TASK, lambda: [2]).status == "completed"

    died = engine.execute_task("s", TASK, task)
    assert died.status == "superseded"
    error = world.history()[died.run_id]["error"]
    assert (error["type"], error["message"].startswith(f"{SAID} (its lease expired")) == (
        "RunCancelled",
        True,
    )


def test_a_run_that_ended_is_not_cancelled(engine: TaskEngine, world: World) -> None:
    """Whoever tries is told so, and nothing is written: what was published stays."""
    outcome = engine.execute_task("s", TASK, lambda: [1])
    before = world.status(), world.history()
    assert engine.cancel_run(TASK, outcome.run_id, **WHO) is Cancelled.ended
    assert engine.cancel_run(TASK, "never-was", **WHO) is Cancelled.unknown
    assert (world.status(), world.history()) == before


def test_no_other_run_than_the_named_one_is_hit(engine: TaskEngine, world: World) -> None:
    """The last run ended; the one at work goes on."""
    last = engine.execute_task("s", TASK, lambda: [1]).run_id

    def task(run: TaskRun) -> list[int]:
        assert TaskEngine().cancel_run(TASK, last, **WHO) is Cancelled.ended
        run.progress(1)
        return [2]

    assert engine.execute_task("s", TASK, task).status == "completed"


def test_the_first_cancel_stands(engine: TaskEngine, world: World) -> None:
    """A second one is told the same, and changes nothing; each change is in the history once."""

    def task(run: TaskRun) -> None:
        cancels(run)
        assert TaskEngine().cancel_run(TASK, run.run_id, by="late", reason="too") is Cancelled.cancelling

    outcome = engine.execute_task("s", TASK, task)
    is_cancelled(world, outcome)
    changes = [run for run in world.history().values() if run["state"] == "cancelling"]
    assert [(run["by"], run["reason"], run["holder"]) for run in changes] == [(*WHO.values(), outcome.run_id)]


@pytest.mark.parametrize("wrong", [{"by": ""}, {"reason": " "}, {"reason": "x" * 501}])
def test_a_cancel_without_who_or_why_is_refused(engine: TaskEngine, wrong: dict[str, Any]) -> None:
    """Before anything is looked up."""
    with pytest.raises(InvalidOptions, match="must be a text of 1 to 500 characters, got"):
        engine.cancel_run(TASK, "r", **{**WHO, **wrong})


def test_a_suspended_task_can_be_cancelled_at_work(engine: TaskEngine, world: World) -> None:
    """It stays suspended, and its last run is the one that was cancelled."""

    def task(run: TaskRun) -> None:
        TaskEngine().suspend_task(TASK, **WHO)
        cancels(run)

    assert engine.execute_task("s", TASK, task).status == "cancelled"
    assert (world.status()["status"], world.status()["run"]["state"]) == ("suspeneded", "failed")


def test_a_run_that_died_is_told_as_cancelled(engine: TaskEngine, world: World) -> None:
    """The watchdog ends it, and its tick is not run again."""

    def task(run: TaskRun) -> None:
        cancels(run)
        dead = {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(dead)
        TaskEngine()._operations.watch_task(TaskSpec(TASK))

    outcome = engine.execute_task("s", TASK, task, {"scheduled_for": TICK})
    assert outcome.status == "superseded"
    assert world.status()["error"].startswith(f"RunCancelled: {SAID} (its process died")
    assert engine.execute_task("s", TASK, lambda: [2], {"scheduled_for": TICK}).status == "duplicate"


def test_looking_for_a_cancel_costs_nothing(counted: TaskEngine, counter: Counter) -> None:
    """A record of progress is one call; only one that somebody's write is in the way of reads, and once."""
    told: list[list[str]] = []

    def tells(run: TaskRun) -> None:
        counter.calls.clear()
        run._recorded_at = None  # a second later
        run.progress(1)
        told.append(list(counter.calls))

    def task(before: Callable[[TaskRun], object]) -> Callable[[TaskRun], None]:
        def task(run: TaskRun) -> None:
            tells(run)
            before(run)
            tells(run)

        return task

    counted.execute_task("s", TASK, task(lambda _: None))
    assert told == [["Commit"], ["Commit"]]
    told.clear()
    counted.execute_task("s", TASK, task(lambda run: TaskEngine().store.commit(_touch(run))))
    assert told == [["Commit"], ["Commit", "BatchGetDocuments", "Commit"]]


def _touch(run: TaskRun) -> list[Any]:
    documents = TaskEngine().store.documents
    identity = run_writes.RunIdentity(documents, TASK, run.run_id, "", "s")
    return run_writes.progress(identity, None, {"done": 9, "at": datetime.now(UTC)})


def test_a_cancel_and_an_end_that_meet_have_one_winner(engine: TaskEngine, world: World) -> None:
    """Round for round: the result is published and whoever cancels is told so, or neither is."""
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
            (Cancelled.ended, "completed", True),
            (Cancelled.cancelling, "cancelled", False),
        }
