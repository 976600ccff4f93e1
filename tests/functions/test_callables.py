"""What callables share: how errors are told, and who is let in. No stack is needed for it."""

from typing import Any, NoReturn

import grpc
import pytest
from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError

import main
from functions.callables import callable_function
from shared import tasks
from shared.firebase import FirestoreWire
from shared.tasks import ResultUnavailable, TaskEngine, UnknownTask
from shared.tasks.store import Store
from tests.functions.front import front

SECRET = "gs://bucket/tasks_data at /srv/private"


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the local stack sets it: a project, and no App Check."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")


def told(raised: Exception) -> tuple[int, Any]:
    """What a caller is told where the function raises that."""

    def failing(request: CallableRequest[Any]) -> NoReturn:
        raise raised

    answer = front(callable_function()(failing)).post("/", json={"data": {}})
    return answer.status_code, answer.json


def error(status: str, message: str) -> dict[str, Any]:
    return {"error": {"status": status, "message": message}}


def test_an_outage_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    """The caller is told to try again, the log why."""
    message = "the result can't be read now; try again later"
    assert told(ResultUnavailable(SECRET)) == (503, error("UNAVAILABLE", message))
    assert SECRET in capsys.readouterr().out


def test_whatever_else_fails_is_internal_and_generic(capsys: pytest.CaptureFixture[str]) -> None:
    """No text of an exception reaches a caller; the log has it."""
    assert told(RuntimeError(SECRET)) == (500, error("INTERNAL", "this failed; the log says why"))
    assert SECRET in capsys.readouterr().out


def test_an_unknown_task_is_the_callers_mistake() -> None:
    """Where the engine finds it out, too."""
    status, answer = told(UnknownTask("x", ["a", "b"]))
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer["error"]["message"].startswith(
        "unknown task_name; task_name is one of collect_charge_cdrs,"
    )


def test_an_error_meant_for_the_caller_reaches_it() -> None:
    """An HttpsError is told as it is."""
    raised = HttpsError(FunctionsErrorCode.PERMISSION_DENIED, "operators only")
    assert told(raised) == (403, error("PERMISSION_DENIED", "operators only"))


def test_firestore_out_of_reach_is_no_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is told as one: `[]` would say that there is no result."""
    with grpc.insecure_channel("127.0.0.1:1") as nowhere:
        wire = FirestoreWire(nowhere, "projects/demo-nx-tasks/databases/(default)", ())
        monkeypatch.setattr(tasks, "_engine", TaskEngine(store=Store(lambda: wire, call_seconds=0.1)))
        function = callable_function()(lambda request: tasks.get_task_data(request.data["task_name"]))
        answer = front(function).post("/", json={"data": {"task_name": "send_reset_sms"}})
    assert (answer.status_code, answer.json["error"]["status"]) == (503, "UNAVAILABLE")


@pytest.mark.parametrize("headers", [{}, {"X-Firebase-AppCheck": "garbage"}])
def test_app_check_is_enforced_unless_it_is_off(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """Where no setting says "off", a caller without a good App Check token is unauthenticated."""
    monkeypatch.delenv("NX_TASKS_APP_CHECK")
    function = callable_function()(str)
    answer = front(function).post("/", json={"data": {}}, headers=headers)
    assert (answer.status_code, answer.json) == (401, error("UNAUTHENTICATED", "Unauthenticated"))


def test_the_wrapper_keeps_what_discovery_reads() -> None:
    """Entry point, trigger, region and memory of the deployed callable are on what main.py exports."""
    endpoint = main.get_task_data.__firebase_endpoint__
    assert (endpoint.entryPoint, endpoint.callableTrigger) == ("get_task_data", {})
    assert (endpoint.region, endpoint.availableMemoryMb) == (["us-central1"], 512)
