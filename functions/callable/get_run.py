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

    from functions.authorization import Caller
    from shared.tasks import TaskName
    from shared.tasks.admin.run_view import RunView


@callable_function(memory=512, service_account=settings.reader_account())
def get_run(request: CallableRequest[Any]) -> dict[str, Any]:
    """Return a document of the run history, with traceback, summary, log, and a failed run's next attempt.

    Args:
        request: `{task_name, id}`, from a caller who may see the task's status. Optional field: `if_version`,
            the version of the run that the caller has.

    Returns:
        `version`, the fields of the run, and its `log`: `{lines, lost, lost_is_exact}`. The log is null if
        the caller may not see it, or if the document is not that of a run that has started. If the caller has
        the current version, `{version, not_modified: true}`, which takes a few small reads.

    Raises:
        HttpsError: unauthenticated; permission-denied; invalid-argument; not-found if the run does not exist
            or its record has expired; resource-exhausted for too many calls; unavailable.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)

    caller = caller_of(request)
    sent = requests.parse(request, requests.GetRun)
    name = caller.viewable_task(sent.task_name)
    if sent.if_version is not None:
        brief = _view(name, sent.id, caller, whole=False)
        version = _version(brief, _following(brief), name, caller)
        if version == sent.if_version:
            return {"version": version, "not_modified": True}
    view = _view(name, sent.id, caller, whole=True)
    following = _following(view)
    return {
        "version": _version(view, following, name, caller),
        **serializers.run_fields(view.record, name, caller, whole=True),
        **following,
        "log": None if view.log is None else serializers.log_fields(view.log),
    }


def _view(name: TaskName, record_id: str, caller: Caller, *, whole: bool) -> RunView:
    from functions.serializers import is_record_id, may_see_log  # noqa: PLC0415
    from shared.tasks.admin.run_view import view_run  # noqa: PLC0415

    view = None
    if is_record_id(record_id):
        with_log = may_see_log(caller, name)
        view = view_run(tasks.store, name, record_id, with_log=with_log, whole=whole)
    if view is None:
        raise HttpsError(
            FunctionsErrorCode.NOT_FOUND,
            f"{name.value} has no run with the id {requests.shown(record_id)} in its history",
        )
    return view


def _following(view: RunView) -> dict[str, Any]:
    """Return what follows the run if it failed: its next attempt, or why there is none."""
    from functions.serializers import next_attempt_fields  # noqa: PLC0415

    following = view.record.next_attempt(datetime.now(UTC))
    why = view.record.why_not_retried() if following is None else None
    if following is not None and view.record.completed is not None and view.is_suspended:
        following, why = None, "its task is suspended, so its delivery is skipped"
    return {"next_attempt": next_attempt_fields(following), "not_retried": why}


def _version(view: RunView, following: dict[str, Any], name: TaskName, caller: Caller) -> str:
    """Return a version that changes with each write, with what follows, and with the caller's rights."""
    from functions.serializers import version_of  # noqa: PLC0415

    return version_of([view.writes, following, caller.has_role, caller.may_read(name)])
