"""Starts and watches the stack's programs, and ends them with all of their children.

Some children of the emulators leave their process group (Java) or outlive them (Python workers). So each
process of a stack has the stack's id in its environment. Children inherit it, and `end` finds them by it.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from emulators.errors import StackError

MARKER = "NX_STACK_ID"
#: Seconds between SIGTERM and SIGKILL.
TERM_SECONDS = 8.0
#: Seconds that processes may take to end after SIGKILL.
KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """A started program of the stack."""

    #: Name for messages.
    name: str
    process: subprocess.Popen[bytes]
    #: File with the program's output.
    log: Path

    def check(self) -> None:
        """Check that the program is running.

        Raises:
            StackError: The program has ended; the text contains the end of its log.
        """
        if (code := self.process.poll()) is not None:
            raise StackError(f"{self.name} ended unexpectedly (exit code {code}).\n{log_end(self.log)}")


def mark(environment: Mapping[str, str], stack_id: str) -> dict[str, str]:
    """Return an environment with the stack's id appended, since a stack may run on another one."""
    outer = environment.get(MARKER)
    return {**environment, MARKER: f"{outer}/{stack_id}" if outer else stack_id}


def start(
    name: str, command: Sequence[str | Path], *, environment: Mapping[str, str], cwd: Path, log: Path
) -> Part:
    """Start a program of the stack in a process group of its own.

    Args:
        name: Name for messages.
        command: Program and arguments.
        environment: The complete environment, marked with the stack's id.
        cwd: Working folder.
        log: File for the program's output; it is overwritten.

    Raises:
        StackError: The program cannot be started.
    """
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise StackError(f"Cannot start {name}: {command[0]}: {error.strerror}.") from None
    return Part(name, process, log)


def log_end(log: Path) -> str:
    """Return the last lines of a log, and its path."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", errors="replace"))
    lines = [f"  | {line}" for line in text.splitlines() if line.strip()]
    return "\n".join([*lines[-40:], f"Full log: {log}"])


def groups(stack_id: str) -> set[int]:
    """Return the process groups of a stack's living processes, descendants included."""
    found = set()
    for process in psutil.process_iter():
        try:
            marker = process.environ().get(MARKER)
            if marker and stack_id in marker.split("/"):
                found.add(os.getpgid(process.pid))
        except (psutil.Error, OSError):  # ended, or another user's
            continue
    # On a test session's stack, tests end the processes in their own group.
    return found - {os.getpgrp()}


def end(stack_id: str, *, term_seconds: float = TERM_SECONDS) -> bool:
    """End all processes of a stack, first with SIGTERM, then with SIGKILL.

    Args:
        stack_id: The stack's id in the environment of its processes.
        term_seconds: Seconds between SIGTERM and SIGKILL.

    Returns:
        Whether there were any processes.

    Raises:
        StackError: Processes did not end; the text lists their groups.
    """
    found = bool(groups(stack_id))
    for how, seconds in ((signal.SIGTERM, term_seconds), (signal.SIGKILL, KILL_SECONDS)):
        signalled: set[int] = set()
        deadline = time.monotonic() + seconds
        while (living := groups(stack_id)) and time.monotonic() < deadline:
            # Once each: on a second signal, firebase-tools skips its clean shutdown.
            for group in living - signalled:
                _signal(group, how)
            signalled |= living
            time.sleep(0.05)
        if not living:
            return found
    raise StackError(f"Cannot end the process groups {sorted(living)}; end them by hand.")


def _signal(group: int, how: signal.Signals) -> None:
    try:
        os.killpg(group, how)
    except (ProcessLookupError, PermissionError):  # already ended; macOS refuses to signal zombies
        return
