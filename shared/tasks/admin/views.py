"""A task's status and its history as people see them: all that the documents tell, but for results.

Read-only, and read for nobody but them: decisions rest on `document`. Fields that another
implementation wrote in a type of its own are None here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.tasks.contract import SUSPENDED_SPELLINGS, TaskName, TaskStatus
from shared.tasks.documents.models import SAVED_BY_CONTRACT, Action, ResultPointer, TaskDocument
from shared.tasks.documents.run_ids import is_retried, refusal_id, request_record_id, skip_id
from shared.tasks.protocol.decisions import REQUEST_WINDOW
from shared.tasks.protocol.job_sync import problem_of
from shared.tasks.specs import MIN_BACKOFF_SECONDS, RETRIES_OVER, RETRY_COUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

#: What is read of the status document: never `data`, which may be a mebibyte.
STATUS_MASK = ("source", "status", "started", "completed", "timestamp", "error", "run")
#: What is read of a run for a list: neither its traceback nor what it says beside its result.
RECORD_MASK = (
    "state",
    "run_id",
    "source",
    "scheduled_for",
    "started",
    "completed",
    "duration_ms",
    "attempt",
    "error.type",
    "error.message",
    "reason",
    "detail",
    "by",
    "holder",
    "cancel",
    "requested",
    "count",
    "progress",
    "result.version",
    "result.saved_in",
    "result.size_bytes",
    "result.count",
)
#: What is read of a run that is looked at for itself.
WHOLE_RECORD_MASK = (*RECORD_MASK, "error.traceback", "result.summary")
#: What is read of the run at work beside the status document.
PROGRESS_MASK = ("state", "progress")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run was: steps done, steps in all where known, in words, and when it said so, UTC."""

    done: int
    total: int | None
    message: str
    at: datetime | None

    @classmethod
    def parse(cls, value: object) -> RunProgress | None:
        """Return what a map says; None where it is none."""
        if not isinstance(value, dict) or not isinstance(value.get("done"), int):
            return None
        total, message, at = value.get("total"), value.get("message"), value.get("at")
        return cls(
            value["done"],
            total if isinstance(total, int) else None,
            message if isinstance(message, str) else "",
            at if isinstance(at, datetime) else None,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Deliveries of a run that were answered 503: how many, why the last one was, and when (UTC)."""

    count: int
    reason: str
    at: datetime

    @property
    def comes_again(self) -> datetime | None:
        """When Cloud Scheduler delivers the run again, at the earliest, UTC; None if its retries are over."""
        if self.count > RETRY_COUNT:
            return None
        return self.at + timedelta(seconds=MIN_BACKOFF_SECONDS * 2 ** (self.count - 1))


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as it stands.

    Attributes:
        name: the task.
        document: The status document.
        source: who asked for the last run; None where none has been.
        error: why it failed; None where it did not.
        progress: of the run at work, where it told any.
        seen: the versions of the documents that this was read from.
    """

    name: TaskName
    document: TaskDocument
    source: str | None = None
    error: str | None = None
    progress: RunProgress | None = None
    seen: tuple[Timestamp | None, ...] = ()

    @classmethod
    def parse(cls, name: TaskName, values: Mapping[str, Any], document: TaskDocument) -> TaskView:
        """Return the view that the status document's decoded fields are."""
        source, error = values.get("source"), values.get("error")
        return cls(
            name,
            document,
            source if isinstance(source, str) else None,
            error if isinstance(error, str) and error else None,
            seen=(document.update_time,),
        )

    def with_progress(self, record: RunRecord | None) -> TaskView:
        """Return the same with how far the run at work is."""
        if record is None or record.state != TaskStatus.running:  # it ended meanwhile
            return self
        return replace(self, progress=record.progress, seen=(*self.seen, record.update_time))

    @property
    def state(self) -> str | None:
        """What the last run came to, whether the task is suspended or not; None where none has been."""
        if self.document.state is not None:
            return self.document.state
        return None if self.document.status in SUSPENDED_SPELLINGS else self.document.status

    @property
    def status(self) -> str | None:
        """What the document says, in the right spelling; None where no run has been."""
        return "suspended" if self.document.is_suspended else self.document.status

    @property
    def suspended(self) -> Action | None:
        """Who suspended the task, while it is suspended; nobody is known where another wrote that."""
        if not self.document.is_suspended:
            return None
        return self.document.suspended or Action("", "", self.document.timestamp)

    @property
    def cancel(self) -> Action | None:
        """Who wants the run at work to end, or the last one not to be begun anew."""
        return self.document.cancel

    @property
    def requested(self) -> Action | None:
        """Who requested the last run; None if nobody did."""
        request = self.document.request
        if request is None or request.id != self.document.run_id:
            return None
        return request.action

    @property
    def retries_over(self) -> datetime | None:
        """Until when Cloud Scheduler may deliver the last run again, UTC; None where it has no reason to."""
        ended, run_id = self.document.completed, self.document.run_id
        if self.state != TaskStatus.failed or ended is None or run_id is None or not is_retried(run_id):
            return None
        return ended + RETRIES_OVER if self.document.attempt <= RETRY_COUNT else None

    @property
    def problem(self) -> str | None:
        """What of Cloud Scheduler's job is not as it should be, in words; None where nothing is known."""
        return problem_of(self.document.job)

    @property
    def is_at_work(self) -> bool:
        """Whether a run of this engine says running."""
        return self.document.run_id is not None and self.state == TaskStatus.running

    @property
    def result(self) -> ResultPointer | None:
        """The last good result; None where there is none for all that is known without `data`."""
        document = self.document
        if document.result is None and self.state == TaskStatus.completed:
            return ResultPointer(document.result_version, SAVED_BY_CONTRACT, completed=document.completed)
        return document.result


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A document of the history: a run, a skip, an incident, or what a person changed.

    Attributes:
        id: the document's.
        update_time: its version.
        state: what it came to, or what it is.
        source: who asked for the run.
        scheduled_for: its tick, UTC.
        started, completed: UTC.
        duration_seconds: of the task's own work.
        attempt: its last one's number.
        error: type and message, and traceback where that was asked for.
        reason: of a skip or a change, or why the run was cancelled; of an incident, what is known.
        by: who made the change, or cancelled the run.
        holder: the run that is meant: who held the task, for a skip; of an incident, the run concerned.
        progress: how far it was.
        result: what it published.
        requested: who requested the run; None if nobody did.
        refused: its deliveries that were answered 503; None if there were none.
        expires: until when a request waits for a delivery, UTC; None once its run has started.
    """

    id: str
    update_time: Timestamp
    state: str | None = None
    source: str | None = None
    scheduled_for: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None
    duration_seconds: float | None = None
    attempt: int | None = None
    error: dict[str, str] | None = None
    reason: str | None = None
    by: str | None = None
    holder: str | None = None
    progress: RunProgress | None = None
    result: ResultPointer | None = None
    requested: Action | None = None
    refused: Refusal | None = None
    expires: datetime | None = None

    @classmethod
    def parse(cls, record_id: str, values: Mapping[str, Any], update_time: Timestamp) -> RunRecord:
        """Return the record that these decoded fields are."""

        def text(name: str) -> str | None:
            return value if isinstance(value := values.get(name), str) else None

        def moment(name: str) -> datetime | None:
            return value if isinstance(value := values.get(name), datetime) else None

        cancel = Action.parse(values.get("cancel"))
        attempt, duration = values.get("attempt"), values.get("duration_ms")
        count, last, refused = values.get("count"), moment("started"), None
        if text("state") == "refused" and isinstance(count, int) and last is not None:
            refused = Refusal(count, text("reason") or "", last)
        holder = text("holder") or (text("run_id") if text("detail") is not None else None)
        return cls(
            record_id,
            update_time,
            state=text("state"),
            source=text("source"),
            scheduled_for=moment("scheduled_for"),
            started=moment("started"),
            completed=moment("completed"),
            duration_seconds=duration / 1000 if isinstance(duration, int | float) else None,
            attempt=attempt if isinstance(attempt, int) else None,
            error=_texts(values.get("error")),
            reason=text("reason") or text("detail") or (cancel.reason if cancel else None),
            by=text("by") or (cancel.by if cancel else None),
            holder=holder,
            progress=RunProgress.parse(values.get("progress")),
            result=ResultPointer.parse(values.get("result")),
            requested=Action.parse(values.get("requested")),
            refused=refused,
        )


def parts_of(record_id: str) -> list[str]:
    """Return the ids of the records that together tell of a run."""
    asked = request_record_id(record_id)
    return [record_id, refusal_id(record_id), *([skip_id(record_id), asked] if asked else [])]


def joined(record_id: str, found: Mapping[str, RunRecord]) -> RunRecord | None:
    """Return a run's record with its refused deliveries.

    A requested run has no record of its own before it starts: it is told by its skip or its request.
    """
    record = found.get(record_id) or found.get(skip_id(record_id))
    asked = found.get(request_record_id(record_id) or "")
    if record is None and asked is not None and asked.started is not None:
        action = Action(asked.by or "", asked.reason or "", asked.started)
        record = replace(asked, requested=action, holder=None, expires=asked.started + REQUEST_WINDOW)
    refusal = found.get(refusal_id(record_id))
    if record is None:
        return None
    return replace(record, id=record_id, refused=refusal.refused if refusal else record.refused)


def _texts(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {name: text for name, text in value.items() if isinstance(text, str)}
