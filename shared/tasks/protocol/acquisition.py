"""The acquisition of a task by the attempt of a delivery (docs/protocol.md, "Start").

`decisions` decides what to do. If the delivery turns out to answer an operator's request for a run, the
attempt becomes one of that run.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from shared import logger
from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.contract import TaskStatus
from shared.tasks.cron import is_forced
from shared.tasks.documents import leg_writes, run_writes, watchdog_writes
from shared.tasks.documents.legs import Legs
from shared.tasks.documents.run_ids import refusal_id
from shared.tasks.errors import StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.decisions import (
    CloseRun,
    Duplicate,
    ResendLeg,
    Skip,
    Start,
    StartDecision,
    TakeLeg,
    decide_leg,
    decide_start,
    is_own,
)
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask
from shared.tasks.protocol.legs import deliver
from shared.tasks.protocol.request_decision import answers_request

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.documents.checkpoints import Checkpoint
    from shared.tasks.documents.models import RunDocument, TaskDocument
    from shared.tasks.protocol.attempt import Attempt


class _Try(NamedTuple):
    """A decision that was committed, and the status document that it was made on.

    `now` is the end of a run that it closes.
    """

    decision: Start | TakeLeg | CloseRun
    document: TaskDocument
    now: datetime


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
        Start or TakeLeg if the attempt holds the task; otherwise the decision, and a skip is recorded.

    Raises:
        StoreError: Firestore did not answer, or cannot store the writes.
        LegQueueUnavailable: The next leg must be delivered, and Cloud Tasks did not take it.
    """
    record = None
    is_continuation = attempt.identity.leg is not None
    if remembered is None or is_continuation or _may_be_requested(attempt, remembered):
        fresh = True
        document, record = yield from ask(attempt.read_documents(deadline))
    else:
        fresh, document = False, remembered
    tries = 0
    tried: list[_Try] = []
    while True:
        if fresh:
            document, record = yield from _recognise_request(attempt, document, record, deadline)
        decision = _decide(attempt, document, record)
        if isinstance(decision, Start | TakeLeg | CloseRun):
            tried.append(_Try(decision, document, attempt.clock.now()))
            if (yield from _commit(attempt, *tried[-1])):
                _log_ended_run(attempt, decision, document)
                return Duplicate() if isinstance(decision, CloseRun) else decision
            if fresh:
                yield from ask(Pause(tries))
        elif fresh:
            yield from _decline(attempt, decision, deadline)
            return decision
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("could not acquire the task's lease in time (lost responses or writers)")
        document, record = yield from ask(attempt.read_documents(deadline))
        fresh = True
        tries += 1
        if (applied := _applied(attempt, tried, document, record)) is not None:
            return applied


def refuse(attempt: Attempt, reason: str) -> Procedure[None]:
    """Record that this delivery is answered 503, and why. Cloud Scheduler delivers the run again.

    Only one of several concurrent deliveries is recorded. The precondition refuses the commits of the others
    at once, so that they do not wait.

    Raises:
        StoreError: Firestore did not answer. The response to the delivery does not depend on the record.
    """
    identity, seconds = attempt.identity, attempt.call_seconds
    if identity.scheduled_for is None and identity.schedule_time is None:
        return  # a call by code, which delivers nothing again, or a continuation, which Cloud Tasks records
    if identity.request is None and identity.scheduled_for is None:
        document, run_record = yield from ask(ReadDocuments(identity.run_id, seconds))
        yield from _recognise_request(attempt, document, run_record, attempt.clock.monotonic() + seconds)
        identity = attempt.identity
    _, refused = yield from ask(ReadDocuments(refusal_id(identity.run_id), seconds))
    precondition = refused.update_time if refused else False
    write = run_writes.refuse(identity, reason, now=attempt.clock.now(), precondition=precondition)
    with suppress(WriteConflict):
        yield from ask(Commit(write, seconds))


def _applied(
    attempt: Attempt, tried: list[_Try], document: TaskDocument, record: RunDocument | None
) -> Start | Duplicate | None:
    """Return the decision if a commit of this delivery was applied, and only the response was lost."""
    if is_own(document, attempt.identity.token):
        taken = next(each for each in reversed(tried) if not isinstance(each.decision, CloseRun))
        checkpoint = _checkpoint_of(attempt, taken.decision, record)
        started = document.started or attempt.started
        attempt.hold(document, started, attempt.update_time_of(record), checkpoint)
        _log_ended_run(attempt, taken.decision, taken.document)
        return Start(document.attempt)
    # Another delivery may have closed the run for the same reason, and logs that. Its time differs.
    ends = {document.completed, record.completed if record else None}
    for decision, before, now in tried:
        if isinstance(decision, CloseRun) and now in ends:
            _log_ended_run(attempt, decision, before)
            return Duplicate()
    return None


def _checkpoint_of(
    attempt: Attempt, tried: Start | TakeLeg | CloseRun, record: RunDocument | None
) -> Checkpoint | None:
    """Return what the run has persisted, for an attempt that holds the task although the response was lost.

    The record may have been read before the commit. Then the decision that was committed knows.
    """
    if record is not None and attempt.update_time_of(record) is not None:
        return record.checkpoint
    if isinstance(tried, TakeLeg):
        return tried.record.checkpoint
    return tried.checkpoint if isinstance(tried, Start) else None


def _decide(attempt: Attempt, document: TaskDocument, record: RunDocument | None) -> StartDecision:
    deadline = timedelta(seconds=attempt.options.deadline_seconds)
    run_id, now = attempt.identity.run_id, attempt.clock.now()
    leg = attempt.identity.leg
    if leg is not None:
        return decide_leg(document, record, run_id=run_id, leg=leg, now=now)
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


def _commit(
    attempt: Attempt, decision: Start | TakeLeg | CloseRun, document: TaskDocument, now: datetime
) -> Procedure[bool]:
    """Commit a decision; return whether it is known to be applied. `now` is the end of a closed run."""
    try:
        match decision:
            case Start():
                yield from _commit_start(attempt, decision, document)
            case TakeLeg():
                yield from _commit_take(attempt, decision, document)
            case CloseRun(kind, reason):
                close = watchdog_writes.fail_run(attempt.identity.names, document, kind, reason, now=now)
                yield from ask(Commit(close, attempt.call_seconds))
    except (WriteConflict, WriteUnknown):
        return False
    return True


def _log_ended_run(attempt: Attempt, decision: Start | TakeLeg | CloseRun, document: TaskDocument) -> None:
    """Log the end of a run that this delivery has ended. `document` is the one that was decided on.

    A dead run without legs is the same incident as if the watchdog had come first.
    """
    match decision:
        case Start(dead_run_id=str(run_id)):
            kind, reason = run_writes.takeover_cause(document, attempt.identity.run_id)
        case CloseRun(kind, reason):
            run_id = document.run_id or ""
        case _:
            return
    task, error = attempt.identity.task.value, f"{kind}: {reason}"
    worked = {} if document.legs is None else {"duration_seconds": document.legs.worked_ms / 1000}
    if document.cancel is not None:
        logger.info("task cancelled", task=task, run_id=run_id, error=error, **worked)
    elif document.legs is not None:
        logger.error("task failed", task=task, run_id=run_id, error=error, **worked)
    else:
        logger.error(f"its process died: {reason}", incident="dead_run", task=task, run_id=run_id)


def _commit_take(attempt: Attempt, take: TakeLeg, document: TaskDocument) -> Procedure[None]:
    """Take the task for a leg. The run keeps its source, its tick and its start."""
    now, record, identity = attempt.clock.now(), take.record, attempt.identity
    is_requested = document.request is not None and document.request.id == identity.run_id
    attempt.identity = dataclasses.replace(
        identity,
        source=record.source or identity.source,
        scheduled_for=record.scheduled_for,
        request=document.request if is_requested else None,
    )
    lease_until = now + attempt.lease
    writes = leg_writes.take(attempt.identity, document, take, lease_until=lease_until)
    update_time = yield from ask(Commit(writes, attempt.call_seconds))
    document = replace(
        document,
        update_time=update_time,
        attempt=take.attempt,
        token=identity.token,
        state=TaskStatus.running.value,
        lease_until=lease_until,
        legs=take.legs,
    )
    attempt.hold(document, document.started or now, update_time, record.checkpoint)


def _commit_start(attempt: Attempt, start: Start, document: TaskDocument) -> Procedure[None]:
    """Take the task for a run's first attempt, or for a further one after it failed."""
    now = attempt.clock.now()
    lease_until = now + attempt.lease
    options = attempt.options
    keep = options.keep_last_result
    legs = None
    if options.leg_seconds is not None:
        deadline = now + timedelta(seconds=options.deadline_seconds)
        legs = start.legs or Legs(deadline)
    start = dataclasses.replace(start, legs=legs)
    writes = run_writes.start(
        attempt.identity, start, document, now=now, lease_until=lease_until, keep_last_result=keep
    )
    update_time = yield from ask(Commit(writes, attempt.call_seconds))
    document = replace(
        document,
        update_time=update_time,
        status=TaskStatus.running.value,
        run_id=attempt.identity.run_id,
        attempt=start.attempt,
        token=attempt.identity.token,
        state=TaskStatus.running.value,
        lease_until=lease_until,
        legs=legs,
        cancel=None,
        requested=None if attempt.identity.request is None else attempt.identity.request.action,
        result=document.result if keep else None,
    )
    # One commit gives both documents one update time. If it did not, the first commit of progress would be
    # refused and the record read.
    attempt.hold(document, now, update_time, start.checkpoint)


def _decline(attempt: Attempt, decision: StartDecision, deadline: float) -> Procedure[None]:
    """Carry out a decision against a start: record a skip, or deliver the leg that the run waits for."""
    if isinstance(decision, ResendLeg):
        yield from deliver(attempt.identity.run_id, decision.legs, attempt.clock, deadline)
    if isinstance(decision, Skip):
        yield from _record_skip(attempt, decision, deadline)


def _record_skip(attempt: Attempt, decision: Skip, deadline: float) -> Procedure[None]:
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
