"""Two settings run the product on a local stack in another region and database."""

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from emulators.loopback import request
from emulators.stack import ROOT

if TYPE_CHECKING:
    from conftest import Launched, Project

pytestmark = pytest.mark.firebase

REGION, DATABASE = "europe-west1", "nx-data"
HEALTH = "collect_devices_health"
#: Signs in to the page and prints its text and the URLs of its requests.
LOOK = f"""
import json, sys
from playwright.sync_api import sync_playwright
from tests.web.browsing import launch, visiting
with sync_playwright() as playwright, visiting(launch(playwright.chromium), sys.argv[1]) as visit:
    shown = visit.sign_in("viewer").state("{HEALTH}").inner_text()
    print(json.dumps({{"shown": shown, "asked": [each.url for each in visit.requests]}}))
"""


@pytest.fixture(scope="module")
def running(project: "Project") -> "Launched":
    """`make run` in a copy of the product with the two settings in `.env.local`."""
    for name in ("functions", "shared", "cli", "web/dist"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, project.folder / name, ignore=ignored)
    shutil.copy(ROOT / "main.py", project.folder)
    settings = f"NX_TASKS_REGION={REGION}\nNX_TASKS_DATABASE='{DATABASE}'\n"
    (project.folder / ".env.local").write_text(settings, "utf-8")
    launched = project.launch("up")
    launched.wait_for(lambda: "Ctrl-C stops the stack" in launched.out, seconds=180)
    return launched


def in_another_shell(project: "Project", *command: str) -> str:
    """Run a command in the folder without the stack's variables and return its output."""
    led = {"NX_FUNCTIONS_URL", "FIREBASE_AUTH_EMULATOR_HOST", "NX_TASKS_REGION", "NX_TASKS_DATABASE"}
    environment = {name: value for name, value in os.environ.items() if name not in led}
    done = subprocess.run(
        command, cwd=project.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tasks_run_and_are_read_there(project: "Project", running: "Launched") -> None:
    """Cloud Scheduler delivers to every task, and the JavaScript SDK reads each result."""
    rows = [line.split() for line in running.out.splitlines() if " completed " in line]
    assert {row[0] for row in rows} >= {HEALTH, "collect_charge_locations", "send_reset_sms"}
    assert "no run" not in running.out
    assert "not read" not in running.out
    scheduler = f"http://127.0.0.1:{project.ports['scheduler']}/v1/projects/demo-nx-tasks"
    _, answer = request(f"{scheduler}/locations/{REGION}/jobs")
    jobs = [job["name"].rpartition("/")[2] for job in answer["jobs"]]  # type: ignore[index]
    assert f"firebase-schedule-{HEALTH}-{REGION}" in jobs


def test_documents_are_in_that_database(project: "Project", running: "Launched") -> None:
    """Status documents and devices are there, and not in the default database."""
    assert running.process.poll() is None

    def documents(database: str, path: str) -> object:
        base = f"http://127.0.0.1:{project.ports['firestore']}/v1/projects/demo-nx-tasks/databases/{database}"
        asked = subprocess.run(
            ["curl", "-sg", "-H", "Authorization: Bearer owner", f"{base}/documents/{path}"],
            capture_output=True,
            check=True,
        )
        return json.loads(asked.stdout)

    assert documents(DATABASE, f"nx-tasks/{HEALTH}")["fields"]["status"] == {"stringValue": "completed"}  # type: ignore[index]
    assert documents(DATABASE, "nx-devices")["documents"]  # type: ignore[index]
    assert documents("(default)", "nx-tasks") == documents("(default)", "nx-devices") == {}


def test_the_command_line_and_a_reader_find_it(project: "Project", running: "Launched") -> None:
    """They run in another shell, without the stack's variables."""
    assert running.process.poll() is None
    printed = in_another_shell(project, "venv/bin/python", "-m", "cli", "tasks", "--json")
    states = {task["name"]: task["status"] for task in json.loads(printed)["tasks"]}
    assert states[HEALTH] == "completed"
    read = json.loads(in_another_shell(project, "node", "emulators/read_task.mjs", HEALTH))
    assert (read["ok"], read["count"]) == (True, 200)


def test_the_page_calls_that_region(project: "Project", running: "Launched") -> None:
    """It reads the region from its server and calls no other region."""
    assert running.process.poll() is None
    page = f"http://127.0.0.1:{project.ports['hosting']}"
    looked = subprocess.run(
        [sys.executable, "-c", LOOK, page], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert looked.returncode == 0, looked.stderr
    page = json.loads(looked.stdout)
    assert "completed" in page["shown"].lower()
    assert [url for url in page["asked"] if url.endswith(f"/demo-nx-tasks/{REGION}/list_tasks")]
    assert not [url for url in page["asked"] if "us-central1" in url]
