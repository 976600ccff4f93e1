"""A function as Cloud Run serves it: functions-framework and gunicorn, in a process of its own.

`python -m tests.functions.production KEYS FUNCTION PORT`: KEYS is where Google's public keys are published
here. The one thing that is turned aside is the way to those; libraries and product do what they do there.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
#: What leads to the Auth emulator, and what a test sets itself.
LEFT_OUT = ("FIREBASE_AUTH_EMULATOR_HOST", "NX_TASKS_CORS_ORIGINS", "THREADS")


@contextmanager
def served(function: str, keys: str, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve a function for the time of a with block.

    Args:
        function: its name.
        keys: where an issuer's keys are published.
        log: file that takes what it prints.
        environment: what is set beside, or instead of, this process's environment.

    Returns:
        Its host and port.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.functions.production", keys, function, str(port)],
            env={**inherited, **environment},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:
        try:
            wait_for(f"{function} to be served", lambda: _listens(process, port, log))
            yield f"127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(keys: str, function: str, port: str) -> None:
    """Serve until somebody ends it."""
    from firebase_admin import _token_gen, app_check  # noqa: PLC0415 - a second, which only the server needs
    from functions_framework._cli import _cli  # noqa: PLC0415

    _token_gen.ID_TOKEN_CERT_URI = f"{keys}/certificates"
    app_check._AppCheckService._JWKS_URL = f"{keys}/keys"
    _cli(["--target", function, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    main(*sys.argv[1:])
