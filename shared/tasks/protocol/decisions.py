"""The decisions of the run protocol: pure functions of a status document, a run record and the time.

The procedures in the other modules read the documents and carry the decisions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from msgspec.structs import replace

from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.contract import TaskStatus
from shared.tasks.documents.legs import MAX_TRIES, WAITING
from shared.tasks.documents.write_messages import LEASE_EXPIRED
from shared.tasks.errors import DeadlineExceeded, RunCancelled
from shared.tasks.specs import LONGEST_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from shared.tasks.documents.checkpoints import Checkpoint
    from shared.tasks.documents.legs import Legs
    from shared.tasks.documents.models import Precondition, RunDocument, TaskDocument

#: Longest time that a legacy run counts as running: it has one invocation, however long a run of this engine
#: may take.
LONGEST_LEGACY_RUN = timedelta(seconds=LONGEST_TIMEOUT_SECONDS)
#: Stands for the id of a legacy run, which has none. The value is recorded with skips.
LEGACY_HOLDER = "original"


@dataclass(frozen=True, slots=True)
class Start:
    """Start an attempt, which takes the task.

    Attributes:
        attempt: Number of the attempt, from 1.
        record_precondition: Update time of the run record that the start replaces; False to create it.
        dead_run_id: A dead run of another tick, whose record the start closes as failed.
        legs, checkpoint: What a failed attempt of this run left in its record; None if nothing.
        has_legacy_result: Whether the status document has a legacy result, which gets a version.
    """

    attempt: int
    record_precondition: Precondition = False
    dead_run_id: str | None = None
    legs: Legs | None = None
    checkpoint: Checkpoint | None = None
    has_legacy_result: bool = False


@dataclass(frozen=True, slots=True)
class TakeLeg:
    """Start an attempt of a long run's leg, which takes the task from one that died or handed over.

    Attributes:
        record: The run record, on which the write is conditional.
        attempt: Number of the attempt.
        legs: The leg, with this attempt counted.
    """

    record: RunDocument
    attempt: int
    legs: Legs


@dataclass(frozen=True, slots=True)
class ResendLeg:
    """Do not run, but create the Cloud Task of the leg that the run waits for. It may not exist."""

    legs: Legs


@dataclass(frozen=True, slots=True)
class CloseRun:
    """Do not run, but record that the long run has failed, with its error type and the reason."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not run, and record that.

    Attributes:
        reason: "suspended" or "overlap".
        holder: Id of the run that holds the task, for an overlap.
    """

    reason: str
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Do nothing: this run has completed, or an operator cancelled it."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Refuse the delivery (503): an attempt of this run may be alive. If it is dead, a retry must follow."""


LegDecision: TypeAlias = TakeLeg | ResendLeg | CloseRun | Duplicate | Busy
StartDecision: TypeAlias = Start | Skip | LegDecision


class EndState(Enum):
    """What became of an attempt's end after its commit was refused or not answered."""

    pending = "pending"
    """The attempt still holds the task: commit again, conditional on what was just read."""
    recorded = "recorded"
    """The commit was applied, and only the response was lost."""
    superseded = "superseded"
    """Another attempt or the watchdog ended this attempt, which may no longer write the status document."""


def decide_start(
    document: TaskDocument, record: RunDocument | None, *, run_id: str, now: datetime, deadline: timedelta
) -> StartDecision:
    """Decide what a delivery leads to (docs/protocol.md, "Start").

    Args:
        document: The status document as read; an empty one if there is none.
        record: The record of this run as read; None if there is none.
        run_id: The run that is to start.
        now: UTC.
        deadline: How long a legacy run, which has no lease, counts as running.
    """
    if document.run_id == run_id and is_between_start_and_end(document):
        return decide_leg(document, record, run_id=run_id, leg=1, now=now)
    if document.is_suspended:
        return Skip("suspended")
    if record is not None and record.state == TaskStatus.completed:
        return Duplicate()
    if (
        record is not None
        and record.legs is not None
        and (record.legs.number > 1 or now >= record.legs.deadline)
    ):
        # A long run fails for good once its first leg is over. If it works or waits, the status document was
        # read before it started, and does not show whether its next leg is delivered.
        return Duplicate() if record.state == TaskStatus.failed else Busy()
    holder = living_holder(document, now=now, deadline=deadline)
    if holder is not None:
        return Busy() if holder == run_id else Skip("overlap", holder)
    if record is not None and record.cancel is not None:
        return Duplicate()
    of_this_run = document.attempt if document.run_id == run_id else 0
    is_other = document.run_id != run_id and document.state in {TaskStatus.running, WAITING}
    return Start(
        attempt=max(record.attempt if record else 0, of_this_run) + 1,
        record_precondition=record.update_time if record else False,
        dead_run_id=document.run_id if is_other else None,
        legs=record.legs if record else None,
        checkpoint=record.checkpoint if record else None,
        # A document that a suspension created has no status once it is resumed, and no result either.
        has_legacy_result=document.status is not None and document.result is None and document.run_id is None,
    )


def decide_leg(
    document: TaskDocument, record: RunDocument | None, *, run_id: str, leg: int, now: datetime
) -> LegDecision:
    """Decide what a delivery of a long run's leg leads to (docs/protocol.md, "Long runs").

    Args:
        document: The status document as read.
        record: The record of this run as read.
        run_id: The run.
        leg: The leg that is delivered; 1 for a delivery of the run's tick.
        now: UTC.
    """
    legs = document.legs
    if document.run_id != run_id or legs is None or not is_between_start_and_end(document):
        return Duplicate()
    if leg != legs.number:
        is_awaited = leg < legs.number and document.state == WAITING
        return ResendLeg(legs) if is_awaited else Duplicate()
    if document.state == TaskStatus.running and not is_dead(document, now=now):
        return Busy()
    tries = tries_of(document, record)
    if (close := must_close(document, tries, now=now)) is not None:
        return close
    if record is None:
        return Busy()  # read before the run's start was committed, or removed by hand
    # A run that waits was already given the number of its next attempt.
    attempt = document.attempt if document.state == WAITING else document.attempt + 1
    return TakeLeg(record, attempt, replace(legs, tries=tries + 1))


def tries_of(document: TaskDocument, record: RunDocument | None) -> int:
    """Return how many attempts of a long run in a row have reached no checkpoint."""
    legs = document.legs
    if legs is None:
        return 0
    checkpoint = record.checkpoint if record else None
    has_progressed = checkpoint is not None and checkpoint.is_of(document.token)
    return 0 if document.state == TaskStatus.running and has_progressed else legs.tries


def must_close(document: TaskDocument, tries: int, *, now: datetime) -> CloseRun | None:
    """Return why a long run that no attempt works for has failed; None if it may continue."""
    legs, cancel = document.legs, document.cancel
    if legs is None:
        return None
    if cancel is not None:
        return CloseRun(RunCancelled.__name__, cancel.cancel_message)
    if now >= legs.deadline:
        return CloseRun(DeadlineExceeded.__name__, f"the deadline passed in leg {legs.number}")
    if tries >= MAX_TRIES:
        reason = f"{tries} attempts of leg {legs.number} in a row reached no checkpoint"
        return CloseRun(LEASE_EXPIRED, reason)
    return None


def is_between_start_and_end(document: TaskDocument) -> bool:
    """Return whether a long run has started and not ended."""
    return document.legs is not None and document.state in {TaskStatus.running, WAITING}


def living_holder(document: TaskDocument, *, now: datetime, deadline: timedelta) -> str | None:
    """Return the run that holds the task, `LEGACY_HOLDER` for a legacy run, or None.

    A run holds its task by a valid lease. A long run holds it until its deadline, too.
    """
    if document.run_id is not None:
        is_held = document.state == TaskStatus.running and not is_dead(document, now=now)
        if document.legs is not None and is_between_start_and_end(document):
            # Whatever became of its attempts: a slow queue must not cost it hours of work.
            is_held = is_held or now < document.legs.deadline + CLOCK_SKEW
        return document.run_id if is_held else None
    began, deadline = document.started or document.timestamp, min(deadline, LONGEST_LEGACY_RUN)
    if document.status == TaskStatus.running and began is not None and now < began + deadline + CLOCK_SKEW:
        return LEGACY_HOLDER
    return None


def is_dead(document: TaskDocument, *, now: datetime) -> bool:
    """Return whether a run of this engine is running without a valid lease: its process died.

    A waiting run counts as dead when its next leg was not delivered in time. Legacy documents have no lease,
    so their runs never count as dead.
    """
    if document.run_id is None or document.state not in {TaskStatus.running, WAITING}:
        return False
    return document.lease_until is None or now >= document.lease_until + CLOCK_SKEW


def is_overdue_legacy(document: TaskDocument, *, now: datetime, deadline: timedelta) -> bool:
    """Return whether a legacy run has been running beyond its deadline, so that a person must look at it."""
    began = document.started or document.timestamp
    if document.run_id is not None or document.status != TaskStatus.running:
        return False
    return began is None or now >= began + min(deadline, LONGEST_LEGACY_RUN)


def is_superseded(record: RunDocument, document: TaskDocument) -> bool:
    """Return whether a record that is running or waiting belongs to an attempt that lost its task.

    Certain only if the run record was read *before* the status document. One commit writes the token to both,
    so the status document had the token then, and has lost it since.
    """
    return record.state in {TaskStatus.running, WAITING} and record.token != document.token


def is_own(document: TaskDocument, token: str) -> bool:
    """Return whether the attempt with this token still holds the task.

    The token alone is not enough: takeover and watchdog leave it in the document of a run that they failed.
    """
    return document.token == token and document.state == TaskStatus.running


def is_own_record(record: RunDocument | None, token: str) -> TypeGuard[RunDocument]:
    """Return whether a run record is an attempt's own, so that the attempt may write to it.

    A status document that was read with it proves nothing, because the two can be from different moments.
    The record has the token while the attempt holds its task, because both change in one commit.
    """
    return record is not None and record.token == token and record.state == TaskStatus.running


def end_state(
    document: TaskDocument,
    record: RunDocument | None,
    *,
    token: str,
    final_status: TaskStatus,
    errors: Collection[tuple[str, str]] = (),
) -> EndState:
    """Decide what became of an attempt's end whose commit was refused or not answered.

    Args:
        document: The status document as read after the commit.
        record: The run record as read with it.
        token: Fencing token of the attempt.
        final_status: Status that the commit would have given the run, completed or failed.
        errors: Type and message of each failure that the attempt has tried to record. A record that contains
            another one was closed by another attempt, the watchdog or an operator.
    """
    if is_own(document, token):
        return EndState.pending
    ended_in_task = document.token == token and document.state == final_status
    ended_in_run = record is not None and record.token == token and record.state == final_status
    if ended_in_run and final_status is TaskStatus.failed and record is not None:
        return EndState.recorded if record.error in errors else EndState.superseded
    return EndState.recorded if ended_in_task or ended_in_run else EndState.superseded
