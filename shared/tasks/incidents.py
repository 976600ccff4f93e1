"""What goes wrong with tasks without anybody being there to say so, found and told once.

A dead run, a tick that nobody started, a run of the original's that never ends. Each is logged
at ERROR with the same fields, for an alert policy to match: `incident`, `task`, `run_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.tasks import writes
from shared.tasks.errors import WriteRefused, WriteUnknown
from shared.tasks.steps import Commit, Read, ReadStarted, Steps
from shared.tasks.ticks import ticks_before
from shared.tasks.writes import HISTORY_RETENTION, run_id_of

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.specs import TaskSpec

#: How late a tick may start before it counts as missed.
TICK_GRACE = timedelta(minutes=5)
#: How long after its grace a tick that others followed is still looked for.
LOOK_BACK = timedelta(minutes=15)
#: Ticks looked for in one pass.
MOST_TICKS = 20
#: After so long the history of a tick may be gone, and its absence says nothing.
FORGOTTEN = HISTORY_RETENTION - timedelta(days=1)

#: States of a record that says that the task was started, or was not to be.
_SEEN = frozenset({"running", "completed", "failed", "skipped"})


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


def due_ticks(spec: TaskSpec, now: datetime) -> list[datetime]:
    """Return the ticks whose grace is over and that may still be told of, in UTC, the last one first.

    That is the last of all, and those of the last `LOOK_BACK`: a pass of the watchdog may be late.
    A schedule that is no unix-cron has none: the ticks of "every N minutes" count from when Cloud
    Scheduler's job was made, which nobody here knows.

    Args:
        spec: the task's schedule and time zone.
        now: UTC.
    """
    found: list[datetime] = []
    for tick in ticks_before(spec, now - TICK_GRACE):
        if len(found) == MOST_TICKS or tick < now - TICK_GRACE - (LOOK_BACK if found else FORGOTTEN):
            break
        found.append(tick)
    return found


def missed_ticks(documents: str, spec: TaskSpec, found: list[Incident], *, now: datetime) -> Steps[None]:
    """Find out which due ticks were started by nobody within their grace, and record each once.

    Args:
        documents: the database's root.
        spec: the task.
        found: gets each that is recorded for the first time.
        now: UTC.

    Raises:
        StoreError: Firestore did not answer.
    """
    for tick in due_ticks(spec, now):
        if not (yield from _is_missed(tick)):
            continue
        due = f"{tick.isoformat()}, {spec.schedule!r} in {spec.time_zone}"
        detail = f"nothing started within {TICK_GRACE} of {due}"
        incident = Incident("missed_tick", run_id_of(tick), detail)
        if (yield from record_once(documents, spec, incident, now=now)):
            found.append(incident)


def _is_missed(tick: datetime) -> Steps[bool]:
    """Tell whether nothing says that a tick was seen: no run or skip of its own, no run in its stead."""
    run_id = run_id_of(tick)
    task, run = yield Read(run_id)
    if run is not None or task.is_suspended or task.created is None or task.created > tick:
        return False
    if task.run_id is None:  # the original's: it leaves no history
        return task.started is None or task.started < tick
    _, skipped = yield Read(writes.skip_id(run_id))
    if skipped is not None:
        return False
    for _, record in (yield ReadStarted(tick)):
        if record.state == "resumed":  # nothing was to start before that
            return False
        asked_for = record.scheduled_for is None and record.state in _SEEN  # no other tick's
        if asked_for and record.started is not None and record.started <= tick + TICK_GRACE:
            return False
    return True


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
