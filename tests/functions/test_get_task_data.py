"""The callable `get_task_data` on the real Functions emulator, its protocol spoken by hand."""

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
#: Seconds after which an instance must have found out about a new result.
MAX_AGE_AND_MORE = 15
GOOD = json.dumps({"data": {"task_name": TASK}}).encode()


@pytest.fixture(scope="module")
def token(stack: Addresses) -> str:
    """The ID token of the demo's operator."""
    demo_data.seed(datetime.now(UTC))
    return sign_in(stack, "operator@example.com")


def told(answer: Answer) -> tuple[int, Any]:
    """Everything that an answer tells."""
    return answer.status, answer.json


def refusal(status: int, code: str, message: str) -> tuple[int, Any]:
    """An error in the protocol's form, and nothing beside it."""
    return status, {"error": {"status": code, "message": message}}


def shortened(value: object) -> str:
    """A value as errors show it."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def unsigned(**claims: object) -> str:
    """A token as the Auth emulator makes them, good but for these claims."""
    now = int(time.time())
    good = {"iss": f"{ISSUERS}/demo-nx-tasks", "aud": "demo-nx-tasks", "sub": "forger"}
    good |= {"iat": now, "auth_time": now, "exp": now + 3600}
    parts = ({"alg": "none", "typ": "JWT"}, good | claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


# Reading


@pytest.mark.usefixtures("clean_firestore")
def test_where_nothing_is_found_the_answer_is_an_empty_list(stack: Addresses, token: str) -> None:
    """No document, no result: `[]`, and nothing is written."""
    answer = wait_for(
        "the result of an earlier test to be forgotten",
        lambda: found if not (found := call(stack, {"task_name": TASK}, token)).json["result"] else None,
        seconds=MAX_AGE_AND_MORE,
    )
    assert told(answer) == (200, {"result": []})
    assert list(firebase.firestore_client().collection("nx-tasks").stream()) == []


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_result_is_read_bare(stack: Addresses, token: str, save_in: str) -> None:
    """What the task returned, wherever it is kept, with nothing around it but the protocol's own `result`."""
    result = [{"id": "1", "health": "good", "kept": save_in}, {"id": "2", "reasons": [], "volts": None}]
    assert execute_task("test", TASK, lambda: result, {"save_in": save_in}).status == "completed"
    answer = wait_for(
        "the callable to serve the new result",
        lambda: (
            found if (found := call(stack, {"task_name": TASK}, token)).json["result"] == result else None
        ),
        seconds=MAX_AGE_AND_MORE,
    )
    assert told(answer) == (200, {"result": result})


def test_operator_and_viewer_may_read(stack: Addresses, token: str) -> None:
    """The demo's users have the claim `role`; test_authorization_matrix has the whole matrix."""
    for reader in (token, sign_in(stack, "viewer@example.com")):
        assert call(stack, {"task_name": TaskName.collect_charge_locations}, reader).status == 200


@pytest.mark.parametrize("name", [TASK, "no such task", None])
def test_a_user_without_a_claim_may_read_nothing(stack: Addresses, name: object) -> None:
    """Whoever signs up by themselves is told the same of every name."""
    told_to_user = told(call(stack, {"task_name": name}, sign_up(stack)))
    assert told_to_user == refusal(403, "PERMISSION_DENIED", DENIED)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_a_request_may_say_its_charset(stack: Addresses, token: str, content_type: str) -> None:
    """As the SDKs of some platforms do."""
    assert send(stack, GOOD, token=token, headers={"Content-Type": content_type}).status == 200


def test_a_body_need_not_tell_its_length(stack: Addresses, token: str) -> None:
    """A chunked request is answered like any other."""
    assert send(stack, GOOD, token=token, chunked=True).status == 200


# Who calls


@pytest.mark.parametrize("data", [{"task_name": TASK}, {"task_name": "no such task"}, None])
def test_nobody_signed_in_learns_nothing(stack: Addresses, data: object) -> None:
    """Without a token the answer is unauthenticated, whatever is asked for."""
    assert told(call(stack, data)) == refusal(401, "UNAUTHENTICATED", "not signed in; sign in first")


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
        pytest.param(unsigned(sub=""), id="nobody"),
        pytest.param(unsigned(sub=7), id="a number"),
    ],
)
def test_a_forged_token_is_no_caller(stack: Addresses, forged: str) -> None:
    """Garbage, another project's and one without a user are as good as none."""
    answer = call(stack, {"task_name": TASK}, forged)
    assert told(answer) == refusal(401, "UNAUTHENTICATED", "Unauthenticated")


def test_another_scheme_is_no_caller(stack: Addresses, token: str) -> None:
    """A good token counts as a bearer token only."""
    answer = send(stack, GOOD, headers={"Authorization": f"Basic {token}"})
    assert told(answer) == refusal(401, "UNAUTHENTICATED", "Unauthenticated")


# What is asked for


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
    """Any other text or type is invalid-argument; an operator gets the names of all tasks and the value."""
    message = UNKNOWN + shortened(name)
    answer = call(stack, {"task_name": name}, token, private=())
    assert told(answer) == refusal(400, "INVALID_ARGUMENT", message)


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
def test_the_fields_are_exact(stack: Addresses, token: str, data: object, problem: str) -> None:
    """A missing field and an unknown one are invalid-argument; the text has the accepted ones."""
    message = f"{problem}; send {FIELDS}"
    assert told(call(stack, data, token)) == refusal(400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize("data", [None, "collect_devices_health", 1, True, [], [{"task_name": TASK}]])
def test_data_is_an_object(stack: Addresses, token: str, data: object) -> None:
    """Anything else is invalid-argument; the text has the accepted fields and the value."""
    message = NO_OBJECT + json.dumps(data)
    assert told(call(stack, data, token)) == refusal(400, "INVALID_ARGUMENT", message)


# What is no call at all


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
def test_a_body_that_is_no_call_is_the_callers_mistake(stack: Addresses, token: str, body: bytes) -> None:
    """No JSON, no object, other fields beside `data`, numbers and depths beyond measure: never INTERNAL."""
    assert told(send(stack, body, token=token)) == refusal(400, "INVALID_ARGUMENT", NO_JSON)


@pytest.mark.parametrize("levels", [30, 31, 32, 500, 3_000])
def test_a_request_has_few_levels(stack: Addresses, token: str, levels: int) -> None:
    """32 of them, the body's own object among them: far more than a call has, far fewer than Python reads."""
    body = b'{"data": ' + b"[" * levels + b"]" * levels + b"}"
    message = TOO_DEEP if levels > 31 else NO_OBJECT + shortened(json.loads(body)["data"])
    assert told(send(stack, body, token=token)) == refusal(400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize("size", [65_537, 100_000, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length told", "chunked"])
def test_a_request_too_large_is_told_so(stack: Addresses, token: str, size: int, *, chunked: bool) -> None:
    """It gets an answer and no reset connection, and the one after it is served."""
    body = GOOD.ljust(size)
    assert told(send(stack, body, token=token, chunked=chunked)) == refusal(
        400, "INVALID_ARGUMENT", TOO_LARGE
    )
    assert send(stack, GOOD, token=token).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length told", "chunked"])
def test_the_largest_request_is_answered(stack: Addresses, token: str, *, chunked: bool) -> None:
    """65,536 bytes are not too many."""
    assert send(stack, GOOD.ljust(65_536), token=token, chunked=chunked).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_no_call(stack: Addresses, token: str, method: str) -> None:
    """A callable is posted to; anything else is invalid-argument."""
    answer = send(stack, None if method == "GET" else GOOD, token=token, method=method)
    assert told(answer) == refusal(400, "INVALID_ARGUMENT", f"the method must be POST, got {method}")


def test_a_head_request_is_no_call(stack: Addresses, token: str) -> None:
    """The same without a body."""
    answer = send(stack, None, token=token, method="HEAD")
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_call_is_json_and_says_so(stack: Addresses, token: str, content_type: str) -> None:
    """A form, which browsers send across origins without asking, is no call."""
    answer = send(stack, GOOD, token=token, headers={"Content-Type": content_type})
    assert told(answer) == refusal(400, "INVALID_ARGUMENT", "Bad Request")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_browser_may_ask_first(stack: Addresses, host: str) -> None:
    """The preflight of a page on this machine is answered with what the SDK sends, and runs nothing."""
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


def test_another_page_gets_no_leave(stack: Addresses, token: str) -> None:
    """Its browser is told nothing, before the call and with the answer."""
    for method in ("OPTIONS", "POST"):
        answer = send(stack, GOOD, token=token, method=method, headers={"Origin": "https://evil.example.com"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("body", [GOOD, b"no JSON", b'{"data": 1}', b'{"data": {"task_name": "x"}}'])
@pytest.mark.parametrize("signed_in", [True, False])
def test_no_answer_is_kept_on_the_way(stack: Addresses, token: str, body: bytes, *, signed_in: bool) -> None:
    """Results and refusals alike are this caller's alone."""
    answer = send(stack, body, token=token if signed_in else None)
    assert answer.headers["cache-control"] == "private, no-store"
