"""The command line on the running stack, started as operators and scripts start it."""

import datetime as dt
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.loopback import request
from tests.cli.terminal import COMMAND, ROOT, Terminal
from tests.web.held import HeldRun, held_run

#: Runs a command to its end; returns its output and exit code.
Run = Callable[..., subprocess.CompletedProcess[str]]
#: Starts a command in a terminal.
Open = Callable[..., Terminal]
#: Starts a run that the test controls.
Hold = Callable[..., HeldRun]


@pytest.fixture(scope="session")
def people(stack: Addresses) -> None:
    """The demo's operator and viewer, in the Auth emulator."""
    demo_data.seed(dt.datetime.now(dt.UTC))


@pytest.fixture
def nx(people: None, clean_firestore: Addresses, tmp_path: Path) -> Iterator[Run]:
    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "TZ": "UTC", **environment}
        return subprocess.run(
            [*COMMAND, *words],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # a test may ask for another encoding
            timeout=120,
            check=False,
        )

    yield run
    for job in request(clean_firestore.jobs_url)[1]["jobs"]:  # type: ignore[index]
        if job["state"] == "PAUSED":
            name = job["name"].rpartition("/")[2]
            request(f"{clean_firestore.jobs_url}/{name}:resume", method="POST", body={})


@pytest.fixture
def terminal(nx: Run) -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda *words: opened.enter_context(Terminal(*COMMAND, *words))


@pytest.fixture
def hold(nx: Run) -> Iterator[Hold]:
    with ExitStack() as runs:
        yield lambda task, **options: runs.enter_context(held_run(task, **options))


def emulated_codes(stack: Addresses) -> Any:
    """The codes that the Auth emulator would have sent by e-mail."""
    return request(f"http://{stack.auth}/emulator/v1/projects/{PROJECT}/oobCodes")[1]["oobCodes"]  # type: ignore[index]
