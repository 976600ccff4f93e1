"""Callable that returns a run with all its details."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions import requests
from functions.authorization import caller_of
from functions.callable_endpoint import callable_function
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.reader_account())
def get_run(request: CallableRequest[Any]) -> dict[str, Any]:
    """Return a document of the run history, with traceback, summary, log, and a failed run's next attempt.

    Args:
        request: `{task_name, id}`, from a caller who may see the task's status.

    Returns:
        The fields of the run, and its `log`: `{lines, lost}`. The log is null if the caller may not see it,
        or if the document is not that of a run that has started.

    Raises:
        HttpsError: unauthenticated; permission-denied; invalid-argument; not-found if the run does not exist
            or its record has expired; resource-exhausted for too many calls; unavailable.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_record, view_tasks  # noqa: PLC0415
    from shared.tasks.admin.run_logs import view_log  # noqa: PLC0415

    caller = caller_of(request)
    sent = requests.parse(request, requests.GetRun)
    name = caller.viewable_task(sent.task_name)
    record = view_record(tasks.store, name, sent.id) if serializers.is_record_id(sent.id) else None
    if record is None:
        raise HttpsError(
            FunctionsErrorCode.NOT_FOUND,
            f"{name.value} has no run with the id {requests.shown(sent.id)} in its history",
        )
    following = record.next_attempt(datetime.now(UTC))
    why = record.why_not_retried() if following is None else None
    if following is not None and record.completed is not None:
        (task,) = view_tasks(tasks.store, (name,))
        if task.suspended is not None:
            following, why = None, "its task is suspended, so its delivery is skipped"
    log = None
    if record.attempt is not None and serializers.may_see_log(caller, name):
        log = serializers.log_fields(view_log(tasks.store, name, record.id))
    fields = serializers.run_fields(record, name, caller, whole=True)
    following_fields = serializers.next_attempt_fields(following)
    return {**fields, "next_attempt": following_fields, "not_retried": why, "log": log}
