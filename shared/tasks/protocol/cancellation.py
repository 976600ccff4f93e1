"""Cancels a run (docs/protocol.md, "Cancel")."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from shared.tasks.contract import TaskStatus
from shared.tasks.documents import operator_writes
from shared.tasks.documents.run_ids import is_retried
from shared.tasks.errors import StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.protocol.decisions import REQUEST_WINDOW
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask
from shared.tasks.protocol.operator_action import CHANGE_TRIES, checked_action
from shared.tasks.specs import RETRIES_OVER

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.models import RunDocument, TaskDocument
    from shared.tasks.documents.write_messages import WriteMessage

#: States of a run; the run history has other records, too.
_OF_RUNS = frozenset({TaskStatus.running, TaskStatus.completed, TaskStatus.failed})


class Cancelled(Enum):
    """What a cancel leads to."""

    cancelling = "cancelling"
    """The run is at work, and will end."""
    cancelled = "cancelled"
    """The run had failed, and is not tried again."""
    ended = "ended"
    """The run had ended for good."""
    unknown = "unknown"
    """There is no such run."""


def cancel(names: DocumentNames, run_id: str, *, by: str, reason: str, now: datetime) -> Procedure[Cancelled]:
    """Cancel a run. Its task stops at its next progress report or lease extension.

    Nothing that it returns then is published. A run that failed, and that Cloud Scheduler may deliver again,
    is not started again; its error then contains the cancel, too. A completed run and other runs are not
    changed, because the write is conditional on what was read. Errors as `Operations.cancel_run`.
    """
    action = checked_action(by, reason, now)
    before: Timestamp | None = None
    for tries in range(CHANGE_TRIES):
        document, record = yield from ask(ReadDocuments(run_id))
        version = record.update_time if record else None
        settled = tries > 0 and version == before
        before, found = version, _outcome_of(document, record, run_id, settled=settled, now=now)
        if record is not None and record.cancel == action:  # only the response was lost
            return found if found is Cancelled.cancelling else Cancelled.cancelled
        commit: list[WriteMessage] = []
        if found is Cancelled.cancelling and document.cancel is None:
            commit = operator_writes.cancel(names, document, action, now=now)
        elif found is Cancelled.cancelled and record is not None:
            commit = operator_writes.cancel_ended(names, run_id, document, record, action, now=now)
        elif found is Cancelled.cancelled and document.request is not None:
            commit = operator_writes.cancel_request(names, document.request, action, now=now)
        if found is not None:
            with suppress(WriteRefused, WriteUnknown):
                if commit:
                    yield from ask(Commit(commit))
                return found
        yield from ask(Pause(tries))
    raise StoreUnavailable(f"{run_id} could not be cancelled: other writers changed it each time; try again")


def _outcome_of(
    document: TaskDocument, record: RunDocument | None, run_id: str, *, settled: bool, now: datetime
) -> Cancelled | None:
    """Return what a cancel of the run leads to.

    None if both documents must be read again, because they may be from different moments. `settled` means
    that an earlier read, in a call of its own, returned the same run record.
    """
    is_last = document.run_id == run_id
    if is_last and document.state == TaskStatus.running:
        return Cancelled.cancelling
    request = document.request
    if record is None and request is not None and request.id == run_id and not is_last:
        # No delivery has answered the request.
        return Cancelled.cancelled if now < request.at + REQUEST_WINDOW else Cancelled.ended
    if record is None:
        if not is_last:
            return Cancelled.unknown
        return Cancelled.ended if settled else None  # TTL removed the record, or it was not there yet
    if record.state not in _OF_RUNS:
        return Cancelled.unknown
    if record.state == TaskStatus.running and not settled:
        # The status document may be older. If it is not, the attempt has lost the run, as if it had failed.
        return None
    retried = (record.scheduled_for is not None or is_retried(run_id)) and (
        record.completed is None or now < record.completed + RETRIES_OVER
    )
    if record.state == TaskStatus.completed or record.cancel is not None or not retried:
        return Cancelled.ended
    shows_failure = is_last and document.state == TaskStatus.failed
    # Without the failure the status document may be older.
    return Cancelled.cancelled if shows_failure or settled else None
