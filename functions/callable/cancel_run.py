"""Asks a run to end, or not to be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions.callable_endpoint import callable_function
from functions.operator_changes import change_of
from functions.requests import CancelRun
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def cancel_run(request: CallableRequest[Any]) -> Any:
    """Cancel a run: its task is told at its next look, and nothing it returns is published.

    One that failed, and that Cloud Scheduler might deliver again, is not begun anew.

    Args:
        request: `{task_name, id, reason}`, from an operator.

    Returns:
        `{outcome, run}`: "cancelling"; "cancelled" for a run that had failed and is not tried again now;
        or "ended" for one that had ended before, for good; and the run.

    Raises:
        HttpsError: unauthenticated, also for a token that was revoked; permission-denied;
            invalid-argument; resource-exhausted, for a caller who calls too often; unavailable; not-found,
            for a run that never was, or is no run.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_record  # noqa: PLC0415

    change = change_of(request, CancelRun)
    outcome, record = "unknown", None
    run_id = change.sent.id
    if serializers.is_record_id(run_id):
        outcome = tasks.cancel_run(change.task, run_id, by=change.by, reason=change.reason).value
        record = view_record(tasks.store, change.task, run_id)
    if outcome == "unknown" or record is None:
        raise HttpsError(FunctionsErrorCode.NOT_FOUND, "no run of the task has this id")
    return {"outcome": outcome, "run": serializers.run_fields(record, change.task, change.caller)}
