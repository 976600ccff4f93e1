"""What a caller of `execute_task` may choose, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias

from shared.tasks.contract import SAVE_OPTIONS, TaskSaveOptions
from shared.tasks.errors import InvalidOptions

#: Seconds that a task may take where nothing else is said.
DEADLINE_SECONDS = 540.0
#: Seconds that a lease lasts; it is extended at a third of it.
LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ExecuteTaskOptions:
    """Options of one run (docs/contract.md, "Options").

    Attributes:
        save_in: where the result is kept: "storage", "db" or "none". None is "db".
        debug_logs: log start and completion. Failures are always logged.
        keep_last_result: False has the start write overwrite the whole document, as the
            contract literally says: readers then find no data until the run has completed.
        scheduled_for: the tick this run is for, an aware datetime. It makes the run's id, so
            that a duplicate delivery is the same run. None: a run of its own, with a random id.
        schedule_time: the schedule time of Cloud Scheduler's delivery, an aware datetime. It lets a
            delivery be recognised as that of a run which a person requested. None: it never is one.
        deadline_seconds: after that many the run is recorded as failed. A task can look at
            what is left with `run.remaining()`.
        lease_seconds: how long the run is believed to be alive without a sign of life.

    Raises:
        InvalidOptions: a value that no run can have.
    """

    save_in: TaskSaveOptions | None = None
    debug_logs: bool = True
    keep_last_result: bool = True
    scheduled_for: datetime | None = None
    schedule_time: datetime | None = None
    deadline_seconds: float = DEADLINE_SECONDS
    lease_seconds: float = LEASE_SECONDS

    def __post_init__(self) -> None:
        if self.save_in is not None and self.save_in not in SAVE_OPTIONS:
            raise InvalidOptions(
                f"save_in is {self.save_in!r}: use one of {', '.join(SAVE_OPTIONS)}, or None"
            )
        for name in ("debug_logs", "keep_last_result"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOptions(f"{name} is {getattr(self, name)!r}: use True or False")
        for name in ("deadline_seconds", "lease_seconds"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
                raise InvalidOptions(f"{name} is {seconds!r}: use a positive number of seconds")
        for name in ("scheduled_for", "schedule_time"):
            moment: Any = getattr(self, name)
            if moment is not None and (not isinstance(moment, datetime) or moment.utcoffset() is None):
                raise InvalidOptions(f"{name} is {moment!r}: use a datetime with a time zone")

    @classmethod
    def of(cls, options: ExecuteTaskOptions | Mapping[str, Any] | None) -> ExecuteTaskOptions:
        """Return options from what a caller gave: themselves, a mapping with these keys, or None.

        Raises:
            InvalidOptions: an unknown key or a value that no run can have; the text names it.
        """
        if options is None:
            return cls()
        if isinstance(options, cls):
            return options
        if not isinstance(options, Mapping):
            raise InvalidOptions(
                f"options is a {type(options).__name__}: use ExecuteTaskOptions or a mapping"
            )
        known = [field.name for field in fields(cls)]
        unknown = [str(key) for key in options if key not in known]
        if unknown:
            raise InvalidOptions(f"unknown option {', '.join(unknown)}: use {', '.join(known)}")
        return cls(**options)


TaskFunction: TypeAlias = Callable[..., object]
"""What does a task's work: `def` or `async def`; takes its `TaskRun` or nothing."""

OutcomeStatus: TypeAlias = Literal[
    "completed", "failed", "cancelled", "duplicate", "skipped", "busy", "lost", "superseded"
]
"""What can become of a call of `execute_task`; `TaskOutcome` says what each means."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What became of a call of `execute_task`, which never raises for a failing task.

    Attributes:
        run_id: the run.
        status: "completed"; "failed"; "cancelled" (failed, as a person wanted it to end); "duplicate"
            (this run has completed before, or was cancelled); "skipped"
            (recorded: suspended, or another run holds the task); "busy" (an attempt of this
            very run may be alive, or a thread of the task on this instance is); "lost" (another
            attempt took the task while this one worked); "superseded" (the same, found at the
            end).
        duration_seconds: of the task's own work; 0 where it did not run.
        error: why, in words, unless completed or duplicate.
    """

    run_id: str
    status: OutcomeStatus
    duration_seconds: float = 0.0
    error: str | None = None
