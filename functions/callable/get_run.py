"""Tells people all there is to know of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions.callables import callable_function, fields_of
from functions.callers import caller_of
from functions.wire import is_record_id, run_fields
from shared import tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512)
def get_run(request: CallableRequest[Any]) -> Any:
    """Return a document of a task's history, with its traceback and what it says beside its result.

    Args:
        request: `{task_name, id}`, from a caller who may see that task.

    Raises:
        HttpsError: unauthenticated; permission-denied; invalid-argument; not-found, for a run that
            never was, or that is older than the history; resource-exhausted; unavailable.
    """
    caller = caller_of(request)
    fields = fields_of(request, ("task_name", "id"), task_name=(str,), id=(str,))
    name = caller.task_to_look_at(fields["task_name"])
    record = tasks.view_record(name, fields["id"]) if is_record_id(fields["id"]) else None
    if record is None:
        raise HttpsError(
            FunctionsErrorCode.NOT_FOUND, "no such run is in the history; list_runs tells which are"
        )
    return run_fields(record, summary=caller.may_read(name))
