"""Runs the tests in several processes at once and prints their outputs one after the other.

    terminal   tests without a stack, then tests that start firebase-tools themselves
    log        tests on the local stack, except for the following
    log        tests of the page, the command line and the SDK, on a second stack in a copy of the checkout
    log        tests of the model, at low priority, because they only compute

With `fast` as the first argument, only tests that start no other programs run, those of the model in a
second process. The other arguments are those of pytest, for each process.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import USERS
from tests.support.checkout import ROOT, copy_files, move_ports, own_ports

WORK = ROOT / ".stack"
TESTS = ROOT / "tests"
SECOND = WORK / "second-stack"
FAST = "not stack and not firebase and not programs"
#: Folders of the tests that start firebase-tools themselves.
FIREBASE = ("deploy", "emulators")
#: Runs a command in the time that others leave.
LOW_PRIORITY = ("nice", "-n", "10")
NONE_SELECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def exit_code(codes: list[int]) -> int:
    """Combine exit codes of pytest; a process without tests fails only if no process has tests."""
    ran = [code for code in codes if code != NONE_SELECTED]
    return max(ran, key=abs) if ran else NONE_SELECTED


def start(
    marks: str,
    arguments: list[str],
    env: Mapping[str, str] = os.environ,
    *,
    prefix: tuple[str, ...] = (),
    **options: object,
) -> subprocess.Popen[bytes]:
    # Concurrent processes would overwrite each other's cache.
    cache = f"cache_dir=.pytest_cache/{marks.replace(' ', '-')}"
    command = [*prefix, sys.executable, "-m", "pytest", *arguments, "-m", marks, "-o", cache]
    # Without its cache, each process takes ten seconds to rewrite the assertions of all modules.
    environment = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(command, env=environment, **options)  # type: ignore[call-overload,no-any-return]


def within(folders: tuple[str, ...], arguments: list[str]) -> list[str]:
    """Restrict arguments that select all tests to folders, because collecting all takes long."""
    selected = [each for each in arguments if Path(each.partition("::")[0]).resolve().is_relative_to(TESTS)]
    if any(Path(each).resolve() != TESTS for each in selected):
        return arguments
    return [*(each for each in arguments if each not in selected), *(f"tests/{each}" for each in folders)]


def follow(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Print the output that a process writes to a file until the process ends."""
    with path.open("rb") as written:
        running = True
        while running:
            running = process.poll() is None  # Check before reading, so that the last output is read, too.
            while piece := written.read(65536):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            time.sleep(0.1 if running else 0)


class Processes:
    """Processes of pytest: some on the terminal, others in the background with one log each."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._foreground: list[subprocess.Popen[bytes]] = []
        self._background: dict[Path, subprocess.Popen[bytes]] = {}

    def log(
        self, name: str, marks: str, folders: tuple[str, ...] = (), **options: object
    ) -> subprocess.Popen[bytes]:
        """Start a process in the background. The folders contain all tests with these marks."""
        colour = ["--color=yes"] if sys.stdout.isatty() else []
        path = WORK / name
        arguments = within(folders, self._arguments) if folders else self._arguments
        with path.open("wb") as output:
            process = start(marks, [*arguments, *colour], stdout=output, stderr=subprocess.STDOUT, **options)
        self._background[path] = process
        return process

    def show(self, marks: str, folders: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start a process on the terminal. The folders contain all tests with these marks."""
        process = start(marks, within(folders, self._arguments) if folders else self._arguments)
        self._foreground.append(process)
        return process

    def end(self) -> int:
        """Wait for all processes, print the logs, and return the combined exit code."""
        for process in self._foreground:
            process.wait()
        for path, process in self._background.items():
            follow(path, process)
        return exit_code([process.returncode for process in (*self._foreground, *self._background.values())])

    def wait(self) -> None:
        for process in (*self._foreground, *self._background.values()):
            process.wait()


def needs_two_stacks(arguments: list[str]) -> bool:
    """Return whether the arguments select tests for both stacks."""
    if "FIRESTORE_EMULATOR_HOST" in os.environ:  # Under `emulators exec`, all tests run on its stack.
        return False
    paths = [Path(each.partition("::")[0]).resolve() for each in arguments if not each.startswith("-")]
    folders = {each.relative_to(TESTS).parts[:1] for each in paths if each.is_relative_to(TESTS)}
    of_users = {folder for folder in folders if folder in {(name,) for name in USERS}}
    return not folders or () in folders or (bool(of_users) and folders != of_users)


def copy_for_stack() -> dict[str, str]:
    """Copy the checkout for the second stack; return the environment for its processes."""
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
    """Wait until a process has started its stack or has ended.

    Two instances of firebase-tools that look for a free port at the same moment choose the same one.
    """
    ready = root / ".stack/env"
    while process.poll() is None and not (ready.exists() and ready.stat().st_mtime >= since):
        time.sleep(0.2)


def run_all(processes: Processes, *, two: bool) -> None:
    """Start the processes for all tests, with one or two stacks."""
    environment = copy_for_stack() if two else {}
    began = time.time()
    on_stack = processes.log("tests-on-stack.log", "stack and not users" if two else "stack")
    without = processes.show("not stack and not firebase" + (" and not model" if two else ""))
    if two:
        processes.log("tests-of-model.log", "model", ("model",), prefix=LOW_PRIORITY)
    wait_for_stack(ROOT, began, on_stack)
    if two:
        users = processes.log("tests-of-users.log", "stack and users", USERS, cwd=SECOND, env=environment)
        wait_for_stack(SECOND, began, users)
    without.wait()
    processes.show("firebase", FIREBASE)


def run_fast(processes: Processes) -> None:
    """Start the processes for the tests that start no other programs."""
    processes.log("tests-of-model.log", f"{FAST} and model")
    processes.show(f"{FAST} and not model")


def main(arguments: list[str]) -> int:
    """Run the tests; return the combined exit code."""
    WORK.mkdir(exist_ok=True)
    fast = arguments[:1] == ["fast"]
    arguments = arguments[1:] if fast else arguments
    processes = Processes(arguments)
    try:
        if fast:
            run_fast(processes)
        else:
            run_all(processes, two=needs_two_stacks(arguments))
        return processes.end()
    except KeyboardInterrupt:  # All processes received the signal as well and clean up.
        processes.wait()
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
