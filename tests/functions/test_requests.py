"""Validation of what callables accept."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from firebase_functions.https_fn import FunctionsErrorCode, HttpsError
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from functions.requests import (
    CancelRun,
    GetRun,
    GetTaskData,
    ListRuns,
    ListTasks,
    ListTimeline,
    SuspendTask,
    parse,
)

DATA_FIELDS = "{task_name, if_version?, describe?, details?}"
RUNS_FIELDS = "{task_name, limit?, cursor?, states?, outcomes?, since?, until?, if_version?}"
LIMIT = "limit must be a whole number from 1 to 200, got "
A_TIME = 'a time with its zone, such as "2026-11-30T12:00:00Z"'
TIME = f"{A_TIME}, or null"
TIMELINE_FIELDS = "{since, until?, task_names?, cursors?, limit?, changed_since?}"
SINCE = {"since": "2026-11-30T12:00:00Z"}
OUTCOMES = 'outcomes must be a list of up to 10 outcomes, such as "cancelled", got '
STATES = 'states must be a list of up to 10 states, such as "failed", got '


def parsed(data: object, kind: type[Struct]) -> Any:
    request: Any = SimpleNamespace(data=data)
    return parse(request, kind)


def shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (GetTaskData, None, f"the data must be an object {DATA_FIELDS}, got null"),
        (GetTaskData, [], f"the data must be an object {DATA_FIELDS}, got []"),
        (GetTaskData, {}, f"task_name is missing; send {DATA_FIELDS}"),
        (GetTaskData, {"task_name": "x", "extra": 1}, f'unknown field "extra"; send {DATA_FIELDS}'),
        (GetTaskData, {"task_name": "x", "y" * 99: 1}, f'unknown field "{"y" * 58}…; send {DATA_FIELDS}'),
        (GetTaskData, {"describe": 1}, f"task_name is missing; send {DATA_FIELDS}"),
        (GetTaskData, {"task_name": "x", "if_version": 1}, "if_version must be text or null, got 1"),
        (GetTaskData, {"task_name": "x", "describe": 1}, "describe must be true or false, got 1"),
        (GetTaskData, {"task_name": "x", "details": None}, "details must be true or false, got null"),
        (ListTasks, {"task_name": "x"}, 'unknown field "task_name"; send {if_version?}'),
        (ListTasks, {"if_version": True}, "if_version must be text or null, got true"),
        (ListRuns, {}, f"task_name is missing; send {RUNS_FIELDS}"),
        *(
            (ListRuns, {"task_name": "x", "limit": limit}, LIMIT + json.dumps(limit))
            for limit in (0, 201, True, 1e1, None, 1 << 70)
        ),
        *(
            (ListRuns, {"task_name": "x", "states": states}, STATES + shortened(json.dumps(states)))
            for states in ("failed", [1], ["Failed"], ["failed\n"], [""], ["failed"] * 11, None)
        ),
        (ListRuns, {"task_name": "x", "outcomes": ["Failed"]}, f'{OUTCOMES}["Failed"]'),
        (ListRuns, {"task_name": "x", "outcomes": "failed"}, f'{OUTCOMES}"failed"'),
        *(
            (ListRuns, {"task_name": "x", name: moment}, f"{name} must be {TIME}, got {json.dumps(moment)}")
            for name in ("since", "until")
            for moment in ("2026-11-30T04:00:00", "2026-11-30", "today", "", 1, 1.5, True, [], {})
        ),
        (ListRuns, {"task_name": "x", "cursor": 1}, "cursor must be text or null, got 1"),
        (ListTimeline, {}, f"since is missing; send {TIMELINE_FIELDS}"),
        *(
            (ListTimeline, {"since": since}, f"since must be {A_TIME}, got {json.dumps(since)}")
            for since in (
                None,
                1,
                "",
                "yesterday",
                "2026-11-30",
                "2026-11-30T12:00:00",
                "2026-13-30T12:00:00Z",
            )
        ),
        (ListTimeline, {**SINCE, "until": 1}, f"until must be {TIME}, got 1"),
        (
            ListTimeline,
            {**SINCE, "changed_since": "2026-11-30"},
            f'changed_since must be {TIME}, got "2026-11-30"',
        ),
        (
            ListTimeline,
            {**SINCE, "task_names": "x"},
            'task_names must be a list of up to 100 names of tasks, or null, got "x"',
        ),
        (
            ListTimeline,
            {**SINCE, "cursors": {"x": 1}},
            'cursors must be an object with the next_cursor of up to 100 tasks, or null, got {"x": 1}',
        ),
        *(
            (
                ListTimeline,
                {**SINCE, "limit": limit},
                f"limit must be a whole number from 10 to 2000, got {limit}",
            )
            for limit in (0, 9, 2001)
        ),
        (GetRun, {"task_name": "x"}, "id is missing; send {task_name, id, if_version?}"),
        (GetRun, {"task_name": "x", "id": "y", "if_version": 1}, "if_version must be text or null, got 1"),
        (GetRun, {"task_name": 1, "id": "x"}, "task_name must be text, got 1"),
        *(
            (
                SuspendTask,
                {"task_name": "x", "reason": "y", "until": until},
                f"until must be {TIME}, got {sent}",
            )
            for until, sent in (
                ("2026-11-30T12:00:00", '"2026-11-30T12:00:00"'),
                ("soon", '"soon"'),
                (1, "1"),
            )
        ),
        (CancelRun, {"task_name": "x", "id": "y"}, "reason is missing; send {task_name, id, reason}"),
        (CancelRun, {"task_name": "x", "id": "y", "reason": None}, "reason must be text, got null"),
    ],
)
def test_invalid_request_names_field_and_value(kind: type[Struct], data: object, message: str) -> None:
    with pytest.raises(HttpsError) as caught:
        parsed(data, kind)
    assert (caught.value.code, caught.value.message) == (FunctionsErrorCode.INVALID_ARGUMENT, message)


def test_missing_and_null_version_differ() -> None:
    assert parsed({"task_name": "x"}, GetTaskData).if_version is UNSET
    assert parsed({"task_name": "x", "if_version": None}, GetTaskData).if_version is None


@pytest.mark.parametrize("name", [None, 5, [], {}, "x"])
def test_any_task_name_is_left_to_authorization(name: object) -> None:
    """Callers without access get the same response for every name of any type."""
    assert parsed({"task_name": name}, GetTaskData).task_name == name
    assert parsed({**SINCE, "task_names": [name]}, ListTimeline).task_names == [name]


times = st.datetimes(timezones=st.timezones() | st.none()).map(lambda moment: moment.isoformat())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | times,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([(ListRuns, "since"), (ListRuns, "until"), (SuspendTask, "until")]), json_values)
def test_any_value_of_a_time_is_a_time_or_refused(field: tuple[type[Struct], str], value: object) -> None:
    """A time has a zone; the refusal contains the field and the value."""
    kind, name = field
    others = {"task_name": "x", **({"reason": "y"} if kind is SuspendTask else {})}
    refusals = []
    moment = None
    try:
        moment = getattr(parsed({**others, name: value}, kind), name)
    except HttpsError as error:
        refusals = [(error.code, error.message)]
    message = f"{name} must be {TIME}, got {shortened(json.dumps(value))}"
    assert refusals in ([], [(FunctionsErrorCode.INVALID_ARGUMENT, message)])
    assert moment is None or moment.tzinfo is not None
