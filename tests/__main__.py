"""Run the tests in several processes at once, which mostly wait for servers, and print one after the other.

    terminal   without a stack, then those that start firebase-tools themselves
    log        on the local stack, except for the following
    log        through the page, the command line or the SDK, on a second stack in a copy of the checkout

The arguments are those of pytest, for each process.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import USERS
from tests.support.checkout import ROOT, copy_files, move_ports, own_ports

WORK = ROOT / ".stack"
TESTS = ROOT / "tests"
SECOND = WORK / "second-stack"
NONE_SELECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def exit_code(codes: list[int]) -> int:
    """Combine exit codes of pytest: that a process selects no test is no failure if another selects one."""
    ran = [code for code in codes if code != NONE_SELECTED]
    return max(ran, key=abs) if ran else NONE_SELECTED


def start(marks: str, arguments: list[str], **options: object) -> subprocess.Popen[bytes]:
    cache = f"cache_dir=.pytest_cache/{marks.replace(' ', '-')}"  # each process rewrites its cache
    command = [sys.executable, "-m", "pytest", *arguments, "-m", marks, "-o", cache]
    return subprocess.Popen(command, **options)  # type: ignore[call-overload,no-any-return]


def follow(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Print what a process has written to a file, and what it still writes, until it ends."""
    with path.open("rb") as written:
        running = True
        while running:
            running = process.poll() is None  # before reading: what it wrote last is read, too
            while piece := written.read(65536):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            time.sleep(0.1 if running else 0)


def needs_two_stacks(arguments: list[str]) -> bool:
    """Return whether the arguments select tests for both stacks."""
    if "FIRESTORE_EMULATOR_HOST" in os.environ:  # `emulators exec`: the tests run on that stack
        return False
    paths = [Path(each.partition("::")[0]).resolve() for each in arguments if not each.startswith("-")]
    folders = {each.relative_to(TESTS).parts[:1] for each in paths if each.is_relative_to(TESTS)}
    of_users = {folder for folder in folders if folder in {(name,) for name in USERS}}
    return not folders or () in folders or (bool(of_users) and folders != of_users)


def copy_for_stack() -> dict[str, str]:
    """Make the copy of the checkout for the second stack; return the environment for its processes."""
    shutil.rmtree(SECOND, ignore_errors=True)
    copy_files(SECOND)
    for folder in ("emulators/node_modules", "web/node_modules"):
        (SECOND / folder).symlink_to(ROOT / folder, target_is_directory=True)
    shutil.copytree(ROOT / "web/dist", SECOND / "web/dist", dirs_exist_ok=True)
    config = json.loads((SECOND / "firebase.json").read_text("utf-8"))
    moved = move_ports(config)
    (SECOND / "firebase.json").write_text(json.dumps(config), "utf-8")
    return {**os.environ, **own_ports(moved)}


def wait_for_stack(root: Path, since: float, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has started its stack, or has ended.

    Two firebase-tools that look for a free port at the same moment find the same one.
    """
    ready = root / ".stack/env"
    while process.poll() is None and not (ready.exists() and ready.stat().st_mtime >= since):
        time.sleep(0.2)


def main(arguments: list[str]) -> int:
    """Run all processes; return the combined exit code."""
    WORK.mkdir(exist_ok=True)
    two = needs_two_stacks(arguments)
    environment = copy_for_stack() if two else {}
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    foreground: list[subprocess.Popen[bytes]] = []
    background: dict[Path, subprocess.Popen[bytes]] = {}
    with ExitStack() as logs:

        def log(name: str, marks: str, **options: object) -> subprocess.Popen[bytes]:
            path = WORK / name
            to_log = {"stdout": logs.enter_context(path.open("wb")), "stderr": subprocess.STDOUT}
            background[path] = start(marks, [*arguments, *colour], **to_log, **options)
            return background[path]

        try:
            began = time.time()
            on_stack = log("tests-on-stack.log", "stack and not users" if two else "stack")
            foreground.append(start("not stack and not firebase", arguments))
            wait_for_stack(ROOT, began, on_stack)
            if two:
                users = log("tests-of-users.log", "stack and users", cwd=SECOND, env=environment)
                wait_for_stack(SECOND, began, users)
            foreground[0].wait()
            foreground.append(start("firebase", arguments))
            foreground[1].wait()
            for path, process in background.items():
                follow(path, process)
        except KeyboardInterrupt:  # all received it as well, and clean up
            for process in (*foreground, *background.values()):
                process.wait()
            return 130
    return exit_code([process.returncode for process in (*foreground, *background.values())])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
