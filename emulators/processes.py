"""Starting programs, watching them, and ending them whole, with whatever they left behind.

Some of what the emulators start leaves their process group (Java), some outlives them (Python workers). So
each process of a stack carries its id in the environment, children inherit it, and the end hunts for it.
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
ASKED_SECONDS = 8.0
FORCED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """A program of the stack that was started."""

    #: What a person calls it.
    name: str
    process: subprocess.Popen[bytes]
    #: Where its output goes.
    log: Path

    def check(self) -> None:
        """See that it still runs.

        Raises:
            StackError: It has ended; names it and shows the end of its log.
        """
        if (code := self.process.poll()) is not None:
            raise StackError(f"{self.name} ended unexpectedly (exit code {code}).\n{log_end(self.log)}")


def mark(environment: Mapping[str, str], stack_id: str) -> dict[str, str]:
    """An environment that names the stack of a process: innermost last, where one runs on another."""
    outer = environment.get(MARKER)
    return {**environment, MARKER: f"{outer}/{stack_id}" if outer else stack_id}


def start(
    name: str, command: Sequence[str | Path], *, environment: Mapping[str, str], cwd: Path, log: Path
) -> Part:
    """Start a program of the stack in a process group of its own.

    Args:
        name: What a person calls it.
        command: Program and arguments.
        environment: The whole environment, marked with the stack's id.
        cwd: Working folder.
        log: File that takes its output, overwritten.

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
        raise StackError(f"{name} cannot be started: {command[0]}: {error.strerror}.") from None
    return Part(name, process, log)


def log_end(log: Path) -> str:
    """The last lines of a log, and where the rest is."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", errors="replace"))
    lines = [f"  | {line}" for line in text.splitlines() if line.strip()]
    return "\n".join([*lines[-40:], f"All of it: {log}"])


def groups(stack_id: str) -> set[int]:
    """The process groups in which something lives that a stack has started, directly or not."""
    found = set()
    for process in psutil.process_iter():
        try:
            carried = process.environ().get(MARKER)
            if carried and stack_id in carried.split("/"):
                found.add(os.getpgid(process.pid))
        except (psutil.Error, OSError):  # gone meanwhile, or another user's, which no stack of ours started
            continue
    # What a test started in its own group, while a stack is the test session's, the test has to end.
    return found - {os.getpgrp()}


def end(stack_id: str, *, asked_seconds: float = ASKED_SECONDS) -> bool:
    """End everything that a stack has started: asked first, then forced.

    Args:
        stack_id: The id that the processes carry in their environment.
        asked_seconds: How long they may take before they are forced.

    Returns:
        Whether there was anything.

    Raises:
        StackError: Something cannot be ended; names the process groups.
    """
    found = bool(groups(stack_id))
    for how, seconds in ((signal.SIGTERM, asked_seconds), (signal.SIGKILL, FORCED_SECONDS)):
        told: set[int] = set()
        deadline = time.monotonic() + seconds
        while (living := groups(stack_id)) and time.monotonic() < deadline:
            # Each once: firebase-tools takes a second request as the wish to drop its clean end.
            for group in living - told:
                _signal(group, how)
            told |= living
            time.sleep(0.05)
        if not living:
            return found
    raise StackError(f"The process groups {sorted(living)} cannot be ended.")


def _signal(group: int, how: signal.Signals) -> None:
    try:
        os.killpg(group, how)
    except ProcessLookupError:  # ended meanwhile
        return
