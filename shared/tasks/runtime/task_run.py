"""What a task sees of its own run: identity, time left, progress, a logger."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from shared import logger
from shared.tasks.errors import DeadlineExceeded, ResultNotStorable, RunCancelled, RunLost
from shared.tasks.results.normalisation import kind_of, normalise

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.tasks.clock import Clock
    from shared.tasks.documents.run_writes import RunIdentity

#: Bytes of what a task may say beside its result, as JSON.
MAX_SUMMARY_BYTES = 10_000
#: Bytes of a result's details, as JSON: an answer of a callable holds them.
MAX_DETAILS_BYTES = 16 << 20
#: Bytes of a progress report, as JSON, that is written with the end of its run.
MAX_PROGRESS_BYTES = 10_000
#: Seconds between two records of a run's progress.
PROGRESS_SECONDS = 1.0


class TaskRun:
    """The run that a task is called for; a task that takes one argument receives it.

    Args:
        identity: who this run is.
        ends_at: when the deadline is, on the clock's monotonic scale.
        clock: the time.
        record: writes progress to the history.
    """

    def __init__(
        self,
        identity: RunIdentity,
        ends_at: float,
        clock: Clock,
        record: Callable[[Progress], None],
    ) -> None:
        self.task_name = identity.task
        self.run_id = identity.run_id
        self.source = identity.source
        self.scheduled_for: datetime | None = identity.scheduled_for
        #: The attempt's number, from 1.
        self.attempt = 0
        self.log = RunLogger(identity)
        #: What the task said beside its result, in JSON's own types; None where nothing.
        self.summary: dict[str, Any] | None = None
        #: The details of the result, as JSON; None where there are none.
        self.details: bytes | None = None
        self._ends_at = ends_at
        self._clock = clock
        self._record = record
        self._lost = threading.Event()
        self._cancelled: str | None = None
        self._recorded_at: float | None = None
        self._reported: Progress | None = None
        self._streamed: tuple[int, int] | None = None

    def begin(self, identity: RunIdentity, attempt: int) -> None:
        """Take the identity and the attempt's number that the start decided on."""
        self.run_id, self.scheduled_for = identity.run_id, identity.scheduled_for
        self.attempt = attempt
        self.log = RunLogger(identity)

    def remaining(self) -> float:
        """Return the seconds left until the deadline; 0 or less once it has passed."""
        return self._ends_at - self._clock.monotonic()

    @property
    def lost(self) -> bool:
        """Whether another attempt holds the task: whatever this one returns is not published."""
        return self._lost.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether a person cancelled the run: whatever it returns is not published.

        It is known here within a second of a call of `progress`, else within a third of the lease.
        """
        return self._cancelled is not None

    def check(self) -> None:
        """Do nothing while it makes sense to go on. Call it between two steps of a long task.

        Raises:
            RunLost: another attempt holds the task.
            RunCancelled: a person cancelled the run.
            DeadlineExceeded: the deadline has passed.
        """
        if self.lost:
            raise RunLost(f"{self.run_id} lost its lease: stop, nothing it returns is published")
        if self._cancelled is not None:
            raise RunCancelled(self._cancelled)
        if self.remaining() <= 0:
            raise DeadlineExceeded("the task has no time left and must stop")

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Tell how far the task is; readers of the history see it.

        Written at most once a second, so it may be called for every record; the last report is
        written with the end of the run. A report that can't be written is dropped.

        Args:
            done: steps done.
            total: steps in all, where known.
            message: what it is doing, in words.

        Raises:
            RunLost: another attempt holds the task.
            RunCancelled: a person cancelled the run.
            DeadlineExceeded: the deadline has passed.
        """
        self._reported = Progress(done, total, message, self._clock.now())
        self.check()
        if self._is_due():
            self._tell(self._reported)

    def stream_progress(self, records: int, size: int) -> None:
        """Tell how much of a result was yielded, unless the task itself tells how far it is.

        Args:
            records: yielded so far.
            size: bytes of JSON that they are.

        Raises:
            RunLost: another attempt holds the task.
            RunCancelled: a person cancelled the run.
            DeadlineExceeded: the deadline has passed.
        """
        self._streamed = records, size
        self.check()
        if self._recorded_at is None:
            self._recorded_at = self._clock.monotonic()  # a short stream needs no write of its own
        elif self._reported is None and self._is_due():
            self._tell(self._stream_report(records, size))

    @property
    def last_progress(self) -> Progress | None:
        """The task's last report, whether it was written or not; else how much of a stream was yielded."""
        if self._reported is not None or self._streamed is None:
            return self._reported
        return self._stream_report(*self._streamed)

    def _stream_report(self, records: int, size: int) -> Progress:
        return Progress(records, None, f"{size} bytes", self._clock.now())

    def _tell(self, progress: Progress) -> None:
        self._record(progress)
        if self.cancelled:  # as the record found out
            self.check()

    def _is_due(self) -> bool:
        now = self._clock.monotonic()
        if self._recorded_at is not None and now - self._recorded_at < PROGRESS_SECONDS:
            return False
        self._recorded_at = now
        return True

    def summarise(self, summary: dict[str, Any], *, details: dict[str, Any] | None = None) -> None:
        """Say something beside the result: counts, totals. The last word stands.

        It is published with the result, in `run.result.summary` and in the history, and read
        without it; so it is small.

        Args:
            summary: JSON, at most 10,000 bytes of it, fit for a document.
            details: JSON that may be larger, up to 16 MiB. It is stored in an object of its own, published
                in the same commit as the result, and read with `get_task_details`.

        Raises:
            ResultNotStorable: it is no such thing.
        """
        if not isinstance(summary, dict):
            raise ResultNotStorable(f"a summary is a dict of what there is to say, not a {kind_of(summary)}")
        said = normalise({"result": {"summary": summary}})  # as deep as it will lie in the document
        if said.misfit is not None or len(said.encoded) > MAX_SUMMARY_BYTES:
            reason = said.misfit or f"{len(said.encoded)} bytes"
            raise ResultNotStorable(f"summary: {reason}; {MAX_SUMMARY_BYTES} bytes at most, as in a document")
        if details is not None:
            encoded = normalise(details).encoded
            if len(encoded) > MAX_DETAILS_BYTES:
                raise ResultNotStorable(
                    f"details must have at most {MAX_DETAILS_BYTES} bytes, got {len(encoded)}"
                )
            self.details = encoded
        self.summary = said.value["result"]["summary"]

    def mark_cancelled(self, by: str) -> None:
        """Tell the task, at its next look, that a person wants it to end.

        Args:
            by: who, and why, in words.
        """
        self._cancelled = by

    def mark_lost(self) -> None:
        """Tell the task, at its next look, that it works in vain."""
        self._lost.set()


class Progress(Struct, frozen=True):
    """One progress report of a task, as `TaskRun.progress` received it.

    Attributes:
        done: Procedure done.
        total: Procedure in all; None if not known.
        message: What the task is doing, in words.
        at: When the task reported it, UTC.
    """

    done: int
    total: int | None
    message: str
    at: datetime

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of the run record's `progress`."""
        return {"done": self.done, "total": self.total, "message": self.message, "at": self.at}

    @property
    def is_storable(self) -> bool:
        """Whether a document can hold it. A report that none can hold must not refuse a run's end."""
        try:
            report = normalise({"progress": self.to_fields()})
        except ResultNotStorable:
            return False
        return report.misfit is None and len(report.encoded) <= MAX_PROGRESS_BYTES


class RunLogger:
    """The logger with the run's identity in each entry."""

    def __init__(self, identity: RunIdentity) -> None:
        self._fields = {"task": identity.task.value, "run_id": identity.run_id}

    def info(self, event: str, **fields: Any) -> None:
        """Log what went as it should."""
        logger.info(event, **{**fields, **self._fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Log what was not expected and did no harm."""
        logger.warning(event, **{**fields, **self._fields})

    def error(self, event: str, **fields: Any) -> None:
        """Log what a person must know of."""
        logger.error(event, **{**fields, **self._fields})
