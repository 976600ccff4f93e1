"""A long run on the whole stack: Cloud Scheduler, the functions emulator and Cloud Tasks carry it out."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.stack import ROOT
from tests.emulators.conftest import Project

pytestmark = pytest.mark.firebase

MAIN = """
import time

from functions.scheduled_endpoint import scheduled_task
from shared.tasks import TaskName, TaskSpec

__all__ = ["collect_charge_cdrs"]


@scheduled_task(TaskSpec(TaskName.collect_charge_cdrs, "0 0 1 1 *", deadline_seconds=300, save_in="storage"))
def collect_charge_cdrs(run):
    cursor = run.cursor("pages", 0)
    while cursor.value < 20:
        for n in range(3):
            yield {"page": cursor.value, "n": n, "leg": run.leg}
        time.sleep(0.5)
        cursor.advance(cursor.value + 1)
"""
#: Runs the job, waits for the end of the run, and prints its record and its result.
RUN = """
import json
import time

from shared import firebase
from shared.tasks import TaskName, get_task_data
from shared.tasks.backends.scheduler import Jobs

TASK = TaskName.collect_charge_cdrs
Jobs(firebase.scheduler_wire).run(TASK)
runs = firebase.firestore_client().collection("nx-tasks", TASK, "nx-runs")
deadline = time.monotonic() + 120
while True:
    found = [run.to_dict() for run in runs.stream()]
    if found and found[0]["state"] in {"completed", "failed"} or time.monotonic() > deadline:
        break
    time.sleep(0.2)
print(json.dumps([found, get_task_data(TASK)], default=str))
"""


@pytest.fixture
def long_project(tmp_path: Path) -> Iterator[Project]:
    """A project with one long task, on the product's own code."""
    project = Project(tmp_path / "project")
    for name in ("shared", "functions"):
        shutil.copytree(ROOT / name, project.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project.folder / "main.py").write_text(MAIN, "utf-8")
    yield project
    project.end()


def test_a_long_run_is_carried_out_by_the_emulators(long_project: Project) -> None:
    """Its legs of five seconds are deliveries to its function, and each record is in the result once."""
    command = long_project.exec(RUN, NX_LEG_SECONDS="5")
    assert command.wait(240) == 0, command.err
    runs, result = json.loads(command.out.splitlines()[-1])
    (run,) = runs
    assert run["state"] == "completed", run
    assert [(each["page"], each["n"]) for each in result] == [(p, n) for p in range(20) for n in range(3)]
    legs = [each["leg"] for each in result]
    assert legs == sorted(legs)
    assert run["legs"]["number"] >= 3
    assert set(legs) <= set(range(1, run["legs"]["number"] + 1))
