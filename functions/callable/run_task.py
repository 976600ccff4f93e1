"""Has a task run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.callable_endpoint import callable_function
from functions.operator_changes import change_of
from functions.requests import ChangeTask
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512, service_account=settings.operator_account())
def run_task(request: CallableRequest[Any]) -> Any:
    """Have Cloud Scheduler run a task now.

    Args:
        request: `{task_name, reason}`, from an operator.

    Returns:
        `{outcome, run}`: "started" and the run that began; "busy" and the run that holds the task;
        or "requested" and the run to come, if none began within the wait: its `refused` has the deliveries
        that were answered 503, and when the next one comes.

    Raises:
        HttpsError: unauthenticated, also for a token that was revoked; permission-denied;
            invalid-argument; resource-exhausted, for a caller who calls too often; unavailable;
            failed-precondition, for a task that is suspended or that no job starts.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin.queries import view_record  # noqa: PLC0415

    change = change_of(request, ChangeTask)
    became = tasks.request_run(change.task, by=change.by, reason=change.reason)
    record = None if became.run_id is None else view_record(tasks.store, change.task, became.run_id)
    return {
        "outcome": became.outcome,
        "run": record and serializers.run_fields(record, change.task, change.caller),
    }
