"""Callable that cancels a run, or its retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions.callable_endpoint import callable_function
from functions.operator_changes import check_change
from functions.requests import CancelRun
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def cancel_run(request: CallableRequest[Any]) -> dict[str, Any]:
    """Cancel a run. Its task ends at its next check, and nothing it returns is published.

    A long run that waits for its next leg ends at once. A failed run that Cloud Scheduler may deliver again
    is not started again.

    Args:
        request: `{task_name, id, reason}`, from an operator.

    Returns:
        `{outcome, run}`. The outcome is "cancelling"; "cancelled" for a failed run that is not started again,
        and for one that waited for its next leg; or "ended" for a run that had ended.

    Raises:
        HttpsError: unauthenticated, also for a revoked token; permission-denied; invalid-argument;
            resource-exhausted for too many calls; unavailable; not-found if the id is not that of a run.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_record  # noqa: PLC0415

    change = check_change(request, CancelRun)
    outcome, record = "unknown", None
    run_id = change.sent.id
    if serializers.is_record_id(run_id):
        outcome = tasks.cancel_run(change.task, run_id, by=change.by, reason=change.reason).value
        record = view_record(tasks.store, change.task, run_id)
    if outcome == "unknown" or record is None:
        raise HttpsError(FunctionsErrorCode.NOT_FOUND, "no run of the task has this id")
    return {"outcome": outcome, "run": serializers.run_fields(record, change.task, change.caller)}
