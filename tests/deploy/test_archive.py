"""The uploaded archive works with what its requirements.txt names: installed, started and asked."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

import main
from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.loopback import request as ask
from shared import firebase
from shared.tasks import TaskName
from tests.deploy import wanted
from tests.deploy.built import Built, build
from tests.deploy.deploying import Deployment
from tests.functions.callable_protocol import sign_in


@pytest.fixture(scope="module")
def built(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The archive that was just uploaded, unpacked into an empty folder, with an environment of its own."""
    return build(deployment.archive, tmp_path_factory.mktemp("built"))


def test_whatever_it_imports_is_installed(built: Built) -> None:
    """Every module of the archive can be imported."""
    assert built.missing() == []


def test_a_missing_requirement_is_missed(deployment: Deployment, tmp_path: Path) -> None:
    """The same look finds a package that requirements.txt does not name."""
    lines = deployment.archive["requirements.txt"].decode().split("\nmsgspec==")
    rest = lines[1].split("\n", maxsplit=1)[1]
    while rest.startswith(" "):
        rest = rest.split("\n", maxsplit=1)[1]
    lacking = {**deployment.archive, "requirements.txt": f"{lines[0]}\n{rest}".encode()}
    missing = build(lacking, tmp_path).missing()
    assert "shared.collectors.ocpi.records: No module named 'msgspec'" in missing


@pytest.fixture(scope="module")
def filled(stack: Addresses) -> Addresses:
    """The local stack with the demo's devices and users, and nothing else."""
    documents = f"http://{stack.firestore}/emulator/v1/projects/{PROJECT}/databases/(default)/documents"
    assert ask(documents, method="DELETE", timeout_seconds=30)[0] == 200
    demo_data.seed(datetime.now(UTC))
    return stack


@pytest.mark.parametrize("name", sorted(main.__all__))
def test_each_function_answers(
    built: Built, deployment: Deployment, filled: Addresses, tmp_path: Path, name: str
) -> None:
    """Started from the archive with the settings that were deployed, it does its work for one request."""
    function = wanted.functions()[name]
    deployed = deployment.google.functions[function.full_name]["serviceConfig"]["environmentVariables"]
    local = filled.to_environment(os.environ)
    leads_here = {key: value for key, value in local.items() if key not in built.variables}
    log = tmp_path / "log"
    with built.serving(name, {**deployed, **leads_here}, log) as address:
        if function.schedule is None:
            answer = called(f"http://{address}", sign_in(filled, "operator@example.com"))
            assert answer.status_code in {200, 400}, (answer.text, log.read_text("utf-8"))
            if name == "get_task_data":
                assert isinstance(answer.json()["result"], list)
        else:
            answer = delivered(f"http://{address}")
            assert (answer.status_code, answer.text) == (200, "ok"), log.read_text("utf-8")
    if name in {task.value for task in TaskName}:
        status = firebase.firestore_client().document("nx-tasks", name).get().to_dict() or {}
        assert status["status"] == "completed"


def called(url: str, token: str) -> requests.Response:
    """Call a callable as a client SDK does, with what `get_task_data` wants to know."""
    data = {"data": {"task_name": "collect_devices_health"}}
    return requests.post(url, json=data, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def delivered(url: str) -> requests.Response:
    """Deliver a tick as Cloud Scheduler does."""
    tick = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    headers = {
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": "firebase-schedule-of-this-test",
        "X-CloudScheduler-ScheduleTime": tick.isoformat().replace("+00:00", "Z"),
    }
    return requests.post(url, data=b"", headers=headers, timeout=120)
