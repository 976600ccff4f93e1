"""The end of an instance served by functions-framework and gunicorn: after a hang, and at SIGTERM."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
import requests

from emulators.environment import Addresses
from functions import instance
from shared import firebase
from shared.tasks import TaskName
from tests.functions.production import ROOT
from tests.serving import served
from tests.support.world import in_thread
from tests.waiting import wait_for

TASK = TaskName.send_reset_sms
SOURCE = "tests/functions/hanging.py"
TICK = {"X-CloudScheduler-JobName": "job", "X-CloudScheduler-ScheduleTime": "2026-01-01T00:00:00.510855Z"}


def test_a_refused_pending_call_is_retried_by_the_next_delivery(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The interpreter's queue of pending calls was full, which is logged."""
    answers = [-1, 0]
    monkeypatch.setattr(instance, "_is_watched", False)
    monkeypatch.setattr(instance, "_deliveries", 0)
    monkeypatch.setattr(ctypes, "pythonapi", Mock(Py_AddPendingCall=lambda *_: answers.pop(0)))
    for left, logged in ((1, True), (0, False), (0, False)):
        in_thread(instance.count_delivery)[0].join(30)
        assert len(answers) == left
        assert ("SIGTERM not handled" in capsys.readouterr().out) is logged


class Served:
    """A served function.

    Attributes:
        hangs: While this file exists, the task hangs; the file then contains the process id.
        log: File with the function's output.
    """

    def __init__(self, folder: Path) -> None:
        self.hangs = folder / "hangs"
        self.log = folder / "log"
        self.address = ""

    def deliver(self) -> int:
        """Deliver the tick; return the response's status."""
        return requests.post(f"http://{self.address}", headers=TICK, timeout=60).status_code

    def worker(self) -> int:
        """Wait until the task hangs; return its process id."""
        return int(wait_for("the task to hang", lambda: self.hangs.read_text("utf-8")))

    @contextmanager
    def running(self, deadline_seconds: float) -> Iterator[None]:
        settings = {"HANGS": str(self.hangs), "DEADLINE_SECONDS": str(deadline_seconds)}
        arguments = ["--source", SOURCE, "--target", TASK.value, "--host", "127.0.0.1", "--port"]
        with served(
            TASK.value,
            lambda port: [sys.executable, "-m", "functions_framework", *arguments, str(port)],
            cwd=ROOT,
            env={**os.environ, **settings},
            log=self.log,
        ) as self.address:
            yield


@pytest.fixture
def function(tmp_path: Path, stack: Addresses) -> Served:
    return Served(tmp_path)


def record() -> dict[str, Any]:
    """The run record of the tick, without the record that counts refused deliveries."""
    records = firebase.firestore_client().collection("nx-tasks", TASK, "nx-runs").stream()
    (run,) = [record for record in records if not record.id.endswith(".refused")]
    return run.to_dict() or {}


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("clean_firestore")
def test_an_instance_ends_after_a_hang_and_the_next_delivery_runs(function: Served) -> None:
    """The response is sent first; the log has the incident, the traceback shows the hang."""
    function.hangs.touch()
    with function.running(deadline_seconds=6):  # a new process on a busy machine takes seconds to start
        assert function.deliver() == 500
        process = function.worker()
        wait_for("the instance to end", lambda: not is_alive(process) or None)
        run = record()
        assert (run["state"], run["error"]["type"]) == ("failed", "DeadlineExceeded")
        assert " in send_reset_sms: hangs.join()" in run["error"]["traceback"]
        (incident,) = [line for line in function.log.read_text("utf-8").splitlines() if "incident=" in line]
        for field in ("ERROR", "incident=hung_task", f"task={TASK.value}", f"run_id={run['run_id']}"):
            assert field in incident
        function.hangs.unlink()
        assert function.deliver() == 200
        assert (record()["state"], record()["attempt"]) == ("completed", 2)


@pytest.mark.usefixtures("clean_firestore")
def test_other_deliveries_are_answered_before_an_instance_ends(function: Served) -> None:
    """A delivery during the hang gets its own response; the hang is reported once."""
    function.hangs.touch()
    waits = function.hangs.with_name("waits")
    waits.touch()
    with function.running(deadline_seconds=8):
        hung, first = in_thread(function.deliver)
        process = function.worker()
        other, second = in_thread(function.deliver)
        wait_for("the other delivery", lambda: waits.read_text("utf-8"))
        hung.join(60)
        assert first == [500]
        assert is_alive(process)
        waits.unlink()
        other.join(60)
        assert second == [503]  # the run was at work
        wait_for("the instance to end", lambda: not is_alive(process) or None)
        assert function.log.read_text("utf-8").count("incident=hung_task") == 1


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("target", ["worker", "master"])
def test_a_run_is_failed_within_ten_seconds_of_sigterm(function: Served, target: str) -> None:
    """Cloud Run signals gunicorn's master, which signals its worker. The next delivery runs the tick."""
    function.hangs.touch()
    with function.running(deadline_seconds=300):
        delivery, answers = in_thread(function.deliver)
        process = function.worker()
        master = psutil.Process(process).ppid()
        os.kill(process if target == "worker" else master, signal.SIGTERM)
        run = wait_for("the run to fail", lambda: (run := record())["state"] == "failed" and run, seconds=10)
        assert run["error"]["type"] == "InstanceShutDown"
        assert run["error"]["message"].startswith("the instance received SIGTERM")
        assert " in send_reset_sms: hangs.join()" in run["error"]["traceback"]
        assert run["progress"]["done"] == 57
        delivery.join(60)
        assert answers == [500]
        log = function.log.read_text("utf-8")
        assert "instance shutting down" in log
        assert "incident=" not in log
    function.hangs.unlink()
    with function.running(deadline_seconds=300):
        assert function.deliver() == 200
    assert (record()["state"], record()["attempt"]) == ("completed", 2)
