"""Commands of the local stack, `python -m emulators`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from emulators.errors import StackError
from emulators.interruption import Interrupted
from emulators.stack import Stack, report, running

#: Seconds that an interrupted command has to end.
INTERRUPTED_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the local stack and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # the terminal's encoding may lack characters
    parser = argparse.ArgumentParser(prog="python -m emulators", description="The local stack of nx-tasks.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "exec", help="start the stack, run a command on it, stop the stack, return the command's exit code"
    )
    run.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments"
    )
    commands.add_parser("up", help="write demo data, run each task once, then run on schedule until Ctrl-C")
    commands.add_parser("demo", help="write demo data, run each task once, print the results, stop the stack")
    chosen = parser.parse_args(arguments)
    if chosen.command == "exec":
        program = chosen.program[1:] if chosen.program[:1] == ["--"] else chosen.program
        if not program:
            parser.error("exec needs a command: python -m emulators exec -- CMD")
        if shutil.which(program[0]) is None:
            parser.error(f"command not found: {program[0]}")
    else:
        program = [sys.executable, "-m", "emulators.demo", *(["--stay"] if chosen.command == "up" else [])]
    return _run(program, paused=chosen.command != "up", demo_data=chosen.command != "exec")


def _run(program: list[str], *, paused: bool, demo_data: bool) -> int:
    try:
        with running(paused=paused, demo_data=demo_data) as stack:
            return _run_on(stack, program)
    except StackError as error:
        report(str(error))
        return 1
    except Interrupted as interrupted:
        report("Stopped.")
        return 128 + interrupted.number


def _run_on(stack: Stack, program: list[str]) -> int:
    # Its own process group: it gets Ctrl-C once, from here, and ends before the emulators do.
    process = subprocess.Popen(program, env=stack.environment, start_new_session=True)
    try:
        while (code := process.poll()) is None:
            stack.check()
            time.sleep(0.1)
    except BaseException:
        # The emulators are still running, so that the command can clean up.
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(INTERRUPTED_SECONDS)
        raise
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
