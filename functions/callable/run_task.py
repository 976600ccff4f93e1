"""Callable that runs a task now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.callable_endpoint import callable_function
from functions.operator_changes import check_change
from functions.requests import ChangeTask
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def run_task(request: CallableRequest[Any]) -> dict[str, Any]:
    """Make Cloud Scheduler run a task now.

    Args:
        request: `{task_name, reason}`, from an operator.

    Returns:
        `{outcome, run}`: "started" and the new run; "busy" and the run that holds the task; or "requested"
        and the future run, if none has started in time. Its field `refused` has the deliveries that were
        answered 503, and the time of the next one.

    Raises:
        HttpsError: unauthenticated, also for a revoked token; permission-denied; invalid-argument;
            resource-exhausted for too many calls; unavailable; failed-precondition if the task is suspended
            or has no Cloud Scheduler job.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_record  # noqa: PLC0415

    change = check_change(request, ChangeTask)
    requested = tasks.request_run(change.task, by=change.by, reason=change.reason)
    record = None if requested.run_id is None else view_record(tasks.store, change.task, requested.run_id)
    return {
        "outcome": requested.outcome,
        "run": record and serializers.run_fields(record, change.task, change.caller),
    }
