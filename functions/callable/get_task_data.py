"""Serves the last good result of a task to the apps that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec import UNSET

from functions import requests
from functions.authorization import caller_of
from functions.callable_endpoint import callable_function
from functions.responses import MAX_ANSWER_BYTES, Answer
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest

    from shared.tasks import TaskName, TaskResult


@callable_function(memory=512, service_account=settings.reader_account())
def get_task_data(request: CallableRequest[Any]) -> Any:
    """Return a task's last good result (docs/contract.md, "get_task_data").

    Args:
        request: `{task_name}`, from a caller whose claims allow that task: a `role` that the
            task's `TaskSpec` names, or `tasks`, a list of names. With `if_version` (null where the
            caller has none yet) the answer tells its version, and leaves out data that the caller
            has; with `describe: true` it tells everything but the data. With `details: true` the answer has
            the result's details instead of its data, null where the task gave none.

    Returns:
        The data, `[]` where there is none; or `{version, completed, stale, data}`, or
        `{version, not_modified: true}`, or `{version, completed, stale, status, ...}`, or
        `{version, completed, details}`.

    Raises:
        HttpsError: unauthenticated; permission-denied, for a task there isn't as for one that is
            not for this caller; invalid-argument; resource-exhausted, for a caller who calls too
            often, and with a URL where no answer holds the result; unavailable.
    """
    caller = caller_of(request)
    sent = requests.parse(request, requests.GetTaskData)
    name = caller.task_named(sent.task_name)
    version = None if sent.if_version is UNSET else sent.if_version
    if sent.details:
        return _details(name, version)
    if sent.describe:
        return _description(name, version)
    if sent.if_version is not UNSET:
        return _versioned(name, version)
    return _answer(tasks.get_task_result(name, include_metadata=False, max_bytes=MAX_ANSWER_BYTES))


def _versioned(name: TaskName, has: str | None) -> Any:
    result = tasks.get_task_result(name, if_version=has, max_bytes=MAX_ANSWER_BYTES)
    if result.payload is None:
        return _not_modified(result)
    head = orjson.dumps(_told(result))[:-1] + b',"data":'
    return _answer(result, head, b"}")


def _description(name: TaskName, has: str | None) -> dict[str, Any]:
    result = tasks.get_task_result(name, include_data=False)
    if has is not None and has == result.version:
        return _not_modified(result)
    more = {name: getattr(result, name) for name in ("status", "saved_in", "size_bytes", "count", "summary")}
    return {**_told(result), **more}


def _details(name: TaskName, has: str | None) -> Any:
    if has is not None:
        result = tasks.get_task_result(name, include_data=False)
        if result.version == has:
            return _not_modified(result)
    found = tasks.get_task_details(name)
    completed = None if found.completed is None else found.completed.isoformat()
    told = {"version": found.version, "completed": completed}
    if found.payload is None:
        return {**told, "details": None}
    return Answer(found.payload, orjson.dumps(told)[:-1] + b',"details":', b"}")


def _told(result: TaskResult) -> dict[str, Any]:
    completed = None if result.completed is None else result.completed.isoformat()
    return {"version": result.version, "completed": completed, "stale": result.stale}


def _not_modified(result: TaskResult) -> dict[str, Any]:
    return {"version": result.version, "not_modified": True}


def _answer(result: TaskResult, head: bytes = b"", tail: bytes = b"") -> Answer:
    if result.payload is None:
        raise AssertionError("a result that was asked for is there")
    return Answer(result.payload, head, tail, result.path)
