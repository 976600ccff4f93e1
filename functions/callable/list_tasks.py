"""Tells people how all tasks stand."""

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
def list_tasks(request: CallableRequest[Any]) -> Any:
    """Return how each task stands that the caller may see, in the order of their names.

    Args:
        request: `{if_version?}`: the version of the answer that the caller has, to be told no more
            than that it is the present one.

    Returns:
        `{version, now, tasks}`, or `{version, now, not_modified: true}`. Either costs one small
        read a task, and one more for one at work.

    Raises:
        HttpsError: unauthenticated; permission-denied, where no task is the caller's to see;
            invalid-argument; resource-exhausted, for a caller who calls too often; unavailable.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_tasks  # noqa: PLC0415

    caller = caller_of(request)
    names = caller.tasks_to_look_at()
    sent = requests.parse(request, requests.ListTasks)
    now = datetime.now(UTC)
    told = [serializers.task_fields(task, caller, now=now) for task in view_tasks(tasks.store, names)]
    answer: dict[str, Any] = {"version": serializers.version_of(told), "now": serializers.time_text(now)}
    if sent.if_version == answer["version"]:
        return {**answer, "not_modified": True}
    return {**answer, "tasks": told}
