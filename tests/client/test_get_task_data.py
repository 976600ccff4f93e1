"""Applications read results with the real Firebase JavaScript SDK and the Auth emulator."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from emulators import demo_data
from emulators.environment import Addresses
from shared import firebase
from shared.tasks import TaskName, execute_task
from tests.client.javascript import JavaScript, Refused, javascript
from tests.waiting import wait_for

SMS, HEALTH, SITES, CDRS = (
    TaskName.send_reset_sms,
    TaskName.collect_devices_health,
    TaskName.collect_charge_locations,
    TaskName.collect_charge_cdrs,
)
NAMES = ", ".join(sorted(TaskName))
FIELDS = "{task_name, if_version?, describe?, details?}"
#: JSON values, with numbers in JavaScript's range.
EVERYTHING: dict[str, Any] = {
    "empty list": [],
    "empty object": {},
    "null": None,
    "nulls": [None, {"a": None}],
    "booleans": [True, False],
    "zero": 0,
    "largest": 2**53,
    "smallest": -(2**53),
    "floats": [0.1, -0.5, 1e300, 5e-324, 2.0],
    "texts": ["", " ", "žluťoučký kůň 🚗", "日本語", "\u0000\u2028\u2029\ufeff", "</script>", "http://x"],
    "nested": {"a": [{"b": {"c": [{"d": []}]}}], "ž.š": {"with.dots": 1, "0": "digit"}},
    "dates as text": "2026-05-05T12:00:00Z",
}


@pytest.fixture(scope="module")
def sdk(stack: Addresses) -> Iterator[JavaScript]:
    demo_data.seed(datetime.now(UTC))
    with javascript() as sdk:
        yield sdk


@pytest.fixture
def reader(sdk: JavaScript) -> JavaScript:
    """The SDK with the demo's operator signed in."""
    user = {"email": "operator@example.com", "password": demo_data.PASSWORD}
    assert sdk.do("signIn", **user) == "operator"
    return sdk


def read(sdk: JavaScript, task: TaskName) -> Any:
    return sdk.do("call", name="get_task_data", data={"task_name": task})


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize(
    "results",
    [
        {HEALTH: ("db", EVERYTHING), CDRS: ("storage", EVERYTHING), SITES: ("db", []), SMS: ("db", {})},
        {HEALTH: ("db", [EVERYTHING]), CDRS: ("storage", [{}]), SITES: ("storage", {}), SMS: ("db", 0)},
        {HEALTH: ("db", [[1, [2]], []]), CDRS: ("db", False), SITES: ("db", ""), SMS: ("none", {"sent": 1})},
    ],
    ids=["objects", "arrays", "others"],
)
def test_the_sdk_reads_results_that_python_wrote(
    reader: JavaScript, results: dict[TaskName, tuple[str, Any]]
) -> None:
    """The value is the same for each place of storage; a result that is not stored reads as no data."""
    for task, (save_in, value) in results.items():
        outcome = execute_task("test", task, lambda value=value: value, {"save_in": save_in})
        assert outcome.status == "completed", outcome
    expected = {task: [] if save_in == "none" else value for task, (save_in, value) in results.items()}
    last: dict[TaskName, Any] = {}

    def all_read() -> bool:
        last.update({task: read(reader, task) for task in expected})
        return last == expected

    try:
        wait_for("the callable to serve the new results", all_read)
    except AssertionError:
        assert last == expected
        raise
    # False equals 0 in Python but not in JavaScript.
    assert {task: type(value) for task, value in last.items()} == {t: type(v) for t, v in expected.items()}


RESERVED = {
    "@type": "type.googleapis.com/google.protobuf.Int64Value",
    "value": "7",
    "hasOwnProperty": 1,
    "__proto__": {"a": 2},
    "nested": [{"@type": "x"}],
}
CARRIED = {
    "@@type": "type.googleapis.com/google.protobuf.Int64Value",
    "value": "7",
    "@hasOwnProperty": 1,
    "@__proto__": {"a": 2},
    "nested": [{"@@type": "x"}],
}


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("storage", ["db", "storage", "streamed", "legacy"])
def test_the_sdk_reads_reserved_keys(reader: JavaScript, stack: Addresses, storage: str) -> None:
    """The callable protocol reserves some keys; records with them are readable from both stores."""
    if storage == "streamed":
        execute_task("test", SITES, lambda: iter([RESERVED]))
    elif storage == "legacy":
        path = f"tasks_data/{SITES.value}.json"
        text = json.dumps([RESERVED]).replace('"@type"', '"\\u0040type"', 1)
        firebase.bucket().blob(path).upload_from_string(text, content_type="application/json")
        document = {"status": "completed", "completed": datetime.now(UTC), "data": "https://storage/x"}
        firebase.firestore_client().document(f"nx-tasks/{SITES.value}").set(document)
    else:
        execute_task("test", SITES, lambda: [RESERVED], {"save_in": storage})
    wait_for("the result", lambda: read(reader, SITES) == [CARRIED])


def test_a_caller_without_sign_in_is_unauthenticated(sdk: JavaScript) -> None:
    """The message states what to do; the SDK adds the HTTP status."""
    sdk.do("signOut")
    assert read(sdk, HEALTH) == Refused("functions/unauthenticated", "not signed in; sign in first [401]")


def test_a_user_without_a_claim_is_denied(sdk: JavaScript) -> None:
    assert sdk.do("signInAnonymously")
    message = "You do not have access to this task. Ask an administrator of the project. [403]"
    assert read(sdk, HEALTH) == Refused("functions/permission-denied", message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task_name": "no_such_task"}, f'task_name must be one of {NAMES}, got "no_such_task"'),
        ({"task_name": "../x"}, f'task_name must be one of {NAMES}, got "../x"'),
        ({"task_name": 2**53}, f"task_name must be one of {NAMES}, got {2**53}"),
        ({"task_name": HEALTH, "extra": 1}, f'unknown field "extra"; send {FIELDS}'),
        ({}, f"task_name is missing; send {FIELDS}"),
        (None, f"the data must be an object {FIELDS}, got null"),
        ([], f"the data must be an object {FIELDS}, got []"),
    ],
)
def test_invalid_requests_are_invalid_arguments(reader: JavaScript, data: object, message: str) -> None:
    """The message lists the valid names or fields."""
    answer = reader.do("call", name="get_task_data", data=data)
    assert answer == Refused("functions/invalid-argument", f"{message} [400]")
