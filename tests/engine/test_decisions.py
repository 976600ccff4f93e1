"""The protocol's decisions on a delivery, each from the documents that were read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec.structs import replace

from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.contract import TaskStatus
from shared.tasks.documents.actions import Action
from shared.tasks.documents.legs import Legs
from shared.tasks.documents.models import RunDocument, TaskDocument
from shared.tasks.documents.result_pointer import ResultPointer
from shared.tasks.protocol.decisions import (
    LEGACY_HOLDER,
    Busy,
    Duplicate,
    EndState,
    Skip,
    Start,
    StartDecision,
    decide_start,
    end_state,
    is_overdue_legacy,
    is_own,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DEADLINE = timedelta(seconds=540)
SEEN = Timestamp(seconds=7)
NOTHING = TaskDocument()
RESULT = ResultPointer(version="v", saved_in="db")
MOMENT = timedelta(milliseconds=1)
BY_ME = Action("me", "why", NOW)
DONE = TaskDocument(
    update_time=SEEN, status="completed", run_id="t1", attempt=1, token="a", state="completed", result=RESULT
)
AT_WORK = replace(DONE, status="running", state="running", lease_until=NOW + timedelta(seconds=30))
DEAD = replace(AT_WORK, lease_until=NOW - CLOCK_SKEW)
ERROR = ("ValueError", "no such place")


def history(state: str, attempt: int = 1) -> RunDocument:
    error = ERROR if state == "failed" else ("", "")
    return RunDocument(update_time=SEEN, state=state, token="a", attempt=attempt, error=error)


#: The record of an attempt that another one, or the watchdog, has closed.
CLOSED = replace(history("failed"), error=("LeaseExpired", "its process died"))


def decide(task: TaskDocument, run: RunDocument | None = None, run_id: str = "t2") -> StartDecision:
    return decide_start(task, run, run_id=run_id, now=NOW, deadline=DEADLINE)


@pytest.mark.parametrize(
    ("task", "run", "decision"),
    [
        (NOTHING, None, Start(1)),
        (DONE, None, Start(1)),
        (replace(DONE, state="failed", status="failed"), None, Start(1)),
        (DONE, history("failed", 2), Start(3, record_precondition=SEEN)),
        (DONE, history("running"), Start(2, record_precondition=SEEN)),
        (DONE, history("completed"), Duplicate()),
        (AT_WORK, history("completed"), Duplicate()),
        (AT_WORK, None, Skip("overlap", "t1")),
        (replace(DEAD, lease_until=NOW - CLOCK_SKEW + MOMENT), None, Skip("overlap", "t1")),
        (DEAD, None, Start(1, dead_run_id="t1")),
        (replace(AT_WORK, lease_until=None), None, Start(1, dead_run_id="t1")),
        (replace(DONE, suspended=BY_ME), None, Skip("suspended")),
        (replace(AT_WORK, suspended=BY_ME), None, Skip("suspended")),
        (replace(DONE, status="suspeneded"), None, Skip("suspended")),
        (replace(DONE, status="suspended"), history("failed"), Skip("suspended")),
    ],
)
def test_the_decision_on_a_tick(task: TaskDocument, run: RunDocument | None, decision: StartDecision) -> None:
    """Each state of status document and run record leads to one decision."""
    assert decide(task, run) == decision


@pytest.mark.parametrize(
    ("state", "decision"), [("running", Busy()), ("waiting", Busy()), ("failed", Duplicate())]
)
def test_the_decision_on_a_tick_whose_run_is_in_a_later_leg(state: str, decision: StartDecision) -> None:
    """The status document was read before the run started, so a later delivery must see its leg delivered."""
    record = replace(history(state), legs=Legs(NOW + timedelta(hours=6), number=2))
    assert decide(DONE, record) == decision


@pytest.mark.parametrize(
    ("task", "run", "decision"),
    [
        (AT_WORK, history("running"), Busy()),
        (AT_WORK, None, Busy()),
        (DEAD, history("running"), Start(2, record_precondition=SEEN)),
        (DEAD, None, Start(2)),
        (replace(DONE, state="failed"), history("failed", 3), Start(4, record_precondition=SEEN)),
    ],
)
def test_the_decision_on_another_delivery_of_a_tick(
    task: TaskDocument, run: RunDocument | None, decision: StartDecision
) -> None:
    """A retry continues after a dead attempt; a live attempt is busy, not skipped."""
    assert decide(task, run, run_id="t1") == decision


def legacy(**fields: Any) -> TaskDocument:
    return replace(TaskDocument(update_time=SEEN), **fields)


@pytest.mark.parametrize(
    ("task", "decision"),
    [
        (legacy(status="completed"), Start(1, has_legacy_result=True)),
        (legacy(status="failed"), Start(1, has_legacy_result=True)),
        (legacy(), Start(1)),  # suspended before it ever ran, and resumed
        (legacy(status="running", started=NOW - timedelta(seconds=500)), Skip("overlap", LEGACY_HOLDER)),
        (
            legacy(status="running", started=NOW - timedelta(seconds=546)),
            Start(1, has_legacy_result=True),
        ),
        (legacy(status="running", timestamp=NOW), Skip("overlap", LEGACY_HOLDER)),
        (legacy(status="running"), Start(1, has_legacy_result=True)),
        (legacy(status="suspeneded"), Skip("suspended")),
        (legacy(status="failed", result=RESULT), Start(1)),
    ],
)
def test_the_decision_on_a_legacy_document(task: TaskDocument, decision: StartDecision) -> None:
    """It has no lease: its run counts as alive until the task's deadline, then it is taken over."""
    assert decide(task) == decision


def test_a_legacy_run_counts_as_running_for_one_invocation_at_most() -> None:
    """A run of this engine may take hours, and a legacy run that died must not block it for as long."""
    hours = timedelta(hours=12)
    for ago, decision in ((29, Skip("overlap", LEGACY_HOLDER)), (31, Start(1, has_legacy_result=True))):
        document = legacy(status="running", started=NOW - timedelta(minutes=ago))
        assert decide_start(document, None, run_id="t2", now=NOW, deadline=hours) == decision
        assert is_overdue_legacy(document, now=NOW, deadline=hours) is (ago > 30)


def test_a_token_without_a_running_state_does_not_hold_the_task() -> None:
    """Takeover and watchdog keep the old token in a run that they failed."""
    assert is_own(AT_WORK, "a")
    assert not is_own(AT_WORK, "b")
    assert not is_own(replace(AT_WORK, state="failed"), "a")


@pytest.mark.parametrize(
    ("task", "run", "final_status", "expected"),
    [
        (AT_WORK, history("running"), TaskStatus.completed, EndState.pending),
        (DONE, history("completed"), TaskStatus.completed, EndState.recorded),
        (replace(DONE, token="b"), history("completed"), TaskStatus.completed, EndState.recorded),
        (replace(DONE, token="b"), None, TaskStatus.completed, EndState.superseded),
        (replace(DONE, state="failed"), history("failed"), TaskStatus.completed, EndState.superseded),
        (replace(DONE, state="failed"), history("failed"), TaskStatus.failed, EndState.recorded),
        (replace(DONE, state="failed"), None, TaskStatus.failed, EndState.recorded),
        (replace(DONE, state="failed"), history("running"), TaskStatus.failed, EndState.recorded),
        (replace(DONE, token="b"), history("failed"), TaskStatus.failed, EndState.recorded),
        (replace(DONE, state="failed"), CLOSED, TaskStatus.failed, EndState.superseded),
        (replace(DONE, token="b"), CLOSED, TaskStatus.failed, EndState.superseded),
        (replace(AT_WORK, token="b"), history("running"), TaskStatus.completed, EndState.superseded),
        (NOTHING, None, TaskStatus.completed, EndState.superseded),
        (legacy(status="running"), history("running"), TaskStatus.completed, EndState.superseded),
    ],
)
def test_the_state_of_an_attempt_after_a_lost_response(
    task: TaskDocument, run: RunDocument | None, final_status: TaskStatus, expected: EndState
) -> None:
    """Pending, recorded or superseded, by token and state together, and for a failure by its error."""
    found = end_state(task, run, token="a", final_status=final_status, errors={("E", "again"), ERROR})
    assert found is expected
