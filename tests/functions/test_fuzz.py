"""Requests of every kind to callables as deployed: none causes an error or reveals anything."""

import gzip
import http.client
import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.tasks import TaskName
from tests.functions.callable_protocol import PRIVATE
from tests.functions.conftest import Serve
from tests.functions.issuer import Issuer

NAMES = [task.value for task in TaskName]
JSON_TYPE = "application/json"
FIELDS = "{task_name, if_version?, describe?, details?}"
#: The messages of responses without a result that do not depend on the request; `refusals` adds the others.
REFUSALS = {
    (400, 'the body must be a JSON object with the field "data" and no other'),
    (400, "the request must have at most 65536 bytes, got more"),
    (400, "the request must have at most 32 levels of lists and objects, got more"),
    (400, f"task_name is missing; send {FIELDS}"),
    (400, "Bad Request"),
    (401, "Unauthenticated"),
    (401, "not signed in; sign in first"),
    (403, "You do not have access to this task. Ask an administrator of the project."),
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = (
    st.sampled_from(NAMES) | st.text() | st.sampled_from(["..", "../x", "a/b", "__x__", "%s", "{0}", "\0"])
)
good_calls = st.fixed_dictionaries(
    {"task_name": st.sampled_from(NAMES)},
    optional={"if_version": st.none() | st.text(max_size=8), "describe": st.booleans()},
)
calls = st.one_of(
    st.fixed_dictionaries({"task_name": names}),
    st.fixed_dictionaries(
        {"task_name": names | values}, optional={"if_version": values, "describe": values, "": values}
    ),
    values,
)
bodies = st.one_of(
    st.fixed_dictionaries({"data": calls}).map(json.dumps),
    st.fixed_dictionaries({"data": calls}, optional={"x": values}).map(json.dumps),
    values.map(json.dumps),
    st.integers(0, 40_000).map(lambda depth: '{"data": ' + "[" * depth + "]" * depth + "}"),
    st.integers(65_000, 70_000).map('{"data": {}}'.ljust),
).map(str.encode) | st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda call, at, piece: (body := json.dumps({"data": call}).encode())[:at] + piece + body[at:],
        good_calls,
        st.integers(0, 60),
        st.binary(min_size=1, max_size=4),
    ),
)
good_claims = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["viewer", "operator"])}),
    st.fixed_dictionaries({"tasks": st.lists(st.sampled_from(NAMES), unique=True)}),
    st.just({}),
)
claims = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["viewer", "operator", "Operator", ""]) | values,
        "tasks": st.lists(st.sampled_from(NAMES) | st.text(), max_size=4) | values,
        "admin": values,
    },
)
#: Characters that an HTTP header may contain.
lines = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Accept-Encoding",
            "Access-Control-Request-Headers",
            "Access-Control-Request-Method",
            "Content-Encoding",
            "Cookie",
            "Firebase-Instance-ID-Token",
            "Function-Execution-Id",
            "Origin",
            "Range",
            "X-Cloud-Trace-Context",
            "X-Firebase-AppCheck",
            "X-Forwarded-For",
            "X-HTTP-Method-Override",
            "traceparent",
        ]
    ),
    lines | st.sampled_from(["gzip", "https://demo-nx-tasks.web.app", "DELETE", "null", "*"]),
    max_size=4,
)
content_types = st.one_of(
    st.sampled_from(
        [JSON_TYPE] * 6 + [f"{JSON_TYPE}; charset=utf-16", "text/plain", "multipart/form-data", ""]
    ),
    lines,
    lines.map(lambda rest: f"{JSON_TYPE};{rest}"),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request. `claims` are those of a valid token; `authorization` replaces it, "" removes the header."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    content_type: str
    claims: dict[str, Any]
    authorization: str | None

    def reads(self) -> str | None:
        """The task whose result a valid call requests; None for an invalid call."""
        try:
            name = json.loads(self.body)["data"]["task_name"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        if (
            self.authorization is not None
            or self.method != "POST"
            or not isinstance(name, str)
            or name not in NAMES
        ):
            return None
        role, listed = self.claims.get("role"), self.claims.get("tasks")
        allowed = role in ("viewer", "operator") or (isinstance(listed, list) and name in listed)
        return name if allowed else None


#: Each part of a request: its valid values and others.
PARTS = {
    "method": (st.just("POST"), st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "X-Y"])),
    "path": (
        st.just("/"),
        st.sampled_from(["/get_task_data", "/../../etc/passwd", "/?x=%00", "//x", "/%ff"]),
    ),
    "body": (good_calls.map(lambda call: json.dumps({"data": call}).encode()), bodies),
    "headers": (st.just({}), headers),
    "content_type": (st.just(JSON_TYPE), content_types),
    "claims": (good_claims, claims),
    "authorization": (st.just(None), st.just("") | lines | lines.map(lambda token: f"Bearer {token}")),
}


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A valid call with some invalid parts; with all invalid, only the first would be tested."""
    strange = draw(st.sets(st.sampled_from(sorted(PARTS)), max_size=3))
    parts = {name: draw(pair[name in strange]) for name, pair in PARTS.items()}
    return Sent(**parts)


def refusals(sent: Sent) -> set[tuple[int, str]]:
    """The messages that contain a value of this request as shortened JSON, from its own fields only."""
    if sent.method != "POST":
        return {(400, f"the method must be POST, got {sent.method}")}
    try:
        data = json.loads(sent.body)["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()
    if not isinstance(data, dict):
        return {(400, f"the data must be an object {FIELDS}, got {shortened(data)}")}
    kinds = {
        "task_name": f"one of {', '.join(sorted(NAMES))}",
        "if_version": "text or null",
        "describe": "true or false",
        "details": "true or false",
    }
    return {
        (400, f"{name} must be {kinds[name]}, got {shortened(value)}")
        if name in kinds
        else (400, f"unknown field {shortened(name)}; send {FIELDS}")
        for name, value in data.items()
    }


def shortened(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


@pytest.fixture(scope="module")
def address(results: dict[TaskName, list[str]], serve: Serve) -> str:
    return serve()


def send(address: str, sent: Sent, issuer: Issuer) -> tuple[int, http.client.HTTPMessage, bytes]:
    headers = dict(sent.headers)
    if sent.content_type:
        headers["Content-Type"] = sent.content_type
    if sent.authorization is None:
        headers["Authorization"] = f"Bearer {issuer.id_token(**sent.claims)}"
    elif sent.authorization:
        headers["Authorization"] = sent.authorization
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(sent.method, sent.path, sent.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def check(sent: Sent, status: int, headers: http.client.HTTPMessage, body: bytes, results: Any) -> None:
    """Assert that a response is the call's own result or one of the known errors, exactly."""
    assert headers["Cache-Control"] == "private, no-store"
    if headers["Access-Control-Allow-Origin"] is not None:
        assert sent.headers["Origin"] == "https://demo-nx-tasks.web.app"
    if status == 204:
        assert (sent.method, body) == ("OPTIONS", b"")
        return
    if sent.method == "HEAD":
        assert (status, body) == (400, b"")
        return
    assert not [word for word in PRIVATE if word.encode() in body]
    response = json.loads(gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body)
    if status == 200:
        name = sent.reads()
        assert name is not None
        check_result(json.loads(sent.body)["data"], response, results[name])
        return
    assert (status, response["error"]["message"]) in REFUSALS | refusals(sent)
    assert response["error"].keys() == {"status", "message"}
    if "one of" in response["error"]["message"]:
        assert sent.claims.get("role") == "operator"


def check_result(call: dict[str, Any], response: Any, result: Any) -> None:
    """Assert that the response has the requested form and contains no other task's result."""
    if call.get("describe"):
        description = response["result"]
        assert (description["count"], "data" in description) == (len(result), False)
    elif "if_version" in call:
        versioned = response["result"]
        assert versioned.keys() == {"version", "completed", "stale", "data"}
        assert versioned["data"] == result
    else:
        assert response == {"result": result}


@pytest.mark.parametrize(
    "examples", [pytest.param(2_500, id="2,500"), pytest.param(50_000, id="50,000", marks=pytest.mark.full)]
)
def test_any_request_gets_its_result_or_a_known_error(
    address: str, issuer: Issuer, results: dict[TaskName, list[str]], log: Path, examples: int
) -> None:
    """No INTERNAL, traceback or path; every kind of response occurs."""
    met: Counter[int] = Counter()

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(requests())
    def fuzz(sent: Sent) -> None:
        status, headers, body = send(address, sent, issuer)
        check(sent, status, headers, body, results)
        met[status] += 1

    fuzz()
    assert met.total() >= examples
    assert met.keys() == {200, 204, 400, 401, 403}, met
    assert "callable failed function=" not in log.read_text("utf-8", "replace")


#: Values of the fields of `list_timeline`: valid ones, almost valid ones, and any others.
times = st.one_of(
    st.datetimes(timezones=st.just(UTC) | st.timezones()).map(lambda moment: moment.isoformat()),
    st.integers(0, 40 * 24).map(lambda hours: (datetime.now(UTC) - timedelta(hours=hours)).isoformat()),
    values,
)
timeline_calls = st.fixed_dictionaries(
    {"since": times},
    optional={
        "until": times,
        "changed_since": times,
        "task_names": st.lists(names, max_size=4) | values,
        "cursors": st.dictionaries(names, st.text(max_size=8), max_size=3) | values,
        "limit": st.integers(-1, 3_000) | values,
        "": values,
    },
)


@pytest.mark.parametrize(
    "examples", [pytest.param(1_000, id="1,000"), pytest.param(10_000, id="10,000", marks=pytest.mark.full)]
)
def test_any_timeline_request_gets_an_answer_or_a_known_error(
    results: dict[TaskName, list[str]], serve: Serve, issuer: Issuer, log: Path, examples: int
) -> None:
    """The answer contains only tasks that the caller may see; the error states the field and its value."""
    address, met = serve("list_timeline"), Counter[int]()
    begins = re.compile(
        "(since|until|changed_since|task_names?|cursors|limit) must be |unknown field |since is "
    )

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(timeline_calls, st.sampled_from([{"role": "operator"}, {"tasks": NAMES[:1]}, {}]))
    def fuzz(data: dict[str, Any], claims: dict[str, Any]) -> None:
        sent = Sent("POST", "/", json.dumps({"data": data}).encode(), {}, JSON_TYPE, claims, None)
        status, _, body = send(address, sent, issuer)
        met[status] += 1
        assert not [word for word in PRIVATE if word.encode() in body]
        response = json.loads(body)
        if status == 200:
            visible = NAMES if "role" in claims else claims["tasks"]
            assert {task["name"] for task in response["result"]["tasks"]} <= {*visible}
        elif status == 400:
            assert begins.match(response["error"]["message"]), response
        else:
            assert (status, response["error"]["status"]) == (403, "PERMISSION_DENIED")

    fuzz()
    assert met.keys() == {200, 400, 403}, met
    assert "callable failed function=" not in log.read_text("utf-8", "replace")
