"""The whole way of a tick: Cloud Scheduler, Functions emulator, Firestore, and back through the callable."""

import functools
from datetime import UTC, datetime
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.scheduler_v1 import CloudSchedulerClient

from emulators import demo_data
from emulators.environment import LOCATION, PROJECT, Addresses
from shared import firebase
from shared.tasks import TaskName
from tests.functions.callable_protocol import call, sign_in
from tests.waiting import wait_for

TASK = TaskName.collect_devices_health
JOB = f"firebase-schedule-{TASK.value}-{LOCATION}"


@pytest.fixture
def scheduler(stack: Addresses) -> CloudSchedulerClient:
    """The official client, led to the local Cloud Scheduler."""
    return CloudSchedulerClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://{stack.scheduler}"},
    )


def history_at_rest(runs: int) -> list[dict[str, Any]] | None:
    """The history, once it has that many runs or more and none of them is at work."""
    found = firebase.firestore_client().collection("nx-tasks", TASK, "nx-runs").stream()
    history = [run.to_dict() or {} for run in found]
    at_rest = len(history) >= runs and all(run["state"] != "running" for run in history)
    return history if at_rest else None


@pytest.mark.usefixtures("clean_firestore")
def test_a_tick_runs_the_task_once_and_its_result_is_read(
    stack: Addresses, scheduler: CloudSchedulerClient
) -> None:
    """Each run of the job is one run of the task; the emulator's own probes of new processes are none."""
    demo_data.seed(datetime.now(UTC))
    name = scheduler.job_path(PROJECT, LOCATION, JOB)
    for number in (1, 2):
        scheduler.run_job(name=name)
        history = wait_for("the run to end", functools.partial(history_at_rest, number), seconds=60)
        assert [run["state"] for run in history] == ["completed"] * number
    assert {run["source"] for run in history} == {JOB}
    assert all(run["run_id"] == run["scheduled_for"].strftime("%Y-%m-%dT%H:%M:%S.%fZ") for run in history)

    token = sign_in(stack, "operator@example.com")
    devices = wait_for(
        "the callable to serve the devices", lambda: call(stack, {"task_name": TASK}, token).json["result"]
    )
    status = firebase.firestore_client().document("nx-tasks", TASK).get().to_dict() or {}
    assert (status["status"], status["source"], status["error"]) == ("completed", JOB, "")
    assert [device["id"] for device in devices] == [f"tracker-{number:04}" for number in range(1, 201)]
    shown = ("id", "name", "health", "reasons", "battery_voltage", "gsm_signal", "gps_fix", "firmware")
    assert [[device[field] for field in shown] for device in devices] == [
        [device[field] for field in shown] for device in status["data"]
    ]
    assert not any("phone" in device for device in devices)
