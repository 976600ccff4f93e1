"""Runs a server process for the duration of a with block."""

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
    """Run a server until the block ends, then end its process group.

    Args:
        what: Name of the server for the error message of a timeout.
        command: Returns the server's command for a port.
        cwd: Working directory.
        env: Environment variables.
        log: File for the output.

    Returns:
        The server's address as host:port.
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
            with suppress(ProcessLookupError):  # A test may have ended it.
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
