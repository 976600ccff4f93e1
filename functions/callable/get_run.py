"""Tells people all there is to know of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions import requests
from functions.authorization import caller_of
from functions.callable_endpoint import callable_function
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.reader_account())
def get_run(request: CallableRequest[Any]) -> Any:
    """Return a document of a task's history, with its traceback and what it says beside its result.

    Args:
        request: `{task_name, id}`, from a caller who may see that task.

    Raises:
        HttpsError: unauthenticated; permission-denied; invalid-argument; not-found, for a run that
            never was, or that is older than the history; resource-exhausted; unavailable.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_record  # noqa: PLC0415

    caller = caller_of(request)
    sent = requests.parse(request, requests.GetRun)
    name = caller.task_to_look_at(sent.task_name)
    record = view_record(tasks.store, name, sent.id) if serializers.is_record_id(sent.id) else None
    if record is None:
        raise HttpsError(
            FunctionsErrorCode.NOT_FOUND,
            "no run in the history of the task has this id",
        )
    return serializers.run_fields(record, name, caller, whole=True)
