"""The jobs of Cloud Scheduler that start the tasks: looked at, paused, resumed, run now.

Over REST, as its API has it. Jobs are made and deleted by deployments alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from shared import settings
from shared.tasks.errors import JobMissing, SchedulerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shared.firebase import SchedulerWire
    from shared.tasks.contract import TaskName

#: Bound on a call, in seconds.
CALL_SECONDS = 10.0


class JobState(StrEnum):
    """What a job can be, as Cloud Scheduler says it; its other states are neither."""

    #: It fires on schedule.
    enabled = "ENABLED"
    #: It does not.
    paused = "PAUSED"


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A job as it is.

    Attributes:
        state: as Cloud Scheduler says it.
        changed: when somebody changed it last, UTC; None where that is not known.
    """

    state: str
    changed: datetime | None = None


_VERBS = {JobState.enabled: "resume", JobState.paused: "pause"}


class Jobs:
    """Speaks to Cloud Scheduler. Safe to share between threads.

    Args:
        wire: gives the session; asked at the first call, not before.
        call_seconds: bound on one call.
    """

    def __init__(self, wire: Callable[[], SchedulerWire], *, call_seconds: float = CALL_SECONDS) -> None:
        self._wire = wire
        self._call_seconds = call_seconds

    def state(self, task: TaskName, *, timeout: float | None = None) -> str:
        """Return the state of a task's job; arguments and errors as `read`."""
        return self.read(task, timeout=timeout).state

    def read(self, task: TaskName, *, timeout: float | None = None) -> JobSeen:
        """Return a task's job as it is.

        Args:
            task: the task.
            timeout: bound on the call, if shorter than this one's own.

        Raises:
            JobMissing: there is no such job.
            SchedulerUnavailable: Cloud Scheduler did not say.
        """
        _, answer = self._call("GET", task, "", timeout)
        return JobSeen(str(answer.get("state")), _moment(answer.get("userUpdateTime")))

    def set_state(self, task: TaskName, wanted: JobState, *, timeout: float | None = None) -> None:
        """Pause or resume a task's job; one that is as wanted stays so. Arguments and errors as `read`."""
        if self.state(task, timeout=timeout) == wanted:
            return
        status, _ = self._call("POST", task, f":{_VERBS[wanted]}", timeout)
        # FAILED_PRECONDITION: somebody else was faster, or its state is one that can't be left.
        if status == 400 and (now := self.state(task, timeout=timeout)) != wanted:
            raise SchedulerUnavailable(f"the job of {task.value} is {now}, and can't become {wanted.value}")

    def run(self, task: TaskName, *, timeout: float | None = None) -> None:
        """Have a task's job run now; arguments and errors as `read`."""
        status, answer = self._call("POST", task, ":run", timeout)
        if status == 400:
            raise SchedulerUnavailable(f"the job of {task.value} was not run: {answer}")

    def _call(self, method: str, task: TaskName, verb: str, timeout: float | None) -> tuple[int, Any]:
        """Make a call; return its status, 200 or 400, and its answer."""
        bound = self._call_seconds if timeout is None else min(timeout, self._call_seconds)
        name = job_name(task)
        try:
            wire = self._wire()
            response = wire.session.request(method, f"{wire.jobs}{name}{verb}", timeout=bound)
            answer = response.json()
        except Exception as error:  # credentials, connection, time, no JSON
            raise SchedulerUnavailable(f"Cloud Scheduler did not answer for {name}: {error!r}") from error
        if response.status_code == 404:
            raise JobMissing(f"Cloud Scheduler has no job {name}: deploy the function {task.value}")
        if response.status_code not in {200, 400} or not isinstance(answer, dict):
            raise SchedulerUnavailable(
                f"Cloud Scheduler answered {response.status_code} for {name}{verb}: has the service "
                f"account the role nxTasksScheduler? docs/deploy.md has the command that grants it"
            )
        return response.status_code, answer


def job_name(task: TaskName) -> str:
    """Return the name of a task's job: firebase-tools names it after the function and its region."""
    return f"firebase-schedule-{task.value}-{settings.region()}"


def _moment(said: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
