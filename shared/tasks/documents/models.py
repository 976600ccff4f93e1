"""The documents of a task as they are read: its status document and its run records.

The fields are those of the contract (docs/contract.md, "Task document") and, in the map `run`, the
engine's own. A document that another implementation wrote is read the same way; what it lacks,
or holds in a type of its own, is None here. The `*_writes` modules write them.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from shared.tasks.contract import SUSPENDED_SPELLINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

#: What a decision needs of the status and of a run: all but the result, which may be a mebibyte.
#: One mask serves both documents, as they are read in one call; in the status, `error` is a text and
#: has no fields.
DECISION_MASK = (
    *("status", "started", "completed", "timestamp", "run"),
    *("state", "token", "attempt", "cancel", "scheduled_for", "error.type", "error.message"),
)
#: What is read of a task's schedule.
SCHEDULE_MASK = ("schedule", "time_zone", "since")
#: What tells whether a result is another than the one at hand.
VERSION_MASK = ("status", "completed", "timestamp", "run.result")

#: The field of the history that says when Firestore took its last write, in the run record alone.
CHANGED = "changed"
#: `saved_in` of a result that the original wrote: `data` is read as the contract says.
SAVED_BY_CONTRACT = "contract"


class ResultPointer(Struct, frozen=True):
    """What `run.result` says of the last good result, whose value `data` or an object holds.

    Attributes:
        version: unique among all results of the task; readers compare it.
        saved_in: "db", "storage", "none", or "contract" for one of the original's.
        run_id: the run that gave the result; None for one of the original's.
        completed: when it was published, in UTC.
        path: of the immutable object in the bucket, for "storage"; the field is `object`.
        size_bytes: length of the result as JSON, uncompressed.
        count: records of an array or entries of a map; None for a bare value.
        encoding: "gzip" where the object is compressed.
        summary: what the task said beside the result.
        details: path of the object with the result's details; None where it has none.
    """

    version: str
    saved_in: str
    run_id: str | None = None
    completed: datetime | None = None
    path: str | None = None
    size_bytes: int | None = None
    count: int | None = None
    encoding: str | None = None
    summary: dict[str, Any] | None = None
    details: str | None = None

    @classmethod
    def parse(cls, value: object) -> ResultPointer | None:
        """Return the pointer that `run.result` holds, or None for the original's documents."""
        if not isinstance(value, dict):
            return None
        version, saved_in = _text(value.get("version")), _text(value.get("saved_in"))
        if not version or not saved_in:
            return None
        summary = value.get("summary")
        return cls(
            version=version,
            saved_in=saved_in,
            run_id=_text(value.get("run_id")),
            completed=_moment(value.get("completed")),
            path=_text(value.get("object")),
            size_bytes=_number(value.get("size_bytes")),
            count=_number(value.get("count")),
            encoding=_text(value.get("encoding")),
            summary=summary if isinstance(summary, dict) else None,
            details=_text(value.get("details")),
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as they are written, without those that are None."""
        named = {name: getattr(self, name) for name in self.__struct_fields__}
        named["object"] = named.pop("path")
        return {name: value for name, value in named.items() if value is not None}


class Action(Struct, frozen=True):
    """What an operator did, such as suspending a task or cancelling a run.

    Attributes:
        by: Who did it.
        reason: Why.
        at: When, UTC; None if the document does not contain that.
    """

    by: str
    reason: str
    at: datetime | None = None

    @classmethod
    def parse(cls, value: object) -> Action | None:
        """Return the action that a decoded map describes, None if the value is not a map."""
        if not isinstance(value, dict):
            return None
        by, reason = _text(value.get("by")) or "", _text(value.get("reason")) or ""
        return cls(by, reason, _moment(value.get("at")))

    def to_fields(self) -> dict[str, object]:
        """Return the fields as they are written."""
        return {"by": self.by, "reason": self.reason, "at": self.at}

    @property
    def cancel_message(self) -> str:
        """The error message of a run that this action cancelled."""
        return f"cancelled by {self.by}: {self.reason}"


class JobNote(Struct, frozen=True):
    """What `run.job` says of the task's job in Cloud Scheduler, while there is something to say.

    Attributes:
        wanted: what it is to become: somebody is making it so, or died at it.
        at: when the last who wants that began, UTC.
        shared: whether others were at it too, whose calls may still arrive.
        done: whether it was made so; the note stays until no other call can arrive.
        found: what it was when nobody here made it so, or when it could not be changed.
    """

    wanted: str | None = None
    at: datetime | None = None
    shared: bool = False
    done: bool = False
    found: str | None = None

    @classmethod
    def parse(cls, value: object) -> JobNote | None:
        """Return the note that `run.job` holds, None where there is none."""
        if not isinstance(value, dict):
            return None
        return cls(
            wanted=_text(value.get("wanted")),
            at=_moment(value.get("at")),
            shared=value.get("shared") is True,
            done=value.get("done") is True,
            found=_text(value.get("found")),
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as they are written, without those that say nothing."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}

    @property
    def is_open(self) -> bool:
        """Whether the job is to become something, and nobody said yet that it is."""
        return self.wanted is not None and not self.done


class RunRequest(Struct, frozen=True):
    """A person's request that a task runs now (`run.request`): the last one, answered or not.

    Attributes:
        id: id of the run that answers it; its history starts with the first attempt.
        by, reason, at: who requested the run, why, and when (UTC).
        since: `at` of the earliest request that Cloud Scheduler may still deliver, UTC. It is earlier
            than `at` when a request replaced one whose retries were not over.
    """

    id: str
    by: str
    reason: str
    at: datetime
    since: datetime

    @classmethod
    def parse(cls, value: object) -> RunRequest | None:
        """Return the request that `run.request` holds, None if there is none."""
        if not isinstance(value, dict):
            return None
        run_id, at = _text(value.get("id")), _moment(value.get("at"))
        if not run_id or at is None:
            return None
        by, reason = _text(value.get("by")) or "", _text(value.get("reason")) or ""
        return cls(run_id, by, reason, at, _moment(value.get("since")) or at)

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as they are written to the status document."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    @property
    def action(self) -> Action:
        """Who requested the run, why and when."""
        return Action(self.by, self.reason, self.at)


class TaskDocument(Struct, frozen=True):
    """The status document, without its result.

    Attributes:
        update_time: the version that a write is conditioned on; None where there is no document.
        created: when the document was, UTC.
        status: the contract's field as it stands, in whatever spelling.
        started, completed, timestamp: the contract's fields, in UTC.
        run_id, attempt, token: the current or last run, its attempt and its fence. No run_id
            means that the document is the original's.
        state: "running", "completed" or "failed": what `status` says unless suspended.
        lease_until: until when the run at work may not be taken over.
        suspended: who suspended the task, when and why, while it is suspended.
        cancel: who wants the run to end, when and why; until the next run begins.
        job: what is noted of Cloud Scheduler's job.
        request: the last request that the task runs now.
        result: describes `data`; None where the original wrote it, or where there is none.
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
    suspended: Action | None = None
    cancel: Action | None = None
    job: JobNote | None = None
    request: RunRequest | None = None
    result: ResultPointer | None = None
    created: datetime | None = None

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], update_time: Timestamp, created: datetime | None = None
    ) -> TaskDocument:
        """Return the document that these decoded fields are."""
        run = values.get("run")
        run = run if isinstance(run, dict) else {}
        return cls(
            update_time=update_time,
            status=_text(values.get("status")),
            started=_moment(values.get("started")),
            completed=_moment(values.get("completed")),
            timestamp=_moment(values.get("timestamp")),
            run_id=_text(run.get("id")),
            attempt=_number(run.get("attempt")) or 0,
            token=_text(run.get("token")),
            state=_text(run.get("state")),
            lease_until=_moment(run.get("lease_until")),
            suspended=Action.parse(run.get("suspended")),
            cancel=Action.parse(run.get("cancel")),
            job=JobNote.parse(run.get("job")),
            request=RunRequest.parse(run.get("request")),
            result=ResultPointer.parse(run.get("result")),
            created=created,
        )

    @property
    def exists(self) -> bool:
        """Whether there is a document at all."""
        return self.update_time is not None

    @property
    def is_suspended(self) -> bool:
        """Whether the task's ticks are to be skipped."""
        return self.suspended is not None or self.status in SUSPENDED_SPELLINGS

    @property
    def result_version(self) -> str:
        """The version of the result that `data` holds, of whatever origin; changes when it does."""
        if self.result is not None:
            return self.result.version
        return f"original:{_iso(self.completed)}:{_iso(self.timestamp)}:{self.status}"


class RunDocument(Struct, frozen=True):
    """One run of the history as far as decisions need it.

    Attributes:
        update_time: the version that a write is conditioned on.
        state: "running", "completed", "failed", "skipped"; or what else is recorded: "resumed", say.
        token: the fence of its last attempt.
        attempt: how many attempts it had.
        scheduled_for: the tick that it is the run of, UTC; None for one that somebody asked for.
        started, completed: when its last attempt began, and ended, UTC.
        cancel: who wanted it to end, when and why: no attempt may follow.
        error: the type and the message of what it failed with; empty texts where it says none.
    """

    update_time: Timestamp
    state: str | None = None
    token: str | None = None
    attempt: int = 0
    scheduled_for: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None
    cancel: Action | None = None
    error: tuple[str, str] = ("", "")

    @classmethod
    def parse(cls, values: Mapping[str, Any], update_time: Timestamp) -> RunDocument:
        """Return the document that these decoded fields are."""
        error = values.get("error")
        error = error if isinstance(error, dict) else {}
        return cls(
            update_time=update_time,
            state=_text(values.get("state")),
            token=_text(values.get("token")),
            attempt=_number(values.get("attempt")) or 0,
            scheduled_for=_moment(values.get("scheduled_for")),
            started=_moment(values.get("started")),
            completed=_moment(values.get("completed")),
            cancel=Action.parse(values.get("cancel")),
            error=(_text(error.get("type")) or "", _text(error.get("message")) or ""),
        )


class ScheduleDocument(Struct, frozen=True):
    """The schedule that the watchdog last saw a task have, in `nx-tasks/{task}/nx-schedule/current`.

    Attributes:
        update_time: the version that a write is conditioned on; None if there is no document.
        schedule: unix-cron; None if nothing scheduled the task.
        time_zone: IANA name of the schedule's zone.
        since: when the watchdog first saw this schedule, UTC.
    """

    update_time: Timestamp | None = None
    schedule: str | None = None
    time_zone: str | None = None
    since: datetime | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any], update_time: Timestamp) -> ScheduleDocument:
        """Return the document that these decoded fields are."""
        return cls(
            update_time=update_time,
            schedule=_text(values.get("schedule")),
            time_zone=_text(values.get("time_zone")),
            since=_moment(values.get("since")),
        )


def original_version(task: TaskDocument) -> str:
    """Return the version that a result of the original's gets once this engine runs the task."""
    return f"original:{_iso(task.completed or task.timestamp)}"


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
