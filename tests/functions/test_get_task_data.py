"""The callable `get_task_data` on the real Functions emulator, without an SDK."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from emulators import demo_data
from emulators.environment import Addresses
from shared import firebase
from shared.tasks import TaskName, execute_task
from tests.functions.callable_protocol import Answer, call, send, sign_in, sign_up
from tests.waiting import wait_for

TASK = TaskName.send_reset_sms
NAMES = ", ".join(sorted(TaskName))
UNKNOWN = f"task_name must be one of {NAMES}, got "
DENIED = "You do not have access to this task. Ask an administrator of the project."
FIELDS = "{task_name, if_version?, describe?, details?}"
NO_OBJECT = f"the data must be an object {FIELDS}, got "
NO_JSON = 'the body must be a JSON object with the field "data" and no other'
TOO_DEEP = "the request must have at most 32 levels of lists and objects, got more"
TOO_LARGE = "the request must have at most 65536 bytes, got more"
ISSUERS = "https://securetoken.google.com"
#: Seconds after which an instance must serve a new result.
MAX_AGE_AND_MORE = 15
GOOD = json.dumps({"data": {"task_name": TASK}}).encode()


@pytest.fixture(scope="module")
def token(stack: Addresses) -> str:
    demo_data.seed(datetime.now(UTC))
    return sign_in(stack, "operator@example.com")


def content(answer: Answer) -> tuple[int, Any]:
    """Status and body of a response."""
    return answer.status, answer.json


def refusal(status: int, code: str, message: str) -> tuple[int, Any]:
    """An error in the form of the protocol, without other fields."""
    return status, {"error": {"status": code, "message": message}}


def shortened(value: object) -> str:
    """A value as errors show it."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def unsigned(**claims: object) -> str:
    """An unsigned token like those of the Auth emulator, valid except for these claims."""
    now = int(time.time())
    good = {"iss": f"{ISSUERS}/demo-nx-tasks", "aud": "demo-nx-tasks", "sub": "forger"}
    good |= {"iat": now, "auth_time": now, "exp": now + 3600}
    parts = ({"alg": "none", "typ": "JWT"}, good | claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


# Reading


@pytest.mark.usefixtures("clean_firestore")
def test_without_a_document_the_result_is_an_empty_list(stack: Addresses, token: str) -> None:
    """And no document is written."""
    answer = wait_for(
        "the result of an earlier test to be forgotten",
        lambda: found if not (found := call(stack, {"task_name": TASK}, token)).json["result"] else None,
        seconds=MAX_AGE_AND_MORE,
    )
    assert content(answer) == (200, {"result": []})
    assert list(firebase.firestore_client().collection("nx-tasks").stream()) == []


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_result_is_returned_without_additional_fields(stack: Addresses, token: str, save_in: str) -> None:
    """Whether it is stored in Firestore or in Storage."""
    result = [{"id": "1", "health": "good", "kept": save_in}, {"id": "2", "reasons": [], "volts": None}]
    assert execute_task("test", TASK, lambda: result, {"save_in": save_in}).status == "completed"
    answer = wait_for(
        "the callable to serve the new result",
        lambda: (
            found if (found := call(stack, {"task_name": TASK}, token)).json["result"] == result else None
        ),
        seconds=MAX_AGE_AND_MORE,
    )
    assert content(answer) == (200, {"result": result})


def test_operator_and_viewer_may_read(stack: Addresses, token: str) -> None:
    """The demo's users have the claim `role`; test_authorization_matrix covers all claims."""
    for reader in (token, sign_in(stack, "viewer@example.com")):
        assert call(stack, {"task_name": TaskName.collect_charge_locations}, reader).status == 200


@pytest.mark.parametrize("name", [TASK, "no such task", None])
def test_a_user_without_claims_is_denied(stack: Addresses, name: object) -> None:
    """A user who signed up gets the same message for every name."""
    response = content(call(stack, {"task_name": name}, sign_up(stack)))
    assert response == refusal(403, "PERMISSION_DENIED", DENIED)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_a_request_may_have_a_charset(stack: Addresses, token: str, content_type: str) -> None:
    """The SDKs of some platforms send one."""
    assert send(stack, GOOD, token=token, headers={"Content-Type": content_type}).status == 200


def test_a_chunked_request_is_accepted(stack: Addresses, token: str) -> None:
    assert send(stack, GOOD, token=token, chunked=True).status == 200


# Authentication


@pytest.mark.parametrize("data", [{"task_name": TASK}, {"task_name": "no such task"}, None])
def test_a_caller_without_a_token_is_unauthenticated(stack: Addresses, data: object) -> None:
    """Whatever it requests."""
    assert content(call(stack, data)) == refusal(401, "UNAUTHENTICATED", "not signed in; sign in first")


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("", id="empty"),
        pytest.param("garbage", id="garbage"),
        pytest.param("a.b.c", id="no base64"),
        pytest.param("e30.e30.", id="no claims"),
        pytest.param("null", id="null"),
        pytest.param("x" * 7000, id="long"),
        pytest.param(unsigned(iss=f"{ISSUERS}/demo-other", aud="demo-other"), id="another project's"),
        pytest.param(unsigned(aud="demo-other"), id="for another project"),
        pytest.param(unsigned(iss=f"{ISSUERS}/demo-other"), id="by another issuer"),
        pytest.param(unsigned(sub=""), id="no user"),
        pytest.param(unsigned(sub=7), id="a number"),
    ],
)
def test_an_invalid_token_is_unauthenticated(stack: Addresses, forged: str) -> None:
    """Garbage, a token of another project, and one without a user."""
    answer = call(stack, {"task_name": TASK}, forged)
    assert content(answer) == refusal(401, "UNAUTHENTICATED", "Unauthenticated")


def test_a_token_with_another_scheme_is_unauthenticated(stack: Addresses, token: str) -> None:
    """A valid token counts only as a bearer token."""
    answer = send(stack, GOOD, headers={"Authorization": f"Basic {token}"})
    assert content(answer) == refusal(401, "UNAUTHENTICATED", "Unauthenticated")


# Valid and invalid data


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "send_reset_sms ",
        "SEND_RESET_SMS",
        "no_such_task",
        "../x",
        "a/b",
        "..",
        "nx-tasks/collect_devices_health",
        "tasks_data/collect_devices_health.json",
        "collect_devices_health\n",
        "\x00\x1b[2J",
        "\ud800",
        "__name__",
        "{0.__class__}",
        "%s%n",
        "x" * 60_000,
        7,
        0.5,
        True,
        None,
        [],
        ["collect_devices_health"],
        {},
        {"task_name": "collect_devices_health"},
        float("nan"),
    ],
    ids=lambda name: repr(name)[:24],
)
def test_unknown_task_name_is_invalid(stack: Addresses, token: str, name: object) -> None:
    """An operator gets the names of all tasks and the value."""
    message = UNKNOWN + shortened(name)
    answer = call(stack, {"task_name": name}, token, private=())
    assert content(answer) == refusal(400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "task_name is missing"),
        ({"taskName": TASK}, "task_name is missing"),
        ({"task_name": TASK, "extra": None}, 'unknown field "extra"'),
        ({"task_name": TASK, "if_version": None, "describe": True, "more": 1}, 'unknown field "more"'),
        ({"task_name": TASK, "__proto__": {}}, 'unknown field "__proto__"'),
    ],
)
def test_missing_and_unknown_fields_are_invalid(
    stack: Addresses, token: str, data: object, problem: str
) -> None:
    """The message lists the accepted fields."""
    message = f"{problem}; send {FIELDS}"
    assert content(call(stack, data, token)) == refusal(400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize("data", [None, "collect_devices_health", 1, True, [], [{"task_name": TASK}]])
def test_data_must_be_an_object(stack: Addresses, token: str, data: object) -> None:
    """The message has the accepted fields and the value."""
    message = NO_OBJECT + json.dumps(data)
    assert content(call(stack, data, token)) == refusal(400, "INVALID_ARGUMENT", message)


# Invalid calls


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{",
        b"null",
        b"1",
        b'"data"',
        b"[]",
        b"{}",
        b'{"Data": {}}',
        GOOD[:-1] + b', "extra": 1}',
        GOOD + GOOD,
        b'{"data": "\xff\xfe"}',
        b'{"data": ' + b"9" * 5000 + b"}",
        b'{"data": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"<data/>",
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_an_invalid_body_is_an_invalid_argument(stack: Addresses, token: str, body: bytes) -> None:
    """Invalid JSON, another type, other fields, and excessive numbers or depths never give INTERNAL."""
    assert content(send(stack, body, token=token)) == refusal(400, "INVALID_ARGUMENT", NO_JSON)


@pytest.mark.parametrize("levels", [30, 31, 32, 500, 3_000])
def test_the_depth_of_a_request_is_limited(stack: Addresses, token: str, levels: int) -> None:
    """To 32 levels including the body's object, far below Python's limit."""
    body = b'{"data": ' + b"[" * levels + b"]" * levels + b"}"
    message = TOO_DEEP if levels > 31 else NO_OBJECT + shortened(json.loads(body)["data"])
    assert content(send(stack, body, token=token)) == refusal(400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize("size", [65_537, 100_000, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
def test_a_request_that_is_too_large_is_refused(
    stack: Addresses, token: str, size: int, *, chunked: bool
) -> None:
    """With a response instead of a reset connection; the next request is served."""
    body = GOOD.ljust(size)
    assert content(send(stack, body, token=token, chunked=chunked)) == refusal(
        400, "INVALID_ARGUMENT", TOO_LARGE
    )
    assert send(stack, GOOD, token=token).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
def test_a_request_of_the_largest_size_is_accepted(stack: Addresses, token: str, *, chunked: bool) -> None:
    """65,536 bytes."""
    assert send(stack, GOOD.ljust(65_536), token=token, chunked=chunked).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_an_invalid_argument(stack: Addresses, token: str, method: str) -> None:
    answer = send(stack, None if method == "GET" else GOOD, token=token, method=method)
    assert content(answer) == refusal(400, "INVALID_ARGUMENT", f"the method must be POST, got {method}")


def test_a_head_request_is_an_invalid_argument(stack: Addresses, token: str) -> None:
    """Without a body."""
    answer = send(stack, None, token=token, method="HEAD")
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_must_be_json(stack: Addresses, token: str, content_type: str) -> None:
    """Browsers send forms to other origins without a preflight request."""
    answer = send(stack, GOOD, token=token, headers={"Content-Type": content_type})
    assert content(answer) == refusal(400, "INVALID_ARGUMENT", "Bad Request")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_preflight_request_of_a_local_page_is_allowed(stack: Addresses, host: str) -> None:
    """It allows the headers of the SDK and runs no function."""
    origin = f"http://{host}:{stack.hosting.rpartition(':')[2]}"
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = send(stack, None, method="OPTIONS", headers=asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert answer.headers["access-control-allow-methods"] == "POST"


def test_another_page_gets_no_cors_headers(stack: Addresses, token: str) -> None:
    """Neither in the preflight response nor with the result."""
    for method in ("OPTIONS", "POST"):
        answer = send(stack, GOOD, token=token, method=method, headers={"Origin": "https://evil.example.com"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("body", [GOOD, b"no JSON", b'{"data": 1}', b'{"data": {"task_name": "x"}}'])
@pytest.mark.parametrize("signed_in", [True, False])
def test_responses_must_not_be_cached(stack: Addresses, token: str, body: bytes, *, signed_in: bool) -> None:
    """Neither results nor errors."""
    answer = send(stack, body, token=token if signed_in else None)
    assert answer.headers["cache-control"] == "private, no-store"
