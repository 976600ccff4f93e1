"""What is decided once for each task: when it runs, how long it may take, where its result goes.

A file under `functions/scheduled/` declares its task's spec; watchdog, readers and operators'
tools look it up here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.tasks.contract import TaskName
from shared.tasks.cron import unix_cron
from shared.tasks.errors import InvalidOptions
from shared.tasks.options import DEADLINE_SECONDS, ExecuteTaskOptions

if TYPE_CHECKING:
    from shared.tasks.contract import TaskSaveOptions

#: Seconds for which an instance serves a result unasked.
MAX_AGE_SECONDS = 5.0
#: Seconds that Cloud Scheduler waits for an HTTP target at most.
LONGEST_TIMEOUT_SECONDS = 1_800
#: Deliveries of a tick after the first has failed. With the back-off below they outlive the
#: lease of an attempt that died, so that the tick runs all the same.
RETRY_COUNT = 5
#: Seconds before the first such delivery; doubled each time.
MIN_BACKOFF_SECONDS = 10
#: How long after a failure a tick may be delivered again: the longest back-off, which begins when an
#: answer that never comes is waited for no more.
RETRIES_OVER = timedelta(seconds=LONGEST_TIMEOUT_SECONDS + MIN_BACKOFF_SECONDS * 2 ** (RETRY_COUNT - 1))


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task, as its scheduled function declares it.

    Attributes:
        name: the task.
        schedule: unix-cron, such as "*/5 * * * *"; None for a task that nothing schedules. Cloud
            Scheduler's English forms ("every 5 minutes") are refused.
        time_zone: IANA name of the zone that the schedule is meant in.
        deadline_seconds: after that many a run is recorded as failed.
        save_in: where the result is kept; None is "db".
        roles: values of a caller's custom claim `role` that let an app read the result through
            the callable. A caller whose claim `tasks` lists the task may, too.
        max_age_seconds: for how long an instance serves a result without asking whether it is
            still the present one; 0 asks each time.

    Raises:
        InvalidOptions: a field has a value that no deployment or run can have. The text has the
            task's name, the value, and what to use instead.
    """

    name: TaskName
    schedule: str | None = None
    time_zone: str = "Etc/UTC"
    deadline_seconds: float = DEADLINE_SECONDS
    save_in: TaskSaveOptions | None = None
    roles: tuple[str, ...] = ("viewer", "operator")
    max_age_seconds: float = MAX_AGE_SECONDS

    def __post_init__(self) -> None:
        task: Any = self.name
        if not isinstance(task, TaskName):
            raise InvalidOptions(f"name must be a member of TaskName, got {task!r}")
        try:
            ExecuteTaskOptions(save_in=self.save_in, deadline_seconds=self.deadline_seconds)
            self._check()
        except ValueError as error:
            raise InvalidOptions(f"{task.value}: {error}") from None

    def _check(self) -> None:
        schedule: Any = self.schedule
        max_age: Any = self.max_age_seconds
        roles: Any = self.roles
        zone: Any = self.time_zone
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
            # A plain str would grant access to every role whose name is a part of it.
            raise InvalidOptions(f'roles must be a tuple of names, such as ("operator",), got {roles!r}')
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):  # OSError: a directory of zones
            raise InvalidOptions(
                f"unknown time zone {zone!r}; use an IANA name, such as Europe/Berlin"
            ) from None


_specs: dict[TaskName, TaskSpec] = {}


def register(spec: TaskSpec) -> TaskSpec:
    """Make a spec known under its task's name, and return it.

    Raises:
        InvalidOptions: another spec of that name is known: a schedule is written once.
    """
    if _specs.setdefault(spec.name, spec) != spec:
        raise InvalidOptions(f"{spec.name.value} has two specs: declare it in one place")
    return spec


def spec_of(name: TaskName) -> TaskSpec:
    """Return a task's spec, that of the defaults where none was declared."""
    return _specs.get(name) or _undeclared(name)


@functools.cache
def _undeclared(name: TaskName) -> TaskSpec:
    return TaskSpec(name)


def registered() -> tuple[TaskSpec, ...]:
    """Return all specs that were declared, in the order of their names."""
    return tuple(_specs[name] for name in sorted(_specs))
