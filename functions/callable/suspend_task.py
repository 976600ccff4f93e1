"""Callable that suspends a task, so that its ticks are skipped until it is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.callable_endpoint import callable_function
from functions.operator_changes import check_change
from functions.requests import SuspendTask
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def suspend_task(request: CallableRequest[Any]) -> dict[str, Any]:
    """Suspend a task: its status document and its Cloud Scheduler job. A running run continues.

    Args:
        request: `{task_name, reason, until?}`, from an operator. At its first pass after `until`, the
            watchdog resumes the task; without it, an operator does.

    Returns:
        `{changed, task}`: whether the task was changed, and its current fields.

    Raises:
        HttpsError: unauthenticated, also for a revoked token; permission-denied; invalid-argument;
            resource-exhausted for too many calls; failed-precondition if the job does not exist;
            unavailable if the document may have changed without the job, which the next call or the
            watchdog then updates.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)

    change = check_change(request, SuspendTask)
    changed = tasks.suspend_task(change.task, by=change.by, reason=change.reason, until=change.sent.until)
    return {"changed": changed, "task": serializers.task_now(change.task, change.caller)}
