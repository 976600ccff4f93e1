"""The identity of an attempt, and the ids of runs and of the other records in a task's run history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.tasks.contract import DocumentNames, TaskName
    from shared.tasks.documents.actions import RunRequest

#: Prefix of the id of a run that a person requested.
_REQUESTED = "request-"


@dataclass(frozen=True, slots=True)
class AttemptIdentity:
    """What identifies an attempt, and where it writes.

    Attributes:
        names: Names of the task's documents.
        run_id: The run; the same for each delivery and attempt of one tick.
        token: Fencing token of the attempt, drawn at random.
        source: The contract's `source` of the run.
        scheduled_for: The tick, UTC; None for a run outside the schedule.
        schedule_time: Schedule time of the delivery, or the time when it arrived without one, UTC; None if no
            delivery called `execute_task`.
        request: The request that the run answers; None if the run was not requested.
        leg: The leg that a continuation delivers; None for any other delivery.
    """

    names: DocumentNames
    run_id: str
    token: str
    source: str
    scheduled_for: datetime | None = None
    schedule_time: datetime | None = None
    request: RunRequest | None = None
    leg: int | None = None

    @property
    def task(self) -> TaskName:
        """The task."""
        return self.names.task

    @property
    def record_name(self) -> str:
        """The full name of the run record."""
        return self.names.record(self.run_id)


def run_id_of(scheduled_for: datetime) -> str:
    """Return the id of the run of a tick: its time in UTC, with microseconds."""
    return scheduled_for.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_of_tick(run_id: str) -> bool:
    """Return whether a run id is that of a tick."""
    try:
        return run_id_of(datetime.fromisoformat(run_id)) == run_id
    except ValueError:
        return False


def request_run_id(at: datetime) -> str:
    """Return the id of the run that answers a request made at this time."""
    return f"{_REQUESTED}{run_id_of(at)}"


def is_retried(run_id: str) -> bool:
    """Return whether Cloud Scheduler retries a failed run with this id: a tick's, or a requested one."""
    return is_of_tick(run_id.removeprefix(_REQUESTED))


def request_record_id(run_id: str) -> str | None:
    """Return the id of the record of the request that a run answers, None for any other run."""
    moment = run_id.removeprefix(_REQUESTED)
    return f"{moment}.requested" if moment != run_id and is_of_tick(moment) else None


def skip_id(run_id: str) -> str:
    """Return the id of the record that a run was skipped; the run itself may still come."""
    return f"{run_id}.skipped"


def refusal_id(run_id: str) -> str:
    """Return the id of the record that counts a run's refused deliveries."""
    return f"{run_id}.refused"
