"""Records of the run history: runs, skips, incidents and operators' changes, for people to read.

A field is None if the engine writes no value of its type. A run that waits for its next leg has the state
"running" here, and `waiting_since`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.tasks.admin.retries import (
    NextAttempt,
    attempt_after_failure,
    attempt_of_leg,
    why_not_retried,
)
from shared.tasks.contract import TaskStatus
from shared.tasks.documents.actions import Action
from shared.tasks.documents.checkpoints import Checkpoint
from shared.tasks.documents.codec import as_int, as_text, as_time, to_datetime
from shared.tasks.documents.legs import WAITING, Legs
from shared.tasks.documents.result_pointer import ResultPointer
from shared.tasks.documents.run_ids import refusal_id, request_record_id, skip_id
from shared.tasks.documents.write_messages import LEASE_EXPIRED
from shared.tasks.protocol.request_decision import REQUEST_WINDOW
from shared.tasks.specs import RETRY_COUNT, retry_backoff

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

#: Outcome of a run that failed because an operator cancelled it. Its state and the contract's status are
#: "failed".
CANCELLED = "cancelled"
#: Fields of a record in a list: neither its traceback nor the summary of its result.
RECORD_MASK = (
    "state",
    "run_id",
    "source",
    "scheduled_for",
    "started",
    "completed",
    "duration_ms",
    "attempt",
    "error.type",
    "error.message",
    "reason",
    "detail",
    "by",
    "until",
    "holder",
    "cancel",
    "requested",
    "count",
    "progress",
    "legs",
    "checkpoint.commit",
    "checkpoint.steps",
    "checkpoint.parts",
    "result.version",
    "result.saved_in",
    "result.size_bytes",
    "result.count",
)
#: Fields of a single record.
WHOLE_RECORD_MASK = (*RECORD_MASK, "checkpoint.positions", "error.traceback", "result.summary")
#: Fields of a running run's record that a task view needs.
PROGRESS_MASK = ("state", "progress", "checkpoint", "error.type", "error.message")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The last recorded progress of a run: steps done, all steps if known, a text, and its time, UTC."""

    done: int
    total: int | None
    message: str
    at: datetime | None

    @classmethod
    def parse(cls, value: object) -> RunProgress | None:
        """Return the progress in a record's field; None if it contains none."""
        if not isinstance(value, dict) or (done := as_int(value.get("done"))) is None:
            return None
        message = as_text(value.get("message")) or ""
        return cls(done, as_int(value.get("total")), message, as_time(value.get("at")))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A run's deliveries that were answered 503: their number, and the last one's reason and time, UTC."""

    count: int
    reason: str
    at: datetime

    @property
    def next_delivery(self) -> datetime | None:
        """Earliest time of Cloud Scheduler's next delivery, UTC; None if its retries are over."""
        if self.count > RETRY_COUNT:
            return None
        return self.at + retry_backoff(self.count)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A document of the run history: a run, a skip, an incident, or an operator's change.

    Attributes:
        id: The document's id.
        update_time: The document's version.
        state: State of the run, or kind of the record.
        source: Caller of the run.
        scheduled_for: The run's tick, UTC.
        started, completed: UTC.
        duration_seconds: Duration of the task's own work.
        attempt: Number of the last attempt.
        error: Type and message of the run's failure; the traceback, too, if it was read.
        last_failure: The same of a failed leg that is tried again, while the run waits for it.
        reason: Reason of a skip, a change or a cancel; detail of an incident.
        by: Operator who made the change, or cancelled the run.
        cancel: Who cancelled the run, when and why; None if it was not cancelled.
        until: When the watchdog ends this suspension, UTC.
        holder: Another run: the holder of the task for a skip, the run concerned for an incident.
        progress: The run's last progress.
        legs: Where a long run is; None for a run without legs.
        waiting_since: Since when a long run has waited for its next leg, UTC; None if it does not wait.
        checkpoint: What the run has persisted; None if nothing.
        result: The result that the run published.
        requested: Who requested the run; None if it was not requested.
        refused: Its deliveries that were answered 503; None if there were none.
        expires: When a request expires, UTC; None once its run has started.
    """

    id: str
    update_time: Timestamp
    state: str | None = None
    source: str | None = None
    scheduled_for: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None
    duration_seconds: float | None = None
    attempt: int | None = None
    error: dict[str, str] | None = None
    last_failure: dict[str, str] | None = None
    reason: str | None = None
    by: str | None = None
    cancel: Action | None = None
    until: datetime | None = None
    holder: str | None = None
    progress: RunProgress | None = None
    legs: Legs | None = None
    waiting_since: datetime | None = None
    checkpoint: Checkpoint | None = None
    result: ResultPointer | None = None
    requested: Action | None = None
    refused: Refusal | None = None
    expires: datetime | None = None

    @classmethod
    def parse(cls, record_id: str, values: Mapping[str, object], update_time: Timestamp) -> RunRecord:
        """Return the record with these decoded fields."""
        cancel, duration = Action.parse(values.get("cancel")), values.get("duration_ms")
        state, reason, detail = (as_text(values.get(name)) for name in ("state", "reason", "detail"))
        count, started, refused = as_int(values.get("count")), as_time(values.get("started")), None
        if state == "refused" and count is not None and started is not None:
            refused = Refusal(count, reason or "", started)
        incident_run = None if detail is None else as_text(values.get("run_id"))
        state_of_run, failure = shown_state(state), _texts(values.get("error"))
        goes_on = state_of_run == TaskStatus.running
        return cls(
            record_id,
            update_time,
            state=state_of_run,
            source=as_text(values.get("source")),
            scheduled_for=as_time(values.get("scheduled_for")),
            started=started,
            completed=as_time(values.get("completed")),
            duration_seconds=duration / 1000 if isinstance(duration, int | float) else None,
            attempt=as_int(values.get("attempt")),
            error=None if goes_on else failure,
            last_failure=failure if goes_on else None,
            reason=reason or detail or (cancel.reason if cancel else None),
            by=as_text(values.get("by")) or (cancel.by if cancel else None),
            cancel=cancel,
            until=as_time(values.get("until")),
            holder=as_text(values.get("holder")) or incident_run,
            progress=RunProgress.parse(values.get("progress")),
            legs=Legs.parse(values.get("legs")),
            # Nothing writes the record while its run waits.
            waiting_since=to_datetime(update_time) if state == WAITING else None,
            checkpoint=Checkpoint.parse(values.get("checkpoint")),
            result=ResultPointer.parse(values.get("result")),
            requested=Action.parse(values.get("requested")),
            refused=refused,
        )

    @property
    def outcome(self) -> str | None:
        """The state, or `CANCELLED`."""
        return outcome_of(self.state, self.cancel)

    def next_attempt(self, now: datetime) -> NextAttempt | None:
        """Return the next attempt of this run, which failed, unless its task is suspended."""
        if self.waiting_since is not None and self.last_failure is not None and self.legs is not None:
            return attempt_of_leg(self.legs, self.attempt or 1, self.waiting_since)
        if self.outcome != TaskStatus.failed or self.completed is None:
            return None
        died = self.error is not None and self.error.get("type") == LEASE_EXPIRED
        attempt = self.attempt or 1
        return attempt_after_failure(self.id, attempt, self.completed, self.legs, died=died, now=now)

    def why_not_retried(self) -> str | None:
        """Return why this run, which has no next attempt, is not tried again; None if it did not fail."""
        if self.outcome != TaskStatus.failed or self.completed is None:
            return None
        return why_not_retried(self.id, self.attempt or 1, self.completed, self.legs)


def stored_states(states: tuple[str, ...]) -> tuple[str, ...]:
    """Return the states in which records are stored that are shown in one of these states."""
    return (*states, WAITING) if TaskStatus.running in states else states


def states_of(outcomes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the states of records with one of these outcomes. Others may have these states, too."""
    failed = TaskStatus.failed.value
    return tuple(sorted({failed if outcome == CANCELLED else outcome for outcome in outcomes}))


def record_ids(record_id: str) -> list[str]:
    """Return the ids of all records of a run."""
    requested = request_record_id(record_id)
    return [record_id, refusal_id(record_id), *([skip_id(record_id), requested] if requested else [])]


def merge_records(record_id: str, found: Mapping[str, RunRecord]) -> RunRecord | None:
    """Return a run's record with its refused deliveries; None if the run has no record.

    A requested run has no record of its own before it starts. Its skip or its request is returned instead.
    """
    record = found.get(record_id) or found.get(skip_id(record_id))
    request = found.get(request_record_id(record_id) or "")
    if record is None and request is not None and request.started is not None:
        action = Action(request.by or "", request.reason or "", request.started)
        record = replace(request, requested=action, holder=None, expires=request.started + REQUEST_WINDOW)
    if record is None:
        return None
    refusal = found.get(refusal_id(record_id))
    return replace(record, id=record_id, refused=refusal.refused if refusal else record.refused)


def outcome_of(state: str | None, cancel: Action | None) -> str | None:
    """Return the state of a run, or `CANCELLED`."""
    return CANCELLED if state == TaskStatus.failed and cancel is not None else state


def shown_state(state: str | None) -> str | None:
    """Return the state that people see: a run that waits for its next leg is running."""
    return TaskStatus.running.value if state == WAITING else state


def _texts(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {name: text for name, text in value.items() if isinstance(text, str)}
