"""Programs are started and ended."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from emulators import processes
from emulators.errors import StackError

STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "600"], start_new_session=True)
subprocess.Popen(["sleep", "600"], env={})
print("here", flush=True)
signal.pause()
"""
INTERRUPTIBLE = """
import os, signal, sys
from emulators.interruption import Interrupted, interruptible
number = int(sys.argv[1])
try:
    with interruptible():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            print("ended whole")
except Interrupted as interrupted:
    print(interrupted.number, signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler})
"""


def start(code: str, stack_id: str, tmp_path: Path) -> processes.Part:
    environment = processes.mark(os.environ, stack_id)
    log = tmp_path / "log"
    return processes.start("It", [sys.executable, "-c", code], environment=environment, cwd=tmp_path, log=log)


def group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_processes_are_ended(tmp_path: Path) -> None:
    """This includes processes that ignore SIGTERM, left the group, or lost the marker."""
    stack_id = uuid.uuid4().hex
    part = start(STUBBORN, stack_id, tmp_path)
    while "here" not in part.log.read_text():
        part.check()
        time.sleep(0.01)
    assert len(processes.groups(stack_id)) == 2
    assert processes.end(stack_id, term_seconds=0.2)
    assert part.process.wait() == -signal.SIGKILL
    assert processes.groups(stack_id) == set()
    assert not [p for p in psutil.process_iter() if group_of(p) == part.process.pid and is_alive(p)]
    assert not processes.end(stack_id)


def test_a_nested_stack_ends_with_the_outer_one() -> None:
    """A nested stack has the ids of both stacks; a third stack is not affected."""
    outer, inner = uuid.uuid4().hex, uuid.uuid4().hex
    environment = processes.mark(processes.mark({}, outer), inner)
    sleeper = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    try:
        assert not processes.end(uuid.uuid4().hex)
        assert processes.groups("") == set()  # An empty id matches no process.
        assert processes.groups(inner) == {sleeper.pid}
        assert processes.end(outer)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_error_for_an_ended_part_shows_its_log(tmp_path: Path) -> None:
    """It has the part, its exit code, and the path and the end of its log without colours."""
    part = start("print('\\x1b[31mred\\x1b[0m', *range(100), sep='\\n'); raise SystemExit(3)", "id", tmp_path)
    part.process.wait()
    with pytest.raises(StackError) as error:
        part.check()
    lines = str(error.value).splitlines()
    assert lines[0] == "It ended unexpectedly (exit code 3)."
    assert lines[-2:] == ["  | 99", f"Full log: {part.log}"]
    assert len(lines) == 42


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    """The error names the program."""
    with pytest.raises(StackError, match="Cannot start It: /nowhere"):
        processes.start("It", ["/nowhere"], environment={}, cwd=tmp_path, log=tmp_path / "log")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_only_the_first_signal_interrupts(number: signal.Signals) -> None:
    """A second signal does not interrupt the shutdown; afterwards the handlers are restored."""
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTIBLE, str(int(number))], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split("\n")[:2] == ["ended whole", f"{int(number)} True"]
