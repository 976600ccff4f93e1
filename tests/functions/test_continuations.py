"""Deliveries of Cloud Tasks: a valid one continues its run, and any other starts nothing."""

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from functions import scheduled_endpoint
from functions.scheduled_endpoint import MAX_BODY_BYTES, scheduled_task
from shared.tasks import TaskOutcome, TaskSpec, specs
from shared.tasks.documents.run_ids import request_run_id, run_id_of
from shared.tasks.options import Continuation
from tests.functions.front import front
from tests.support.long_runs import TICK
from tests.support.world import TASK

#: Also with the headers of Cloud Scheduler, which a caller may send with those of Cloud Tasks.
HEADERS = {
    "X-CloudTasks-QueueName": "nx-runs",
    "X-CloudScheduler-JobName": "job",
    "X-CloudScheduler-ScheduleTime": "2026-11-24T12:00:00Z",
    "Content-Type": "application/json",
}
BODY: dict[str, Any] = {"task_name": TASK.value, "run_id": run_id_of(TICK), "leg": 2}
VALID = json.dumps(BODY).encode()

Received = list[tuple[str, Any]]


@pytest.fixture
def received() -> Received:
    """The arguments with which the endpoint called `execute_task`: source and options."""
    return []


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch, received: Received) -> FlaskClient:
    """The function of `TASK`, which only records its deliveries."""
    monkeypatch.setattr(specs, "REGISTERED", {})

    def execute(source: str, _: Any, __: Any, options: Any) -> TaskOutcome:
        received.append((source, options))
        return TaskOutcome("a run", "waiting")

    monkeypatch.setattr(scheduled_endpoint, "execute_task", execute)

    def collect_charge_cdrs() -> None:
        pass

    return front(scheduled_task(TaskSpec(TASK, schedule="*/5 * * * *"))(collect_charge_cdrs))


def post(function: FlaskClient, body: bytes, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return function.post("/", data=body, headers={**HEADERS, **named})


@pytest.mark.parametrize("run_id", [run_id_of(TICK), request_run_id(TICK), "5f0c" * 8])
def test_a_continuation_continues_its_run(function: FlaskClient, received: Received, run_id: str) -> None:
    """It is not taken for a tick, whatever its other headers are."""
    answer = post(function, json.dumps({**BODY, "run_id": run_id}).encode())
    assert (answer.status_code, answer.text) == (200, "ok")
    ((source, options),) = received
    assert source == "cloud tasks"
    assert options.continuation == Continuation(run_id, 2)
    assert (options.scheduled_for, options.schedule_time) == (None, None)


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", f"1 to {MAX_BODY_BYTES} bytes, got 0"),
    "no JSON": (b"{", "is not a continuation"),
    "no UTF-8": (VALID.replace(b"2026", b"\xff"), "is not a continuation"),
    "an array": (b"[]", "Expected `object`, got `array`"),
    "deep": (b'{"run_id":' + b"[" * 1_500, "is not a continuation"),
    "two values": (VALID + VALID, "is not a continuation"),
    "too large": (VALID + b" " * MAX_BODY_BYTES, f"1 to {MAX_BODY_BYTES} bytes, got 2"),
    "without a leg": (json.dumps({**BODY, "leg": None}).encode(), "Expected `int`, got `null`"),
    "lacking the run": (b'{"task_name":"collect_charge_cdrs","leg":2}', "missing required field `run_id`"),
    "another task": (json.dumps({**BODY, "task_name": "send_reset_sms"}).encode(), "not of collect_charge"),
    "an unknown task": (json.dumps({**BODY, "task_name": "watch_tasks"}).encode(), "Invalid enum value"),
    "an unknown field": (json.dumps({**BODY, "token": "t"}).encode(), "unknown field `token`"),
    **{
        f"leg {leg}": (json.dumps({**BODY, "leg": leg}).encode(), "- at `$.leg`")
        for leg in (0, -1, 1.5, 1_000_001, "2")
    },
    **{
        f"run {run_id[:9]!r}": (json.dumps({**BODY, "run_id": run_id}).encode(), "- at `$.run_id`")
        for run_id in ("", ".", "..", "__a__", "a/nx-steps/part.1", "a\n", "a\0", "ü", "a" * 201)
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_continuation_starts_nothing(
    function: FlaskClient, received: Received, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The response has no particulars; one log entry has the reason."""
    body, reason = REFUSED[name]
    answer = post(function, body)
    assert (answer.status_code, answer.text) == (400, "not a delivery; see the log")
    (entry,) = capsys.readouterr().out.splitlines()
    assert "WARNING delivery refused function=collect_charge_cdrs" in entry
    assert reason in entry
    assert received == []


@pytest.mark.parametrize(
    ("header", "value", "body"),
    [
        ("Content-Encoding", "gzip", gzip.compress(VALID)),
        ("Content-Encoding", "identity", VALID),
        ("Transfer-Encoding", "chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(VALID), VALID)),
        ("Transfer-Encoding", "chunked", VALID),
    ],
)
def test_an_encoded_continuation_starts_nothing(
    function: FlaskClient,
    received: Received,
    header: str,
    value: str,
    body: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The engine encodes no body, so another client has sent it."""
    assert post(function, body, **{header: value}).status_code == 400
    assert f"has the {header} '{value}'" in capsys.readouterr().out
    assert received == []


def test_a_delivery_without_headers_is_a_manual_run(function: FlaskClient, received: Received) -> None:
    """Whatever else its body contains."""
    for body in (b"", b"{}", b"[1]", b"\xff", b"x" * 5_000):
        assert function.post("/", data=body).status_code == 200
    assert [(source, options.continuation) for source, options in received] == [("manual", None)] * 5


def test_a_continuation_without_headers_starts_nothing(
    function: FlaskClient, received: Received, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would start a second run of hours under an id of its own."""
    assert function.post("/", data=VALID).status_code == 400
    assert "a continuation must be delivered by Cloud Tasks" in capsys.readouterr().out
    assert received == []
