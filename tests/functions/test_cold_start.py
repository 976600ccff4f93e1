"""Modules that a new instance loads before its first response."""

import os
import subprocess
import sys
from functools import cache

import pytest

from shared import tasks
from shared.tasks import TaskName, execute_task
from tests.functions.production import ROOT

#: Modules that no function needs at its start; loading one takes longer than a response.
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
#: Modules that the product adds to itself, the SDK and the Firestore client.
ADDED = {"google_crc32c", "main", "msgspec", "orjson"}

SDK = "from firebase_functions import https_fn, scheduler_fn; from google.cloud.firestore import Client"


@cache
def modules_after(code: str) -> frozenset[str]:
    """The modules of a process that ran this code."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env={**os.environ, "GOOGLE_CLOUD_PROJECT": "demo-nx-tasks"},
        check=True,
        capture_output=True,
        text=True,
    )
    return frozenset(process.stdout.splitlines()[-1].split())


def unwanted(modules: frozenset[str]) -> set[str]:
    return {name for name in modules if any(name == one or name.startswith(f"{one}.") for one in UNWANTED)}


def test_main_loads_only_modules_that_its_functions_need() -> None:
    """This project, the encoder of results, the SDK, and the Firestore client."""
    modules = modules_after("import main")
    assert unwanted(modules) == set()
    own = {name.partition(".")[0] for name in modules - modules_after(SDK)}
    assert own - sys.stdlib_module_names == {*ADDED, "functions", "shared"}


def test_the_unwanted_modules_exist() -> None:
    """Otherwise the test above could not fail."""
    assert "google.cloud.storage" in unwanted(modules_after("import google.cloud.storage"))


def test_a_task_can_name_the_type_of_a_cursor() -> None:
    """`Cursor` is loaded when it is imported, because readers do not need it."""
    code = "import main; from shared.tasks import Cursor; assert isinstance(Cursor, type)"
    assert "shared.tasks.runtime.cursors" in modules_after(code)
    assert not hasattr(tasks, "Cursors")


def test_readers_do_not_load_modules_that_only_runs_need() -> None:
    """Neither the run protocol and the watchdog nor any task."""
    runs = {
        *("documents.run_writes", "documents.operator_writes", "documents.watchdog_writes"),
        *("protocol.decisions", "protocol.acquisition", "protocol.watchdog"),
        *("protocol.suspension", "protocol.cancellation", "protocol.requested_runs"),
        *("runtime.execution", "runtime.prepared_result", "runtime.task_thread"),
        *("runtime.checkpoints", "runtime.cursors", "results.parts", "testing"),
    }
    modules = modules_after("import main")
    assert {name for name in runs if f"shared.tasks.{name}" in modules} == set()
    early = sorted(name for name in modules if name.startswith("shared.collectors."))
    assert early == [], f"import {', '.join(early)} inside the task's function: every callable loads main.py"
    assert "shared.tasks.serving.reader" in modules


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_the_first_response_loads_no_storage_client(save_in: str) -> None:
    """Results in documents, stored results, and descriptions are read without it."""
    task = TaskName.send_reset_sms
    assert execute_task("test", task, lambda: ["x" * 2000], {"save_in": save_in}).status == "completed"
    reads = (
        "import main\nfrom shared import tasks\n"
        f"assert tasks.get_task_result('{task}', include_data=False).count == 1\n"
        f"assert tasks.get_task_data('{task}') == ['x' * 2000]"
    )
    assert unwanted(modules_after(reads)) == set()
