"""Callable that returns the last good result of a task."""

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
def get_task_data(request: CallableRequest[Any]) -> Answer | dict[str, Any]:
    """Return a task's last good result (docs/contract.md, "get_task_data").

    Args:
        request: `{task_name}`, from a caller with a `role` that the task's `TaskSpec` lists, or with the task
            in the claim `tasks`. Optional fields: `if_version`, the version that the caller has, or null, for
            a response with the version, and without data that the caller has; `describe: true` for all fields
            but the data; `details: true` for the result's details instead of its data.

    Returns:
        The data, `[]` if there is none; with an optional field `{version, completed, stale, data}`,
        `{version, not_modified: true}`, `{version, completed, stale, status, ...}`, or
        `{version, completed, details}`, in which details are null if the task gave none.

    Raises:
        HttpsError: unauthenticated; permission-denied, also for an unknown task; invalid-argument;
            resource-exhausted for too many calls, and, with a URL, for a result that is too large for a
            response; unavailable.
    """
    caller = caller_of(request)
    sent = requests.parse(request, requests.GetTaskData)
    name = caller.readable_task(sent.task_name)
    version = None if sent.if_version is UNSET else sent.if_version
    if sent.details:
        return _details(name, version)
    if sent.describe:
        return _description(name, version)
    if sent.if_version is not UNSET:
        return _versioned(name, version)
    return _answer(tasks.get_task_result(name, include_metadata=False, max_bytes=MAX_ANSWER_BYTES))


def _versioned(name: TaskName, version: str | None) -> Answer | dict[str, Any]:
    result = tasks.get_task_result(name, if_version=version, max_bytes=MAX_ANSWER_BYTES)
    if result.payload is None:
        return _not_modified(result)
    head = orjson.dumps(_head(result))[:-1] + b',"data":'
    return _answer(result, head, b"}")


def _description(name: TaskName, version: str | None) -> dict[str, Any]:
    result = tasks.get_task_result(name, include_data=False)
    if version is not None and version == result.version:
        return _not_modified(result)
    more = {name: getattr(result, name) for name in ("status", "saved_in", "size_bytes", "count", "summary")}
    return {**_head(result), **more}


def _details(name: TaskName, version: str | None) -> Answer | dict[str, Any]:
    if version is not None:
        result = tasks.get_task_result(name, include_data=False)
        if result.version == version:
            return _not_modified(result)
    found = tasks.get_task_details(name)
    completed = None if found.completed is None else found.completed.isoformat()
    head = {"version": found.version, "completed": completed}
    if found.payload is None:
        return {**head, "details": None}
    return Answer(found.payload, orjson.dumps(head)[:-1] + b',"details":', b"}")


def _head(result: TaskResult) -> dict[str, Any]:
    completed = None if result.completed is None else result.completed.isoformat()
    return {"version": result.version, "completed": completed, "stale": result.stale}


def _not_modified(result: TaskResult) -> dict[str, Any]:
    return {"version": result.version, "not_modified": True}


def _answer(result: TaskResult, head: bytes = b"", tail: bytes = b"") -> Answer:
    if result.payload is None:
        raise AssertionError("a read without if_version returned no payload")
    return Answer(result.payload, head, tail, result.path)
