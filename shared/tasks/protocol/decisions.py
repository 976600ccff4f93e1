"""The run protocol's decisions: what to do with this status document, this run record, at this time.

Pure functions of what was read. They ask no server and write nothing; `protocol` follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from shared.tasks.contract import TaskStatus
from shared.tasks.specs import RETRIES_OVER

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import RunDocument, RunRequest, TaskDocument

#: How long a request waits for its first delivery. By then Cloud Scheduler has given up a delivery that
#: was refused each time (10 + 20 + 40 + 80 + 160 s).
REQUEST_WINDOW = timedelta(minutes=10)
#: How far ahead of this instance's clock a tick may be whose own delivery arrives.
TICK_EARLY = timedelta(seconds=1)

#: Who holds a task whose document the original wrote.
ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Take:
    """Begin an attempt.

    Attributes:
        attempt: its number, from 1.
        reopens: the version of the run's history that the write replaces; None creates it.
        closes: a dead run of another tick, whose history is closed as failed in the same commit.
        adopts_legacy_result: whether the document's result is the original's and gets a version.
    """

    attempt: int
    reopens: Timestamp | None = None
    closes: str | None = None
    adopts_legacy_result: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not run, and record it.

    Attributes:
        reason: "suspended" or "overlap".
        holder: the run that holds the task, for an overlap.
    """

    reason: str
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """This run has completed already, or a person cancelled it: nobody wants it again. Do nothing at all."""


@dataclass(frozen=True, slots=True)
class Busy:
    """An attempt of this same run may be alive: come back later, so that a dead one is outlived."""


StartDecision: TypeAlias = Take | Skip | Duplicate | Busy


class Standing(Enum):
    """How an attempt stands after a write of its own was refused, or its answer lost."""

    own = "own"
    """The task is still this attempt's: write again, on the version just read."""
    done = "done"
    """The write was applied, only its answer was lost."""
    superseded = "superseded"
    """Another attempt, or the watchdog, ended this one: it may write nothing more to the status document."""


def decide_start(
    task: TaskDocument,
    run: RunDocument | None,
    *,
    run_id: str,
    now: datetime,
    skew: timedelta,
    deadline: timedelta,
) -> StartDecision:
    """Decide what a delivery of a tick leads to (docs/protocol.md, "Start").

    Args:
        task: The status document as read, or an empty one where there is none.
        run: The run record of this run as read, None where there is none.
        run_id: the run that wants to start.
        now: the time, UTC.
        skew: how far clocks of two instances may be apart; a lease counts as living that much longer.
        deadline: how long a run of the original's, which knows no lease, may be at work.
    """
    if task.is_suspended:
        return Skip("suspended")
    if run is not None and run.state == TaskStatus.completed:
        return Duplicate()
    holder = living_holder(task, now=now, skew=skew, deadline=deadline)
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
        # What a suspension made says nothing once it is resumed: no run has been, the original's neither.
        adopts_legacy_result=task.status is not None and task.result is None and task.run_id is None,
    )


def is_forced(tick: datetime | None, schedule_time: datetime, *, now: datetime, skew: timedelta) -> bool:
    """Return whether a delivery cannot be that of a tick: it is one that a person forced.

    A forced run is delivered with the time of the next tick, or with that of the request. A tick is
    delivered with its own time, to the second.
    """
    return tick is None or tick > now + TICK_EARLY or schedule_time > tick + skew


def answers_request(
    request: RunRequest,
    run: RunDocument | None,
    *,
    tick: datetime | None,
    is_done: bool,
    schedule_time: datetime,
    now: datetime,
    skew: timedelta,
) -> bool:
    """Return whether a delivery is one of the run that a person requested.

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
        request: the last request.
        run: The run record of the run that answers it.
        tick: the tick that the delivery's schedule time names, UTC; None if it names none.
        is_done: whether the run of that tick has completed.
        schedule_time: the delivery's, UTC.
        now: UTC.
        skew: how far two clocks may be apart.
    """
    forced = is_forced(tick, schedule_time, now=now, skew=skew)
    if schedule_time < request.since - skew or not (forced or is_done):
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


def living_holder(task: TaskDocument, *, now: datetime, skew: timedelta, deadline: timedelta) -> str | None:
    """Return the run that holds the task by a living lease, `ORIGINAL` for one of the original's, or None."""
    if task.run_id is not None:
        alive = (
            task.state == TaskStatus.running
            and task.lease_until is not None
            and now < task.lease_until + skew
        )
        return task.run_id if alive else None
    began = task.started or task.timestamp
    if task.status == TaskStatus.running and began is not None and now < began + deadline + skew:
        return ORIGINAL
    return None


def is_dead(task: TaskDocument, *, now: datetime, skew: timedelta) -> bool:
    """Tell whether a run of this engine says running and has no living lease: its process died.

    The original's documents are left alone: they know no lease.
    """
    if task.run_id is None or task.state != TaskStatus.running:
        return False
    return task.lease_until is None or now >= task.lease_until + skew


def is_overdue_original(task: TaskDocument, *, now: datetime, deadline: timedelta) -> bool:
    """Tell whether a run of the original's says running beyond its deadline. A person must look."""
    began = task.started or task.timestamp
    if task.run_id is not None or task.status != TaskStatus.running:
        return False
    return began is None or now >= began + deadline


def is_superseded(run: RunDocument, task: TaskDocument) -> bool:
    """Tell whether a history that says running is that of an attempt which holds nothing any more.

    Certain only if the run record was read *before* the status document: one commit writes the token to both,
    so the status document had it then, and has lost it since.
    """
    return run.state == TaskStatus.running and run.token != task.token


def is_own(task: TaskDocument, token: str) -> bool:
    """Tell whether the task is still this attempt's.

    The token alone is not enough: takeover and watchdog leave it in a run they failed.
    """
    return task.token == token and task.state == TaskStatus.running


def is_own_record(run: RunDocument | None, token: str) -> TypeGuard[RunDocument]:
    """Tell whether a run record is an attempt's own: only then may the attempt adopt its version.

    A status document that was read with it is no proof: the two can be read from different moments.
    The record carries the token while the attempt holds its task, because both change in one commit.
    """
    return run is not None and run.token == token and run.state == TaskStatus.running


def standing(task: TaskDocument, run: RunDocument | None, *, token: str, goal: TaskStatus) -> Standing:
    """Decide how an attempt stands that wrote its end and did not hear that it was applied.

    Args:
        task: The status document as read after the write.
        run: The run record as read with it.
        token: the attempt's fence.
        goal: what the write would have made of the run, completed or failed.
    """
    if is_own(task, token):
        return Standing.own
    ended_in_task = task.token == token and task.state == goal
    ended_in_run = run is not None and run.token == token and run.state == goal
    return Standing.done if ended_in_task or ended_in_run else Standing.superseded
