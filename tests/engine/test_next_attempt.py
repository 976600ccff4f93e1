"""The outcome of a run and its next attempt, from documents; needs no stack."""

import datetime as dt
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.access import QUEUE_OPTIONS
from shared.tasks import TaskName
from shared.tasks.admin.records import RunRecord
from shared.tasks.admin.retries import NextAttempt, attempt_of_leg
from shared.tasks.admin.views import TaskView
from shared.tasks.documents.legs import RETRY_GRACE, Legs
from shared.tasks.documents.models import TaskDocument
from shared.tasks.specs import RETRY_PERIOD

TASK = TaskName.collect_devices_health
ENDED = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
SOON = ENDED + dt.timedelta(seconds=5)
TICK = "2026-11-24T12:00:00.000000Z"
ACTION = {"by": "anna", "reason": "why", "at": ENDED}


def task(error: str = "ValueError: no", **run: Any) -> TaskView:
    """A task whose run of a tick has failed."""
    status = {"status": "failed", "started": ENDED, "completed": ENDED, "error": error}
    values = {**status, "run": {"id": TICK, "attempt": 1, "state": "failed", **run}}
    return TaskView.parse(TASK, values, TaskDocument.parse(values, Timestamp()))


def record(run_id: str = TICK, **values: Any) -> RunRecord:
    """The record of that run."""
    failed = {"state": "failed", "attempt": 1, "completed": ENDED, "error": {"type": "ValueError"}}
    return RunRecord.parse(run_id, {**failed, **values}, Timestamp())


def after(seconds: float) -> dt.datetime:
    return ENDED + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20), (5, 160)])
def test_a_failed_tick_is_tried_again_after_a_backoff_that_doubles(attempt: int, seconds: float) -> None:
    """As Cloud Scheduler's retry settings say; the task and the run agree."""
    expected = NextAttempt(attempt + 1, 6, after(seconds))
    assert task(attempt=attempt).next_attempt(SOON) == expected
    assert record(attempt=attempt).next_attempt(SOON) == expected


def test_a_run_without_further_attempts_has_none() -> None:
    """The last attempt, a run outside the schedule, a later leg, and one whose retries are over."""
    legs = {"deadline": ENDED, "number": 2}
    for view in (task(attempt=6), task(id="ab12"), task(legs=legs), record(attempt=6), record(legs=legs)):
        assert view.next_attempt(SOON) is None
    assert task().next_attempt(ENDED + RETRY_PERIOD) is None
    assert record().next_attempt(ENDED + RETRY_PERIOD) is None


@pytest.mark.parametrize(
    ("run_id", "values", "why"),
    [
        (TICK, {"attempt": 6}, "Cloud Scheduler delivers a run 6 times at most"),
        ("ab12", {}, "only ticks and requested runs are tried again, and this run is neither"),
        (TICK, {"legs": {"deadline": ENDED, "number": 3}}, "its deadline has passed"),
        (
            TICK,
            {"legs": {"deadline": after(60), "number": 3, "tries": 10}},
            "10 attempts of leg 3 in a row reached no checkpoint",
        ),
        (
            TICK,
            {"legs": {"deadline": after(60), "number": 3}},
            "Cloud Scheduler delivers only the first leg of a long run again",
        ),
        (TICK, {}, "Cloud Scheduler's retries are over"),
        (TICK, {"cancel": ACTION}, None),
        (TICK, {"state": "completed"}, None),
    ],
)
def test_a_run_that_is_not_tried_again_has_a_reason(
    run_id: str, values: dict[str, Any], why: str | None
) -> None:
    """One for each rule that ends the attempts; a run that did not fail has none."""
    assert record(run_id, **values).why_not_retried() == why


def test_deliveries_that_would_do_nothing_are_no_next_attempt() -> None:
    """Those of a cancelled run, and of a suspended task."""
    assert task(cancel=ACTION).next_attempt(SOON) is None
    assert record(cancel=ACTION).next_attempt(SOON) is None
    assert task(suspended=ACTION).next_attempt(SOON) is None
    assert record(state="completed").next_attempt(SOON) is None


def test_the_time_of_the_attempt_after_a_death_is_not_known() -> None:
    """Cloud Scheduler counts from when the connection broke, which no document contains."""
    assert task("LeaseExpired: its process died").next_attempt(SOON) == NextAttempt(2, 6, None)
    assert record(error={"type": "LeaseExpired"}).next_attempt(SOON) == NextAttempt(2, 6, None)


@pytest.mark.parametrize(
    ("number", "tries", "attempt", "expected"),
    [
        (2, 1, 3, NextAttempt(2, 10, after(30))),
        (2, 0, 3, NextAttempt(1, 10, after(30))),
        (3, 4, 7, NextAttempt(5, 10, after(240))),
        (3, 9, 12, NextAttempt(10, 10, after(900))),
        (1, 1, 2, NextAttempt(2, 10, after(10))),
        (1, 7, 8, NextAttempt(8, 10, ENDED + RETRY_GRACE)),
    ],
)
def test_a_failed_leg_is_tried_again(number: int, tries: int, attempt: int, expected: NextAttempt) -> None:
    """By the queue, by Cloud Scheduler for a first leg, and by the watchdog after its last retry."""
    legs = Legs(deadline=ENDED + dt.timedelta(hours=12), number=number, tries=tries)
    assert attempt_of_leg(legs, attempt, ENDED) == expected
    since = Timestamp()
    since.FromDatetime(ENDED)
    fields = {
        "state": "waiting",
        "attempt": attempt,
        "legs": legs.to_fields(),
        "error": {"type": "ValueError"},
    }
    assert RunRecord.parse(TICK, fields, since).next_attempt(SOON) == expected


def test_a_leg_that_was_handed_over_is_no_next_attempt() -> None:
    """Nothing failed."""
    legs = Legs(deadline=ENDED + dt.timedelta(hours=12), number=2, tries=0)
    waits = {"state": "waiting", "attempt": 2, "legs": legs.to_fields()}
    assert RunRecord.parse(TICK, waits, Timestamp()).next_attempt(SOON) is None
    assert task(**waits, lease_until=after(300)).next_attempt(SOON) is None


def test_the_backoff_of_legs_is_that_of_the_queue() -> None:
    """The command of a deployment sets the same numbers."""
    assert {"--min-backoff=30s", "--max-backoff=900s"} <= set(QUEUE_OPTIONS)


def test_a_cancelled_run_has_an_outcome_of_its_own() -> None:
    """Its state stays; a run that raises RunCancelled by itself has failed."""
    assert (task().outcome, record().outcome) == ("failed", "failed")
    assert (task(cancel=ACTION).state, task(cancel=ACTION).outcome) == ("failed", "cancelled")
    cancelled = record(cancel=ACTION)
    assert (cancelled.state, cancelled.outcome, cancelled.by) == ("failed", "cancelled", "anna")
    assert record(error={"type": "RunCancelled"}).outcome == "failed"
    assert record(state="running", cancel=ACTION).outcome == "running"
    assert record(state="skipped").outcome == "skipped"


def test_a_run_keeps_its_request_while_the_next_one_waits() -> None:
    """The last request replaces `run.request` before its own run starts."""
    last = {"id": "request-2026-11-24T12:30:00.000000Z", "by": "otto", "reason": "again", "at": SOON}
    requested = task(requested=ACTION, request=last).requested
    assert requested is not None
    assert (requested.by, requested.reason) == ("anna", "why")
    assert task(request=last).requested is None
    by_earlier_version = task(request={**last, "id": TICK}).requested
    assert by_earlier_version is not None
    assert by_earlier_version.by == "otto"
