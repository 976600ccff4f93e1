"""Deliveries with response 503 are recorded: the reason, their number, and the time of the next retry."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskOutcome, TaskSpec, specs
from shared.tasks.admin.queries import view_history, view_record
from shared.tasks.admin.records import Refusal
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.specs import RETRY_COUNT
from tests.engine.test_requests import Jobs
from tests.support.counting import Counter
from tests.support.world import TASK, World

TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)
BUSY = "a task whose run has ended is still at work on this instance"
ALIVE = "an attempt of this run may still be alive"


def deliver(engine: TaskEngine, **how: Any) -> TaskOutcome:
    return engine.execute_task("s", TASK, lambda: [1], how)


@pytest.fixture
def busy(counted: TaskEngine) -> Iterator[TaskEngine]:
    """An instance on which a task continues after its run."""
    goes_on = threading.Event()
    outcome = counted.execute_task("s", TASK, lambda: goes_on.wait(60), {"deadline_seconds": 0.2})
    assert outcome.status == "failed"
    yield counted
    goes_on.set()


def test_a_busy_instance_records_the_deliveries_that_it_refuses(
    busy: TaskEngine, world: World, counter: Counter
) -> None:
    """In one record per run, with two calls for each delivery; the run record does not change."""
    counter.calls.clear()
    assert [deliver(busy, scheduled_for=TICK).status for _ in range(3)] == ["busy"] * 3
    assert counter.calls == ["BatchGetDocuments", "Commit"] * 3
    record = world.history()[f"{run_id_of(TICK)}.refused"]
    assert (record["state"], record["count"], record["reason"]) == ("refused", 3, BUSY)
    assert record["expire_at"] > record["started"]
    record = view_history(TaskEngine().store, TASK, limit=1).records[0]
    assert record.refused is not None
    assert (record.refused.count, record.refused.reason) == (3, BUSY)
    assert deliver(TaskEngine(), scheduled_for=TICK).status == "completed"


def test_the_record_of_a_run_has_its_refused_deliveries(engine: TaskEngine, world: World) -> None:
    """Those refused because an attempt may be alive, also after the run continues."""
    met = []
    outcome = engine.execute_task(
        "s", TASK, lambda: met.append(deliver(TaskEngine(), scheduled_for=TICK)), {"scheduled_for": TICK}
    )
    assert ([each.status for each in met], outcome.status) == (["busy"], "completed")
    record = view_record(TaskEngine().store, TASK, outcome.run_id)
    assert record is not None
    assert record.refused is not None
    assert (record.state, record.refused.count, record.refused.reason) == ("completed", 1, ALIVE)


def test_a_requested_run_shows_its_refused_deliveries_before_it_starts(
    busy: TaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id leads to the person, the refused deliveries, and the expiry of the request."""
    monkeypatch.setitem(specs.REGISTERED, TASK, TaskSpec(TASK, schedule="0 0 1 1 *"))
    desk = TaskEngine(jobs=Jobs())  # type: ignore[arg-type]
    run_id = desk.request_run(TASK, by="p", reason="why", timeout_seconds=0).run_id
    assert run_id is not None
    before = view_record(desk.store, TASK, run_id)
    assert before is not None
    assert (before.id, before.state, before.refused) == (run_id, "requested", None)
    to_come = datetime.now(UTC) + timedelta(minutes=5)
    refused = deliver(busy, schedule_time=to_come)
    assert (refused.run_id, refused.status) == (run_id, "busy")
    record = view_record(desk.store, TASK, run_id)
    assert record is not None
    assert record.requested is not None
    assert record.refused is not None
    assert (record.state, record.requested.by, record.refused.count) == ("requested", "p", 1)
    assert record.expires is not None
    assert record.expires > datetime.now(UTC)
    assert deliver(TaskEngine(), schedule_time=to_come).run_id == run_id
    after = view_record(desk.store, TASK, run_id)
    assert after is not None
    assert (after.state, after.expires) == ("completed", None)


def test_a_failed_record_does_not_change_the_response(
    busy: TaskEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cloud Scheduler gets 503 in any case."""
    monkeypatch.setattr("shared.tasks.documents.run_writes.refuse", lambda *_, **__: ["no write"])
    assert deliver(busy, scheduled_for=TICK).status == "busy"
    assert "refused delivery not recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "seconds"), [(1, 10), (2, 20), (RETRY_COUNT, 160), (RETRY_COUNT + 1, None)]
)
def test_the_time_of_the_next_retry_of_a_refused_delivery(count: int, seconds: int | None) -> None:
    """The earliest, after Cloud Scheduler's back-off; none after the last retry."""
    again = None if seconds is None else TICK + timedelta(seconds=seconds)
    assert Refusal(count, BUSY, TICK).next_delivery == again
