"""The options of `execute_task`, and the outcome that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal, TypeAlias

from shared.tasks.contract import SAVE_OPTIONS, JsonMap, TaskSaveOptions
from shared.tasks.errors import InvalidOptions

#: Default for the longest duration of a task, in seconds.
DEADLINE_SECONDS = 540.0
#: Default duration of a lease, in seconds; it is extended each time a third has passed.
LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Continuation:
    """Which leg of a long run a delivery continues.

    Attributes:
        run_id: The run.
        leg: Number of the leg, from 1: the watchdog delivers even the first leg again if its process died.
    """

    run_id: str
    leg: int


@dataclass(frozen=True, slots=True)
class ExecuteTaskOptions:
    """Options of one run (docs/contract.md, "Options").

    Attributes:
        save_in: Where the result is kept: "storage", "db" or "none"; None means "db".
        debug_logs: Whether start and completion are logged. Failures are always logged.
        keep_last_result: If False, the start overwrites the whole document, as the contract literally
            specifies: readers find no data until the run has completed.
        scheduled_for: The tick of this run, an aware datetime. The run id is derived from it, so that a
            duplicate delivery has the same run id. None for a run with a random id.
        schedule_time: Schedule time of Cloud Scheduler's delivery, or the time when it arrived without one;
            an aware datetime, by which the delivery of a requested run is recognised. None if the run is not
            started by a delivery.
        deadline_seconds: Seconds after which the run is recorded as failed. `run.remaining()` returns what
            is left of them.
        leg_seconds: Seconds after which a leg of a long run ends, and hands over to the next one; None for a
            run without legs. The task must have a scheduled function, to which the legs are delivered.
        continuation: The leg to continue; None to start a run.
        lease_seconds: Seconds after its last extension for which the run is considered alive.

    Raises:
        InvalidOptions: A value is invalid.
    """

    save_in: TaskSaveOptions | None = None
    debug_logs: bool = True
    keep_last_result: bool = True
    scheduled_for: datetime | None = None
    schedule_time: datetime | None = None
    deadline_seconds: float = DEADLINE_SECONDS
    lease_seconds: float = LEASE_SECONDS
    leg_seconds: float | None = None
    continuation: Continuation | None = None

    def __post_init__(self) -> None:
        if self.save_in is not None and self.save_in not in SAVE_OPTIONS:
            options = ", ".join(f'"{option}"' for option in SAVE_OPTIONS)
            raise InvalidOptions(f"save_in must be {options} or None, got {self.save_in!r}")
        for name in ("debug_logs", "keep_last_result"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOptions(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("deadline_seconds", "lease_seconds", "leg_seconds"):
            seconds = getattr(self, name)
            if name == "leg_seconds" and seconds is None:
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
                raise InvalidOptions(f"{name} must be a positive number of seconds, got {seconds!r}")
        if self.continuation is not None and not isinstance(self.continuation, Continuation):
            raise InvalidOptions(f"continuation must be a Continuation or None, got {self.continuation!r}")
        for name in ("scheduled_for", "schedule_time"):
            moment = getattr(self, name)
            if moment is not None and (not isinstance(moment, datetime) or moment.utcoffset() is None):
                raise InvalidOptions(f"{name} must be a datetime with a time zone, got {moment!r}")

    @classmethod
    def of(cls, options: ExecuteTaskOptions | JsonMap | None) -> ExecuteTaskOptions:
        """Return the options of a caller, who passes options, a mapping with their keys, or None.

        Raises:
            InvalidOptions: A key is unknown or a value is invalid; the text names it.
        """
        if options is None:
            return cls()
        if isinstance(options, cls):
            return options
        if not isinstance(options, Mapping):
            raise InvalidOptions(
                f"options must be ExecuteTaskOptions or a mapping, got a {type(options).__name__}"
            )
        known = [field.name for field in fields(cls)]
        unknown = [str(key) for key in options if key not in known]
        if unknown:
            raise InvalidOptions(f"unknown option {', '.join(unknown)}; use {', '.join(known)}")
        return cls(**options)


TaskFunction: TypeAlias = Callable[..., object]
"""What does a task's work: `def` or `async def`; takes its `TaskRun` or nothing."""

OutcomeStatus: TypeAlias = Literal[
    "completed", "waiting", "failed", "cancelled", "duplicate", "skipped", "busy", "lost", "superseded"
]
"""The outcomes of `execute_task`; `TaskOutcome` describes each."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """The outcome of a call of `execute_task`, which raises nothing for a failing task.

    Attributes:
        run_id: The run.
        status: "completed"; "waiting" (a leg has ended, and the next one will be delivered); "failed";
            "cancelled" (failed because an operator cancelled it); "duplicate"
            (the run has completed before, or was cancelled); "skipped" (recorded: the task is suspended, or
            another run holds it); "busy" (recorded as a refused delivery: an attempt of the same run may be
            alive, an earlier run of the task hangs on this instance, or the instance is shutting down);
            "lost" (another attempt took the task while this one worked); "superseded" (the same, found at
            the end).
        duration_seconds: Duration of the task's own work; 0 if it did not run.
        error: Reason of the outcome; None if completed or duplicate.
    """

    run_id: str
    status: OutcomeStatus
    duration_seconds: float = 0.0
    error: str | None = None
