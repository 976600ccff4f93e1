"""Hands a long run over from one leg to the next (docs/protocol.md, "Long runs").

The commit that makes the run wait comes first. Only then is the Cloud Task created that delivers the next
leg. If the process dies in between, a delivery of the earlier leg or the watchdog creates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared.tasks.documents import leg_writes, watchdog_writes
from shared.tasks.documents.legs import WAITING
from shared.tasks.errors import (
    LegQueueUnavailable,
    RunCancelled,
    SchedulerUnavailable,
    StoreError,
    StoreUnavailable,
    WriteDenied,
    WriteRejected,
)
from shared.tasks.protocol.decisions import is_own, must_close, tries_of
from shared.tasks.protocol.effects import (
    DeliverLeg,
    Pause,
    Procedure,
    ReadDocuments,
    ask,
    try_commit,
)
from shared.tasks.protocol.incidents import Incident

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.clock import Clock
    from shared.tasks.contract import DocumentNames, JsonMap
    from shared.tasks.documents.legs import Legs
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.protocol.attempt import Attempt


def hand_over(
    attempt: Attempt, *, number: int, token: str, duration: float, record: JsonMap, deadline: float
) -> Procedure[Legs | None]:
    """Make the run wait for a leg. The attempt then holds the task no longer, and the run still does.

    Args:
        attempt: The attempt, which holds the task.
        number: The leg to wait for: the next one, or the attempt's own to try it again.
        token: A new fencing token, which no attempt has.
        duration: How long the task has worked in this attempt, seconds.
        record: Further fields of the run record, such as the progress.
        deadline: When to give up, on the clock's monotonic scale.

    Returns:
        The leg to deliver; None if another attempt took the task.

    Raises:
        RunCancelled: An operator cancelled the run, which must end.
        StoreError: The run may not be waiting. Its lease expires, and its next delivery takes the leg.
    """
    identity = attempt.identity
    tries = 0
    while True:
        if attempt.cancel is not None:
            raise RunCancelled(attempt.cancel.cancel_message)
        held, checkpoint = attempt.document, attempt.checkpoint
        if held.legs is None:
            raise TypeError(f"run {identity.run_id} has no legs to hand over")
        progressed = checkpoint is not None and checkpoint.is_of(identity.token)
        legs = held.legs.after(duration, number=number, progressed=progressed)
        now = attempt.clock.now()
        writes = leg_writes.wait(
            identity.names, identity.run_id, held, token=token, legs=legs, now=now, record=record
        )
        try:
            yield from attempt.commit(writes)
        except (WriteRejected, WriteDenied):
            raise
        except StoreError:
            document, _ = yield from ask(attempt.read_documents(deadline))
        else:
            attempt.end()
            return legs
        if is_own(document, identity.token):
            attempt.document = document
        else:
            attempt.end()
            return _awaited_leg(document, held.legs, identity.run_id, token)
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("could not hand the run over in time (lost responses or writers)")
        yield from ask(Pause(tries))
        tries += 1


def _awaited_leg(document: TaskDocument, held: Legs, run_id: str, token: str) -> Legs | None:
    """Return the leg that the run waits for if the hand-over was applied, so that only its response was lost.

    A wait for the same leg under another token is the watchdog's: it delivers the leg again, and this
    attempt's leg has not ended.
    """
    legs = document.legs
    if document.run_id != run_id or document.state != WAITING or legs is None:
        return None
    return legs if document.token == token or legs.number > held.number else None


def deliver(run_id: str, legs: Legs, clock: Clock, deadline: float) -> Procedure[None]:
    """Create the Cloud Task that delivers a leg. It may exist already.

    Raises:
        LegQueueUnavailable, SchedulerUnavailable: It may not exist; the watchdog creates another one.
    """
    tries = 0
    while True:
        try:
            return (yield from ask(DeliverLeg(run_id, legs.number, legs.creation)))
        except (LegQueueUnavailable, SchedulerUnavailable):
            if clock.monotonic() >= deadline:
                raise
        yield from ask(Pause(tries))
        tries += 1


def revive(
    names: DocumentNames,
    document: TaskDocument,
    found: list[Incident],
    *,
    cancelled: list[str],
    token: str,
    now: datetime,
) -> Procedure[None]:
    """Deliver a leg again whose attempt died, or whose delivery did not arrive; or fail the run.

    Args:
        names: Names of the task's documents.
        document: The status document of a long run, whose lease has expired.
        found: Receives the incident, unless the documents have changed meanwhile.
        cancelled: Receives the run instead if an operator had cancelled it.
        token: A new fencing token, which no attempt has.
        now: UTC.

    Raises:
        LegQueueUnavailable, SchedulerUnavailable: The leg was not delivered; a later pass repeats this.
    """
    run_id, legs = document.run_id, document.legs
    if run_id is None or legs is None:
        return
    _, record = yield from ask(ReadDocuments(run_id))
    tries = tries_of(document, record)
    close = must_close(document, tries, now=now)
    if close is not None:
        fail = watchdog_writes.fail_run(names, document, close.kind, close.reason, now=now)
        if (yield from try_commit(fail)):
            if document.cancel is None:
                found.append(Incident("dead_run", run_id, close.reason))
            else:
                cancelled.append(run_id)
        return
    awaited = replace(legs, creation=legs.creation + 1, tries=tries)
    wait = leg_writes.wait(names, run_id, document, token=token, legs=awaited, now=now, record={})
    lost = "was not delivered in time" if document.state == WAITING else "lost its process"
    incident = Incident("lost_leg", run_id, f"leg {legs.number} {lost}, and is delivered again")
    # A run may lose several legs, so the creation is part of the id.
    incident_id = f"{run_id}.{awaited.creation}.{incident.kind}"
    wait += watchdog_writes.incident(names, incident_id, now=now, fields=incident.to_fields())
    if not (yield from try_commit(wait)):
        return
    found.append(incident)  # before the call that may fail: the run has been repaired as far as it waits
    yield from ask(DeliverLeg(run_id, awaited.number, awaited.creation))
