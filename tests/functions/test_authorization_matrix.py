"""The authorisation matrix, on callables as they are deployed, with signed tokens and real App Check."""

import base64
import http.client
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.authorization import UNVERIFIED
from shared import firebase
from shared.tasks import TaskName
from tests.functions.callable_protocol import PRIVATE
from tests.functions.conftest import Serve, log_line
from tests.functions.issuer import Issuer

LISTED, OTHER, UNKNOWN = "send_reset_sms", "collect_devices_health", "no_such_task"
NAMES = ", ".join(sorted(TaskName))
FORGER = Issuer()

#: A caller's token; None for no token.
Token = Callable[[Issuer], str | None]


def unsigned(_: Issuer) -> str:
    """An unsigned token like those of the Auth emulator, with valid claims."""
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{header}.{FORGER.id_token(role='operator').split('.')[1]}."


STRANGERS: dict[str, Token] = {
    "forged": lambda _: FORGER.id_token(role="operator"),
    "unsigned": unsigned,
    "expired": lambda google: google.id_token(role="operator", age=3601),
    "from the future": lambda google: google.id_token(role="operator", age=-600),
    "another project's": lambda google: google.id_token(role="operator", aud="other"),
    "garbage": lambda _: "garbage",
}
#: Which of LISTED and OTHER each caller may read.
CALLERS: dict[str, tuple[Token, set[str]]] = {
    "no claim": (lambda google: google.id_token(), set()),
    "malformed claims": (lambda google: google.id_token(role=["operator"], tasks=LISTED), set()),
    "viewer": (lambda google: google.id_token(role="viewer"), {LISTED, OTHER}),
    "allowed list": (lambda google: google.id_token(tasks=[LISTED, UNKNOWN]), {LISTED}),
    "operator": (lambda google: google.id_token(role="operator"), {LISTED, OTHER}),
}
#: Tokens whose claims are ignored, because any person may have registered the address.
UNVERIFIED_CALLERS: dict[str, Token] = {
    "unverified operator": lambda google: google.id_token(
        role="operator", email="a@b.c", email_verified=False
    ),
    "unverified list": lambda google: google.id_token(tasks=[LISTED], email="a@b.c"),
}
#: Optional fields of a request.
FORMS: dict[str, dict[str, Any]] = {
    "bare": {},
    "no version yet": {"if_version": None},
    "another version": {"if_version": "another"},
    "described": {"describe": True},
}
TOKENS: dict[str, Token] = {
    "no token": lambda _: None,
    **STRANGERS,
    **UNVERIFIED_CALLERS,
    **{name: token for name, (token, _) in CALLERS.items()},
}

#: The App Check token of the caller's application.
APPS: dict[str, Token] = {
    "good app": lambda google: google.app_check_token(),
    "no app token": lambda _: None,
    "forged app token": lambda _: FORGER.app_check_token(),
    "expired app token": lambda google: google.app_check_token(age=3601),
    "another project's app": lambda google: google.app_check_token(aud=["projects/other"]),
}


@pytest.fixture(scope="module")
def app_check_off(results: dict[TaskName, list[str]], serve: Serve) -> str:
    return serve()


@pytest.fixture(scope="module")
def app_check_on(results: dict[TaskName, list[str]], serve: Serve) -> str:
    return serve(NX_TASKS_APP_CHECK="on")


def call(
    address: str,
    name: str | None,
    token: str | None,
    app_token: str | None = None,
    *,
    private: tuple[str, ...] = PRIVATE,
    **more: Any,
) -> tuple[int, Any]:
    """Call a function with a task; the status and the body, which contains no private text."""
    data = {**({} if name is None else {"task_name": name}), **more}
    return send(address, data, token, app_token, private=private)


def send(
    address: str,
    data: Any,
    token: str | None,
    app_token: str | None = None,
    *,
    private: tuple[str, ...] = PRIVATE,
) -> tuple[int, Any]:
    """Call a function with any data; the status and the body, which contains no private text."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if app_token is not None:
        headers["X-Firebase-AppCheck"] = app_token
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", "/", json.dumps({"data": data}), headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert not [word for word in private if word.encode() in body]
    return answer.status, json.loads(body)


def result(answer: tuple[int, Any]) -> Any:
    """The result of a call that must succeed."""
    assert answer[0] == 200, answer
    return answer[1]["result"]


def refusal(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"status": code, "message": message}}


UNAUTHENTICATED = refusal(401, "UNAUTHENTICATED", "Unauthenticated")
DENIED = refusal(
    403,
    "PERMISSION_DENIED",
    "You do not have access to this task. Ask an administrator of the project.",
)


def expected(caller: str, name: str, results: dict[TaskName, list[str]]) -> tuple[int, Any]:
    """The response to a caller with a valid application, or without App Check."""
    if caller == "no token":
        return refusal(401, "UNAUTHENTICATED", "not signed in; sign in first")
    if caller in STRANGERS:
        return UNAUTHENTICATED
    if caller in UNVERIFIED_CALLERS:
        return refusal(403, "PERMISSION_DENIED", UNVERIFIED)
    if name in CALLERS[caller][1]:
        return 200, {"result": results[TaskName(name)]}
    if caller == "operator":
        return refusal(400, "INVALID_ARGUMENT", f'task_name must be one of {NAMES}, got "{name}"')
    return DENIED


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [LISTED, OTHER, UNKNOWN])
@pytest.mark.parametrize("caller", TOKENS)
def test_claims_decide_which_results_a_caller_may_read(
    app_check_off: str, issuer: Issuer, results: dict[TaskName, list[str]], caller: str, name: str, form: str
) -> None:
    """With App Check off, in each form of a request; a forbidden task looks like an unknown one."""
    response = call(app_check_off, name, TOKENS[caller](issuer), **FORMS[form])
    wanted = expected(caller, name, results)
    if wanted[0] == 200 and form != "bare":
        assert response[0] == 200
        answer = response[1]["result"]
        assert answer["stale"] is False
        assert answer.get("data", answer.get("count")) in (wanted[1]["result"], len(wanted[1]["result"]))
    else:
        assert response == wanted


@pytest.mark.parametrize("name", [LISTED, OTHER, UNKNOWN])
@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("caller", TOKENS)
def test_app_check_precedes_claims(
    app_check_on: str, issuer: Issuer, results: dict[TaskName, list[str]], caller: str, app: str, name: str
) -> None:
    """Without a valid application even an operator is denied."""
    response = call(app_check_on, name, TOKENS[caller](issuer), APPS[app](issuer))
    assert response == (expected(caller, name, results) if app == "good app" else UNAUTHENTICATED)


# Views of tasks and their run history

RUN = "no-such-run"
NOT_FOUND = 'has no run with the id "no-such-run" in its history'
#: A range that contains the runs of these tests.
TODAY = {"since": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
NO_TASKS = refusal(
    403, "PERMISSION_DENIED", "You do not have access to any task. Ask an administrator of the project."
)
#: A task whose results viewers may not read.
OPERATORS_ONLY = "collect_charge_cdrs"
#: Callers who see the log of each task.
MAY_SEE_LOG = {LISTED: {"viewer", "operator"}, OTHER: {"viewer", "operator"}, OPERATORS_ONLY: {"operator"}}
OPERATOR = TOKENS["operator"]
#: The tasks that each caller may see.
VISIBLE = {"viewer": sorted(TaskName), "operator": sorted(TaskName), "allowed list": [LISTED]}


@pytest.fixture(scope="module")
def views(results: dict[TaskName, list[str]], serve: Serve) -> dict[str, str]:
    """The address of each read-only function."""
    return {function: serve(function) for function in ("list_tasks", "list_runs", "get_run", "list_timeline")}


@pytest.mark.parametrize(("function", "data"), [("list_tasks", {}), ("list_timeline", TODAY)])
@pytest.mark.parametrize("caller", TOKENS)
def test_claims_decide_which_tasks_are_listed(
    views: dict[str, str], issuer: Issuer, caller: str, function: str, data: dict[str, Any]
) -> None:
    """A role lists all tasks, the claim `tasks` those that it names; other callers are denied."""
    status, response = call(views[function], None, TOKENS[caller](issuer), **data)
    if caller in VISIBLE:
        assert [task["name"] for task in response["result"]["tasks"]] == VISIBLE[caller]
    elif caller in CALLERS:
        assert (status, response) == NO_TASKS
    else:
        assert (status, response) == expected(caller, LISTED, {})


@pytest.mark.parametrize("name", [LISTED, OTHER, OPERATORS_ONLY, UNKNOWN])
@pytest.mark.parametrize("caller", TOKENS)
def test_claims_decide_which_run_history_is_shown(
    views: dict[str, str], issuer: Issuer, caller: str, name: str
) -> None:
    """A caller with access to a task sees its runs, even without access to its result."""
    listed = call(views["list_runs"], name, TOKENS[caller](issuer))
    looked = call(views["get_run"], name, TOKENS[caller](issuer), id=RUN)
    named = call(views["list_timeline"], None, TOKENS[caller](issuer), task_names=[name], **TODAY)
    paged = call(views["list_timeline"], None, TOKENS[caller](issuer), cursors={name: "x"}, **TODAY)
    if name in VISIBLE.get(caller, []):
        assert [run["state"] for run in listed[1]["result"]["runs"]] == ["completed"]
        assert looked == refusal(404, "NOT_FOUND", f"{name} {NOT_FOUND}")
        (task,) = named[1]["result"]["tasks"]
        assert (task["name"], [run["state"] for run in task["runs"]]) == (name, ["completed"])
        assert paged[1]["error"]["message"].startswith("cursors must be the next_cursor")
    else:
        assert listed == looked == named == paged == expected(caller, UNKNOWN, {})


@pytest.mark.parametrize("name", [LISTED, OTHER, OPERATORS_ONLY])
@pytest.mark.parametrize("caller", CALLERS)
def test_claims_decide_which_log_is_shown(
    views: dict[str, str], issuer: Issuer, caller: str, name: str
) -> None:
    """Operators and viewers see it if they may read the task's result, other callers never.

    The version of an operator's answer is unknown to callers with fewer rights.
    """
    (run,) = result(call(views["list_runs"], name, OPERATOR(issuer)))["runs"]
    status, response = call(views["get_run"], name, TOKENS[caller](issuer), id=run["id"])
    whole = result(call(views["get_run"], name, OPERATOR(issuer), id=run["id"]))
    versioned = call(
        views["get_run"], name, TOKENS[caller](issuer), id=run["id"], if_version=whole["version"]
    )
    line = log_line(TaskName(name))
    assert (line in json.dumps(response)) == (caller in MAY_SEE_LOG[name])
    if name not in VISIBLE.get(caller, []):
        assert (status, response) == expected(caller, UNKNOWN, {})
    elif caller in MAY_SEE_LOG[name]:
        log = response["result"]["log"]
        assert ([each["text"] for each in log["lines"]], log["lost"]) == ([line], 0)
    else:
        assert response["result"]["log"] is None
    if caller in MAY_SEE_LOG[name]:
        assert versioned == (200, {"result": {"version": whole["version"], "not_modified": True}})
    else:
        assert versioned == (status, response)


# Changes of tasks

CHANGES = {"run_task": {}, "suspend_task": {}, "resume_task": {}, "cancel_run": {"id": RUN}}
ONLY_OPERATORS = refusal(
    403,
    "PERMISSION_DENIED",
    "Only operators can change tasks. Ask an administrator of the project for the operator role.",
)
UNVERIFIED_SIGN_IN = refusal(
    503, "UNAVAILABLE", "Could not check whether your sign-in was revoked. Try again."
)


@pytest.fixture(scope="module")
def changing(results: dict[TaskName, list[str]], serve: Serve) -> dict[str, str]:
    """The address of each function that changes tasks; revocation of tokens cannot be checked there."""
    return {function: serve(function) for function in CHANGES}


@pytest.mark.parametrize("function", CHANGES)
@pytest.mark.parametrize("caller", TOKENS)
def test_only_operators_with_a_verified_sign_in_may_change_tasks(
    changing: dict[str, str], issuer: Issuer, world_before: dict[str, Any], caller: str, function: str
) -> None:
    """Operators are denied, too, while revocation of their token cannot be checked."""
    response = call(changing[function], LISTED, TOKENS[caller](issuer), reason="why", **CHANGES[function])
    if caller == "operator":
        assert response == UNVERIFIED_SIGN_IN
    elif caller in CALLERS:
        assert response == ONLY_OPERATORS
    else:
        assert response == expected(caller, LISTED, {})
    assert documents() == world_before


@pytest.fixture
def world_before(results: dict[TaskName, list[str]]) -> dict[str, Any]:
    return documents()


def documents() -> dict[str, Any]:
    """All status documents and run records, by path."""
    client = firebase.firestore_client()
    statuses = list(client.collection("nx-tasks").stream())
    runs = [run for status in statuses for run in status.reference.collection("nx-runs").stream()]
    return {found.reference.path: found.to_dict() for found in (*statuses, *runs)}
