"""The Cloud Scheduler jobs that start the tasks: reads, pauses, resumes and runs them over REST.

Only deployments create and delete jobs.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from shared import settings
from shared.tasks.errors import JobMissing, SchedulerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.firebase import SchedulerWire
    from shared.tasks.contract import JsonMap, TaskName

#: Longest duration of a call, in seconds.
CALL_SECONDS = 10.0


class JobState(StrEnum):
    """The states of a job that this engine sets. Cloud Scheduler has others, too."""

    #: It fires on schedule.
    enabled = "ENABLED"
    #: It does not.
    paused = "PAUSED"


class JobStatus(Struct, frozen=True):
    """A job as Cloud Scheduler returned it.

    Attributes:
        state: Its state.
        changed: Time of the last change by a user, UTC; None if unknown.
    """

    state: str
    changed: datetime | None = None


class JobTarget(Struct, frozen=True):
    """Where a job sends its requests.

    Attributes:
        url: URL of the task's function.
        invoker: Service account that the requests are authenticated with; None if they are not.
        audience: Audience of their OIDC token; None for the URL.
    """

    url: str
    invoker: str | None = None
    audience: str | None = None


_VERBS = {JobState.enabled: "resume", JobState.paused: "pause"}


class Jobs:
    """Calls Cloud Scheduler. Safe to share between threads.

    Every method takes a timeout in seconds, at most `call_seconds`, and raises JobMissing if the job does
    not exist, and SchedulerUnavailable if Cloud Scheduler refused or did not answer.

    Args:
        wire: Returns the session; called at the first request.
        call_seconds: Longest duration of one call.
    """

    def __init__(self, wire: Callable[[], SchedulerWire], *, call_seconds: float = CALL_SECONDS) -> None:
        self._wire = wire
        self._call_seconds = call_seconds

    def read(self, task: TaskName, *, timeout: float | None = None) -> JobStatus:
        """Return a task's job."""
        _, job = self._call("GET", task, "", timeout)
        return JobStatus(str(job.get("state")), _parse_time(job.get("userUpdateTime")))

    def read_target(self, task: TaskName, *, timeout: float | None = None) -> JobTarget:
        """Return where a task's job sends its requests."""
        _, job = self._call("GET", task, "", timeout)
        target = job.get("httpTarget")
        if not isinstance(target, dict) or not (url := target.get("uri")):
            raise SchedulerUnavailable(
                f"the job of {task.value} calls no URL: deploy the function {task.value} again"
            )
        token = target.get("oidcToken") or {}
        return JobTarget(url, token.get("serviceAccountEmail"), token.get("audience"))

    def set_state(self, task: TaskName, requested: JobState, *, timeout: float | None = None) -> None:
        """Pause or resume a task's job, if it is not in that state."""
        if self.read(task, timeout=timeout).state == requested:
            return
        status, _ = self._call("POST", task, f":{_VERBS[requested]}", timeout)
        # FAILED_PRECONDITION: another client was faster, or the job is in a state that cannot be left.
        if status == 400 and (now := self.read(task, timeout=timeout).state) != requested:
            raise SchedulerUnavailable(
                f"the job of {task.value} is {now} and cannot become {requested.value}"
            )

    def run(self, task: TaskName, *, timeout: float | None = None) -> None:
        """Run a task's job now."""
        status, response = self._call("POST", task, ":run", timeout)
        if status == 400:
            raise SchedulerUnavailable(f"the job of {task.value} was not run: {response}")

    def _call(self, method: str, task: TaskName, verb: str, timeout: float | None) -> tuple[int, JsonMap]:
        """Make a call; return its status, 200 or 400, and the JSON of its response."""
        timeout = self._call_seconds if timeout is None else min(timeout, self._call_seconds)
        name = job_name(task)
        try:
            wire = self._wire()
            response = wire.session.request(method, f"{wire.jobs}{name}{verb}", timeout=timeout)
            content = response.json()
        except Exception as error:  # credentials, connection, timeout, invalid JSON
            raise SchedulerUnavailable(f"Cloud Scheduler did not answer for {name}: {error!r}") from error
        if response.status_code == 404:
            raise JobMissing(
                f"Cloud Scheduler has no job {name}: deploy the function {task.value}, "
                "or restart `make run` on the local stack"
            )
        if response.status_code not in {200, 400} or not isinstance(content, dict):
            raise SchedulerUnavailable(
                f"Cloud Scheduler answered {response.status_code} for {name}{verb}: has the service "
                f"account the role nxTasksScheduler? docs/deploy.md has the command that grants it"
            )
        return response.status_code, content


def job_name(task: TaskName) -> str:
    """Return the name of a task's job, which firebase-tools composes of the function and its region."""
    return f"firebase-schedule-{task.value}-{settings.region()}"


def _parse_time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else None
