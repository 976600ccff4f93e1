"""Callable that resumes a suspended task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.callable_endpoint import callable_function
from functions.operator_changes import check_change
from functions.requests import ChangeTask
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def resume_task(request: CallableRequest[Any]) -> dict[str, Any]:
    """Resume a task: its status document and its Cloud Scheduler job.

    Args:
        request: `{task_name, reason}`, from an operator.

    Returns:
        `{changed, task}`: whether the task was changed, and its current fields.

    Raises:
        HttpsError: unauthenticated, also for a revoked token; permission-denied; invalid-argument;
            resource-exhausted for too many calls; failed-precondition if the job does not exist;
            unavailable if the document may have changed without the job, which the next call or the
            watchdog then updates.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)

    change = check_change(request, ChangeTask)
    changed = tasks.resume_task(change.task, by=change.by, reason=change.reason)
    return {"changed": changed, "task": serializers.task_now(change.task, change.caller)}
