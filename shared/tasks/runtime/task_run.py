"""What a task sees of its own run: identity, time left, progress, a logger."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tasks.errors import DeadlineExceeded, ResultNotStorable, RunCancelled, RunLost
from shared.tasks.results.normalisation import kind_of, normalise
from shared.tasks.runtime.leg_time import check_seconds
from shared.tasks.runtime.run_logger import RunLogger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.tasks.clock import Clock
    from shared.tasks.contract import Json, JsonMap
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.documents.run_log import RunLog
    from shared.tasks.runtime.checkpoints import Checkpoints
    from shared.tasks.runtime.cursors import Cursor

#: Largest summary, in bytes of JSON.
MAX_SUMMARY_BYTES = 10_000
#: Largest details, in bytes of JSON: one response of a callable holds them.
MAX_DETAILS_BYTES = 16 << 20
#: Largest progress report that is written with the end of its run, in bytes of JSON.
MAX_PROGRESS_BYTES = 10_000
#: Shortest time between two writes of a run's progress, in seconds.
PROGRESS_SECONDS = 1.0


class TaskRun:
    """The run that a task is called for; a task that takes one argument receives it.

    Attributes:
        task_name: The task.
        run_id: The run; the same for each attempt.
        source: The caller of `execute_task`.
        scheduled_for: The tick, UTC; None for a run without one.
        attempt: Number of the attempt, from 1. A leg that was handed over keeps it.
        leg: Number of the leg, from 1; runs whose deadline fits into one leg have no other.
        log: A logger that adds the task and the run to each entry. Its last entries are kept with the run.
        summary: The summary that the task gave for its result; None if it gave none.
        details: The details that it gave, as JSON; None if it gave none.
        checkpoints: The run's steps and cursors; tasks call `step` and `cursor`.
        times: When the run and this attempt must end.
    """

    def __init__(
        self,
        identity: AttemptIdentity,
        times: RunTimes,
        clock: Clock,
        record: Callable[[Progress], None],
        checkpoints: Checkpoints,
        log: RunLog,
    ) -> None:
        self.task_name = identity.task
        self.run_id = identity.run_id
        self.source = identity.source
        self.scheduled_for: datetime | None = identity.scheduled_for
        self.attempt = 0
        self.leg = 1
        self._kept_log = log
        self.log = RunLogger(identity, log)
        self.checkpoints = checkpoints
        self.summary: dict[str, Json] | None = None
        self.details: bytes | None = None
        self.times = times
        self._clock = clock
        self._record = record
        self._lost = threading.Event()
        self._cancelled: str | None = None
        self._recorded_at: float | None = None
        self._reported: Progress | None = None
        self._streamed: tuple[int, int] | None = None

    def set_attempt(self, identity: AttemptIdentity, attempt: int, leg: int, times: RunTimes) -> None:
        """Set what is known once the task is acquired."""
        self.run_id, self.source = identity.run_id, identity.source
        self.scheduled_for = identity.scheduled_for
        self.attempt, self.leg = attempt, leg
        self.log = RunLogger(identity, self._kept_log)
        self.times = times

    def remaining(self) -> float:
        """Return the seconds left until the run's deadline; 0 or less after it."""
        return self.times.deadline - self._clock.monotonic()

    def leg_remaining(self) -> float:
        """Return the seconds left until this leg must end; without legs, those until the deadline."""
        return self.times.attempt_ends - self._clock.monotonic()

    @property
    def resumed(self) -> bool:
        """Whether an earlier leg or attempt of this run has left a checkpoint."""
        return self.checkpoints.resumed

    def step(self, name: str, function: Callable[..., Json], *args: object, **kwargs: object) -> Json:
        """Call a function once in the whole run, and remember what it returns.

        The function may be called again if the process dies before its value is persisted. Once a call of
        this method has returned, each later leg and attempt gets the same value, whatever its arguments are
        then. A long run's leg may end before the function is called.

        Args:
            name: Name of the step, unique in the run: 1 to 100 printable characters without a slash.
            function: Computes the value, JSON of any size. It is an ordinary function, not `async def`.
            *args: Its arguments.
            **kwargs: Its arguments.

        Returns:
            The value, decoded for this call: a tuple that the function returned is a list.

        Raises:
            ResultNotStorable: The value is not JSON; the text has the step's name.
            CheckpointInvalid: The name is invalid, this attempt has called it with other arguments or another
                function, or the run has 1,000 steps.
            StoreUnavailable, ResultNotKept: The value could not be persisted, or not be read.
            RunLost, RunCancelled, DeadlineExceeded: The task must stop, as `check` describes.
            LegEnded: The leg is over, and the next one continues here. Do not catch it.
        """
        self.check()
        return self.checkpoints.step(name, function, args, kwargs)

    def cursor(self, name: str, start: Json = None) -> Cursor:
        """Return a position that the run remembers, such as the next page to read.

        A task that yields its result yields the records of its work in the cursor's loop, and then calls
        `advance`. The result then has each record once, although work may be repeated after a crash. A task
        that returns its result keeps what it has computed in steps, in the position, or with `keep`.

        Use one cursor for all records that are yielded: for pages of several operators, one whose position is
        [operator, page]. Records that are yielded belong to the cursor that moves next, whichever it is. A
        cursor that moves to None is finished, and later legs need not ask for it.

        Args:
            name: Name of the cursor, unique in the run: 1 to 100 printable characters without a slash.
            start: Its first position, JSON of at most 10,000 bytes.

        Returns:
            The cursor, at the position that the run has persisted, or at `start`.

        Raises:
            CheckpointInvalid: The name is invalid, or records were yielded since a cursor moved.
            ResultNotStorable: `start` is not JSON, or too large.
            RunLost, RunCancelled, DeadlineExceeded, LegEnded: The task must stop, as `check` describes.
        """
        self.check()
        return self.checkpoints.cursor(name, start, self.check)

    def ensure_leg_time(self, seconds: float) -> None:
        """End this leg here if fewer seconds are left of it, so that the next unit of work gets a whole leg.

        Does nothing if the leg has done no unit of work yet, or if the run has no legs.

        Args:
            seconds: Time that the next unit of work needs. More than a leg has counts as most of a leg.

        Raises:
            InvalidOptions: It is not a number of seconds.
            TaskError, LegEnded: What `step` raises.
        """
        check_seconds(seconds)
        self.check()
        self.checkpoints.ensure(seconds)

    @property
    def lost(self) -> bool:
        """Whether the run has lost its lease, or has ended without the task; its result is not published."""
        return self._lost.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether an operator cancelled the run; what it returns is not published.

        A task finds out within a second of a call of `progress`, else within a third of the lease.
        """
        return self._cancelled is not None

    def check(self) -> None:
        """Return if the task may continue. Call it between two steps of a long task.

        Raises:
            RunLost: The run has lost its lease, or has ended without the task.
            RunCancelled: An operator cancelled the run.
            DeadlineExceeded: The deadline has passed.
            LegEnded: The leg has ended.
        """
        self.checkpoints.raise_if_ended()
        if self.lost:
            raise RunLost(f"run {self.run_id} lost its lease; its result will not be published")
        if self._cancelled is not None:
            raise RunCancelled(self._cancelled)
        if self.leg_remaining() <= 0:
            raise DeadlineExceeded("the task has no time left and must stop")

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Report how far the task is; the run history shows it.

        It is written at most once per second, so a task may call this for every record. The last report is
        written with the end of the run. A report that cannot be written is dropped.

        Args:
            done: Steps that are done.
            total: All steps; None if not known.
            message: What the task is doing.

        Raises:
            TaskError: The task must stop, for one of the reasons that `check` describes.
        """
        self._reported = Progress(done, total, message, self._clock.now())
        self.check()
        if self._is_due():
            self._write(self._reported)

    def stream_progress(self, records: int, size_bytes: int) -> None:
        """Report how much of a result was yielded, unless the task reports its progress itself.

        The size is that of the records as JSON. Raises the errors of `check`.
        """
        self._streamed = records, size_bytes
        self.check()
        if self._recorded_at is None:
            self._recorded_at = self._clock.monotonic()  # a short stream needs no write of its own
        elif self._reported is None and self._is_due():
            self._write(self._stream_report(records, size_bytes))

    def last_progress(self) -> JsonMap | None:
        """Return the last report, which is written with the end of the run instead of on its own."""
        last = self._reported
        if last is None and self._streamed is not None:
            last = self._stream_report(*self._streamed)
        if last is None:
            return None
        if not last.is_storable:
            self.log.warning("progress not recorded", error="no document can hold it")
            return None
        return last.to_fields()

    def summarise(self, summary: dict[str, Json], *, details: dict[str, Json] | None = None) -> None:
        """Describe the result, for example by counts and totals. The last call of the last leg counts.

        The summary is published with the result, in `run.result.summary` and in the history. It is read
        without the result, so it must be small.

        Args:
            summary: JSON that a document can hold, at most 10,000 bytes.
            details: JSON that may be larger, up to 16 MiB. It is stored in an object of its own, published
                in the same commit as the result, and read with `get_task_details`.

        Raises:
            ResultNotStorable: The summary or the details are not such JSON.
        """
        if not isinstance(summary, dict):
            raise ResultNotStorable(f"summary must be a dict, got a {kind_of(summary)}")
        result = normalise({"result": {"summary": summary}})  # nested as deep as in the document
        if result.misfit is not None or len(result.encoded) > MAX_SUMMARY_BYTES:
            reason = result.misfit or f"{len(result.encoded)} bytes"
            raise ResultNotStorable(f"summary: {reason}; {MAX_SUMMARY_BYTES} bytes at most, as in a document")
        if details is not None:
            encoded = normalise(details).encoded
            if len(encoded) > MAX_DETAILS_BYTES:
                raise ResultNotStorable(
                    f"details must have at most {MAX_DETAILS_BYTES} bytes, got {len(encoded)}"
                )
            self.details = encoded
        self.summary = result.value["result"]["summary"]

    def mark_cancelled(self, reason: str) -> None:
        """Let the next check raise RunCancelled, with who cancelled the run and why."""
        self._cancelled = reason

    def mark_lost(self) -> None:
        """Let the next check raise RunLost."""
        self._lost.set()

    def _stream_report(self, records: int, size_bytes: int) -> Progress:
        return Progress(records, None, f"{size_bytes} bytes", self._clock.now())

    def _write(self, progress: Progress) -> None:
        self._recorded_at = self._clock.monotonic()
        self._record(progress)
        if self.cancelled:  # the write may have found the cancel
            self.check()

    def _is_due(self) -> bool:
        return self._recorded_at is None or self._clock.monotonic() - self._recorded_at >= PROGRESS_SECONDS


class RunTimes(Struct, frozen=True):
    """When a run must end, on the clock's monotonic scale.

    Attributes:
        deadline: Deadline of the run.
        attempt_ends: When this attempt must have ended; without legs, the deadline.
        leg_ends: When the leg ends at its next checkpoint; infinite for a run without legs.
    """

    deadline: float
    attempt_ends: float
    leg_ends: float = float("inf")


class Progress(Struct, frozen=True):
    """One progress report of a task, as `TaskRun.progress` received it.

    Attributes:
        done: Steps that are done.
        total: All steps; None if not known.
        message: What the task is doing.
        at: When the task reported it, UTC.
    """

    done: int
    total: int | None
    message: str
    at: datetime

    def to_fields(self) -> JsonMap:
        """Return the fields of the run record's `progress`."""
        return {"done": self.done, "total": self.total, "message": self.message, "at": self.at}

    @property
    def is_storable(self) -> bool:
        """Whether a document can hold it. If not, it must not make the write of a run's end fail."""
        try:
            report = normalise({"progress": self.to_fields()})
        except ResultNotStorable:
            return False
        return report.misfit is None and len(report.encoded) <= MAX_PROGRESS_BYTES
