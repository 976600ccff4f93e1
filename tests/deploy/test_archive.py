"""The uploaded archive works with the packages of its requirements.txt."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

import main
from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.loopback import request as ask
from shared import firebase
from shared.tasks import TaskName, execute_task, resume_task
from shared.tasks.documents.run_ids import run_id_of
from tests.deploy import wanted
from tests.deploy.built import Built, build
from tests.deploy.deploying import Deployment
from tests.functions.callable_protocol import sign_in

CDRS, HEALTH = TaskName.collect_charge_cdrs, TaskName.collect_devices_health
RUN = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUN_ID = run_id_of(RUN)


@pytest.fixture(scope="module")
def built(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The uploaded archive, unpacked into an empty folder with its own virtual environment."""
    return build(deployment.archive, tmp_path_factory.mktemp("built"))


def test_every_module_of_the_archive_can_be_imported(built: Built) -> None:
    assert built.missing() == []


def test_a_missing_requirement_is_found(deployment: Deployment, tmp_path: Path) -> None:
    """A package that requirements.txt lacks makes the imports fail."""
    lines = deployment.archive["requirements.txt"].decode().split("\nmsgspec==")
    rest = lines[1].split("\n", maxsplit=1)[1]
    while rest.startswith(" "):
        rest = rest.split("\n", maxsplit=1)[1]
    lacking = {**deployment.archive, "requirements.txt": f"{lines[0]}\n{rest}".encode()}
    missing = build(lacking, tmp_path).missing()
    assert "shared.collectors.ocpi.records: No module named 'msgspec'" in missing


@pytest.fixture(scope="module")
def filled(stack: Addresses) -> Iterator[Addresses]:
    """The local stack with the demo's devices and users and one run of a task."""
    documents = (
        f"http://{stack.firestore}/emulator/v1/projects/{PROJECT}/databases/{stack.database}/documents"
    )
    assert ask(documents, method="DELETE", timeout_seconds=30)[0] == 200
    demo_data.seed(datetime.now(UTC))
    assert execute_task("test", CDRS, list, {"scheduled_for": RUN}).status == "completed"
    yield stack
    resume_task(CDRS, by="this test", reason="it is over")


#: The request of each callable, and a check of its response.
REQUESTS: dict[str, tuple[dict[str, Any], Callable[[Any], object]]] = {
    "cancel_run": (
        {"task_name": CDRS, "id": RUN_ID, "reason": "to see"},
        lambda answer: (answer["outcome"], answer["run"]["id"]) == ("ended", RUN_ID),
    ),
    "get_run": (
        {"task_name": CDRS, "id": RUN_ID},
        lambda answer: (answer["id"], answer["state"]) == (RUN_ID, "completed"),
    ),
    "get_task_data": ({"task_name": CDRS}, lambda answer: isinstance(answer, list)),
    "list_runs": (
        {"task_name": CDRS, "states": ["completed"]},
        lambda answer: RUN_ID in {run["id"] for run in answer["runs"]},
    ),
    "list_tasks": ({}, lambda answer: {task["name"] for task in answer["tasks"]} == set(TaskName)),
    "list_timeline": (
        {"since": (datetime.now(UTC) - timedelta(days=1)).isoformat()},
        lambda answer: {task["name"] for task in answer["tasks"]} == set(TaskName),
    ),
    "resume_task": (
        {"task_name": CDRS, "reason": "to see"},
        lambda answer: answer["task"]["suspended"] is None,
    ),
    "run_task": (
        {"task_name": HEALTH, "reason": "to see"},
        lambda answer: answer["outcome"] in {"started", "busy", "requested"},
    ),
    "suspend_task": (
        {"task_name": CDRS, "reason": "to see"},
        lambda answer: answer["task"]["suspended"]["reason"] == "to see",
    ),
}


@pytest.mark.parametrize("name", sorted(main.__all__))
def test_each_function_handles_a_request(
    built: Built, deployment: Deployment, filled: Addresses, tmp_path: Path, name: str
) -> None:
    """The function runs from the archive with the deployed settings."""
    function = wanted.functions()[name]
    deployed = deployment.google.functions[function.full_name]["serviceConfig"]["environmentVariables"]
    local = filled.to_environment(os.environ)
    leads_here = {key: value for key, value in local.items() if key not in built.variables}
    log = tmp_path / "log"
    with built.serving(name, {**deployed, **leads_here}, log) as address:
        if function.schedule is None:
            data, is_expected = REQUESTS[name]
            answer = called(f"http://{address}", data, sign_in(filled, "operator@example.com"))
            assert answer.status_code == 200, (answer.text, log.read_text("utf-8"))
            assert is_expected(answer.json()["result"]), answer.text
        else:
            answer = delivered(f"http://{address}")
            assert (answer.status_code, answer.text) == (200, "ok"), log.read_text("utf-8")
    if name in {task.value for task in TaskName}:
        status = firebase.firestore_client().document("nx-tasks", name).get().to_dict() or {}
        assert status["status"] == "completed"


def called(url: str, data: dict[str, Any], token: str) -> requests.Response:
    """Call a callable as a client SDK does."""
    return requests.post(url, json={"data": data}, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def delivered(url: str) -> requests.Response:
    """Deliver a tick as Cloud Scheduler does."""
    tick = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    headers = {
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": "firebase-schedule-of-this-test",
        "X-CloudScheduler-ScheduleTime": tick.isoformat().replace("+00:00", "Z"),
    }
    return requests.post(url, data=b"", headers=headers, timeout=120)
