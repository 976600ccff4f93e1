"""The demo, on the session's stack, with the project's own tasks."""

import datetime as dt
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from emulators import demo, demo_data, functions
from emulators.history import Run
from emulators.stack import ROOT
from shared.tasks import TaskName, get_task_result

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
#: Records that each result has at least: something to look at.
SIZES = {
    TaskName.collect_devices_health: 100,
    TaskName.collect_charge_locations: 300,
    TaskName.collect_charge_cdrs: 3_000,
}
FAILED = replace(RUN, state="failed", saved_in="", size_bytes=None, remark="ValueError: no")


def test_the_demo_runs_and_reads_every_task(clean_firestore: "Addresses") -> None:
    """Demo data goes in twice without harm, Cloud Scheduler runs each task, the JavaScript SDK reads it."""
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


def test_a_viewer_reads_as_well(stack: "Addresses") -> None:
    """The second demo user signs in; a task that isn't there is an error with its code, not a crash."""
    demo_data.seed(dt.datetime.now(dt.UTC))
    command = ["node", "emulators/read_task.mjs", "../x", "--user", "viewer@example.com"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1, ran.stderr
    assert '"ok":false,"code":"functions/permission-denied"' in ran.stdout
    assert stack.auth


def test_reading_no_task_is_a_usage_error() -> None:
    """A script that names no task gets exit code 2 and the usage, not success without output."""
    ran = subprocess.run(
        ["node", "emulators/read_task.mjs"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "node emulators/read_task.mjs TASK" in ran.stderr


def test_a_row_shows_what_the_history_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Status, duration, place, size and the first record stand in a row, and all is well."""
    assert demo.show(["tick"], {"tick": RUN}, READ)
    row = capsys.readouterr().out.splitlines()[1]
    assert " ".join(row.split()) == 'tick completed 1.50 s database 39.5 kB {"id": "ü"}'


@pytest.mark.parametrize(
    ("runs", "answers", "says"),
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
def test_what_went_wrong_is_said(
    capsys: pytest.CaptureFixture[str], runs: dict[str, Run], answers: dict[str, dict[str, Any]], says: str
) -> None:
    """A failed task, one that did not run, or one whose result cannot be read is no success."""
    assert not demo.show(["tick"], runs, answers)
    assert says in capsys.readouterr().out
