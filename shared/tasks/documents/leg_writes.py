"""The writes that hand a long run over from one leg to the next, or end it between two legs.

Each function returns the writes of one commit, which is refused if the status document has changed since it
was read. Fields that it does not name stay: the cancel, the source, the start, and a suspended status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.contract import TaskStatus
from shared.tasks.documents.legs import WAITING, Legs, grace
from shared.tasks.documents.write_messages import WriteMessage, write_document, write_record

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import DocumentNames, JsonMap
    from shared.tasks.documents.models import Precondition, TaskDocument
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.protocol.decisions import TakeLeg


def wait(
    names: DocumentNames,
    run_id: str,
    document: TaskDocument,
    *,
    token: str,
    legs: Legs,
    now: datetime,
    record: JsonMap,
) -> list[WriteMessage]:
    """Let a run wait for the delivery of a leg, and record why in the run record.

    Args:
        names: Names of the task's documents.
        run_id: The run.
        document: The status document.
        token: A new fencing token, which no attempt has.
        legs: The leg that is awaited.
        now: UTC.
        record: Further fields of the run record, such as the progress. With an `error`, the run waits for
            the redelivery of a leg that failed, which takes longer.
    """
    held = document.legs
    is_retry = document.state == TaskStatus.running and held is not None and held.number == legs.number
    both = {
        "state": WAITING,
        "token": token,
        "legs": legs.to_fields(),
        "attempt": document.attempt + is_retry,  # the next attempt of the same leg
    }
    run = {**both, "lease_until": now + grace(failed="error" in record)}
    return _move(names, run_id, document, run, {**both, **record}, precondition=True)


def take(
    identity: AttemptIdentity, document: TaskDocument, take: TakeLeg, *, lease_until: datetime
) -> list[WriteMessage]:
    """Take the task for an attempt of a leg.

    The commit is also refused if the run record has changed, for example by a checkpoint of the attempt
    before. The record no longer expires.
    """
    both = {
        "state": TaskStatus.running.value,
        "token": identity.token,
        "attempt": take.attempt,
        "legs": take.legs.to_fields(),
    }
    run = {**both, "lease_until": lease_until}
    writes = _move(identity.names, identity.run_id, document, run, both, precondition=take.record.update_time)
    writes[1].update_mask.field_paths.extend(["error", "completed", "expire_at"])
    return writes


def _move(
    names: DocumentNames,
    run_id: str,
    document: TaskDocument,
    run: JsonMap,
    record: JsonMap,
    precondition: Precondition,
) -> list[WriteMessage]:
    mask = [f"run.{key}" for key in run]
    return [
        write_document(names.status, {"run": run}, mask=mask, precondition=document.update_time),
        write_record(names.record(run_id), record, mask=list(record), precondition=precondition),
    ]
