"""Validation of what callables accept."""

from types import SimpleNamespace
from typing import Any

import pytest
from firebase_functions.https_fn import FunctionsErrorCode, HttpsError
from msgspec import UNSET, Struct

from functions.requests import CancelRun, GetRun, GetTaskData, ListRuns, ListTasks, parse

DATA_FIELDS = "{task_name, if_version?, describe?, details?}"
RUNS_FIELDS = "{task_name, limit?, cursor?, states?, if_version?}"
LIMIT = "limit is a whole number from 1 to 200"
STATES = "states is a list of at most 10 states, as runs have them"


def parsed(data: object, kind: type[Struct]) -> Any:
    request: Any = SimpleNamespace(data=data)
    return parse(request, kind)


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (GetTaskData, None, f"send an object {DATA_FIELDS}"),
        (GetTaskData, [], f"send an object {DATA_FIELDS}"),
        (GetTaskData, {}, f"send exactly {DATA_FIELDS}"),
        (GetTaskData, {"task_name": "x", "extra": 1}, f"send exactly {DATA_FIELDS}"),
        (GetTaskData, {"task_name": "x", "describe": 1, "extra": 1}, f"send exactly {DATA_FIELDS}"),
        (GetTaskData, {"describe": 1}, f"send exactly {DATA_FIELDS}"),
        (GetTaskData, {"task_name": "x", "if_version": 1}, "if_version is text or null"),
        (GetTaskData, {"task_name": "x", "describe": 1}, "describe is true or false"),
        (GetTaskData, {"task_name": "x", "details": None}, "details is true or false"),
        (ListTasks, {"task_name": "x"}, "send exactly {if_version?}"),
        (ListTasks, {"if_version": True}, "if_version is text or null"),
        (ListRuns, {}, f"send exactly {RUNS_FIELDS}"),
        *(
            (ListRuns, {"task_name": "x", "limit": limit}, LIMIT)
            for limit in (0, 201, True, 1e1, None, 1 << 70)
        ),
        *(
            (ListRuns, {"task_name": "x", "states": states}, STATES)
            for states in ("failed", [1], ["Failed"], ["failed\n"], [""], ["failed"] * 11, None)
        ),
        (ListRuns, {"task_name": "x", "cursor": 1}, "cursor is text or null"),
        (GetRun, {"task_name": "x"}, "send exactly {task_name, id}"),
        (GetRun, {"task_name": 1, "id": "x"}, "task_name is text"),
        (CancelRun, {"task_name": "x", "id": "y"}, "send exactly {task_name, id, reason}"),
        (CancelRun, {"task_name": "x", "id": "y", "reason": None}, "reason is text"),
    ],
)
def test_invalid_request_names_the_field(kind: type[Struct], data: object, message: str) -> None:
    with pytest.raises(HttpsError) as caught:
        parsed(data, kind)
    assert (caught.value.code, caught.value.message) == (FunctionsErrorCode.INVALID_ARGUMENT, message)


def test_missing_and_null_version_differ() -> None:
    assert parsed({"task_name": "x"}, GetTaskData).if_version is UNSET
    assert parsed({"task_name": "x", "if_version": None}, GetTaskData).if_version is None


@pytest.mark.parametrize("name", [None, 5, [], {}, "x"])
def test_any_task_name_is_left_to_authorization(name: object) -> None:
    """Callers without access get the same answer for every name, whatever its type."""
    assert parsed({"task_name": name}, GetTaskData).task_name == name
