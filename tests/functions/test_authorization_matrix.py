"""The authorisation matrix, on callables as they are deployed, with signed tokens and real App Check."""

import base64
import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest

from functions.authorization import UNVERIFIED
from shared import firebase
from shared.tasks import TaskName
from tests.functions.callable_protocol import PRIVATE
from tests.functions.conftest import Serve
from tests.functions.issuer import Issuer

LISTED, OTHER, UNKNOWN = "send_reset_sms", "collect_devices_health", "no_such_task"
NAMES = ", ".join(sorted(TaskName))
FORGER = Issuer()

#: A caller's token, None for no token at all.
Token = Callable[[Issuer], str | None]


def unsigned(_: Issuer) -> str:
    """As the Auth emulator makes them: the claims of a good token, and no signature."""
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
#: Which of LISTED and OTHER each of them may read.
CALLERS: dict[str, tuple[Token, set[str]]] = {
    "no claim": (lambda google: google.id_token(), set()),
    "malformed claims": (lambda google: google.id_token(role=["operator"], tasks=LISTED), set()),
    "viewer": (lambda google: google.id_token(role="viewer"), {LISTED, OTHER}),
    "allowed list": (lambda google: google.id_token(tasks=[LISTED, UNKNOWN]), {LISTED}),
    "operator": (lambda google: google.id_token(role="operator"), {LISTED, OTHER}),
}
#: A token whose claims are not honoured: anybody may have registered the address.
UNVERIFIED_CALLERS: dict[str, Token] = {
    "unverified operator": lambda google: google.id_token(
        role="operator", email="a@b.c", email_verified=False
    ),
    "unverified list": lambda google: google.id_token(tasks=[LISTED], email="a@b.c"),
}
#: What may be asked for beside the task's name.
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

#: What the caller's application shows where App Check is on.
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
    """Call a function; its whole answer, which shows nothing private."""
    data = {**({} if name is None else {"task_name": name}), **more}
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


def refusal(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"status": code, "message": message}}


UNAUTHENTICATED = refusal(401, "UNAUTHENTICATED", "Unauthenticated")
DENIED = refusal(
    403,
    "PERMISSION_DENIED",
    "You do not have access to this task. Ask an administrator of the project.",
)


def expected(caller: str, name: str, results: dict[TaskName, list[str]]) -> tuple[int, Any]:
    """What a caller is told who comes with a good application, or where none is asked for."""
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
def test_who_may_read_what(
    app_check_off: str, issuer: Issuer, results: dict[TaskName, list[str]], caller: str, name: str, form: str
) -> None:
    """With App Check off, claims alone decide, in each form; a forbidden task is as one that isn't there."""
    told = call(app_check_off, name, TOKENS[caller](issuer), **FORMS[form])
    wished = expected(caller, name, results)
    if wished[0] == 200 and form != "bare":
        assert told[0] == 200
        answer = told[1]["result"]
        assert answer["stale"] is False
        assert answer.get("data", answer.get("count")) in (wished[1]["result"], len(wished[1]["result"]))
    else:
        assert told == wished


@pytest.mark.parametrize("name", [LISTED, OTHER, UNKNOWN])
@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("caller", TOKENS)
def test_app_check_comes_before_claims(
    app_check_on: str, issuer: Issuer, results: dict[TaskName, list[str]], caller: str, app: str, name: str
) -> None:
    """With App Check on, whoever comes without a good application is refused, an operator as well."""
    told = call(app_check_on, name, TOKENS[caller](issuer), APPS[app](issuer))
    assert told == (expected(caller, name, results) if app == "good app" else UNAUTHENTICATED)


# Looking at tasks and their history

RUN = "no-such-run"
NOT_FOUND = refusal(404, "NOT_FOUND", "no run in the history of the task has this id")
NOTHING_TO_SEE = refusal(
    403, "PERMISSION_DENIED", "You do not have access to any task. Ask an administrator of the project."
)
#: What a caller may see of the tasks there are.
SEEN = {"viewer": sorted(TaskName), "operator": sorted(TaskName), "allowed list": [LISTED]}


@pytest.fixture(scope="module")
def looked_at(results: dict[TaskName, list[str]], serve: Serve) -> dict[str, str]:
    """Where each function is served that only looks."""
    return {function: serve(function) for function in ("list_tasks", "list_runs", "get_run")}


@pytest.mark.parametrize("caller", TOKENS)
def test_who_is_told_of_which_tasks(looked_at: dict[str, str], issuer: Issuer, caller: str) -> None:
    """A role opens all of them, a list those that it names, and whoever has neither is refused."""
    status, told = call(looked_at["list_tasks"], None, TOKENS[caller](issuer))
    if caller in SEEN:
        assert [task["name"] for task in told["result"]["tasks"]] == SEEN[caller]
    elif caller in CALLERS:
        assert (status, told) == NOTHING_TO_SEE
    else:
        assert (status, told) == expected(caller, LISTED, {})


@pytest.mark.parametrize("name", [LISTED, OTHER, "collect_charge_cdrs", UNKNOWN])
@pytest.mark.parametrize("caller", TOKENS)
def test_who_may_see_which_history(looked_at: dict[str, str], issuer: Issuer, caller: str, name: str) -> None:
    """Whose claims open a task sees its runs, also where the result is not for them; nobody else does."""
    listed = call(looked_at["list_runs"], name, TOKENS[caller](issuer))
    looked = call(looked_at["get_run"], name, TOKENS[caller](issuer), id=RUN)
    if name in SEEN.get(caller, []):
        assert [run["state"] for run in listed[1]["result"]["runs"]] == ["completed"]
        assert looked == NOT_FOUND
    else:
        assert listed == looked == expected(caller, UNKNOWN, {})


# Changing what tasks do

CHANGES = {"run_task": {}, "suspend_task": {}, "resume_task": {}, "cancel_run": {"id": RUN}}
ONLY_OPERATORS = refusal(
    403,
    "PERMISSION_DENIED",
    "Only operators can change tasks. Ask an administrator of the project for the operator role.",
)
UNTOLD = refusal(503, "UNAVAILABLE", "Could not check whether your sign-in was revoked. Try again.")


@pytest.fixture(scope="module")
def changing(results: dict[TaskName, list[str]], serve: Serve) -> dict[str, str]:
    """Where each function is served that changes something; nobody there can say whose tokens are good."""
    return {function: serve(function) for function in CHANGES}


@pytest.mark.parametrize("function", CHANGES)
@pytest.mark.parametrize("caller", TOKENS)
def test_who_may_change_anything(
    changing: dict[str, str], issuer: Issuer, world_before: dict[str, Any], caller: str, function: str
) -> None:
    """Operators alone, and not even they while it can't be told whether their token was revoked."""
    told = call(changing[function], LISTED, TOKENS[caller](issuer), reason="why", **CHANGES[function])
    if caller == "operator":
        assert told == UNTOLD
    elif caller in CALLERS:
        assert told == ONLY_OPERATORS
    else:
        assert told == expected(caller, LISTED, {})
    assert documents() == world_before


@pytest.fixture
def world_before(results: dict[TaskName, list[str]]) -> dict[str, Any]:
    return documents()


def documents() -> dict[str, Any]:
    """Every status document and every document of a history, by path."""
    client = firebase.firestore_client()
    statuses = list(client.collection("nx-tasks").stream())
    runs = [run for status in statuses for run in status.reference.collection("nx-runs").stream()]
    return {found.reference.path: found.to_dict() for found in (*statuses, *runs)}
