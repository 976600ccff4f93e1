"""The model's processes of long runs: deliveries of a tick and of Cloud Tasks, and what a leg does.

A task with a cursor moves it past `UNITS` records, each of which is persisted as a part. Its result lists
them, so that an invariant can count them.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from functions import scheduled_endpoint as answering
from shared.tasks import ExecuteTaskOptions
from shared.tasks.contract import part_object
from shared.tasks.documents.checkpoints import Changes, Saved, SavedCursor, SavedPart, SavedStep
from shared.tasks.documents.legs import MAX_TRIES
from shared.tasks.documents.result_pointer import ResultPointer
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.errors import (
    LegQueueUnavailable,
    ResultNotKept,
    RunCancelled,
    RunLost,
    SchedulerUnavailable,
    StoreError,
    StoreUnavailable,
)
from shared.tasks.failure import Failure
from shared.tasks.protocol.acquisition import acquire
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.checkpoint import make_checkpoint, read_saved
from shared.tasks.protocol.decisions import (
    Busy,
    CloseRun,
    Duplicate,
    EndState,
    ResendLeg,
    Skip,
    Start,
    TakeLeg,
)
from shared.tasks.protocol.legs import deliver, hand_over
from shared.tasks.protocol.run_end import complete, fail
from tests.model.positions import EPOCH, STEP, ModelClock, Procedure, Script
from tests.model.processes import NAMES, NEXT_TICK, OWN, TASK
from tests.model.requests import Answer, Choose, ReadParts, ReceiveLeg, Upload

#: Records of the task's result, one for each position of its cursor.
UNITS = 2
RECORDS = [f"r{position}" for position in range(UNITS)]
CURSOR, STEP_NAME = "c", "s"

#: A deadline that no exploration reaches.
LONG = ExecuteTaskOptions(lease_seconds=60, leg_seconds=60, deadline_seconds=86_400)
#: A deadline that the first step of time reaches.
SHORT = ExecuteTaskOptions(lease_seconds=60, leg_seconds=60, deadline_seconds=STEP.total_seconds())

#: What a task may do with each record. "leave" also ends the leg, "keep" makes a checkpoint and goes on, and
#: "yield" makes none. "extend" extends the lease before it, and "fail" raises. A "step" is remembered first.
LEAVE = ("leave",)

_NOT_TAKEN = {
    Duplicate: "duplicate",
    CloseRun: "duplicate",
    ResendLeg: "duplicate",
    Skip: "skipped",
    Busy: "busy",
}


class _TaskFailed(Exception):
    """The task raised."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The task has returned, with the paths of its parts; or None if the leg has ended."""

    paths: tuple[str, ...] | None


def tick(
    run_id: str,
    token: str,
    may: tuple[str, ...] = LEAVE,
    after: tuple[str, ...] = (),
    options: ExecuteTaskOptions = LONG,
) -> Script:
    """One delivery of a tick whose run is long, or of a forced run if its id begins with "own"."""

    def body(clock: ModelClock) -> Procedure:
        due, delivered = (None, NEXT_TICK) if run_id.startswith(OWN) else (EPOCH, EPOCH)
        identity = AttemptIdentity(NAMES, run_id, token, "model", due, delivered)
        yield from _deliver(Attempt(identity, options, clock), may, None)

    return Script(f"{run_id}/{token}", body, "delivery", after, has_legs=True)


def continuation(token: str, may: tuple[str, ...] = LEAVE, options: ExecuteTaskOptions = LONG) -> Script:
    """A delivery of Cloud Tasks, of any leg."""

    def body(clock: ModelClock) -> Procedure:
        cloud_task = yield ReceiveLeg()
        identity = AttemptIdentity(NAMES, cloud_task.run_id, token, "cloud tasks", leg=cloud_task.leg)
        yield from _deliver(Attempt(identity, options, clock), may, cloud_task)

    return Script(f"leg/{token}", body, "continuation", has_legs=True)


@cache
def last_continuation(turn: int, number: int) -> Script:
    """A delivery after all other processes have ended."""
    return continuation(f"last{turn}.{number}")


def _deliver(attempt: Attempt, may: tuple[str, ...], cloud_task: Any) -> Procedure:
    try:
        decision = yield from acquire(attempt, None, deadline=1)
        if isinstance(decision, Start | TakeLeg):
            outcome = yield from _work(attempt, may)
        else:
            outcome = _NOT_TAKEN[type(decision)]
    except RunLost:
        outcome = "lost"
    except (StoreError, LegQueueUnavailable):
        outcome = "failed"
    yield Answer(attempt.identity.run_id, outcome, answering.HTTP_STATUSES.get(outcome, 500), cloud_task)


def _work(attempt: Attempt, may: tuple[str, ...]) -> Procedure:
    """Do what the runtime does with a leg (`Execution` in shared/tasks/runtime/execution.py)."""
    legs = attempt.legs
    assert legs is not None
    try:
        saved = yield from read_saved(attempt)
        ended = yield from _do_task(attempt, saved, may)
    except (_TaskFailed, StoreError, ResultNotKept, RunLost, RunCancelled) as error:
        if attempt.ended:  # found by an extension of the lease
            raise
        is_final = isinstance(error, RunCancelled) or attempt.clock.now() >= legs.deadline
        checkpoint = attempt.checkpoint
        progressed = checkpoint is not None and checkpoint.is_of(attempt.identity.token)
        waits = legs.number > 1 or checkpoint is not None
        if waits and (progressed or legs.tries < MAX_TRIES) and not is_final:
            return (yield from _hand_over(attempt, legs.number, failed=True))
        return (yield from _fail(attempt))
    if ended.paths is None:
        return (yield from _hand_over(attempt, legs.number + 1, failed=False))
    contents = yield ReadParts(ended.paths)
    try:
        return (yield from _publish(attempt, contents))
    except RunCancelled:
        return (yield from _fail(attempt))


def _do_task(attempt: Attempt, saved: Saved, may: tuple[str, ...]) -> Procedure:
    """Work as a task does; like the runtime, repeat in each checkpoint the changes that are in doubt."""
    in_doubt, patience = Changes(), 1 if "patient" in may else 0
    if "step" in may and STEP_NAME not in saved.steps:
        in_doubt = yield from _remember_step(attempt, saved, is_careless="careless" in may)
    cursor = saved.cursors.get(CURSOR)
    position = 0 if cursor is None else int(cursor.value)
    while position < UNITS:
        chosen = yield Choose(tuple(each for each in may if each not in {"step", "careless", "patient"}))
        if chosen == "fail":
            raise _TaskFailed
        if chosen == "extend":
            yield from attempt.extend()
            continue
        path = part_object(TASK, attempt.identity.run_id, attempt.identity.token, position)
        yield Upload(path, RECORDS[position], None)
        position += 1
        part = SavedPart(path, 0, 1, 1, 1, cursor=CURSOR, kept=False)
        if chosen == "yield":
            in_doubt = in_doubt.followed_by(Changes(parts=(part,)))
            continue
        moved = SavedCursor(CURSOR, str(position))
        in_doubt = in_doubt.followed_by(Changes(cursors=(moved,), parts=(part,)))
        try:
            yield from make_checkpoint(attempt, saved, in_doubt, deadline=patience)
        except StoreUnavailable:
            if chosen == "leave":
                raise
            continue
        saved.add(in_doubt)
        in_doubt = Changes()
        if attempt.cancel is not None:
            raise RunCancelled
        if chosen == "leave":
            return _Ended(None)
    return _Ended(tuple(part.path for part in (*saved.parts, *in_doubt.parts)))


def _remember_step(attempt: Attempt, saved: Saved, *, is_careless: bool) -> Procedure:
    """Return what is in doubt."""
    step = SavedStep(STEP_NAME, f'"{attempt.identity.token}"')
    changes = Changes(steps=(step,))
    try:
        yield from make_checkpoint(attempt, saved, changes, deadline=0)
    except StoreUnavailable:
        if is_careless:  # a task that catches the error of its step
            return changes
        raise
    saved.add(changes)
    return Changes()


def _hand_over(attempt: Attempt, number: int, *, failed: bool) -> Procedure:
    identity = attempt.identity
    record = {"error": {"type": "E", "message": "failed"}} if failed else {}
    try:
        legs = yield from hand_over(
            attempt, number=number, token=f"{identity.token}+", duration=0, record=record, deadline=1
        )
        if legs is None:
            return "superseded"
        if failed:
            return "failed"
        yield from deliver(identity.run_id, legs, attempt.clock, deadline=0)
    except RunCancelled:
        return (yield from _fail(attempt))
    except (StoreError, LegQueueUnavailable, SchedulerUnavailable):
        return "busy"
    return "waiting"


def _fail(attempt: Attempt) -> Procedure:
    stands = yield from fail(attempt, Failure("E", "failed"), duration=0, deadline=1)
    ended = "failed" if attempt.cancel is None else "cancelled"
    return ended if stands is EndState.recorded else "superseded"


def _publish(attempt: Attempt, contents: tuple[str | None, ...]) -> Procedure:
    version = f"{attempt.identity.run_id}.{attempt.identity.token}"
    pointer = ResultPointer(version=version, saved_in="db", summary={"records": list(contents)})
    stands = yield from complete(attempt, data=[version], result=pointer, duration=0, deadline=1)
    return "superseded" if stands is EndState.superseded else "completed"
