"""Deliveries that are answered 503 leave a trace: what was refused, how often, and when it comes again."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskOutcome, TaskSpec, specs
from shared.tasks.admin.queries import view_history, view_record
from shared.tasks.admin.views import Refusal
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.specs import RETRY_COUNT
from tests.engine.counting import Counter
from tests.engine.test_requests import Jobs
from tests.engine.world import TASK, World

TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)
BUSY = "a task whose run has ended is still at work on this instance"
ALIVE = "an attempt of this run may still be alive"


def deliver(engine: TaskEngine, **how: Any) -> TaskOutcome:
    return engine.execute_task("s", TASK, lambda: [1], how)


@pytest.fixture
def busy(counted: TaskEngine) -> Iterator[TaskEngine]:
    """An instance on which a task outlives its run."""
    goes_on = threading.Event()
    outcome = counted.execute_task("s", TASK, lambda: goes_on.wait(60), {"deadline_seconds": 0.2})
    assert outcome.status == "failed"
    yield counted
    goes_on.set()


def test_a_busy_instance_counts_what_it_refuses(busy: TaskEngine, world: World, counter: Counter) -> None:
    """One record per run, for two calls each time; the run itself is not touched by it."""
    counter.calls.clear()
    assert [deliver(busy, scheduled_for=TICK).status for _ in range(3)] == ["busy"] * 3
    assert counter.calls == ["BatchGetDocuments", "Commit"] * 3
    record = world.history()[f"{run_id_of(TICK)}.refused"]
    assert (record["state"], record["count"], record["reason"]) == ("refused", 3, BUSY)
    assert record["expire_at"] > record["started"]
    seen = view_history(TaskEngine().store, TASK, limit=1).records[0]
    assert seen.refused is not None
    assert (seen.refused.count, seen.refused.reason) == (3, BUSY)
    assert deliver(TaskEngine(), scheduled_for=TICK).status == "completed"


def test_a_run_whose_attempt_may_be_alive_says_so(engine: TaskEngine, world: World) -> None:
    """Its record has how often it was refused, once it goes on, too."""
    met = []
    outcome = engine.execute_task(
        "s", TASK, lambda: met.append(deliver(TaskEngine(), scheduled_for=TICK)), {"scheduled_for": TICK}
    )
    assert ([each.status for each in met], outcome.status) == (["busy"], "completed")
    record = view_record(TaskEngine().store, TASK, outcome.run_id)
    assert record is not None
    assert record.refused is not None
    assert (record.state, record.refused.count, record.refused.reason) == ("completed", 1, ALIVE)


def test_a_requested_run_that_is_refused_says_so_before_it_starts(
    busy: TaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id leads to who requested it, what was refused, and until when it waits."""
    monkeypatch.setitem(specs._specs, TASK, TaskSpec(TASK, schedule="0 0 1 1 *"))
    desk = TaskEngine(jobs=Jobs())  # type: ignore[arg-type]
    run_id = desk.request_run(TASK, by="p", reason="why", timeout_seconds=0).run_id
    assert run_id is not None
    before = view_record(desk.store, TASK, run_id)
    assert before is not None
    assert (before.id, before.state, before.refused) == (run_id, "requested", None)
    to_come = datetime.now(UTC) + timedelta(minutes=5)
    refused = deliver(busy, schedule_time=to_come)
    assert (refused.run_id, refused.status) == (run_id, "busy")
    seen = view_record(desk.store, TASK, run_id)
    assert seen is not None
    assert seen.requested is not None
    assert seen.refused is not None
    assert (seen.state, seen.requested.by, seen.refused.count) == ("requested", "p", 1)
    assert seen.expires is not None
    assert seen.expires > datetime.now(UTC)
    assert deliver(TaskEngine(), schedule_time=to_come).run_id == run_id
    after = view_record(desk.store, TASK, run_id)
    assert after is not None
    assert (after.state, after.expires) == ("completed", None)


def test_a_trace_that_can_not_be_written_changes_no_answer(
    busy: TaskEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a help; Cloud Scheduler is answered 503 anyway."""
    monkeypatch.setattr("shared.tasks.documents.run_writes.refuse", lambda *_, **__: ["no write"])
    assert deliver(busy, scheduled_for=TICK).status == "busy"
    assert "refused delivery not recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "seconds"), [(1, 10), (2, 20), (RETRY_COUNT, 160), (RETRY_COUNT + 1, None)]
)
def test_when_a_refused_delivery_comes_again(count: int, seconds: int | None) -> None:
    """After Cloud Scheduler's back-off, at the earliest; not at all once its retries are over."""
    again = None if seconds is None else TICK + timedelta(seconds=seconds)
    assert Refusal(count, BUSY, TICK).next_delivery == again
