"""Callable that returns the status of all tasks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from functions import requests
from functions.authorization import caller_of
from functions.callable_endpoint import callable_function
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.reader_account())
def list_tasks(request: CallableRequest[Any]) -> dict[str, Any]:
    """Return the status of each task that the caller may see, ordered by name.

    Args:
        request: `{if_version?}`, the version of the response that the caller has.

    Returns:
        `{version, now, tasks}`, or `{version, now, not_modified: true}` if the caller has the current
        version. Both take one small read per task, and another one for each running task.

    Raises:
        HttpsError: unauthenticated; permission-denied if the caller may see no task; invalid-argument;
            resource-exhausted for too many calls; unavailable.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_tasks  # noqa: PLC0415

    caller = caller_of(request)
    names = caller.viewable_tasks()
    sent = requests.parse(request, requests.ListTasks)
    now = datetime.now(UTC)
    fields = [serializers.task_fields(task, caller, now=now) for task in view_tasks(tasks.store, names)]
    response: dict[str, Any] = {"version": serializers.version_of(fields), "now": serializers.time_text(now)}
    if sent.if_version == response["version"]:
        return {**response, "not_modified": True}
    return {**response, "tasks": fields}
