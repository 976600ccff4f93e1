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

from shared.tasks.errors import InvalidOptions
from shared.tasks.options import DEADLINE_SECONDS, ExecuteTaskOptions

if TYPE_CHECKING:
    from shared.tasks.names import TaskName, TaskSaveOptions

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
        schedule: unix-cron ("*/5 * * * *") or "every N minutes"; None for a task that nothing
            schedules.
        time_zone: IANA name of the zone that the schedule is meant in.
        deadline_seconds: after that many a run is recorded as failed.
        save_in: where the result is kept; None is "db".
        roles: values of a caller's custom claim `role` that let an app read the result through
            the callable. A caller whose claim `tasks` lists the task may, too.
        max_age_seconds: for how long an instance serves a result without asking whether it is
            still the present one; 0 asks each time.

    Raises:
        InvalidOptions: an unknown time zone, roles that are no tuple of names, or a value that no
            run can have.
    """

    name: TaskName
    schedule: str | None = None
    time_zone: str = "Etc/UTC"
    deadline_seconds: float = DEADLINE_SECONDS
    save_in: TaskSaveOptions | None = None
    roles: tuple[str, ...] = ("viewer", "operator")
    max_age_seconds: float = MAX_AGE_SECONDS

    def __post_init__(self) -> None:
        ExecuteTaskOptions(save_in=self.save_in, deadline_seconds=self.deadline_seconds)
        if not 0 <= self.max_age_seconds < float("inf"):
            raise InvalidOptions(
                f"{self.name.value}: max_age_seconds is {self.max_age_seconds!r}: use 0 or more"
            )
        roles: Any = self.roles
        if not isinstance(roles, tuple) or not all(isinstance(role, str) and role for role in roles):
            # A bare text would let in whoever has a part of it for a role.
            raise InvalidOptions(f'{self.name.value}: roles is {roles!r}: use a tuple, ("operator",) say')
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InvalidOptions(
                f"{self.name.value}: unknown time zone {self.time_zone!r}: use an IANA name, as Europe/Berlin"
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
