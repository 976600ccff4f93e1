"""The decisions of the run protocol: what to do with this status document, this run record, at this time.

Pure functions of what was read. The other modules carry them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.contract import TaskStatus
from shared.tasks.cron import is_forced
from shared.tasks.specs import RETRIES_OVER

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import RunDocument, RunRequest, TaskDocument

#: How long a request waits for its first delivery. By then Cloud Scheduler has given up a delivery that
#: was refused each time (10 + 20 + 40 + 80 + 160 s).
REQUEST_WINDOW = timedelta(minutes=10)

#: The holder of a task that a legacy writer runs; the value is recorded with skips.
LEGACY_HOLDER = "original"


@dataclass(frozen=True, slots=True)
class Take:
    """Start an attempt.

    Attributes:
        attempt: Its number, from 1.
        reopens: Version of the run record that the start replaces; None creates the record.
        closes: A dead run of another tick, whose record the start closes as failed.
        adopts_legacy_result: Whether the document's result is a legacy result, which gets a version.
    """

    attempt: int
    reopens: Timestamp | None = None
    closes: str | None = None
    adopts_legacy_result: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not run, and record that.

    Attributes:
        reason: "suspended" or "overlap".
        holder: The run that holds the task, for an overlap.
    """

    reason: str
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Do nothing: this run has completed, or an operator cancelled it."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Deliver again later: an attempt of this run may be alive, and if it is dead, a retry must follow."""


StartDecision: TypeAlias = Take | Skip | Duplicate | Busy


class EndState(Enum):
    """What became of an attempt's end after its commit was refused or not answered."""

    pending = "pending"
    """The attempt still holds the task: commit again, on the version just read."""
    recorded = "recorded"
    """The commit was applied, and only the response was lost."""
    superseded = "superseded"
    """Another attempt or the watchdog ended this attempt, which may no longer write the status document."""


def decide_start(
    task: TaskDocument, run: RunDocument | None, *, run_id: str, now: datetime, deadline: timedelta
) -> StartDecision:
    """Decide what a delivery leads to (docs/protocol.md, "Start").

    Args:
        task: The status document as read; an empty one if there is none.
        run: The record of this run as read; None if there is none.
        run_id: The run that is to start.
        now: UTC.
        deadline: How long a legacy run, which has no lease, counts as running.
    """
    if task.is_suspended:
        return Skip("suspended")
    if run is not None and run.state == TaskStatus.completed:
        return Duplicate()
    holder = living_holder(task, now=now, deadline=deadline)
    if holder is not None:
        return Busy() if holder == run_id else Skip("overlap", holder)
    if run is not None and run.cancel is not None:
        return Duplicate()
    of_this_run = task.attempt if task.run_id == run_id else 0
    dead = task.run_id if task.state == TaskStatus.running and task.run_id != run_id else None
    return Take(
        attempt=max(run.attempt if run else 0, of_this_run) + 1,
        reopens=run.update_time if run else None,
        closes=dead,
        # A document that a suspension created has no status once it is resumed, and no result either.
        adopts_legacy_result=task.status is not None and task.result is None and task.run_id is None,
    )


def answers_request(
    request: RunRequest,
    run: RunDocument | None,
    *,
    tick: datetime | None,
    is_done: bool,
    schedule_time: datetime,
    now: datetime,
) -> bool:
    """Return whether a delivery is one of the run that an operator requested.

    Nothing in a delivery marks it as forced, so this rule decides:

    - Only a delivery with a schedule time after the request can answer it. A retry of an earlier tick
      never does.
    - A delivery that cannot be a tick's (`is_forced`) answers the request. It is the next attempt of a
      requested run that failed, and a duplicate of one that completed or was cancelled.
    - A request shortly before a tick leads to two deliveries that may look the same. The tick goes first,
      whichever of them arrives first: it is never lost. Once its run has completed, the other
      delivery answers the request, if that still needs an attempt.
    - A request that no delivery answered within `REQUEST_WINDOW` has expired. So has a failed run when
      its retries are over.

    Args:
        request: The last request.
        run: Record of the run that answers it.
        tick: The tick that the delivery's schedule time names, UTC; None if it names none.
        is_done: Whether the run of that tick has completed.
        schedule_time: Schedule time of the delivery, UTC.
        now: UTC.
    """
    forced = is_forced(tick, schedule_time, now=now)
    if schedule_time < request.since - CLOCK_SKEW or not (forced or is_done):
        return False
    is_open = now < request.at + REQUEST_WINDOW
    if run is None:
        return is_open
    if run.state == TaskStatus.running:
        return forced
    may_be_retried = run.completed is None or now < run.completed + RETRIES_OVER
    if run.state == TaskStatus.failed and run.cancel is None:
        return may_be_retried
    is_duplicate = is_open if run.state == TaskStatus.completed else may_be_retried
    return forced and tick is None and is_duplicate


def living_holder(task: TaskDocument, *, now: datetime, deadline: timedelta) -> str | None:
    """Return the run that holds the task by a valid lease, `LEGACY_HOLDER` for a legacy run, or None."""
    if task.run_id is not None:
        is_held = task.state == TaskStatus.running and not is_dead(task, now=now)
        return task.run_id if is_held else None
    began = task.started or task.timestamp
    if task.status == TaskStatus.running and began is not None and now < began + deadline + CLOCK_SKEW:
        return LEGACY_HOLDER
    return None


def is_dead(task: TaskDocument, *, now: datetime) -> bool:
    """Return whether a run of this engine is running without a valid lease: its process died.

    Legacy documents have no lease, so their runs never count as dead.
    """
    if task.run_id is None or task.state != TaskStatus.running:
        return False
    return task.lease_until is None or now >= task.lease_until + CLOCK_SKEW


def is_overdue_legacy(task: TaskDocument, *, now: datetime, deadline: timedelta) -> bool:
    """Return whether a legacy run has been running beyond its deadline, so that a person must look at it."""
    began = task.started or task.timestamp
    if task.run_id is not None or task.status != TaskStatus.running:
        return False
    return began is None or now >= began + deadline


def is_superseded(run: RunDocument, task: TaskDocument) -> bool:
    """Return whether a record that contains "running" is that of an attempt which lost its task.

    Certain only if the run record was read *before* the status document: one commit writes the token to both,
    so the status document had it then, and has lost it since.
    """
    return run.state == TaskStatus.running and run.token != task.token


def is_own(task: TaskDocument, token: str) -> bool:
    """Return whether the attempt with this token still holds the task.

    The token alone is not enough: takeover and watchdog leave it in the document of a run that they failed.
    """
    return task.token == token and task.state == TaskStatus.running


def is_own_record(run: RunDocument | None, token: str) -> TypeGuard[RunDocument]:
    """Return whether a run record is an attempt's own, so that the attempt may adopt its version.

    A status document that was read with it is no proof, because the two can be read from different moments.
    The record has the token while the attempt holds its task, because both change in one commit.
    """
    return run is not None and run.token == token and run.state == TaskStatus.running


def end_state(task: TaskDocument, run: RunDocument | None, *, token: str, goal: TaskStatus) -> EndState:
    """Decide what became of an attempt's end whose commit was refused or not answered.

    Args:
        task: The status document as read after the commit.
        run: The run record as read with it.
        token: Fencing token of the attempt.
        goal: State that the commit would have given the run, completed or failed.
    """
    if is_own(task, token):
        return EndState.pending
    ended_in_task = task.token == token and task.state == goal
    ended_in_run = run is not None and run.token == token and run.state == goal
    return EndState.recorded if ended_in_task or ended_in_run else EndState.superseded
