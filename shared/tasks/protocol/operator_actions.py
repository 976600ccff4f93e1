"""Suspending and resuming a task, cancelling a run: a person's hand on what tasks do.

A suspended task's ticks are skipped, and say so. A run at work finishes and publishes; its
status goes on saying suspended until somebody resumes the task. The document is the truth; Cloud
Scheduler's job is made to follow it (`job_keeping`).
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from shared.tasks.backends.scheduler import JobState
from shared.tasks.contract import TaskStatus
from shared.tasks.documents import operator_writes
from shared.tasks.documents.models import Action, RunRequest
from shared.tasks.documents.run_ids import is_retried, request_run_id, skip_id
from shared.tasks.documents.write_messages import record_change
from shared.tasks.errors import (
    InvalidOptions,
    NotScheduled,
    StoreUnavailable,
    TaskSuspended,
    WriteRefused,
    WriteUnknown,
)
from shared.tasks.protocol.decisions import LEGACY_HOLDER, REQUEST_WINDOW, living_holder
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadRun, RunJob, ask
from shared.tasks.protocol.job_sync import have_job_agree, have_job_follow, wish
from shared.tasks.specs import RETRIES_OVER

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.clock import Clock
    from shared.tasks.contract import TaskName
    from shared.tasks.documents.models import JobNote, RunDocument, TaskDocument
    from shared.tasks.specs import TaskSpec

#: Tries before a change gives up that meets another writer each time.
STEERING_TRIES = 8
#: States of a run; the history has records of other things, too.
_OF_RUNS = frozenset({TaskStatus.running, TaskStatus.completed, TaskStatus.failed})
#: Longest `by` or `reason`, in characters.
MAX_TEXT = 500
_SURROGATE = re.compile("[\ud800-\udfff]")


class Cancelled(Enum):
    """What became of the wish that a run ends."""

    cancelling = "cancelling"
    """It is at work, and will meet it."""
    cancelled = "cancelled"
    """It had failed, and is not tried again for this."""
    ended = "ended"
    """It had ended before, for good."""
    unknown = "unknown"
    """There is no such run."""


def suspend(
    documents: str, name: TaskName, *, by: str, reason: str, now: datetime, has_job: bool = False
) -> Procedure[bool]:
    """Suspend a task (docs/protocol.md, "Suspend and resume").

    Args:
        documents: the database's root.
        name: the task.
        by: who suspends it.
        reason: why.
        now: UTC.
        has_job: whether Cloud Scheduler starts the task: its job is made to follow, also where
            the document was as wanted already; who changed the job alone is recorded as well.

    Returns:
        Whether it is this that suspended it; False where it was suspended already.

    Raises:
        InvalidOptions: nobody, or no reason, is named.
        StoreError: Firestore did not answer, or others wrote each time.
        SchedulerUnavailable: the document is as wanted, and its job is not for all that is known.
    """
    action = _checked(by, reason, now)
    mine: JobNote | None = None

    def write(task: TaskDocument) -> list[Any]:
        nonlocal mine
        mine = wish(task, JobState.paused, now=now) if has_job else None
        return operator_writes.suspend(documents, name, task, action, now=now, job=mine)

    changed = yield from _change(name, write, lambda task: task.suspended == action, suspended=True)
    if changed and has_job:
        yield from have_job_follow(documents, name, now=now, mine=mine)
    elif has_job:
        record = record_change(documents, name, "suspended", action, now=now)
        yield from have_job_agree(documents, name, record, now=now)
    return changed


def resume(
    documents: str, name: TaskName, *, by: str, reason: str, now: datetime, has_job: bool = False
) -> Procedure[bool]:
    """Resume a task; arguments and errors as `suspend`.

    Returns:
        Whether it was suspended.
    """
    action = _checked(by, reason, now)
    mine: JobNote | None = None

    def write(task: TaskDocument) -> list[Any]:
        nonlocal mine
        mine = wish(task, JobState.enabled, now=now) if has_job else None
        return operator_writes.resume(documents, name, task, action, now=now, job=mine)

    changed = yield from _change(name, write, lambda _: True, suspended=False)
    if changed and has_job:
        yield from have_job_follow(documents, name, now=now, mine=mine)
    elif has_job:
        record = record_change(documents, name, "resumed", action, now=now)
        yield from have_job_agree(documents, name, record, now=now)
    return changed


@dataclass(frozen=True, slots=True)
class Requested:
    """What became of a request that a task runs now.

    Attributes:
        outcome: "started"; "busy" if another run holds the task; "requested" if Cloud Scheduler accepted
            it and no run began within the wait.
        run_id: the run that answers the request, or the one that holds the task; None if that is not known.
    """

    outcome: Literal["started", "busy", "requested"]
    run_id: str | None = None


def request_run(
    documents: str, spec: TaskSpec, clock: Clock, *, by: str, reason: str, deadline: float
) -> Procedure[Requested]:
    """Have Cloud Scheduler run a task now, and wait for the run that begins.

    The request is left in the status document, where the delivery finds it (`decisions.answers_request`). If
    the process dies before Cloud Scheduler is called, the request expires, and the next one calls again.

    Args:
        documents: the database's root.
        spec: the task.
        clock: the time.
        by: who wants it.
        reason: why.
        deadline: how long is waited, on the clock's monotonic scale.

    Raises:
        InvalidOptions: nobody, or no reason, is named.
        NotScheduled: Cloud Scheduler knows nothing of the task.
        TaskSuspended: it would be skipped.
        StoreError: Firestore did not answer, or others wrote each time.
        SchedulerUnavailable: Cloud Scheduler did not take it, for all that is known.
    """
    now = clock.now()
    action = _checked(by, reason, now)
    if spec.schedule is None:
        raise NotScheduled(f"nothing schedules {spec.name.value}: it has no job to run")
    left = yield from _leave_request(documents, spec, action, now=now)
    if isinstance(left, Requested):
        return left
    yield from ask(RunJob())
    tries = 0
    while clock.monotonic() < deadline:
        _, run = yield from ask(ReadRun(left.id))
        if run is not None:
            return Requested("started", left.id)
        task, skipped = yield from ask(ReadRun(skip_id(left.id)))
        if skipped is not None and task.is_suspended:
            raise _suspended(spec)
        if skipped is not None:
            return Requested("busy", task.run_id)
        yield from ask(Pause(tries))
        tries += 1
    return Requested("requested", left.id)


def _leave_request(
    documents: str, spec: TaskSpec, action: Action, *, now: datetime
) -> Procedure[RunRequest | Requested]:
    """Leave a request for the next delivery, or join one that nothing has answered yet.

    Returns:
        The request; or what became of it, if another run holds the task.
    """
    deadline = timedelta(seconds=spec.deadline_seconds)
    mine = RunRequest(request_run_id(now), action.by, action.reason, now, now)
    for tries in range(STEERING_TRIES):
        task, _ = yield from ask(ReadRun())
        run = skipped = None
        last: RunRequest | None = task.request
        if last is not None:
            _, skipped = yield from ask(ReadRun(skip_id(last.id)))
            task, run = yield from ask(ReadRun(last.id))
            if task.request != last:
                continue
        if task.is_suspended:
            raise _suspended(spec)
        if last is not None and (last.id, last.by) == (mine.id, mine.by):
            return last  # its answer was lost
        holder = living_holder(task, now=now, deadline=deadline)
        if holder is not None:
            return Requested("busy", None if holder == LEGACY_HOLDER else holder)
        # A request whose delivery was skipped has been answered: nothing will answer it again.
        joins = last is not None and run is None and skipped is None and now < last.at + REQUEST_WINDOW
        if joins and last is not None:
            commit = operator_writes.join_request(documents, spec.name, last, action, now=now)
        else:
            commit = operator_writes.request(
                documents, spec.name, task, replace(mine, since=_since(last, run, now))
            )
        try:
            yield from ask(Commit(commit))
        except (WriteRefused, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            return last if joins and last is not None else mine
    raise StoreUnavailable(
        f"{spec.name.value} could not be requested to run: others wrote each time, try again"
    )


def _suspended(spec: TaskSpec) -> TaskSuspended:
    return TaskSuspended(f"{spec.name.value} is suspended, and would skip the run: resume it first")


def _since(last: RunRequest | None, run: RunDocument | None, now: datetime) -> datetime:
    """Return since when deliveries may come that are answered for a new request, UTC."""
    if last is None:
        return now
    ended = run.completed if run is not None and run.completed is not None else last.at
    return last.since if now < ended + RETRIES_OVER else now


def cancel(
    documents: str, name: TaskName, run_id: str, *, by: str, reason: str, now: datetime
) -> Procedure[Cancelled]:
    """Ask a run to end; its task meets that at its next progress, or extension of its lease.

    What it returns then is not published. One that failed, and that Cloud Scheduler may deliver
    again, is not begun anew, and tells who wanted that beside what it failed with. A run that has
    published is not touched, and no other run than this one: the write is conditional on what was read.

    Args:
        documents: the database's root.
        name: the task.
        run_id: the run.
        by: who cancels it.
        reason: why.
        now: UTC.

    Returns:
        `cancelling` where it is asked to end, by this or before; `cancelled` where this keeps it from
        being tried again; `ended` where it had, for good; `unknown` where there is no such run.

    Raises:
        InvalidOptions: nobody, or no reason, is named.
        StoreError: Firestore did not answer, or others wrote each time.
    """
    action = _checked(by, reason, now)
    before: RunDocument | None = None
    for tries in range(STEERING_TRIES):
        task, run = yield from ask(ReadRun(run_id))
        settled = tries > 0 and _version(run) == _version(before)
        before, found = run, _found(task, run, run_id, settled=settled, now=now)
        if run is not None and run.cancel == action:
            return found if found is Cancelled.cancelling else Cancelled.cancelled  # its answer was lost
        commit: list[Any] = []
        if found is Cancelled.cancelling and task.cancel is None:
            commit = operator_writes.cancel(documents, name, task, action, now=now)
        elif found is Cancelled.cancelled and run is not None:
            commit = operator_writes.cancel_ended(documents, name, run_id, task, run, action, now=now)
        elif found is Cancelled.cancelled and task.request is not None:
            commit = operator_writes.cancel_request(documents, name, task.request, action, now=now)
        if found is not None:
            with suppress(WriteRefused, WriteUnknown):
                if commit:
                    yield from ask(Commit(commit))
                return found
        yield from ask(Pause(tries))
    raise StoreUnavailable(f"{run_id} could not be cancelled: others wrote each time, try again")


def _found(
    task: TaskDocument, run: RunDocument | None, run_id: str, *, settled: bool, now: datetime
) -> Cancelled | None:
    """Return what a cancel of a run comes to; None if both documents must be read again.

    They may have been read at different moments.

    Args:
        task: The status document.
        run: The run record of the run, read with it.
        run_id: the run.
        settled: whether the run record was the same when it was read before, in a request of its own.
        now: UTC.
    """
    is_last = task.run_id == run_id
    if is_last and task.state == TaskStatus.running:
        return Cancelled.cancelling
    asked = task.request
    if run is None and asked is not None and asked.id == run_id and not is_last:  # no delivery answered it
        return Cancelled.cancelled if now < asked.at + REQUEST_WINDOW else Cancelled.ended
    if run is None:
        if not is_last:
            return Cancelled.unknown
        return Cancelled.ended if settled else None  # its history is removed, or was not there yet
    if run.state not in _OF_RUNS:
        return Cancelled.unknown
    if run.state == TaskStatus.running and not settled:
        # The status document may be older. If it is not, the attempt has lost the run, as if it had failed.
        return None
    retried = (run.scheduled_for is not None or is_retried(run_id)) and (
        run.completed is None or now < run.completed + RETRIES_OVER
    )
    if run.state == TaskStatus.completed or run.cancel is not None or not retried:
        return Cancelled.ended
    is_told = is_last and task.state == TaskStatus.failed
    # Otherwise the status document may be older, without the failure.
    return Cancelled.cancelled if is_told or settled else None


def _version(run: RunDocument | None) -> Timestamp | None:
    return None if run is None else run.update_time


def _change(
    name: TaskName,
    write: Callable[[TaskDocument], list[Any]],
    is_this: Callable[[TaskDocument], bool],
    *,
    suspended: bool,
) -> Procedure[bool]:
    """Write until the task is suspended, or is not; return whether, for all that is known, this made it so.

    Args:
        name: the task.
        write: makes the change of what was read.
        is_this: tells whether what is found as wanted may be this change, whose answer was lost.
        suspended: what is wanted.
    """
    sent = False
    for tries in range(STEERING_TRIES):
        task, _ = yield from ask(ReadRun())
        if task.is_suspended is suspended:
            return sent and is_this(task)
        sent = True
        try:
            yield from ask(Commit(write(task)))
        except (WriteRefused, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            return True
    wanted = "suspended" if suspended else "resumed"
    raise StoreUnavailable(f"{name.value} could not be {wanted}: others wrote each time, try again")


def _checked(by: str, reason: str, now: datetime) -> Action:
    given: tuple[tuple[str, object], ...] = (("by", by), ("reason", reason))
    for name, text in given:
        # A document cannot hold a lone surrogate.
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT or _SURROGATE.search(text):
            raise InvalidOptions(f"{name} must be a text of 1 to {MAX_TEXT} characters, got {text!r:.100}")
    return Action(by, reason, now)
