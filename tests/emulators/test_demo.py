"""The demo runs the project's tasks on the stack."""

import datetime as dt
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from emulators import demo, demo_data, functions
from emulators.history import Run
from emulators.stack import ROOT
from shared.tasks import TaskName, execute_task, get_task_result

if TYPE_CHECKING:
    from emulators.environment import Addresses

NOW = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
RUN = Run(
    task="tick",
    id="1",
    state="completed",
    completed=NOW,
    duration_ms=1500,
    saved_in="db",
    size_bytes=39512,
    reason="",
    remark="",
)
READ = {"tick": {"task": "tick", "ok": True, "first": {"id": "ü"}}}
#: Minimum number of records in each result.
SIZES = {
    TaskName.collect_devices_health: 100,
    TaskName.collect_charge_locations: 300,
    TaskName.collect_charge_cdrs: 3_000,
}
FAILED = replace(RUN, state="failed", saved_in="", size_bytes=None, remark="ValueError: no")


def test_the_demo_runs_and_reads_every_task(clean_firestore: "Addresses") -> None:
    """Demo data can be loaded twice; the JavaScript SDK reads each result."""
    for _ in range(2):
        demo_data.seed(dt.datetime.now(dt.UTC))
    ran = subprocess.run(
        [sys.executable, "-m", "emulators.demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    table = [line.split()[0] for line in ran.stdout.splitlines() if " completed " in line]
    assert table == functions.tasks_in(ROOT / functions.MANIFEST) != []
    assert " messages at the local Twilio" in ran.stdout
    counts = [get_task_result(task, include_data=False).count or 0 for task in SIZES]
    assert [count > least for count, least in zip(counts, SIZES.values(), strict=True)] == [True] * 3, counts


def test_the_demo_waits_for_the_last_tasks_while_others_fail(clean_firestore: "Addresses") -> None:
    """Failed runs of the first tasks, which Cloud Scheduler delivers again, do not count in their place."""
    demo_data.seed(dt.datetime.now(dt.UTC))
    ended = threading.Event()

    def keep_failing() -> None:
        while not ended.is_set():
            execute_task("test", TaskName.collect_devices_health, lambda: 1 / 0, {"debug_logs": False})

    tasks = [TaskName.collect_devices_health.value, TaskName.send_reset_sms.value]
    failing = threading.Thread(target=keep_failing)
    failing.start()
    try:
        runs = demo.Demo(clean_firestore, tasks).run_all()
    finally:
        ended.set()
        failing.join()
    assert runs.keys() == set(tasks)


def test_a_viewer_reads_a_result(stack: "Addresses") -> None:
    """An unknown task is an error with a code."""
    demo_data.seed(dt.datetime.now(dt.UTC))
    command = ["node", "emulators/read_task.mjs", "../x", "--user", "viewer@example.com"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1, ran.stderr
    assert '"ok":false,"code":"functions/permission-denied"' in ran.stdout
    assert stack.auth


def test_reading_without_a_task_is_a_usage_error() -> None:
    """Without a task, the script prints its usage and returns exit code 2."""
    ran = subprocess.run(
        ["node", "emulators/read_task.mjs"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "node emulators/read_task.mjs TASK" in ran.stderr


def test_a_row_shows_the_run_and_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    """A row has status, duration, storage location, size and the first record."""
    assert demo.show(["tick"], {"tick": RUN}, READ)
    row = capsys.readouterr().out.splitlines()[1]
    assert " ".join(row.split()) == 'tick completed 1.50 s database 39.5 kB {"id": "ü"}'


@pytest.mark.parametrize(
    ("runs", "answers", "message"),
    [
        ({"tick": FAILED}, READ, "tick: ValueError: no"),
        ({"tick": RUN}, {}, "not read"),
        (
            {"tick": RUN},
            {"tick": {"task": "tick", "ok": False, "code": "c", "message": "m"}},
            "not read: c: m",
        ),
        ({}, READ, "no run"),
    ],
)
def test_a_problem_with_a_task_is_reported(
    capsys: pytest.CaptureFixture[str], runs: dict[str, Run], answers: dict[str, dict[str, Any]], message: str
) -> None:
    """A problem is a failed run, a missing run, or an unreadable result."""
    assert not demo.show(["tick"], runs, answers)
    assert message in capsys.readouterr().out
