"""The acquisition of a task by the attempt of a delivery (docs/protocol.md, "Start").

`decisions` decides what to do. If the delivery turns out to answer an operator's request for a run, the
attempt becomes one of that run.
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
from shared.tasks.errors import StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.decisions import (
    Skip,
    Start,
    StartDecision,
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
        remembered: The status document as this instance last wrote it; None to read it first. A start may
            be decided on it. Any other decision, or one after a failed commit, needs a fresh read.
        deadline: When to give up, on the clock's monotonic scale.

    Returns:
        Start if the attempt holds the task; otherwise the decision, and a skip is recorded.

    Raises:
        StoreError: Firestore did not answer, or cannot store the writes.
    """
    record = None
    if remembered is None or _may_be_requested(attempt, remembered):
        fresh = True
        document, record = yield from ask(attempt.read_documents(deadline))
    else:
        fresh, document = False, remembered
    tries = 0
    while True:
        if fresh:
            document, record = yield from _recognise_request(attempt, document, record, deadline)
        decision = _decide(attempt, document, record)
        if isinstance(decision, Start):
            if (yield from _commit_start(attempt, decision, document)):
                return decision
            if fresh:
                yield from ask(Pause(tries))
        elif fresh:
            yield from _record_skip(attempt, decision, deadline)
            return decision
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("could not acquire the task's lease in time (lost responses or writers)")
        document, record = yield from ask(attempt.read_documents(deadline))
        fresh = True
        tries += 1
        if is_own(document, attempt.identity.token):  # only the response was lost
            attempt.hold(document, document.started or attempt.started, attempt.update_time_of(record))
            return Start(document.attempt)


def refuse(attempt: Attempt, reason: str) -> Procedure[None]:
    """Record that this delivery is answered 503, and why. Cloud Scheduler delivers the run again.

    Only one of several concurrent deliveries is recorded. The precondition refuses the commits of the others
    at once, so that they do not wait.

    Raises:
        StoreError: Firestore did not answer. The response to the delivery does not depend on the record.
    """
    identity, seconds = attempt.identity, attempt.call_seconds
    if identity.scheduled_for is None and identity.schedule_time is None:
        return  # called by code, which delivers nothing again
    if identity.request is None and identity.scheduled_for is None:
        document, run_record = yield from ask(ReadDocuments(identity.run_id, seconds))
        yield from _recognise_request(attempt, document, run_record, attempt.clock.monotonic() + seconds)
        identity = attempt.identity
    _, refused = yield from ask(ReadDocuments(refusal_id(identity.run_id), seconds))
    precondition = refused.update_time if refused else False
    write = run_writes.refuse(identity, reason, now=attempt.clock.now(), precondition=precondition)
    with suppress(WriteConflict):
        yield from ask(Commit(write, seconds))


def _decide(attempt: Attempt, document: TaskDocument, record: RunDocument | None) -> StartDecision:
    deadline = timedelta(seconds=attempt.options.deadline_seconds)
    run_id, now = attempt.identity.run_id, attempt.clock.now()
    return decide_start(document, record, run_id=run_id, now=now, deadline=deadline)


def _may_be_requested(attempt: Attempt, document: TaskDocument) -> bool:
    """Return whether the delivery may answer the request, because it cannot be that of a tick."""
    request, identity = document.request, attempt.identity
    if request is None or identity.schedule_time is None or identity.request is not None:
        return False
    is_later = identity.schedule_time >= request.since - CLOCK_SKEW
    return is_later and is_forced(identity.scheduled_for, identity.schedule_time, now=attempt.clock.now())


def _recognise_request(
    attempt: Attempt, document: TaskDocument, record: RunDocument | None, deadline: float
) -> Procedure[tuple[TaskDocument, RunDocument | None]]:
    """Make the attempt one of the requested run if the delivery answers the request (`answers_request`).

    Returns:
        The status document, and the record of the run that the attempt now belongs to.
    """
    while True:
        request, identity = document.request, attempt.identity
        is_done = record is not None and record.state == TaskStatus.completed
        if request is None or identity.schedule_time is None or identity.request is not None:
            return document, record
        if not (is_done or _may_be_requested(attempt, document)):
            return document, record
        seconds_left = max(deadline - attempt.clock.monotonic(), 1.0)
        latest, answer = yield from ask(ReadDocuments(request.id, seconds_left))
        if latest.request == request or attempt.clock.monotonic() >= deadline:
            break
        document, record = yield from ask(attempt.read_documents(deadline))
    answers = answers_request(
        request,
        answer,
        tick=identity.scheduled_for,
        is_done=is_done,
        schedule_time=identity.schedule_time,
        now=attempt.clock.now(),
    )
    if not answers:
        return document, record
    attempt.identity = dataclasses.replace(identity, run_id=request.id, scheduled_for=None, request=request)
    return latest, answer


def _commit_start(attempt: Attempt, start: Start, document: TaskDocument) -> Procedure[bool]:
    """Commit the start; return whether it is known to be applied."""
    now = attempt.clock.now()
    lease_until = now + attempt.lease
    keep = attempt.options.keep_last_result
    writes = run_writes.start(
        attempt.identity, start, document, now=now, lease_until=lease_until, keep_last_result=keep
    )
    try:
        update_time = yield from ask(Commit(writes, attempt.call_seconds))
    except (WriteConflict, WriteUnknown):
        return False
    document = replace(
        document,
        update_time=update_time,
        status=TaskStatus.running.value,
        run_id=attempt.identity.run_id,
        attempt=start.attempt,
        token=attempt.identity.token,
        state=TaskStatus.running.value,
        lease_until=lease_until,
        cancel=None,
        result=document.result if keep else None,
    )
    # One commit gives both documents one update time. If it did not, the first commit of progress would be
    # refused and the record read.
    attempt.hold(document, now, update_time)
    return True


def _record_skip(attempt: Attempt, decision: StartDecision, deadline: float) -> Procedure[None]:
    """Record a skip. Other decisions against a start are not recorded here."""
    if not isinstance(decision, Skip):
        return
    tries = 0
    while True:
        write = run_writes.skip(attempt.identity, decision, now=attempt.clock.now())
        try:
            yield from ask(Commit(write, attempt.call_seconds))
        except (WriteConflict, WriteUnknown):  # writing the record twice does no harm
            if attempt.clock.monotonic() >= deadline:
                raise
            yield from ask(Pause(tries))
            tries += 1
        else:
            return
