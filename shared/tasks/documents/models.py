"""The documents of a task as they are read: its status document and its run records.

The fields are those of the contract (docs/contract.md, "Task document") and, in the map `run`, the
engine's own. A legacy document is read the same way: a field that is missing or has another type is None.
The `*_writes` modules write these documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from shared.tasks.contract import SUSPENDED_SPELLINGS, TaskStatus
from shared.tasks.documents.actions import Action, RunRequest, Suspension
from shared.tasks.documents.checkpoints import Checkpoint
from shared.tasks.documents.codec import as_int, as_text, as_time
from shared.tasks.documents.legs import WAITING, Legs
from shared.tasks.documents.result_pointer import SAVED_BY_CONTRACT, ResultPointer

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

#: Fields of the status document and of the run record that decisions need: all but the result, which can
#: have a mebibyte. Both documents are read in one call, so they share one mask. In the status document
#: `error` is a text without fields.
DECISION_MASK = (
    *("status", "started", "completed", "timestamp", "run"),
    *("state", "token", "attempt", "cancel", "source", "scheduled_for", "error.type", "error.message"),
    *("legs", "checkpoint"),
)
#: Fields of the recorded schedule.
SCHEDULE_MASK = ("schedule", "time_zone", "since")
#: Fields of the status document that identify its result.
VERSION_MASK = ("status", "completed", "timestamp", "run.id", "run.result")
#: Version of "no result", constant through failed runs; a missing document has it, too.
NO_RESULT_VERSION = "original:::None"

#: Field of run records that contains the time of their last write.
CHANGED = "changed"

Precondition: TypeAlias = "Timestamp | bool | None"
"""The update time that a document must have, or whether it must exist; None for no precondition."""

Fields: TypeAlias = Mapping[str, Any]
"""The decoded fields of a document."""


class JobNote(Struct, frozen=True):
    """The job note (`run.job`), while the Scheduler job is being changed or disagrees with the task.

    Attributes:
        wanted: Requested state of the job (the name is the stored field's); None if no change is in progress.
        at: Start of the last call that requested this state, UTC.
        shared: Whether several calls requested a state at the same time; any of them can still arrive.
        done: Whether the job has had this state. The note stays until no other call can arrive.
        found: State in which the watchdog found the job although no operator requested it.
    """

    wanted: str | None = None
    at: datetime | None = None
    shared: bool = False
    done: bool = False
    found: str | None = None

    @classmethod
    def parse(cls, value: object) -> JobNote | None:
        """Return the note that `run.job` contains, None if there is none."""
        if not isinstance(value, dict):
            return None
        return cls(
            wanted=as_text(value.get("wanted")),
            at=as_time(value.get("at")),
            shared=value.get("shared") is True,
            done=value.get("done") is True,
            found=as_text(value.get("found")),
        )

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write, without those that are None or False."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}

    @property
    def is_open(self) -> bool:
        """Whether a state is requested that the job is not known to have reached."""
        return self.wanted is not None and not self.done


class TaskDocument(Struct, frozen=True):
    """The status document, without its result.

    Attributes:
        update_time: Time of the last write, the precondition of the next; None without a document.
        status: The contract's field, in any spelling; "suspended" while the task is suspended.
        started, completed, timestamp: The contract's fields, UTC.
        run_id, attempt, token: The current or last run, the number of its attempt, and its fencing token. A
            document without run_id is a legacy document.
        state: "running", "waiting", "completed" or "failed", the state of that run, also while the task is
            suspended.
        lease_until: End of the lease of the running run, UTC; of a waiting one, the end of its grace.
        legs: Where a long run is; None for a run without legs.
        suspended: Who suspended the task, why, when and until when, while it is suspended.
        cancel: Who cancelled the run, when and why, until the next run begins.
        requested: Who requested the run, when and why; None for a run of the schedule.
        job: The job note.
        request: The last request that the task runs now.
        result: Describes `data`; None for a legacy result or no result (`has_legacy_result`).
        created: Creation time of the document, UTC.
    """

    update_time: Timestamp | None = None
    status: str | None = None
    started: datetime | None = None
    completed: datetime | None = None
    timestamp: datetime | None = None
    run_id: str | None = None
    attempt: int = 0
    token: str | None = None
    state: str | None = None
    lease_until: datetime | None = None
    legs: Legs | None = None
    suspended: Suspension | None = None
    cancel: Action | None = None
    requested: Action | None = None
    job: JobNote | None = None
    request: RunRequest | None = None
    result: ResultPointer | None = None
    created: datetime | None = None

    @classmethod
    def parse(cls, values: Fields, update_time: Timestamp, created: datetime | None = None) -> TaskDocument:
        """Parse the decoded fields of a status document."""
        run = values.get("run")
        run = run if isinstance(run, dict) else {}
        return cls(
            update_time=update_time,
            status=as_text(values.get("status")),
            started=as_time(values.get("started")),
            completed=as_time(values.get("completed")),
            timestamp=as_time(values.get("timestamp")),
            run_id=as_text(run.get("id")),
            attempt=as_int(run.get("attempt")) or 0,
            token=as_text(run.get("token")),
            state=as_text(run.get("state")),
            lease_until=as_time(run.get("lease_until")),
            legs=Legs.parse(run.get("legs")),
            suspended=Suspension.parse(run.get("suspended")),
            cancel=Action.parse(run.get("cancel")),
            requested=Action.parse(run.get("requested")),
            job=JobNote.parse(run.get("job")),
            request=RunRequest.parse(run.get("request")),
            result=ResultPointer.parse(run.get("result")),
            created=created,
        )

    @property
    def exists(self) -> bool:
        """Whether there is a document."""
        return self.update_time is not None

    @property
    def precondition(self) -> Precondition:
        """The precondition of a write that was decided on this document."""
        return False if self.update_time is None else self.update_time

    @property
    def is_suspended(self) -> bool:
        """Whether the task's ticks are skipped."""
        return self.suspended is not None or self.status in SUSPENDED_SPELLINGS

    @property
    def has_legacy_result(self) -> bool:
        """Whether `data` is read as the contract says; False if a run of this engine left no result."""
        if self.result is None:
            return self.run_id is None
        return self.result.saved_in == SAVED_BY_CONTRACT

    @property
    def result_completed(self) -> datetime | None:
        """Time when the last good result was published, UTC; None if there is none."""
        if self.result is not None:
            return self.result.completed
        return self.completed if self.has_legacy_result else None

    @property
    def result_version(self) -> str:
        """The version of the last good result, also of a legacy result, or of "no result"."""
        if self.result is not None:
            return self.result.version
        if not self.has_legacy_result:
            return NO_RESULT_VERSION
        return f"original:{_iso(self.completed)}:{_iso(self.timestamp)}:{self.status}"


class RunDocument(Struct, frozen=True):
    """A record of the run history, as far as decisions need it.

    Attributes:
        update_time: Time of the last write, on which a write is conditioned.
        state: "running", "waiting", "completed", "failed" or "skipped", or what else is recorded, such as
            "resumed".
        token: Fencing token of the last attempt.
        attempt: Number of attempts.
        source: The contract's `source` of the run.
        scheduled_for: The run's tick, UTC; None for a run outside the schedule.
        started, completed: Start and end of the last attempt, UTC.
        cancel: Who cancelled the run, when and why; no further attempt may start.
        error: Type and message of the failure; empty if the record contains none.
        legs: Where a long run is; None for a run without legs.
        checkpoint: What the run has persisted; None if nothing.
    """

    update_time: Timestamp
    state: str | None = None
    token: str | None = None
    attempt: int = 0
    source: str | None = None
    scheduled_for: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None
    cancel: Action | None = None
    error: tuple[str, str] = ("", "")
    legs: Legs | None = None
    checkpoint: Checkpoint | None = None

    @property
    def is_run(self) -> bool:
        """Whether this is the record of a run, and not of a skip, an incident or an operator's change."""
        return self.state in {TaskStatus.running, WAITING, TaskStatus.completed, TaskStatus.failed}

    @classmethod
    def parse(cls, values: Fields, update_time: Timestamp) -> RunDocument:
        """Parse the decoded fields of a record."""
        error = values.get("error")
        error = error if isinstance(error, dict) else {}
        return cls(
            update_time=update_time,
            state=as_text(values.get("state")),
            token=as_text(values.get("token")),
            attempt=as_int(values.get("attempt")) or 0,
            source=as_text(values.get("source")),
            scheduled_for=as_time(values.get("scheduled_for")),
            started=as_time(values.get("started")),
            completed=as_time(values.get("completed")),
            cancel=Action.parse(values.get("cancel")),
            error=(as_text(error.get("type")) or "", as_text(error.get("message")) or ""),
            legs=Legs.parse(values.get("legs")),
            checkpoint=Checkpoint.parse(values.get("checkpoint")),
        )


class ScheduleDocument(Struct, frozen=True):
    """The task's schedule as the watchdog last read it, in `nx-tasks/{task}/nx-schedule/current`.

    Attributes:
        update_time: Time of the last write, the precondition of the next; None without a document.
        schedule: unix-cron; None if the task had no schedule.
        time_zone: IANA name of the schedule's zone.
        since: When the watchdog first read this schedule, UTC.
    """

    update_time: Timestamp | None = None
    schedule: str | None = None
    time_zone: str | None = None
    since: datetime | None = None

    @classmethod
    def parse(cls, values: Fields, update_time: Timestamp) -> ScheduleDocument:
        """Parse the decoded fields of the document."""
        return cls(
            update_time=update_time,
            schedule=as_text(values.get("schedule")),
            time_zone=as_text(values.get("time_zone")),
            since=as_time(values.get("since")),
        )

    @property
    def precondition(self) -> Precondition:
        """The precondition of a write that was decided on this document."""
        return False if self.update_time is None else self.update_time


def legacy_version(document: TaskDocument) -> str:
    """Return the version that a legacy result gets when this engine first runs the task."""
    return f"original:{_iso(document.completed or document.timestamp)}"


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
