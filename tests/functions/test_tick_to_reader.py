"""A tick from Cloud Scheduler through the Functions emulator and Firestore to the callable."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.scheduler_v1 import CloudSchedulerClient

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from shared import firebase
from shared.tasks import TaskName
from tests.functions.callable_protocol import call, sign_in
from tests.waiting import wait_for

TASK = TaskName.collect_devices_health


@pytest.fixture
def scheduler(stack: Addresses) -> CloudSchedulerClient:
    """The official client, connected to the local Cloud Scheduler."""
    return CloudSchedulerClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://{stack.scheduler}"},
    )


@pytest.fixture
def job(stack: Addresses) -> str:
    """The name of the task's job as firebase-tools creates it."""
    return f"firebase-schedule-{TASK.value}-{stack.region}"


def history_at_rest() -> list[dict[str, Any]]:
    """The task's runs, once there is one and all have ended."""
    found = firebase.firestore_client().collection("nx-tasks", TASK, "nx-runs").stream()
    history = [run.to_dict() or {} for run in found]
    return [] if any(run["state"] == "running" for run in history) else history


@pytest.mark.usefixtures("clean_firestore")
def test_a_job_runs_its_task_once_and_the_result_is_read(
    stack: Addresses, scheduler: CloudSchedulerClient, job: str
) -> None:
    """The emulator's probes of a new process start no run."""
    demo_data.seed(datetime.now(UTC))
    scheduler.run_job(name=scheduler.job_path(PROJECT, stack.region, job))
    (run,) = wait_for("the run to end", history_at_rest, seconds=60)
    assert (run["state"], run["source"], run["attempt"]) == ("completed", job, 1)

    token = sign_in(stack, "operator@example.com")
    devices = wait_for(
        "the callable to serve the devices", lambda: call(stack, {"task_name": TASK}, token).json["result"]
    )
    status = firebase.firestore_client().document("nx-tasks", TASK).get().to_dict() or {}
    assert (status["status"], status["source"], status["error"]) == ("completed", job, "")
    assert [device["id"] for device in devices] == [f"tracker-{number:04}" for number in range(1, 201)]
    shown = ("id", "name", "health", "reasons", "battery_voltage", "gsm_signal", "gps_fix", "firmware")
    assert [[device[field] for field in shown] for device in devices] == [
        [device[field] for field in shown] for device in status["data"]
    ]
    assert not any("phone" in device for device in devices)


@pytest.mark.usefixtures("clean_firestore")
def test_a_tick_delivered_twice_runs_once(
    stack: Addresses, scheduler: CloudSchedulerClient, job: str
) -> None:
    """Both deliveries at the job's target, with Cloud Scheduler's headers, get 200."""
    demo_data.seed(datetime.now(UTC))
    target = scheduler.get_job(name=scheduler.job_path(PROJECT, stack.region, job)).http_target.uri
    headers = {
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": job,
        "X-CloudScheduler-ScheduleTime": "2024-05-05T12:00:00Z",
    }
    for _ in range(2):
        answer = requests.post(target, data=b"", headers=headers, timeout=60)
        assert (answer.status_code, answer.text) == (200, "ok")
    (run,) = history_at_rest()
    assert (run["run_id"], run["state"]) == ("2024-05-05T12:00:00.000000Z", "completed")
