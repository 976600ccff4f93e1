"""What the watchdog does about one task: dead runs failed, lost histories closed, the contract copy repaired.

A pass may be cut short or run beside another at any point: each write is conditional on what it
was decided on, and what one pass leaves, the next one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.tasks.contract import history_name
from shared.tasks.documents import run_writes, watchdog_writes
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.decisions import is_dead, is_overdue_legacy, is_superseded
from shared.tasks.protocol.effects import Procedure, ReadRunning, ReadSchedule, ask, try_commit
from shared.tasks.protocol.incidents import Incident, missed_ticks, record_once
from shared.tasks.protocol.job_sync import check_job
from shared.tasks.protocol.retention import remove_old_objects

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from shared.tasks.specs import TaskSpec


@dataclass(slots=True)
class Findings:
    """What a pass found and did about a task.

    Attributes:
        incidents: what a person should look at, each told by one pass alone; by the next one again
            where an answer was lost and nobody knows.
        superseded_runs: runs whose history was closed.
        contract_copy_repaired: whether the contract copy was stale.
        removed_objects: objects that nobody can want any more.
        job_repaired: whether Cloud Scheduler's job was made to follow the document.
    """

    incidents: list[Incident] = field(default_factory=list)
    superseded_runs: list[str] = field(default_factory=list)
    contract_copy_repaired: bool = False
    removed_objects: list[str] = field(default_factory=list)
    job_repaired: bool = False


def watch(
    documents: str, spec: TaskSpec, found: Findings, *, now: datetime, deadline: timedelta
) -> Procedure[None]:
    """Look after one task (docs/protocol.md, "Watchdog").

    Args:
        documents: the database's root.
        spec: the task.
        found: is told of each thing as it is done. What was recorded before a call failed is told all
            the same: no later pass will find it anew.
        now: UTC.
        deadline: how long a run of the original's may be at work.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
        SchedulerUnavailable: Cloud Scheduler did not.
        TimeoutError: no time is left for it.
    """
    running = yield from ask(ReadRunning())
    task, schedule = yield from ask(
        ReadSchedule()
    )  # after the histories, in its own call: `is_superseded` needs that
    for run_id, run in running:
        if is_superseded(run, task):
            history = history_name(documents, spec.name, run_id)
            if (yield from try_commit(run_writes.close_superseded(history, run, now=now))):
                found.superseded_runs.append(run_id)
    if is_dead(task, now=now):
        if (yield from try_commit(watchdog_writes.fail_dead(documents, spec.name, task, now=now))):
            detail = f"its process died: no sign of life since {task.lease_until}"
            found.incidents.append(Incident("dead_run", task.run_id or "", detail))
    elif is_overdue_legacy(task, now=now, deadline=deadline):
        began = task.started or task.timestamp
        incident = Incident("overdue_original", f"original.{began}", f"running since {began}")
        if (yield from record_once(documents, spec, incident, now=now)):
            found.incidents.append(incident)
    yield from missed_ticks(documents, spec, schedule, found.incidents, now=now)
    found.contract_copy_repaired = yield from repair_contract_copy(spec.name)
    yield from remove_old_objects(spec.name, found.removed_objects, now=now)
    if spec.schedule is not None:  # last: whether Cloud Scheduler answers is not for the rest to wait for
        found.job_repaired = yield from check_job(documents, spec.name, found.incidents, now=now)
