"""A small project with its own ports and folder for tests that start a stack."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators import processes
from emulators.environment import Addresses
from emulators.stack import ROOT
from tests.support.checkout import move_ports, own_ports

MAIN = """
import datetime
import os
import uuid

import firebase_admin
from firebase_functions import https_fn, scheduler_fn
from flask import request

if not firebase_admin._apps:  # on a slow machine firebase-tools asks twice, and this is loaded twice
    firebase_admin.initialize_app()


@scheduler_fn.on_schedule(schedule="every 5 minutes")
def tick(event):
    from google.cloud import firestore

    if request.method == "POST":  # and no probe of the emulator's
        ended = {"state": "completed", "completed": datetime.datetime.now(datetime.UTC), "duration_ms": 1234}
        ended["result"] = {"saved_in": "db", "size_bytes": 39512}
        firestore.Client().document(f"nx-tasks/tick/nx-runs/{uuid.uuid4()}").create(ended)


@scheduler_fn.on_schedule(schedule="every 5 minutes", labels={"nx-task": "false"})
def no_task(event):
    from google.cloud import firestore

    if request.is_json:
        received = {"body": request.get_json(), "name": request.headers["X-CloudTasks-TaskName"]}
        firestore.Client().document("legs/received").set(received)


@https_fn.on_call()
def get_task_data(request):
    return [request.data]
"""


class Launched:
    """A command of `python -m emulators` in a project's folder."""

    def __init__(self, project: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self._marker = uuid.uuid4().hex
        self._files = [project / f".{name}-{self._marker}" for name in ("out", "err")]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [project / "venv/bin/python", "-m", "emulators", *arguments],
                cwd=project,
                env={**os.environ, **environment, processes.MARKER: self._marker, "PYTHONFAULTHANDLER": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._files[0].read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return self._files[1].read_text("utf-8", "replace")

    def wait_for(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.05)

    def wait(self, seconds: float = 90) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # prints the stack of each thread
            self.process.wait()
            self.end()
            raise AssertionError(f"It still runs after {seconds} s.\n{self.err}") from None

    def live_groups(self) -> set[int]:
        """Return the live process groups of this command and its descendants."""
        return processes.groups(self._marker)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        processes.end(self._marker, term_seconds=0)


class Project:
    """A copy of the stack with a small main.py and its own ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("firestore.rules", "firestore.indexes.json", "storage.rules", "requirements.txt"):
            shutil.copy(ROOT / name, folder)
        shutil.copytree(
            ROOT / "emulators",
            folder / "emulators",
            ignore=shutil.ignore_patterns("__pycache__", "node_modules"),
        )
        for name in ("venv", "emulators/node_modules"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "main.py").write_text(MAIN, "utf-8")
        config = json.loads((ROOT / "firebase.json").read_text("utf-8"))
        self.ports = move_ports(config)
        (folder / "firebase.json").write_text(json.dumps(config), "utf-8")
        self._launched: list[Launched] = []

    def launch(self, *arguments: str, **environment: str) -> Launched:
        """Start `python -m emulators` with these arguments."""
        environment = {**own_ports(self.ports), "STORAGE": "fake-gcs", **environment}
        launched = Launched(self.folder, list(arguments), environment)
        self._launched.append(launched)
        return launched

    def exec(self, code: str, *arguments: str, **environment: str) -> Launched:
        """Run Python code on the stack."""
        return self.launch("exec", "--", sys.executable, "-c", code, *arguments, **environment)

    def end(self) -> None:
        for launched in self._launched:
            launched.end()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A small project in a folder with a space and a non-ASCII letter."""
    project = Project(tmp_path_factory.mktemp("stack") / "ein Ordner für nx")
    yield project
    project.end()


@pytest.fixture
def addresses() -> Addresses:
    return Addresses("h:1", "h:2", "h:3", "h:4", "h:5", "h:9", "h:8", "fake-gcs", ocpi="h:6", twilio="h:7")
