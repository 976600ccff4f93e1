"""A function's process, served for the time of a with block."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.waiting import wait_for


@contextmanager
def served(
    what: str, command: Callable[[int], Sequence[str | Path]], *, cwd: Path, env: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Run a server until the block ends, and end all that it started.

    Args:
        what: it is, for whoever waits in vain.
        command: makes its command of the port that it is to listen on.
        cwd: its working directory.
        env: its environment.
        log: file that takes what it prints.

    Returns:
        Its host and port.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port),
            env=env,
            cwd=cwd,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:
        try:
            wait_for(f"{what} to be served", lambda: _listens(process, port, log))
            yield f"127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):  # a test may have ended it
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
