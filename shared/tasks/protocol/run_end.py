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
from shared.tasks.protocol.effects import Pause, Procedure, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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

    def build(update_time: Timestamp, suspended: bool) -> list[WriteMessage]:
        identity = attempt.identity
        return run_writes.complete(identity, update_time, end, data=data, result=pointer, suspended=suspended)

    return (yield from _write_end(attempt, TaskStatus.completed, build, deadline, pointer))


def fail(
    attempt: Attempt, failure: Failure, *, duration: float, deadline: float, progress: JsonMap | None = None
) -> Procedure[EndState]:
    """Record a failure; the last good result stays. Other arguments and errors are those of `complete`."""
    end = _end(attempt, duration, progress)
    errors: set[tuple[str, str]] = set()

    def build(update_time: Timestamp, suspended: bool) -> list[WriteMessage]:
        recorded = attempt.recorded_failure(failure)  # for each try: a cancel may have refused the last one
        errors.add((recorded.kind, recorded.message))
        message, error = recorded.text, recorded.to_fields()
        return run_writes.fail(
            attempt.identity, update_time, end, message=message, error=error, suspended=suspended
        )

    result = attempt.document.result
    return (yield from _write_end(attempt, TaskStatus.failed, build, deadline, result, errors))


def _end(attempt: Attempt, duration: float, progress: JsonMap | None) -> RunEnd:
    earlier_ms = 0 if attempt.legs is None else attempt.legs.worked_ms
    duration_ms = earlier_ms + round(duration * 1000)
    return RunEnd(attempt.number, attempt.started, attempt.clock.now(), duration_ms, progress)


def _write_end(
    attempt: Attempt,
    final_status: TaskStatus,
    build: Callable[[Timestamp, bool], list[WriteMessage]],
    deadline: float,
    result: ResultPointer | None,
    errors: Collection[tuple[str, str]] = (),
) -> Procedure[EndState]:
    """Commit the end of the attempt; decide again as long as it is not known whether a commit was applied."""
    tries = 0
    while True:
        if final_status is TaskStatus.completed and attempt.cancel is not None:
            raise RunCancelled(attempt.cancel.cancel_message)
        suspended = attempt.document.is_suspended
        try:
            update_time = yield from attempt.commit(build(attempt.update_time, suspended))
        except (WriteRejected, WriteDenied):
            raise
        except StoreError as error:
            found = yield from _resolve_end(attempt, final_status, error, deadline, errors)
        else:
            document, state = attempt.document, final_status.value
            status = document.status if suspended else state
            document = replace(document, update_time=update_time, status=status, state=state)
            attempt.end(replace(document, lease_until=None, result=result))
            return EndState.recorded
        if found is EndState.recorded or found is EndState.superseded:
            return found
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("could not record the run's end in time (lost responses or writers)")
        yield from ask(Pause(tries))
        tries += 1


def _resolve_end(
    attempt: Attempt,
    final_status: TaskStatus,
    error: StoreError,
    deadline: float,
    errors: Collection[tuple[str, str]],
) -> Procedure[EndState | None]:
    """Find out what became of an end whose commit was refused or not answered; None if that failed."""
    token = attempt.identity.token
    try:
        document, record = yield from ask(attempt.read_documents(deadline))
        state = end_state(document, record, token=token, final_status=final_status, errors=errors)
        if state is EndState.superseded:
            yield from _close_superseded(attempt, record)
    except StoreError as again:
        logger.warning("run end not recorded yet", run_id=attempt.identity.run_id, error=error, again=again)
        return None
    if state is EndState.pending:
        attempt.document = document
    else:
        attempt.end(document if document.token == token else None)
    return state


def _close_superseded(attempt: Attempt, record: RunDocument | None) -> Procedure[None]:
    """Close the run record if it is still this attempt's. Only then may the attempt's object be removed.

    A failure is also superseded if the attempt's own completion was applied late. Then its object is the
    result, and stays.

    Raises:
        StoreError: The record has changed, or Firestore did not answer; read again.
    """
    if record is None:  # The record may be any attempt's; the watchdog decides about the object.
        return
    own = record.token == attempt.identity.token
    if own and record.state == TaskStatus.completed:
        return
    if own and record.state == TaskStatus.running:
        name, now = attempt.identity.record_name, attempt.clock.now()
        yield from attempt.commit(run_writes.close_superseded(name, record, now=now))
    attempt.is_object_unused = True
