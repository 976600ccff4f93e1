"""The spec of each task: its schedule, its deadline, and where its result is kept.

A file in `functions/scheduled/` declares its task's spec. The watchdog, readers and callables look it
up here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared import settings
from shared.tasks.contract import TaskName
from shared.tasks.cron import unix_cron
from shared.tasks.errors import InvalidOptions
from shared.tasks.options import DEADLINE_SECONDS, ExecuteTaskOptions

if TYPE_CHECKING:
    from shared.tasks.contract import TaskSaveOptions

#: Longest deadline of a run, in seconds.
LONGEST_DEADLINE_SECONDS = 86_400
#: Seconds between the deadline of an attempt and its function's timeout, for recording how the run ended.
TIMEOUT_MARGIN_SECONDS = 60
#: Seconds for which an instance serves a result without checking its version.
MAX_AGE_SECONDS = 5.0
#: Longest time that Cloud Scheduler and Cloud Tasks wait for an HTTP target, in seconds.
LONGEST_TIMEOUT_SECONDS = 1_800
#: Share of a leg's length after which an attempt that reached no checkpoint ends: 29 of 25 minutes.
LEG_OVERTIME = 29 / 25
#: Deliveries of a tick after the first one failed. With the backoff below, the last ones arrive when the
#: lease of an attempt that died has expired, so that the tick still runs.
RETRY_COUNT = 5
#: Seconds before the first such delivery; they double each time.
MIN_BACKOFF_SECONDS = 10
#: Longest time after a failure in which a delivery may still come: the longest backoff, which starts when
#: Cloud Scheduler stops waiting for a response.
RETRY_PERIOD = timedelta(seconds=LONGEST_TIMEOUT_SECONDS + MIN_BACKOFF_SECONDS * 2 ** (RETRY_COUNT - 1))


def retry_backoff(failed: int) -> timedelta:
    """Return how long Cloud Scheduler waits, at least, after this number of deliveries of a tick failed."""
    return timedelta(seconds=MIN_BACKOFF_SECONDS * 2 ** (failed - 1))


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task, as its scheduled function declares it.

    Attributes:
        name: The task.
        schedule: unix-cron, such as "*/5 * * * *"; None for a task without a schedule. Cloud Scheduler's
            English forms ("every 5 minutes") are refused.
        time_zone: IANA name of the schedule's time zone.
        deadline_seconds: Seconds after which a run is recorded as failed, at most 86,400. Beyond 29 minutes a
            run has several legs, and its task uses `run.step` or `run.cursor`.
        save_in: Where the result is kept; None means "db".
        roles: Values of the custom claim `role` that allow a user to read the result through the callable.
            Users with the task in their claim `tasks` may read it, too.
        max_age_seconds: Seconds for which an instance serves a result without checking its version; 0 to
            check for each request.

    Raises:
        InvalidOptions: A value is invalid; the text has the task's name, the value, and the fix.
    """

    name: TaskName
    schedule: str | None = None
    time_zone: str = "Etc/UTC"
    deadline_seconds: float = DEADLINE_SECONDS
    save_in: TaskSaveOptions | None = None
    roles: tuple[str, ...] = ("viewer", "operator")
    max_age_seconds: float = MAX_AGE_SECONDS

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, TaskName):
            raise InvalidOptions(f"name must be a member of TaskName, got {name!r}")
        try:
            ExecuteTaskOptions(save_in=self.save_in, deadline_seconds=self.deadline_seconds)
            self._check()
        except ValueError as error:
            raise InvalidOptions(f"{name.value}: {error}") from None

    @property
    def leg_seconds(self) -> float | None:
        """Seconds after which a leg of a run hands over to the next one; None if a run has one leg only."""
        length = settings.leg_seconds()
        longest = LONGEST_TIMEOUT_SECONDS - TIMEOUT_MARGIN_SECONDS
        hard_end = round(length * LEG_OVERTIME, 3)  # the product is a little below 1740
        return length if self.deadline_seconds > min(longest, hard_end) else None

    @property
    def timeout_seconds(self) -> int:
        """Seconds after which the platform ends an invocation of the task's function."""
        return min(int(self.deadline_seconds) + TIMEOUT_MARGIN_SECONDS, LONGEST_TIMEOUT_SECONDS)

    def _check(self) -> None:
        schedule: object = self.schedule
        if self.deadline_seconds > LONGEST_DEADLINE_SECONDS:
            raise InvalidOptions(
                f"deadline_seconds must be at most {LONGEST_DEADLINE_SECONDS} (24 hours), "
                f"got {self.deadline_seconds}"
            )
        max_age: object = self.max_age_seconds
        roles: object = self.roles
        if schedule is not None:
            if not isinstance(schedule, str):
                raise InvalidOptions(f"schedule must be a str or None, got {schedule!r}")
            unix_cron(schedule)
        if (
            isinstance(max_age, bool)
            or not isinstance(max_age, int | float)
            or not 0 <= max_age < float("inf")
        ):
            raise InvalidOptions(f"max_age_seconds must be 0 or more, got {max_age!r}")
        if not isinstance(roles, tuple) or not all(isinstance(role, str) and role for role in roles):
            # `role in "operators"` would also be true for the role "operator".
            raise InvalidOptions(f'roles must be a tuple of names, such as ("operator",), got {roles!r}')
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):  # OSError: a directory of zones
            raise InvalidOptions(
                f"unknown time zone {self.time_zone!r}; use an IANA name, such as Europe/Berlin"
            ) from None


#: The spec of each task, added by `register`.
REGISTERED: dict[TaskName, TaskSpec] = {}


def register(spec: TaskSpec) -> TaskSpec:
    """Register a task's spec, and return it.

    Raises:
        InvalidOptions: The task has another spec already.
    """
    if REGISTERED.setdefault(spec.name, spec) != spec:
        raise InvalidOptions(f"duplicate TaskSpec for {spec.name.value}; declare each task once")
    return spec


def spec_of(name: TaskName) -> TaskSpec:
    """Return a task's spec; one with the defaults if none was registered."""
    return REGISTERED.get(name) or _undeclared(name)


@functools.cache
def _undeclared(name: TaskName) -> TaskSpec:
    return TaskSpec(name)


def registered() -> tuple[TaskSpec, ...]:
    """Return all registered specs, by name."""
    return tuple(REGISTERED[name] for name in sorted(REGISTERED))
