"""What a new instance loads before it answers. No stack is needed for importing; reading has one."""

import os
import subprocess
import sys

import pytest

from shared.tasks import TaskName, execute_task
from tests.functions.production import ROOT

#: What no function at hand needs at once: each takes longer to load than an answer to be made.
UNWANTED = (
    "croniter",
    "dateutil",
    "google.cloud.bigquery",
    "google.cloud.pubsub",
    "google.cloud.secretmanager",
    "google.cloud.storage",
    "google.resumable_media",
    "googleapiclient",
    "emulators",
    "numpy",
    "pandas",
    "pytz",
    "tests",
    "unittest.mock",
    "yaml",
)
#: What the SDK and the Firestore client load; the product adds itself, and these.
ADDED = {"google_crc32c", "main", "msgspec", "orjson"}

SDK = "from firebase_functions import https_fn, scheduler_fn; from google.cloud.firestore import Client"


def modules_after(code: str) -> set[str]:
    """The modules that a process has which ran this."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env={**os.environ, "GOOGLE_CLOUD_PROJECT": "demo-nx-tasks"},
        check=True,
        capture_output=True,
        text=True,
    )
    return set(told.stdout.splitlines()[-1].split())


def unwanted(modules: set[str]) -> set[str]:
    return {name for name in modules if any(name == one or name.startswith(f"{one}.") for one in UNWANTED)}


def test_main_loads_no_more_than_its_functions_need() -> None:
    """Beside the SDK and the Firestore client it is this project and what encodes results."""
    modules = modules_after("import main")
    assert unwanted(modules) == set()
    own = {name.partition(".")[0] for name in modules - modules_after(SDK)}
    assert own - sys.stdlib_module_names == {*ADDED, "functions", "shared"}


def test_what_is_unwanted_exists() -> None:
    """The test above would miss nothing if it were loaded: the Storage client is a module by that name."""
    assert "google.cloud.storage" in unwanted(modules_after("import google.cloud.storage"))


def test_readers_load_nothing_that_only_runs_need() -> None:
    """How a task is taken, carried out and watched is not loaded, nor what any task does."""
    runs = {
        *("documents.run_writes", "documents.operator_writes", "documents.watchdog_writes"),
        *("protocol.decisions", "protocol.acquisition", "protocol.watchdog"),
        *("protocol.suspension", "protocol.cancellation", "protocol.requested_runs"),
        *("runtime.execution", "runtime.publication", "runtime.task_thread"),
    }
    modules = modules_after("import main")
    assert {name for name in runs if f"shared.tasks.{name}" in modules} == set()
    early = sorted(name for name in modules if name.startswith("shared.collectors."))
    assert early == [], f"import {', '.join(early)} inside the task's function: every callable loads main.py"
    assert "shared.tasks.serving.reader" in modules


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_first_answer_loads_no_storage_client(save_in: str) -> None:
    """A result of a document needs no bucket, a stored one no more than a GET; neither does a description."""
    task = TaskName.send_reset_sms
    assert execute_task("test", task, lambda: ["x" * 2000], {"save_in": save_in}).status == "completed"
    reads = (
        "import main\nfrom shared import tasks\n"
        f"assert tasks.get_task_result('{task}', include_data=False).count == 1\n"
        f"assert tasks.get_task_data('{task}') == ['x' * 2000]"
    )
    assert unwanted(modules_after(reads)) == set()
