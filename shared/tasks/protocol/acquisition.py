"""The acquisition of a task by the attempt of a delivery (docs/protocol.md, "Start").

`decisions` decides on what was read. A delivery may turn out to answer a request for a run.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.contract import TaskStatus
from shared.tasks.cron import is_forced
from shared.tasks.documents import run_writes
from shared.tasks.documents.run_ids import refusal_id
from shared.tasks.errors import StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.protocol.decisions import (
    Skip,
    StartDecision,
    Take,
    answers_request,
    decide_start,
    is_own,
)
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask

if TYPE_CHECKING:
    from shared.tasks.documents.models import RunDocument, TaskDocument
    from shared.tasks.protocol.attempt import Attempt


def acquire(
    attempt: Attempt, remembered: TaskDocument | None, *, deadline: float
) -> Procedure[StartDecision]:
    """Take the task, or find out why not.

    Args:
        attempt: The attempt.
        remembered: The status document as this instance left it. It may only lead to a commit. Any other
            decision, and a commit that fails, is made again on a fresh read.
        deadline: When to give up, on the clock's monotonic scale.

    Returns:
        Take if the attempt holds the task; otherwise the decision, and a skip is recorded.

    Raises:
        StoreError: Firestore did not answer, or cannot store the writes.
    """
    if remembered is not None and _may_be_requested(attempt, remembered):
        remembered = None
    fresh = remembered is None
    task, run = (yield from ask(attempt.read_run(deadline))) if remembered is None else (remembered, None)
    tries = 0
    while True:
        if fresh:
            task, run = yield from _recognise_request(attempt, task, run, deadline)
        decision = _decide(attempt, task, run)
        if isinstance(decision, Take):
            if (yield from _take(attempt, decision, task)):
                return decision
            if fresh:
                yield from ask(Pause(tries))
        elif fresh:
            yield from _record_skip(attempt, decision, deadline)
            return decision
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("could not acquire the task's lease in time (lost responses or writers)")
        task, run = yield from ask(attempt.read_run(deadline))
        fresh = True
        tries += 1
        if is_own(task, attempt.identity.token):  # only the response was lost
            attempt.task = task
            attempt.adopt_record(run)
            attempt.number = task.attempt
            attempt.started = task.started or attempt.started
            return Take(task.attempt)


def refuse(attempt: Attempt, reason: str) -> Procedure[None]:
    """Record that this delivery is answered 503, and why. Cloud Scheduler delivers the run again.

    Of several concurrent deliveries one is recorded: the precondition keeps the others from waiting for it.

    Raises:
        StoreError: Firestore did not answer. The response to the delivery does not depend on the record.
    """
    run, seconds = attempt.identity, attempt.call_seconds
    if run.scheduled_for is None and run.schedule_time is None:
        return  # called by code, which delivers nothing again
    if run.request is None and run.scheduled_for is None:
        task, record = yield from ask(ReadDocuments(run.run_id, seconds))
        yield from _recognise_request(attempt, task, record, attempt.clock.monotonic() + seconds)
        run = attempt.identity
    _, refused = yield from ask(ReadDocuments(refusal_id(run.run_id), seconds))
    version, now = refused.update_time if refused else None, attempt.clock.now()
    with suppress(WriteRefused):
        yield from ask(Commit(run_writes.refuse(run, reason, now=now, version=version), seconds))


def _decide(attempt: Attempt, task: TaskDocument, run: RunDocument | None) -> StartDecision:
    deadline = timedelta(seconds=attempt.options.deadline_seconds)
    run_id, now = attempt.identity.run_id, attempt.clock.now()
    return decide_start(task, run, run_id=run_id, now=now, deadline=deadline)


def _may_be_requested(attempt: Attempt, task: TaskDocument) -> bool:
    """Return whether the delivery may be one of the requested run, and of no tick."""
    request, run = task.request, attempt.identity
    if request is None or run.schedule_time is None or run.request is not None:
        return False
    is_later = run.schedule_time >= request.since - CLOCK_SKEW
    return is_later and is_forced(run.scheduled_for, run.schedule_time, now=attempt.clock.now())


def _recognise_request(
    attempt: Attempt, task: TaskDocument, run: RunDocument | None, deadline: float
) -> Procedure[tuple[TaskDocument, RunDocument | None]]:
    """Become an attempt of the requested run if this delivery answers the request (`answers_request`).

    Returns:
        The status document, and the record of the run that this is an attempt of.
    """
    while True:
        request, own = task.request, attempt.identity
        is_done = run is not None and run.state == TaskStatus.completed
        if request is None or own.schedule_time is None or own.request is not None:
            return task, run
        if not (is_done or _may_be_requested(attempt, task)):
            return task, run
        seconds_left = max(deadline - attempt.clock.monotonic(), 1.0)
        latest, answer = yield from ask(ReadDocuments(request.id, seconds_left))
        if latest.request == request or attempt.clock.monotonic() >= deadline:
            break
        task, run = yield from ask(attempt.read_run(deadline))
    answers = answers_request(
        request,
        answer,
        tick=own.scheduled_for,
        is_done=is_done,
        schedule_time=own.schedule_time,
        now=attempt.clock.now(),
    )
    if not answers:
        return task, run
    attempt.identity = dataclasses.replace(own, run_id=request.id, scheduled_for=None, request=request)
    return latest, answer


def _take(attempt: Attempt, take: Take, task: TaskDocument) -> Procedure[bool]:
    """Commit the start; return whether it is known to be applied."""
    now = attempt.clock.now()
    lease_until = now + attempt.lease
    keep = attempt.options.keep_last_result
    start = run_writes.start(
        attempt.identity, take, task, now=now, lease_until=lease_until, keep_last_result=keep
    )
    try:
        version = yield from ask(Commit(start, attempt.call_seconds))
    except (WriteRefused, WriteUnknown):
        return False
    attempt.number = take.attempt
    attempt.started = now
    # One commit gives both documents one update time. If it did not, the first progress is refused and reads.
    attempt.run_version = version
    attempt.task = replace(
        task,
        update_time=version,
        status=TaskStatus.running.value,
        run_id=attempt.identity.run_id,
        attempt=take.attempt,
        token=attempt.identity.token,
        state=TaskStatus.running.value,
        lease_until=lease_until,
        cancel=None,
        result=task.result if keep else None,
    )
    return True


def _record_skip(attempt: Attempt, decision: StartDecision, deadline: float) -> Procedure[None]:
    """Record a skip. Other decisions against a start leave no trace."""
    if not isinstance(decision, Skip):
        return
    tries = 0
    while True:
        record = run_writes.skip(attempt.identity, decision, now=attempt.clock.now())
        try:
            yield from ask(Commit(record, attempt.call_seconds))
        except (WriteRefused, WriteUnknown):  # writing the record twice does no harm
            if attempt.clock.monotonic() >= deadline:
                raise
            yield from ask(Pause(tries))
            tries += 1
        else:
            return
