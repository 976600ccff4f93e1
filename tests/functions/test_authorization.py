"""Which tasks a caller may read, for claims of every shape; needs no stack."""

import json
from typing import Any

import pytest
from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions.authorization import Caller
from shared.tasks import TaskName, TaskSpec, specs

SMS, CDRS = TaskName.send_reset_sms, TaskName.collect_charge_cdrs


@pytest.fixture(autouse=True)
def _operators_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restrict one task to operators and auditors."""
    monkeypatch.setitem(specs.REGISTERED, CDRS, TaskSpec(CDRS, roles=("operator", "auditor")))


def refusal(claims: dict[str, Any], name: object) -> HttpsError:
    with pytest.raises(HttpsError) as raised:
        Caller.from_claims("u", claims).readable_task(name)
    return raised.value


@pytest.mark.parametrize(
    ("claims", "readable"),
    [
        ({"role": "operator"}, {SMS, CDRS}),
        ({"role": "viewer"}, {SMS}),
        ({"role": "auditor"}, {CDRS}),
        ({"role": "viewer", "tasks": ["collect_charge_cdrs"]}, {SMS, CDRS}),
        ({"tasks": ["collect_charge_cdrs"]}, {CDRS}),
        ({"tasks": ["no_such_task", 7, None, ["send_reset_sms"], "send_reset_sms"]}, {SMS}),
        ({"tasks": []}, set()),
        ({}, set()),
    ],
    ids=str,
)
def test_a_role_or_a_list_of_tasks_allows_reading(claims: dict[str, Any], readable: set[TaskName]) -> None:
    """A role opens the tasks that name it, a list the tasks in it; other claims have no effect."""
    assert {task for task in (SMS, CDRS) if Caller.from_claims("u", claims).may_read(task)} == readable


@pytest.mark.parametrize(
    "claims",
    [
        {"role": role}
        for role in (None, 0, 7, True, "", " ", "Viewer", "view", "viewer ", ["viewer"], {"viewer": True})
    ]
    + [
        {"tasks": tasks}
        for tasks in (
            None,
            1,
            True,
            "send_reset_sms",
            {"send_reset_sms": True},
            [["send_reset_sms"]],
            [None],
            ["send_reset_sms "],
            ["x_send_reset_sms"],
        )
    ],
    ids=str,
)
def test_a_malformed_claim_allows_nothing(claims: dict[str, Any]) -> None:
    """It raises no other error."""
    assert refusal(claims, SMS.value).code is FunctionsErrorCode.PERMISSION_DENIED


@pytest.mark.parametrize("claims", [{}, {"role": "viewer"}, {"tasks": ["send_reset_sms", "no_such_task"]}])
def test_an_unknown_and_a_forbidden_task_are_indistinguishable(claims: dict[str, Any]) -> None:
    """Only operators can find out which tasks exist."""
    forbidden = refusal(claims, CDRS.value)
    assert forbidden.code is FunctionsErrorCode.PERMISSION_DENIED
    for name in ("no_such_task", "", "../x", 7, None, ["send_reset_sms"], {}):
        assert refusal(claims, name)._as_dict() == forbidden._as_dict()


@pytest.mark.parametrize("name", ["no_such_task", "", 7, None, [], {}], ids=repr)
def test_an_operator_gets_the_names_of_all_tasks(name: object) -> None:
    """A misspelt name is an invalid argument."""
    error = refusal({"role": "operator"}, name)
    assert error.code is FunctionsErrorCode.INVALID_ARGUMENT
    assert error.message == f"task_name must be one of {', '.join(sorted(TaskName))}, got {json.dumps(name)}"


def test_a_task_may_exclude_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its spec names only other roles."""
    monkeypatch.setitem(specs.REGISTERED, CDRS, TaskSpec(CDRS, roles=("auditor",)))
    assert refusal({"role": "operator"}, CDRS.value).code is FunctionsErrorCode.PERMISSION_DENIED
