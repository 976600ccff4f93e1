"""The Cloud Tasks queue that delivers the legs of long runs, except the first legs.

Deployments create the queue. This module calls the REST API, because the client library takes longer to load
and firebase-admin cannot name a task on the emulator.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import msgspec

from shared.tasks.errors import LegQueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.firebase import TasksWire
    from shared.tasks.backends.scheduler import JobTarget
    from shared.tasks.contract import JsonMap, TaskName

#: Id of the queue.
QUEUE = "nx-runs"
#: Longest duration of a call, in seconds.
CALL_SECONDS = 10.0
#: Seconds that Cloud Tasks waits for the response to a delivery: its maximum.
DISPATCH_SECONDS = 1800
#: Longest part of a response that an error shows.
_SHOWN_CHARACTERS = 300


class LegQueue:
    """Creates the Cloud Tasks of legs. Safe to share between threads.

    Args:
        wire: Returns the session; called at the first request.
        call_seconds: Longest duration of one call.
    """

    def __init__(self, wire: Callable[[], TasksWire], *, call_seconds: float = CALL_SECONDS) -> None:
        self._wire = wire
        self._call_seconds = call_seconds

    def deliver(
        self,
        task: TaskName,
        run_id: str,
        leg: int,
        creation: int,
        target: JobTarget,
        *,
        timeout: float | None = None,
    ) -> None:
        """Create the Cloud Task that delivers a leg. One that exists or existed is a success.

        Args:
            task: The task of the run.
            run_id: The run.
            leg: Number of the leg.
            creation: Number of this creation in the run. Cloud Tasks refuses a used name for hours, so that
                delivering a leg again needs another number.
            target: Where the task's Cloud Scheduler job sends its requests.
            timeout: Longest duration of the call in seconds, at most `call_seconds`.

        Raises:
            LegQueueUnavailable: Cloud Tasks refused or did not answer. The Cloud Task may exist.
        """
        request: dict[str, JsonMap | str] = {
            "url": target.url,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": _encoded_body(task, run_id, leg),
        }
        if target.invoker is not None:
            # Without an audience, Cloud Tasks takes the URL, as Cloud Scheduler does.
            token = {"serviceAccountEmail": target.invoker, "audience": target.audience}
            request["oidcToken"] = {key: value for key, value in token.items() if value is not None}
        timeout = self._call_seconds if timeout is None else min(timeout, self._call_seconds)
        try:
            wire = self._wire()
            queue = f"{wire.location}/queues/{QUEUE}"
            created: JsonMap = {
                "name": f"{queue}/tasks/{cloud_task_id(task, run_id, leg, creation)}",
                "dispatchDeadline": f"{DISPATCH_SECONDS}s",
                "httpRequest": request,
            }
            response = wire.session.post(f"{wire.url}{queue}/tasks", json={"task": created}, timeout=timeout)
        except Exception as error:  # credentials, connection, timeout
            raise LegQueueUnavailable(f"Cloud Tasks did not answer: {error!r}") from error
        if response.status_code not in {200, 409}:
            raise LegQueueUnavailable(
                f"Cloud Tasks answered {response.status_code} for {queue}{_advice(response.status_code)} "
                f"(response: {response.text[:_SHOWN_CHARACTERS]!r})"
            )


def cloud_task_id(task: TaskName, run_id: str, leg: int, creation: int) -> str:
    """Return the id of a leg's Cloud Task. Runs of different tasks may have the same id."""
    # The hash comes first, because ids with a common prefix slow Cloud Tasks down.
    run = hashlib.sha256(f"{task.value}/{run_id}".encode()).hexdigest()[:32]
    return f"{run}-{leg}-{creation}"


def _encoded_body(task: TaskName, run_id: str, leg: int) -> str:
    """Return a delivery's body in base64."""
    body = {"task_name": task.value, "run_id": run_id, "leg": leg}
    return base64.b64encode(msgspec.json.encode(body)).decode()


def _advice(status: int) -> str:
    if status == 404:
        return ": the queue does not exist; docs/deploy.md has the command that creates it"
    if status == 403:
        return (
            ": has the service account roles/cloudtasks.enqueuer on the queue and "
            "roles/iam.serviceAccountUser on the job's account, and is the API enabled? "
            "docs/deploy.md has the commands"
        )
    return ""
