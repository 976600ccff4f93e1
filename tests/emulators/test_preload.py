"""What is loaded into firebase-tools before its own code."""

import subprocess
from pathlib import Path

import pytest

from emulators.stack import ROOT

pytestmark = pytest.mark.programs

START_WORKER = """
const python = require("firebase-tools/lib/functions/python.js");

const print = "'import os; print(os.getpid())'";
const child = python.runWithVirtualEnv(["python3", "-c", print], process.argv[1], {});
child.stdout.once("data", (pid) => console.log(child.pid === Number(pid) ? "the same" : "another"));
"""


def test_a_worker_is_the_process_that_firebase_tools_ends(tmp_path: Path) -> None:
    """Otherwise its shell ends after a change of the code, and Python stays."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/activate").touch()
    ran = subprocess.run(
        ["node", "--require", "./preload.cjs", "-e", START_WORKER, tmp_path],
        cwd=ROOT / "emulators",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.stdout == "the same\n", ran.stderr
