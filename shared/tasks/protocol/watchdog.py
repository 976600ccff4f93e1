"""One pass of the watchdog over one task (docs/protocol.md, "Watchdog").

A pass may be interrupted, or run beside another: each write is conditional on what was read, and the next
pass completes what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.tasks.documents import run_writes, watchdog_writes
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.decisions import is_dead, is_overdue_legacy, is_superseded
from shared.tasks.protocol.effects import Procedure, ReadRunning, ReadSchedule, ask, try_commit
from shared.tasks.protocol.incidents import Incident, record_missed_ticks, record_once
from shared.tasks.protocol.job_sync import watch_job
from shared.tasks.protocol.legs import revive
from shared.tasks.protocol.retention import remove_old_objects
from shared.tasks.protocol.suspension import end_suspension

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.actions import Suspension
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.specs import TaskSpec


@dataclass(slots=True)
class Findings:
    """What a pass found and did about a task.

    Attributes:
        incidents: Incidents that were recorded for the first time, or whose record got no response.
        superseded_runs: Runs whose record was closed.
        cancelled_runs: Runs that an operator had cancelled, and that ended now, because their process died.
        is_suspended: Whether the task is suspended.
        result_completed: Time when the last good result was published, UTC; None if there is none.
        resumed: The suspension that ended, so that the task was resumed; None if none did.
        contract_copy_repaired: Whether the contract copy was updated.
        removed_objects: Objects that are no longer needed.
        job_repaired: Whether Cloud Scheduler's job was changed.
    """

    incidents: list[Incident] = field(default_factory=list)
    superseded_runs: list[str] = field(default_factory=list)
    cancelled_runs: list[str] = field(default_factory=list)
    is_suspended: bool = False
    result_completed: datetime | None = None
    resumed: Suspension | None = None
    contract_copy_repaired: bool = False
    removed_objects: list[str] = field(default_factory=list)
    job_repaired: bool = False


def watch(
    names: DocumentNames,
    spec: TaskSpec,
    found: Findings,
    *,
    now: datetime,
    deadline: timedelta,
    token: str,
) -> Procedure[None]:
    """Check and repair one task.

    Args:
        names: Names of the task's documents.
        spec: The task.
        found: Receives each finding at once. After an error, a later pass would not find it again.
        now: UTC.
        deadline: How long a legacy run may work.
        token: A new fencing token, which no attempt has.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not answer.
        SchedulerUnavailable: Cloud Scheduler did not answer.
        LegQueueUnavailable: Cloud Tasks did not answer.
        TimeoutError: No time is left.
    """
    running = yield from ask(ReadRunning())
    # In a call of its own, after the run records: `is_superseded` needs that order.
    document, schedule = yield from ask(ReadSchedule())
    found.result_completed = document.result_completed
    for run_id, record in running:
        if is_superseded(record, document):
            name = names.record(run_id)
            if (yield from try_commit(run_writes.close_superseded(name, record, now=now))):
                found.superseded_runs.append(run_id)
                if record.cancel is not None:
                    found.cancelled_runs.append(run_id)
    suspended = document.suspended
    if (yield from end_suspension(names, document, now=now, has_job=spec.schedule is not None)):
        found.resumed = suspended
        document, schedule = yield from ask(ReadSchedule())
    found.is_suspended = document.is_suspended
    if is_dead(document, now=now):
        yield from _repair_dead(names, document, found, token=token, now=now)
    elif is_overdue_legacy(document, now=now, deadline=deadline):
        began = document.started or document.timestamp
        incident = Incident("overdue_original", f"original.{began}", f"running since {began}")
        if (yield from record_once(names, incident, now=now)):
            found.incidents.append(incident)
    yield from record_missed_ticks(names, spec, schedule, found.incidents, now=now)
    found.contract_copy_repaired = yield from repair_contract_copy(spec.name)
    yield from remove_old_objects(spec.name, found.removed_objects, now=now)
    if spec.schedule is not None:  # last, so that nothing else waits for Cloud Scheduler
        found.job_repaired = yield from watch_job(names, found.incidents, now=now)


def _repair_dead(
    names: DocumentNames, document: TaskDocument, found: Findings, *, token: str, now: datetime
) -> Procedure[None]:
    """Fail a run whose process died. A long run continues instead."""
    run_id = document.run_id or ""
    if document.legs is not None:
        yield from revive(
            names, document, found.incidents, cancelled=found.cancelled_runs, token=token, now=now
        )
    elif (yield from try_commit(watchdog_writes.fail_dead(names, document, now=now))):
        if document.cancel is not None:
            found.cancelled_runs.append(run_id)
            return
        detail = f"its process died: its lease expired at {document.lease_until} without an extension"
        found.incidents.append(Incident("dead_run", run_id, detail))
