"""Suspends a task: its ticks are skipped, and its job fires none, until somebody resumes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.callable_endpoint import callable_function
from functions.operator_changes import change_suspension
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def suspend_task(request: CallableRequest[Any]) -> Any:
    """Suspend a task: document and Cloud Scheduler job together. A run at work finishes.

    Args:
        request: `{task_name, reason}`, from an operator.

    Returns:
        `{changed, task}`: whether this made it so, and the task as it stands then.

    Raises:
        HttpsError: unauthenticated, also for a token that was revoked; permission-denied;
            invalid-argument; resource-exhausted, for a caller who calls too often; unavailable,
            where the document is changed and its job may not be: the next call, or the watchdog,
            makes it follow; failed-precondition, where there is no job.
    """
    return change_suspension(request, tasks.suspend_task)
