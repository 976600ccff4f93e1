"""Detects incidents and reports each one once.

The watchdog records an incident and logs it with the fields `incident`, `task` and `run_id`, which the alert
policies match: at ERROR, or at WARNING if it has repaired it. An instance logs its own hung tasks at ERROR.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.cron import ticks_before
from shared.tasks.documents import watchdog_writes
from shared.tasks.documents.run_ids import run_id_of, skip_id
from shared.tasks.documents.write_messages import HISTORY_RETENTION
from shared.tasks.errors import WriteConflict, WriteUnknown
from shared.tasks.protocol.effects import Commit, Procedure, ReadDocuments, ReadStarted, ask, try_commit

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.models import ScheduleDocument
    from shared.tasks.specs import TaskSpec

#: How late a tick may start before it counts as missed.
TICK_GRACE = timedelta(minutes=5)
#: Longest duration of a deployment. Ticks are due only this long after the watchdog first read a schedule,
#: because `firebase deploy` updates the watchdog and the tasks' jobs in any order, within minutes.
DEPLOYMENT_TIME = timedelta(minutes=5)
#: Time after its grace period for which a tick is still checked if later ticks are overdue, too.
LOOK_BACK = timedelta(minutes=15)
#: Ticks checked in one pass.
MAX_TICKS = 20
#: Age of a tick at which its record may have expired, so that its absence proves nothing.
MAX_TICK_AGE = HISTORY_RETENTION - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that a person should look at.

    Attributes:
        kind: "dead_run", "lost_leg", "missed_tick", "overdue_original", "job_disagrees" or "hung_task".
        run_id: Id of the run; for a missed tick, of the run that did not start.
        detail: What happened, in words.
    """

    kind: str
    run_id: str
    detail: str

    @property
    def is_repaired(self) -> bool:
        """Whether the watchdog has repaired it, so that no person has to act at once."""
        return self.kind == "lost_leg"

    def to_fields(self) -> dict[str, object]:
        """Return the fields of its record."""
        return {"state": self.kind, "run_id": self.run_id, "detail": self.detail}


def overdue_ticks(spec: TaskSpec, since: datetime, now: datetime) -> list[datetime]:
    """List the ticks that should have started by now, newest first.

    Includes the last tick past its grace period, and earlier ones within `LOOK_BACK`, because a pass of
    the watchdog can be late. Ticks before the schedule was deployed are not due.

    Args:
        spec: The task's schedule and time zone.
        since: When the watchdog first read this schedule, UTC.
        now: UTC.

    Returns:
        Ticks in UTC; at most `MAX_TICKS`.
    """
    found: list[datetime] = []
    for tick in ticks_before(spec, now - TICK_GRACE):
        first = max(since + DEPLOYMENT_TIME, now - TICK_GRACE - (LOOK_BACK if found else MAX_TICK_AGE))
        if len(found) == MAX_TICKS or tick < first:
            break
        found.append(tick)
    return found


def record_missed_ticks(
    names: DocumentNames, spec: TaskSpec, known: ScheduleDocument, found: list[Incident], *, now: datetime
) -> Procedure[None]:
    """Record each overdue tick that has no run, once.

    Args:
        names: Names of the task's documents.
        spec: The task.
        known: The recorded schedule.
        found: Receives each missed tick that is recorded for the first time.
        now: UTC.

    Raises:
        StoreError: Firestore did not answer.
    """
    since = yield from _update_schedule(names, spec, known, now=now)
    for tick in overdue_ticks(spec, since, now):
        if not (yield from _is_missed(tick)):
            continue
        due = f"{tick.isoformat()}, {spec.schedule!r} in {spec.time_zone}"
        detail = f"no run started within {TICK_GRACE} of {due}"
        incident = Incident("missed_tick", run_id_of(tick), detail)
        if (yield from record_once(names, incident, now=now)):
            found.append(incident)


def _update_schedule(
    names: DocumentNames, spec: TaskSpec, known: ScheduleDocument, *, now: datetime
) -> Procedure[datetime]:
    """Record the schedule if it has changed; return since when the task has it.

    If the record cannot be written now, a later pass does that. Until then no tick counts as missed.
    """
    same = (known.schedule, known.time_zone) == (spec.schedule, spec.time_zone)
    if same and known.since is not None and known.since <= now + CLOCK_SKEW:
        return known.since
    if spec.schedule is not None or known.update_time is not None:
        fields = {"schedule": spec.schedule, "time_zone": spec.time_zone, "since": now}
        with suppress(WriteConflict, WriteUnknown):
            yield from ask(Commit(watchdog_writes.record_schedule(names, known, fields)))
    return now


def _is_missed(tick: datetime) -> Procedure[bool]:
    """Return whether the run history accounts for a tick neither by its run or skip nor by another run."""
    run_id = run_id_of(tick)
    document, record = yield from ask(ReadDocuments(run_id))
    if record is not None or document.is_suspended:
        return False
    if document.run_id is None and document.started is not None and document.started >= tick:
        return False  # a legacy writer started it, which leaves no run history
    _, skipped = yield from ask(ReadDocuments(skip_id(run_id)))
    if skipped is not None:
        return False
    for _, other in (yield from ask(ReadStarted(tick))):
        if other.state == "resumed":  # the task was suspended until then
            return False
        # Neither another tick's run, nor a cancelled request, which has no attempt and so no token.
        began = other.state == "skipped" or (other.is_run and other.token is not None)
        in_its_place = began and other.scheduled_for is None
        if in_its_place and other.started is not None and other.started <= tick + TICK_GRACE:
            return False
    return True


def record_once(names: DocumentNames, incident: Incident, *, now: datetime) -> Procedure[bool]:
    """Record an incident in the task's run history; return whether it is new, or may be."""
    incident_id = f"{incident.run_id}.{incident.kind}"
    write = watchdog_writes.incident(names, incident_id, now=now, fields=incident.to_fields())
    return (yield from try_commit(write))
