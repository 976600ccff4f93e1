"""How an attempt ends its run: with a result or a failure (docs/protocol.md, "Finish")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared import logger
from shared.tasks.contract import Json, JsonMap, TaskStatus
from shared.tasks.documents import run_writes
from shared.tasks.documents.run_writes import RunEnd
from shared.tasks.errors import RunCancelled, StoreError, StoreUnavailable, WriteDenied, WriteRejected
from shared.tasks.protocol.decisions import EndState, end_state
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.documents.models import RunDocument
    from shared.tasks.documents.result_pointer import ResultPointer
    from shared.tasks.documents.write_messages import WriteMessage
    from shared.tasks.failure import Failure
    from shared.tasks.protocol.attempt import Attempt


def complete(
    attempt: Attempt,
    *,
    data: Json,
    result: ResultPointer,
    duration: float,
    deadline: float,
    progress: JsonMap | None = None,
) -> Procedure[EndState]:
    """Publish a result.

    Args:
        attempt: The attempt.
        data: The contract's `data`.
        result: Describes the result; the time of its completion is set here.
        duration: Duration of the task's work, seconds.
        deadline: When to give up, on the clock's monotonic scale.
        progress: The task's last progress report, written in the same commit; None if it made none.

    Returns:
        Recorded if the result is published, superseded if another attempt took the task.

    Raises:
        RunCancelled: An operator cancelled the run; nothing is published.
        WriteRejected: Firestore cannot store this result.
        StoreError: Firestore did not answer in time.
    """
    end = _end(attempt, duration, progress)
    pointer = replace(result, completed=end.completed)

    def build(version: Timestamp, suspended: bool) -> list[WriteMessage]:
        run = attempt.identity
        return run_writes.complete(run, version, end, data=data, result=pointer, suspended=suspended)

    return (yield from _write_end(attempt, TaskStatus.completed, build, deadline, pointer))


def fail(
    attempt: Attempt, failure: Failure, *, duration: float, deadline: float, progress: JsonMap | None = None
) -> Procedure[EndState]:
    """Record a failure; the last good result stays. Arguments and errors as `complete`."""
    end = _end(attempt, duration, progress)

    def build(version: Timestamp, suspended: bool) -> list[WriteMessage]:
        recorded = attempt.recorded_failure(failure)  # for each try: a cancel may have refused the last one
        message, error = recorded.text, recorded.to_fields()
        return run_writes.fail(
            attempt.identity, version, end, message=message, error=error, suspended=suspended
        )

    return (yield from _write_end(attempt, TaskStatus.failed, build, deadline, attempt.task.result))


def _end(attempt: Attempt, duration: float, progress: JsonMap | None) -> RunEnd:
    return RunEnd(attempt.number, attempt.started, attempt.clock.now(), round(duration * 1000), progress)


def _write_end(
    attempt: Attempt,
    goal: TaskStatus,
    build: Callable[[Timestamp, bool], list[WriteMessage]],
    deadline: float,
    result: ResultPointer | None,
) -> Procedure[EndState]:
    """Commit the end of the attempt, deciding again whenever the commit is not known to be applied."""
    tries = 0
    while True:
        if goal is TaskStatus.completed and attempt.cancel is not None:
            raise RunCancelled(attempt.cancel.cancel_message)
        suspended = attempt.task.is_suspended
        try:
            commit = Commit(build(attempt.version, suspended), attempt.call_seconds)
            version = yield from ask(commit)
        except (WriteRejected, WriteDenied):
            raise
        except StoreError as error:
            found = yield from _resolve_end(attempt, goal, error, deadline)
        else:
            status = attempt.task.status if suspended else goal.value
            left = replace(attempt.task, update_time=version, status=status, state=goal.value)
            attempt.end(replace(left, lease_until=None, result=result))
            return EndState.recorded
        if found is EndState.recorded or found is EndState.superseded:
            return found
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("could not record the run's end in time (lost responses or writers)")
        yield from ask(Pause(tries))
        tries += 1


def _resolve_end(
    attempt: Attempt, goal: TaskStatus, error: StoreError, deadline: float
) -> Procedure[EndState | None]:
    """Find out what became of a refused or unanswered end; None if that failed."""
    token = attempt.identity.token
    try:
        task, run = yield from ask(attempt.read_run(deadline))
        state = end_state(task, run, token=token, goal=goal)
        if state is EndState.superseded:
            yield from _close_superseded(attempt, run)
    except StoreError as again:
        logger.warning("run end not recorded yet", run_id=attempt.identity.run_id, error=error, again=again)
        return None
    if state is EndState.pending:
        attempt.task = task
    else:
        attempt.end(task if task.token == token else None)
    return state


def _close_superseded(attempt: Attempt, run: RunDocument | None) -> Procedure[None]:
    """Close the run record if it is still this attempt's. Only then may the attempt's object be removed.

    The failure of an attempt is also superseded by its own completion that was applied late: then its
    object is the result.

    Raises:
        StoreError: The record has changed, or Firestore did not answer; read again.
    """
    if run is None:  # The record may be any attempt's; the watchdog decides about the object.
        return
    own = run.token == attempt.identity.token
    if own and run.state == TaskStatus.completed:
        return
    if own and run.state == TaskStatus.running:
        record, now = attempt.identity.record_name, attempt.clock.now()
        yield from ask(Commit(run_writes.close_superseded(record, run, now=now)))
    attempt.object_may_go = True
