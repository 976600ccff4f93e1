"""`python -m emulators`: the commands of the local stack."""

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
from emulators.stack import Stack, running, tell

#: How long an interrupted command may take to end.
INTERRUPTED_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the local stack and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may not know a letter
    parser = argparse.ArgumentParser(prog="python -m emulators", description="The local stack of nx-tasks.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("exec", help="run a command on the stack, keep its exit code, end everything")
    run.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments"
    )
    commands.add_parser("up", help="seed demo data, run every task once, then stay until Ctrl-C")
    commands.add_parser("demo", help="seed demo data, run every task once, show the results, end everything")
    chosen = parser.parse_args(arguments)
    if chosen.command == "exec":
        program = chosen.program[1:] if chosen.program[:1] == ["--"] else chosen.program
        if not program:
            parser.error("exec needs a command: python -m emulators exec -- CMD")
        if shutil.which(program[0]) is None:
            parser.error(f"there is no command {program[0]}")
    else:
        program = [sys.executable, "-m", "emulators.demo", *(["--stay"] if chosen.command == "up" else [])]
    return _run(program, paused=chosen.command != "up")


def _run(program: list[str], *, paused: bool) -> int:
    try:
        with running(paused=paused) as stack:
            return _run_on(stack, program)
    except StackError as error:
        tell(str(error))
        return 1
    except Interrupted as interrupted:
        tell("Ended.")
        return 128 + interrupted.number


def _run_on(stack: Stack, program: list[str]) -> int:
    # In a group of its own: Ctrl-C reaches it once, from here, and it ends before the emulators do.
    process = subprocess.Popen(program, env=stack.environment, start_new_session=True)
    try:
        while (code := process.poll()) is None:
            stack.check()
            time.sleep(0.1)
    except BaseException:
        # While the emulators still answer, so that it can end as it wants to.
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(INTERRUPTED_SECONDS)
        raise
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
