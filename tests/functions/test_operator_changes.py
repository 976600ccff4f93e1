"""The callables that change tasks, on the real Functions emulator and the local Cloud Scheduler."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from firebase_functions.https_fn import AuthData, CallableRequest
from flask import Request

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.loopback import request as http
from functions.authorization import UNVERIFIED
from functions.operator_changes import check_change
from functions.requests import ChangeTask
from functions.serializers import time_text
from shared import firebase
from shared.tasks import TaskEngine, TaskName, TaskRun, execute_task
from shared.tasks.runtime.task_run import PROGRESS_SECONDS
from tests.functions.callable_protocol import call, refused, sign_in, sign_in_with_custom_token
from tests.support.world import HandClock, in_thread
from tests.waiting import wait_for

TASK = TaskName.collect_devices_health
WHY = {"task_name": TASK, "reason": "the API is down"}
OPERATOR = "operator@example.com (demo-operator)"
CHANGES = {
    "run_task": WHY,
    "suspend_task": WHY,
    "resume_task": WHY,
    "cancel_run": {**WHY, "id": "some-run"},
}


@pytest.fixture
def job(clean_firestore: Addresses) -> Iterator[str]:
    """The address of the task's job at the local Cloud Scheduler; the job is enabled afterwards."""
    address = f"{clean_firestore.jobs_url}/firebase-schedule-{TASK}-{clean_firestore.region}"
    yield address
    http(f"{address}:resume", method="POST", body={})


@pytest.fixture
def ask(job: str, stack: Addresses, people: dict[str, str]) -> Any:
    """Calls a function as the operator; returns its result."""

    def call_function(function: str, **data: Any) -> Any:
        answer = call(stack, {**WHY, **data}, people["operator"], function=function)
        assert answer.status == 200, answer
        return answer.json["result"]

    return call_function


def state(job: str) -> Any:
    """A job's state at Cloud Scheduler."""
    return http(job)[1]["state"]  # type: ignore[index]


def records(kind: str) -> list[dict[str, Any]]:
    """The task's run records of a kind."""
    runs = firebase.firestore_client().collection(f"nx-tasks/{TASK.value}/nx-runs").stream()
    return [found for run in runs if (found := run.to_dict() or {})["state"] == kind]


# Suspending and resuming


def test_document_and_job_are_suspended_and_resumed_together(ask: Any, job: str) -> None:
    """The response has the task as it is then; person and reason are recorded."""
    response = ask("suspend_task")
    assert (response["changed"], response["task"]["status"], response["task"]["problem"]) == (
        True,
        "suspended",
        None,
    )
    assert response["task"]["suspended"].items() >= {"by": OPERATOR, "reason": WHY["reason"]}.items()
    assert state(job) == "PAUSED"
    again = ask("suspend_task", reason="again")
    assert (again["changed"], again["task"]["suspended"]["reason"]) == (False, WHY["reason"])
    response = ask("resume_task", reason="it is back")
    assert (response["changed"], response["task"]["suspended"], response["task"]["problem"]) == (
        True,
        None,
        None,
    )
    assert state(job) == "ENABLED"
    assert [(record["by"], record["reason"]) for record in records("resumed")] == [(OPERATOR, "it is back")]


def test_a_task_is_suspended_until_a_time(ask: Any, job: str) -> None:
    """Another end replaces the suspension; one in the past is refused, and nothing changes."""
    until = datetime.now(UTC) + timedelta(hours=2)
    response = ask("suspend_task", until=until.isoformat())
    suspended = response["task"]["suspended"]
    assert (response["changed"], suspended["by"], suspended["until"]) == (True, OPERATOR, time_text(until))
    assert ask("suspend_task", until=time_text(until))["changed"] is False
    response = ask("suspend_task", reason="for good")
    assert (response["changed"], response["task"]["suspended"]["until"], state(job)) == (True, None, "PAUSED")
    assert [record.get("until") for record in records("suspended")] == [until, None]


@pytest.mark.usefixtures("job")
def test_an_invalid_end_is_refused(stack: Addresses, people: dict[str, str]) -> None:
    """The message contains the time and what is valid."""
    past = {**WHY, "until": "2020-01-01T00:00:00Z"}
    status, message = refused(call(stack, past, people["operator"], function="suspend_task"))
    assert status == 400
    assert re.fullmatch(
        r"until must be later than now \(.*Z\) and at most 366 days away, got 2020-01-01T00:00:00\+00:00",
        message,
    )
    assert records("suspended") == []


def test_an_incomplete_change_is_shown_and_repaired_by_the_next_call(
    ask: Any, job: str, stack: Addresses, people: dict[str, str]
) -> None:
    """The document is suspended but the job enabled, as after a call that died."""
    ask("suspend_task")
    http(f"{job}:resume", method="POST", body={})
    status = firebase.firestore_client().document(f"nx-tasks/{TASK.value}")
    status.update({"run.job": {"wanted": "PAUSED", "at": datetime.now(UTC)}})
    tasks = call(stack, {}, people["viewer"], function="list_tasks").json["result"]["tasks"]
    assert [task["problem"] for task in tasks if task["problem"]] == [
        "suspended, but its Cloud Scheduler job may not be: suspend it again, or wait for the watchdog"
    ]
    response = ask("suspend_task")
    assert (response["changed"], response["task"]["problem"], state(job)) == (False, None, "PAUSED")


def test_resuming_enables_a_job_that_was_paused_by_hand(ask: Any, job: str) -> None:
    """Even if the task is not suspended; person and reason are recorded once."""
    ask("suspend_task")
    ask("resume_task")
    http(f"{job}:pause", method="POST", body={})
    for _ in range(2):
        response = ask("resume_task", reason="it may fire")
        assert (response["changed"], response["task"]["problem"], state(job)) == (False, None, "ENABLED")
    assert [record["reason"] for record in records("resumed")] == [WHY["reason"], "it may fire"]


# Running


def test_a_run_is_started_through_cloud_scheduler(ask: Any, job: str) -> None:
    """The response has the run; the history has the person."""
    response = ask("run_task")
    assert response["outcome"] == "started"
    run_id = response["run"]["id"]
    history = firebase.firestore_client().document(f"nx-tasks/{TASK.value}/nx-runs/{run_id}")
    wait_for("the run's end", lambda: (history.get().to_dict() or {}).get("state") == "completed")
    assert [(record["by"], record["reason"]) for record in records("requested")] == [
        (OPERATOR, WHY["reason"])
    ]
    assert response["run"]["requested"].items() >= {"by": OPERATOR, "reason": WHY["reason"]}.items()
    assert (response["run"]["scheduled_for"], response["run"]["refused"]) == (None, None)


def test_a_running_task_is_busy(ask: Any, job: str) -> None:
    """No run is started or recorded."""
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        run.progress(1)
        assert goes_on.wait(60)

    thread, outcomes = in_thread(lambda: execute_task("test", TASK, task))
    try:
        wait_for("the run", lambda: records("running"))
        response = ask("run_task")
        assert (response["outcome"], response["run"]["state"]) == ("busy", "running")
        assert records("requested") == []
    finally:
        goes_on.set()
        thread.join()
    assert outcomes[0].run_id == response["run"]["id"]


def test_a_suspended_task_cannot_be_run(ask: Any, stack: Addresses, people: dict[str, str]) -> None:
    """The message recommends to resume it."""
    ask("suspend_task")
    answer = call(stack, WHY, people["operator"], function="run_task")
    assert refused(answer) == (
        400,
        "collect_devices_health is suspended, so the run would be skipped; resume it first",
    )
    assert answer.json["error"]["status"] == "FAILED_PRECONDITION"


# Cancelling


def test_a_run_is_cancelled(ask: Any, job: str) -> None:
    """The run ends at its next progress; a second call returns that it has ended."""
    goes_on, clock = threading.Event(), HandClock()

    def task(run: TaskRun) -> None:
        run.progress(1)
        assert goes_on.wait(60)
        clock.ahead += PROGRESS_SECONDS  # so that the next progress is recorded
        run.progress(2)

    thread, outcomes = in_thread(lambda: TaskEngine(clock=clock).execute_task("test", TASK, task))
    try:
        wait_for("the run", lambda: records("running"))
        (run,) = records("running")
        response = ask("cancel_run", id=run["run_id"])
        assert (response["outcome"], response["run"]["by"]) == ("cancelling", OPERATOR)
    finally:
        goes_on.set()
        thread.join()
    assert outcomes[0].status == "cancelled"
    response = ask("cancel_run", id=run["run_id"])
    assert (response["outcome"], response["run"]["state"]) == ("ended", "failed")
    assert response["run"]["error"]["message"] == f"cancelled by {OPERATOR}: {WHY['reason']}"


def test_the_retries_of_a_failed_run_can_be_cancelled(ask: Any, job: str) -> None:
    """The run keeps its error and has the person; Cloud Scheduler's next delivery does not run."""
    tick = {"scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)}

    def fails() -> None:
        raise ValueError("no")

    run_id = execute_task("test", TASK, fails, tick).run_id
    response = ask("cancel_run", id=run_id)
    assert (response["outcome"], response["run"]["state"], response["run"]["by"]) == (
        "cancelled",
        "failed",
        OPERATOR,
    )
    error = f"cancelled by {OPERATOR}: {WHY['reason']} (ValueError: no)"
    assert response["run"]["error"]["message"] == error
    assert execute_task("test", TASK, list, tick).status == "duplicate"


@pytest.mark.parametrize("run_id", ["never-was", "a/b", "", "__x__"])
def test_an_unknown_run_cannot_be_cancelled(
    job: str, stack: Addresses, people: dict[str, str], run_id: str
) -> None:
    answer = call(stack, {**WHY, "id": run_id}, people["operator"], function="cancel_run")
    assert refused(answer) == (404, "no run of the task has this id")


# Authorization

OPERATORS_ONLY = "Only operators can change tasks. Ask an administrator of the project for the operator role."


@pytest.mark.parametrize("function", CHANGES)
def test_only_operators_may_change_tasks(
    job: str, stack: Addresses, people: dict[str, str], function: str
) -> None:
    """A denied call changes nothing, whatever it sends."""
    assert refused(call(stack, CHANGES[function], function=function)) == (
        401,
        "not signed in; sign in first",
    )
    for who in ("viewer", "stranger"):
        for data in (CHANGES[function], {}, {**CHANGES[function], "by": OPERATOR}):
            status, message = refused(call(stack, data, people[who], function=function))
            assert (status, message) == (403, OPERATORS_ONLY)
    assert list(firebase.firestore_client().collection("nx-tasks").stream()) == []
    assert state(job) == "ENABLED"


@pytest.mark.parametrize("function", CHANGES)
@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"reason": ""}, "reason must be a text of 1 to 500 characters, got"),
        ({"reason": "x" * 501}, "reason must be a text of 1 to 500 characters, got"),
        ({"reason": None}, "reason must be text, got null"),
        ({"task_name": "no_such_task"}, "task_name must be one of"),
        ({"by": "other@example.com"}, 'unknown field "by"; send {task_name, '),
    ],
)
def test_a_change_without_a_reason_is_refused(
    job: str, stack: Addresses, people: dict[str, str], function: str, wrong: dict[str, Any], text: str
) -> None:
    """And so is one that names a person."""
    status, message = refused(
        call(stack, {**CHANGES[function], **wrong}, people["operator"], function=function)
    )
    assert (status, message[: len(text)]) == (400, text)
    assert list(firebase.firestore_client().collection("nx-tasks").stream()) == []


def test_an_operator_without_an_address_is_recorded_by_id(job: str, stack: Addresses) -> None:
    """For example one who signs in with a custom token."""
    from firebase_admin import auth, delete_app, initialize_app  # noqa: PLC0415

    app = initialize_app(options={"projectId": PROJECT}, name="test-no-address")
    user = auth.create_user(app=app)
    try:
        auth.set_custom_user_claims(user.uid, {"role": "operator"}, app=app)
        token = sign_in_with_custom_token(stack, auth.create_custom_token(user.uid, app=app).decode())
        response = call(stack, WHY, token, function="suspend_task").json["result"]
        assert response["task"]["suspended"]["by"] == user.uid
        assert [record["by"] for record in records("suspended")] == [user.uid]
    finally:
        auth.delete_user(user.uid, app=app)
        delete_app(app)


def test_a_change_looks_its_user_up_once(
    stack: Addresses, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request shows whether they are disabled, signed out, or no longer operators."""
    from firebase_admin import delete_app, initialize_app  # noqa: PLC0415

    payload = people["operator"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    request: Any = CallableRequest(
        data={"task_name": TASK.value, "reason": "why"},
        raw_request=Request({}),
        auth=AuthData(claims["sub"], claims),
    )
    urls, send = [], requests.Session.send
    monkeypatch.setattr(
        requests.Session, "send", lambda *what, **how: urls.append(what[1].url) or send(*what, **how)
    )
    own = initialize_app(
        options={"projectId": PROJECT}, name="looks-once"
    )  # other apps may use another address
    monkeypatch.setattr(firebase, "app", lambda: own)
    try:
        assert check_change(request, ChangeTask).by == OPERATOR
    finally:
        delete_app(own)
    assert [url.rpartition("/")[2] for url in urls] == ["accounts:lookup"]


@pytest.mark.parametrize("how", ["revoked", "disabled", "deleted", "made a viewer", "unverified"])
def test_a_revoked_operator_cannot_change_tasks(job: str, stack: Addresses, how: str) -> None:
    """A token is valid for an hour, even after a sign-out, a removal or a change of the role."""
    from firebase_admin import auth, delete_app, initialize_app  # noqa: PLC0415

    app = initialize_app(options={"projectId": PROJECT}, name=f"test-{how}")
    email = f"{how.replace(' ', '-')}@example.com"
    user = auth.create_user(email=email, email_verified=True, password=demo_data.PASSWORD, app=app)
    try:
        auth.set_custom_user_claims(user.uid, {"role": "operator"}, app=app)
        token = sign_in(stack, email)
        assert call(stack, WHY, token, function="resume_task").status == 200
        if how == "revoked":
            wait_for("a later second", lambda: _revoked(auth, user.uid, token, app))
        elif how == "disabled":
            auth.update_user(user.uid, disabled=True, app=app)
        elif how == "deleted":
            auth.delete_user(user.uid, app=app)
        elif how == "unverified":
            auth.update_user(user.uid, email_verified=False, app=app)
        else:
            auth.set_custom_user_claims(user.uid, {"role": "viewer"}, app=app)
        expected = (401, "your sign-in is no longer valid; sign in again")
        if how == "made a viewer":
            expected = (403, "You no longer have the operator role. Sign in again.")
        elif how == "unverified":
            expected = (403, UNVERIFIED)
        assert refused(call(stack, WHY, token, function="suspend_task")) == expected
        assert call(stack, {}, token, function="list_tasks").status == 200
    finally:
        if how != "deleted":
            auth.delete_user(user.uid, app=app)
        delete_app(app)
    assert state(job) == "ENABLED"


def _revoked(auth: Any, uid: str, token: str, app: Any) -> bool:
    """Revoke a user's tokens; return whether the revocation is later than the token, in whole seconds."""
    payload = token.split(".")[1]
    issued = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"]
    auth.revoke_refresh_tokens(uid, app=app)
    return bool(auth.get_user(uid, app=app).tokens_valid_after_timestamp > issued * 1_000)
