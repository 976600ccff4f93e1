"""The demo, on the session's stack, with the project's own tasks."""

import datetime as dt
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from emulators import demo, demo_data
from emulators.loopback import request
from emulators.stack import ROOT

if TYPE_CHECKING:
    from emulators.environment import Addresses

NOW = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
DOCUMENT: dict[str, Any] = {
    "status": "completed",
    "started": NOW,
    "completed": NOW + dt.timedelta(seconds=1.5),
    "error": "",
    "run": {"state": "completed", "result": {"saved_in": "db", "size_bytes": 39512}},
}
READ = {"tick": {"task": "tick", "ok": True, "first": {"id": "ü"}}}


def runs(**changes: Any) -> dict[str, demo.Run]:
    run = demo.Run.from_document("tick", DOCUMENT | changes)
    return {"tick": run} if run else {}


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
    _, listed = request(clean_firestore.jobs_url)
    table = [line.split() for line in ran.stdout.splitlines() if " completed " in line]
    jobs = {f"firebase-schedule-{line[0]}-us-central1" for line in table}
    assert jobs == {job["name"].split("/")[-1] for job in listed["jobs"]}


def test_a_viewer_reads_as_well(stack: "Addresses") -> None:
    """The second demo user signs in; a task that does not exist is an error with its code, not a crash."""
    demo_data.seed(dt.datetime.now(dt.UTC))
    command = ["node", "emulators/read_task.mjs", "../x", "--user", "viewer@example.com"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert '"ok":false,"code":"functions/invalid-argument"' in ran.stdout
    assert stack.auth


def test_a_row_shows_what_the_status_document_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Status, duration, place, size and the first record stand in a row, and all is well."""
    assert demo.show(["tick"], runs(), READ)
    row = capsys.readouterr().out.splitlines()[1]
    assert " ".join(row.split()) == 'tick completed 1.50 s database 39.5 kB {"id": "ü"}'


def test_a_document_of_the_contract_alone_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Without this engine's map the contract's fields are enough."""
    assert demo.show(["tick"], runs(run=None), READ)
    assert "tick completed 1.50 s - - " in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("changes", "answers", "says"),
    [
        ({"status": "failed", "run": None, "error": "ValueError: no"}, READ, "tick: ValueError: no"),
        ({}, {}, "not read"),
        ({}, {"tick": {"task": "tick", "ok": False, "code": "c", "message": "m"}}, "not read: c: m"),
        ({"status": "running", "run": None}, READ, "no run"),
    ],
)
def test_what_went_wrong_is_said(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], answers: dict[str, Any], says: str
) -> None:
    """A failed task, one that did not run, or one whose result cannot be read is no success."""
    assert not demo.show(["tick"], runs(**changes), answers)
    assert says in capsys.readouterr().out
