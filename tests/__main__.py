"""Run the tests in two processes at once: without the stack on the terminal, on it into a file.

Most tests on the stack wait for servers, and the others use the processors meanwhile. When these end, the
output of the tests on the stack follows. The arguments are those of pytest, for both processes.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / ".stack/tests-on-stack.log"
NONE_SELECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def exit_code(codes: tuple[int, int]) -> int:
    """Combine two exit codes of pytest: that one half selects no test is no failure."""
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


def main(arguments: list[str]) -> int:
    """Run both halves; return the combined exit code."""
    LOG.parent.mkdir(exist_ok=True)
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    with LOG.open("wb") as log:
        on_stack = start("stack or deploys", [*arguments, *colour], stdout=log, stderr=subprocess.STDOUT)
        without = start("not stack and not deploys", arguments)
    try:
        code = without.wait()
        follow(LOG, on_stack)
    except KeyboardInterrupt:  # both received it as well, and clean up
        without.wait()
        on_stack.wait()
        return 130
    return exit_code((code, on_stack.returncode))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
