"""What all callables share, errors and access; needs no stack."""

import io
import re
import runpy
import tracemalloc
from typing import Any, NoReturn

import grpc
import jwt
import pytest
from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError

import main
from functions.callable_endpoint import CONCURRENCY, callable_function
from shared import firebase, tasks
from shared.firebase import FirestoreWire
from shared.tasks import ResultUnavailable, TaskEngine, UnknownTask
from shared.tasks.backends.firestore import Store
from tests.functions.front import front
from tests.support.engines import use_engine

SECRET = "gs://bucket/tasks_data at /srv/private"


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the local stack: a project, and no App Check."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")


def response(raised: Exception) -> tuple[int, Any]:
    """The response of a function that raises this exception."""

    def failing(request: CallableRequest[Any]) -> NoReturn:
        raise raised

    answer = front(callable_function()(failing)).post("/", json={"data": {}})
    return answer.status_code, answer.json


def error(status: str, message: str) -> dict[str, Any]:
    return {"error": {"status": status, "message": message}}


def test_an_outage_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    """The response asks the caller to try again; the log has the cause."""
    message = "the result cannot be read now; try again later"
    assert response(ResultUnavailable(SECRET)) == (503, error("UNAVAILABLE", message))
    assert SECRET in capsys.readouterr().out


def test_any_other_error_is_internal_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The text is in the log only."""
    assert response(RuntimeError(SECRET)) == (
        500,
        error("INTERNAL", "The call failed. The log contains the reason."),
    )
    assert SECRET in capsys.readouterr().out


def test_an_unknown_task_is_an_invalid_argument() -> None:
    """Also when the engine raises it; the message lists no tasks, because any caller may receive it."""
    status, answer = response(UnknownTask("x", ["a", "b"]))
    assert (status, answer) == (400, error("INVALID_ARGUMENT", "unknown task_name"))


class Endless(io.RawIOBase):
    """A body of unknown length with `left` bytes."""

    left = 64 * 1024 * 1024

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.left -= (size := min(len(buffer), self.left))
        buffer[:size] = b" " * size
        return size


def test_a_body_of_unknown_length_is_not_kept_in_memory() -> None:
    """The part beyond the limit is read and discarded, so that the client gets the error."""
    body = Endless()
    client = front(callable_function()(lambda _: None))  # type: ignore[arg-type]
    environ = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    tracemalloc.start()
    try:
        answer = client.post("/", environ_overrides=environ, content_type="application/json")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.status_code, body.left) == (400, 0)
    assert peak < 4 * 1024 * 1024


def test_an_error_meant_for_the_caller_reaches_it() -> None:
    """An HttpsError is returned unchanged."""
    raised = HttpsError(FunctionsErrorCode.PERMISSION_DENIED, "operators only")
    assert response(raised) == (403, error("PERMISSION_DENIED", "operators only"))


def test_an_unreachable_firestore_is_an_error_and_not_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """`[]` would mean that there is no result."""
    with grpc.insecure_channel("127.0.0.1:1") as nowhere:
        wire = FirestoreWire(nowhere, "projects/demo-nx-tasks/databases/(default)", ())
        use_engine(monkeypatch, TaskEngine(store=Store(lambda: wire, call_seconds=0.1)))
        function = callable_function()(lambda request: tasks.get_task_data(request.data["task_name"]))
        answer = front(function).post("/", json={"data": {"task_name": "send_reset_sms"}})
    assert (answer.status_code, answer.json["error"]["status"]) == (503, "UNAVAILABLE")


def bearer(**claims: object) -> dict[str, str]:
    """The header of a caller with these claims, as the Auth emulator signs in."""
    project = "demo-nx-tasks"
    good = {"iss": f"https://securetoken.google.com/{project}", "aud": project, "sub": "user"}
    token = jwt.encode({**good, **claims}, None, algorithm="none")
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("claims", [{}, {"tasks": ["collect_charge_cdrs"]}], ids=str)
def test_a_caller_is_denied_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, claims: dict[str, object]
) -> None:
    """A denied caller gets neither an outage of Firestore nor a cached result."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:1")
    with grpc.insecure_channel("127.0.0.1:1") as nowhere:
        wire = FirestoreWire(nowhere, "projects/demo-nx-tasks/databases/(default)", ())
        use_engine(monkeypatch, TaskEngine(store=Store(lambda: wire, call_seconds=0.1)))
        client = front(runpy.run_path("functions/callable/get_task_data.py")["get_task_data"])
        call = {"data": {"task_name": "send_reset_sms"}}
        denied = client.post("/", json=call, headers=bearer(**claims))
        unread = client.post("/", json=call, headers=bearer(role="viewer"))
        tasks.save_task_data_in_cache("send_reset_sms", [SECRET])
        denied_again = client.post("/", json=call, headers=bearer(**claims))
    assert (unread.status_code, unread.json["error"]["status"]) == (503, "UNAVAILABLE")
    assert (denied.status_code, denied.json["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert (denied_again.status_code, denied_again.json) == (403, denied.json)


def test_a_caller_over_its_rate_gets_the_time_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other callers are served, and callers that are not signed in have no effect on them."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setenv("NX_TASKS_CALLS_PER_MINUTE", "2")
    client = front(callable_function()(lambda _: "served"))

    def call(uid: str | None) -> Any:
        return client.post("/", json={"data": None}, headers={} if uid is None else bearer(sub=uid))

    assert [call(uid).status_code for uid in ("a", None, None, None, "a", "b")] == [200] * 6
    refused = call("a")
    wait = refused.json["error"]["details"]["retry_after_seconds"]
    assert refused.status_code == 429
    assert refused.headers["Cache-Control"] == "private, no-store"
    assert 0 < wait <= 30
    message = f"more than 2 calls in a minute; call again in {wait} s"
    assert refused.json == {
        "error": {
            "status": "RESOURCE_EXHAUSTED",
            "message": message,
            "details": {"retry_after_seconds": wait},
        }
    }


def test_the_rate_limit_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the local stack."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setenv("NX_TASKS_CALLS_PER_MINUTE", "0")
    client = front(callable_function()(lambda _: "served"))
    for _ in range(400):
        assert client.post("/", json={"data": None}, headers=bearer()).status_code == 200


def test_an_auth_emulator_in_the_cloud_makes_the_callable_unavailable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise that variable would make unsigned tokens valid."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    monkeypatch.setenv("K_REVISION", "get-task-data-00001-abc")
    monkeypatch.setattr(firebase, "_made", {})
    answer = front(callable_function()(lambda _: "served")).post("/", json={"data": 1}, headers=bearer())
    assert (answer.status_code, answer.json) == (500, error("INTERNAL", "INTERNAL"))
    assert "FIREBASE_AUTH_EMULATOR_HOST must not be set in the cloud" in capsys.readouterr().out


@pytest.mark.parametrize("headers", [{}, {"X-Firebase-AppCheck": "garbage"}])
def test_app_check_is_enforced_unless_it_is_off(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """A caller without a valid App Check token is unauthenticated."""
    monkeypatch.delenv("NX_TASKS_APP_CHECK")
    function = callable_function()(str)
    answer = front(function).post("/", json={"data": {}}, headers=headers)
    assert (answer.status_code, answer.json) == (401, error("UNAUTHENTICATED", "Unauthenticated"))


def test_the_wrapper_keeps_what_discovery_reads() -> None:
    """Entry point, trigger, region and memory are on the exports of main.py."""
    endpoint = main.get_task_data.__firebase_endpoint__
    assert (endpoint.entryPoint, endpoint.callableTrigger) == ("get_task_data", {})
    assert (endpoint.region, endpoint.availableMemoryMb) == (["us-central1"], 512)
    assert endpoint.concurrency == CONCURRENCY == 80


def test_denied_callers_are_logged_and_admitted_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Invalid tokens are worth a log entry, ordinary reads are not."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:1")
    caplog.set_level("INFO")
    client = front(callable_function()(lambda _: "served"))
    assert client.post("/", json={"data": None}, headers=bearer()).status_code == 200
    assert not caplog.messages
    assert client.post("/", json={"data": None}, headers={"Authorization": "Bearer x"}).status_code == 401
    assert "Auth token was rejected." in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": "512MB"}, "memory of ping must be one of 128, 256, "),
        ({"cpu": "lots"}, "cpu of ping must be a positive number or \"gcf_gen1\", got 'lots'"),
        ({"enforce_app_check": True}, "option enforce_app_check, got True; set NX_TASKS_APP_CHECK"),
    ],
)
def test_invalid_options_of_a_callable_are_refused(options: dict[str, Any], text: str) -> None:
    """Before firebase-tools reads the manifest."""

    def ping(request: CallableRequest[Any]) -> Any:
        return request.data

    with pytest.raises(ValueError, match=re.escape(text)):
        callable_function(**options)(ping)


def test_a_callable_without_one_parameter_is_refused() -> None:
    """The SDK calls it with the request."""

    def ping() -> None:
        pass

    with pytest.raises(ValueError, match=re.escape("ping must have one parameter, the request, got ping()")):
        callable_function()(ping)  # type: ignore[arg-type]
