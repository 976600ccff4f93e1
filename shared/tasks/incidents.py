"""What goes wrong with tasks without anybody being there to say so, found and told once.

A dead run, a tick that nobody started, a run of the original's that never ends. Each is logged
at ERROR with the same fields, for an alert policy to match: `incident`, `task`, `run_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from shared.tasks import writes
from shared.tasks.errors import WriteRefused, WriteUnknown
from shared.tasks.steps import Commit, Read, Steps
from shared.tasks.writes import run_id_of

if TYPE_CHECKING:
    from shared.tasks.specs import TaskSpec

#: How late a tick may start before it counts as missed.
TICK_GRACE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that a person should look at.

    Attributes:
        kind: "dead_run", "missed_tick" or "overdue_original".
        run_id: the run concerned; for a missed tick, the run that did not start.
        detail: in words.
    """

    kind: str
    run_id: str
    detail: str


def last_due_tick(spec: TaskSpec, now: datetime) -> datetime | None:
    """Return the last tick whose grace is over, in UTC; None where the schedule is no unix-cron.

    The ticks of "every N minutes" count from when Cloud Scheduler's job was made, which nobody
    here knows.

    Args:
        spec: the task's schedule and time zone.
        now: UTC.
    """
    if spec.schedule is None or not croniter.is_valid(spec.schedule):
        return None
    zone = ZoneInfo(spec.time_zone)
    due = (now - TICK_GRACE).astimezone(zone)
    ticks = croniter(spec.schedule, due.replace(tzinfo=None) + timedelta(seconds=1))
    while True:
        try:
            wall: datetime = ticks.get_prev(datetime)
        except CroniterError:  # no such day for years: 30 February
            return None
        # On the clock's two passes through the same hour there are two such moments; in the hour
        # that it leaves out there is none, and Cloud Scheduler fires nothing then.
        for moment in (wall.replace(tzinfo=zone, fold=1), wall.replace(tzinfo=zone)):
            tick = moment.astimezone(UTC)
            if tick <= due and tick.astimezone(zone).replace(tzinfo=None) == wall:
                return tick


def missed_tick(documents: str, spec: TaskSpec, *, now: datetime) -> Steps[Incident | None]:
    """Find out whether the last due tick was started by nobody, and record it the first time.

    Args:
        documents: the database's root.
        spec: the task.
        now: UTC.

    Raises:
        StoreError: Firestore did not answer.
    """
    tick = last_due_tick(spec, now)
    if tick is None:
        return None
    run_id = run_id_of(tick)
    task, run = yield Read(run_id)
    begun = task.started is not None and task.started >= tick
    if run is not None or begun or task.is_suspended or not task.exists:
        return None
    _, skipped = yield Read(writes.skip_id(run_id))
    if skipped is not None:
        return None
    detail = f"nothing has started since {tick.isoformat()}, {spec.schedule!r} in {spec.time_zone}"
    incident = Incident("missed_tick", run_id, detail)
    return incident if (yield from record_once(documents, spec, incident, now=now)) else None


def record_once(documents: str, spec: TaskSpec, incident: Incident, *, now: datetime) -> Steps[bool]:
    """Record an incident in the task's history; return whether it is new, for all that is known."""
    fields = {"state": incident.kind, "run_id": incident.run_id, "detail": incident.detail}
    incident_id = f"{incident.run_id}.{incident.kind}"
    try:
        yield Commit(writes.incident(documents, spec.name, incident_id, now=now, fields=fields))
    except WriteRefused:  # known already
        return False
    except WriteUnknown:  # told twice, if it was not written, and never untold
        return True
    return True
