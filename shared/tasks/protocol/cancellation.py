"""Cancels a run (docs/protocol.md, "Cancel")."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.contract import TaskStatus
from shared.tasks.documents import operator_writes
from shared.tasks.documents.legs import WAITING
from shared.tasks.documents.run_ids import is_retried
from shared.tasks.errors import StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask
from shared.tasks.protocol.operator_action import CHANGE_TRIES, checked_action
from shared.tasks.protocol.request_decision import REQUEST_WINDOW
from shared.tasks.specs import RETRY_PERIOD

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.contract import DocumentNames, JsonMap
    from shared.tasks.documents.actions import Action
    from shared.tasks.documents.models import RunDocument, TaskDocument
    from shared.tasks.documents.write_messages import WriteMessage


class CancelOutcome(Enum):
    """What a request to cancel a run leads to."""

    cancelling = "cancelling"
    """The run is running, and will end."""
    cancelled = "cancelled"
    """The run had failed, or waited for its next leg, and is not tried again."""
    ended = "ended"
    """The run had ended, and would not have been tried again."""
    unknown = "unknown"
    """The run does not exist."""


def cancel(
    names: DocumentNames, run_id: str, *, by: str, reason: str, now: datetime
) -> Procedure[CancelOutcome]:
    """Cancel a run. Its task stops at its next progress report or lease extension, and publishes nothing.

    A run that failed, and that Cloud Scheduler may deliver again, is not started again; its error then
    contains the cancel, too. A completed run and other runs are not changed, because the write is conditional
    on what was read. The errors are those of `Operations.cancel_run`.
    """
    action = checked_action(by, reason, now)
    before: Timestamp | None = None
    unanswered: JsonMap | None = None
    for tries in range(CHANGE_TRIES):
        document, record = yield from ask(ReadDocuments(run_id))
        update_time = record.update_time if record else None
        unchanged = tries > 0 and update_time == before
        before, outcome = update_time, _outcome_of(document, record, run_id, unchanged=unchanged, now=now)
        if record is not None and record.cancel == action:  # only the response was lost
            if outcome is CancelOutcome.cancelling:
                return outcome
            _log_end(names, run_id, unanswered)
            return CancelOutcome.cancelled
        commit, ended = _writes_of(names, run_id, document, record, outcome, action, now)
        if outcome is not None:
            try:
                if commit:
                    yield from ask(Commit(commit))
            except WriteConflict:
                pass
            except WriteUnknown:
                unanswered = ended
            else:
                _log_end(names, run_id, ended)
                return outcome
        yield from ask(Pause(tries))
    raise StoreUnavailable(f"{run_id} could not be cancelled: other writers changed it each time; try again")


def _writes_of(
    names: DocumentNames,
    run_id: str,
    document: TaskDocument,
    record: RunDocument | None,
    outcome: CancelOutcome | None,
    action: Action,
    now: datetime,
) -> tuple[list[WriteMessage], JsonMap | None]:
    """Return the writes of a cancel, and what to log if they end the run; None if they do not."""
    if outcome is CancelOutcome.cancelling and document.cancel is None:
        return operator_writes.cancel(names, document, action, now=now), None
    if outcome is not CancelOutcome.cancelled:
        return [], None
    if _waits(document, run_id):
        ended = {} if document.legs is None else {"duration_seconds": document.legs.worked_ms / 1000}
        return operator_writes.cancel_waiting(names, document, action, now=now), ended
    if record is not None:
        writes = operator_writes.cancel_ended(names, run_id, document, record, action, now=now)
        return writes, {} if record.state in {TaskStatus.running, WAITING} else None
    if document.request is not None:
        return operator_writes.cancel_request(names, document.request, action, now=now), None
    return [], None


def _log_end(names: DocumentNames, run_id: str, ended: JsonMap | None) -> None:
    """Log that the operator's commit has ended a run. None: it has ended before, or its attempt ends it."""
    if ended is not None:
        logger.info("task cancelled", task=names.task.value, run_id=run_id, **ended)


def _outcome_of(
    document: TaskDocument, record: RunDocument | None, run_id: str, *, unchanged: bool, now: datetime
) -> CancelOutcome | None:
    """Return what a cancel of the run leads to.

    None if both documents must be read again, because they may be from different moments. `unchanged` means
    that an earlier read, in a call of its own, returned the same run record.
    """
    is_last = document.run_id == run_id
    if is_last and document.state in {TaskStatus.running, WAITING}:
        return CancelOutcome.cancelled if _waits(document, run_id) else CancelOutcome.cancelling
    request = document.request
    if record is None and request is not None and request.id == run_id and not is_last:
        # No delivery has answered the request.
        return CancelOutcome.cancelled if now < request.at + REQUEST_WINDOW else CancelOutcome.ended
    if record is None:
        if not is_last:
            return CancelOutcome.unknown
        return CancelOutcome.ended if unchanged else None  # TTL removed the record, or it was not there yet
    if not record.is_run:
        return CancelOutcome.unknown
    if record.state in {TaskStatus.running, WAITING} and not unchanged:
        # The status document may have been read before the attempt started. If not, the attempt has lost its
        # task.
        return None
    retried = (record.scheduled_for is not None or is_retried(run_id)) and (
        record.completed is None or now < record.completed + RETRY_PERIOD
    )
    if record.state == TaskStatus.completed or record.cancel is not None or not retried:
        return CancelOutcome.ended
    shows_failure = is_last and document.state == TaskStatus.failed
    # A status document that does not show the failure may have been read before the run failed.
    return CancelOutcome.cancelled if shows_failure or unchanged else None


def _waits(document: TaskDocument, run_id: str) -> bool:
    """Return whether the run waits for its next leg, so that no attempt works for it."""
    return document.run_id == run_id and document.state == WAITING
