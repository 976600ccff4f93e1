"""Functions served as in production: functions-framework with gunicorn, one process, many threads."""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PRODUCT, REFERENCE = ROOT / "main.py", ROOT / "bench" / "reference_functions.py"
#: Where compiled code is kept: the build of a function compiles its source.
COMPILED = ROOT / ".stack" / "compiled"
START_SECONDS = 60.0
#: Less than the two seconds after which gunicorn closes an idle connection.
IDLE_SECONDS = 1.5
#: Variables of each process: threads as a callable has them, and compiled code.
SERVED = {"THREADS": "80", "PYTHONPYCACHEPREFIX": str(COMPILED), "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Instance:
    """A function's process.

    Attributes:
        port: where it listens, on loopback.
        pid: its first process.
    """

    port: int
    pid: int


@contextmanager
def instance(target: str, source: Path = PRODUCT, **environment: str) -> Iterator[Instance]:
    """Serve a function until the block ends.

    Args:
        target: the function's name.
        source: the file that has it.
        environment: further variables.
    """
    command = ["-m", "bench.production", "--target", target, "--source", str(source)]
    with listening([*command, "--host", "127.0.0.1", "--port"], **environment) as served:
        yield served


@contextmanager
def listening(arguments: list[str], **environment: str) -> Iterator[Instance]:
    """Run a Python program that listens on the port which is its last argument, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603  (a program of this project, under its own name)
        [sys.executable, *arguments, str(port)],
        cwd=ROOT,
        env={**os.environ, **SERVED, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        yield Instance(port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the function's process did not start") from None
            time.sleep(0.005)
        else:
            return


class Client:
    """One keep-alive connection. It costs little itself, so that what is measured is the server.

    Args:
        port: of the function's process.
        data: what is sent to the callable.
        gzip: whether compressed answers are taken.
        token: whether the caller is signed in.
    """

    def __init__(self, port: int, data: object = None, *, gzip: bool = True, token: bool = True) -> None:
        self._headers = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json"}
        self._headers |= {"Authorization": f"Bearer {TOKEN}"} if token else {}
        self._headers |= {"Accept-Encoding": "gzip"} if gzip else {}
        self.will_ask(data)
        self._port = port
        self._socket: socket.socket | None = None
        self._used = 0.0
        self._buffer = bytearray(1 << 20)
        self._head = bytearray()
        self._left: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    def will_ask(self, data: object) -> None:
        """Send this from the next call on."""
        body = json.dumps({"data": data}).encode()
        headers = self._headers | {"Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body

    def connect(self) -> socket.socket:
        """Return the connection; a new one where it has been idle for long, as gunicorn closes such."""
        if self._socket is None or time.monotonic() - self._used > IDLE_SECONDS:
            if self._socket is not None:
                self._socket.close()
            self._socket = socket.create_connection(("127.0.0.1", self._port), 120)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._used = time.monotonic()
        return self._socket

    def call(self) -> None:
        """Call, and read the answer to its end.

        Raises:
            RuntimeError: it is no success.
        """
        self.connect()
        self.ask()
        while not self.receive():
            pass

    def ask(self) -> None:
        """Send the request; the last one's answer must have been received to its end."""
        self._head.clear()
        self._left = None
        self._open.sendall(self._request)

    def receive(self) -> bool:
        """Read what is there of the answer; tell whether it is whole.

        Raises:
            RuntimeError: it is no success.
        """
        got = self._open.recv_into(self._buffer)
        if not got:
            raise RuntimeError("the connection was closed")
        if self._left is None:
            self._head += memoryview(self._buffer)[:got]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._left = _length(bytes(self._head[:end])) + end + 4 - len(self._head)
        else:
            self._left -= got
        self._used = time.monotonic()
        return self._left == 0

    @property
    def _open(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("connect first")
        return self._socket


def _length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 200"):
        raise Refused(head.decode())
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


class Refused(RuntimeError):
    """An answer was no success."""


class Crowd:
    """As many connections as there are callers, each of which calls as soon as it has its answer.

    One thread serves all of them: it costs less than the function that answers.

    Args:
        callers: how many.
        port, data, gzip: as a `Client`'s.
    """

    def __init__(self, callers: int, port: int, data: object = None, *, gzip: bool = True) -> None:
        self._open = ExitStack()
        self._clients = [self._open.enter_context(Client(port, data, gzip=gzip)) for _ in range(callers)]
        self._selector = self._open.enter_context(selectors.DefaultSelector())
        for client in self._clients:
            self._selector.register(client.connect(), selectors.EVENT_READ, client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def call_once(self) -> None:
        """Have all of them call at once, and read every answer to its end."""
        self._call(until=0.0)

    def calls_in(self, seconds: float) -> float:
        """Have all of them call again and again; return the calls a second."""
        began = time.perf_counter()
        answered = self._call(until=began + seconds)
        return answered / (time.perf_counter() - began)

    def _call(self, until: float) -> int:
        for client in self._clients:
            client.ask()
        answered, calling = 0, len(self._clients)
        while calling:
            for key, _ in self._selector.select():
                asked: Client = key.data
                if asked.receive():
                    answered += 1
                    if time.perf_counter() < until:
                        asked.ask()
                    else:
                        calling -= 1
        return answered


def _token() -> str:
    """An ID token as the Auth emulator makes them: unsigned."""
    now = int(time.time())
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    claims = {"iss": f"https://securetoken.google.com/{project}", "aud": project, "sub": "bench"}
    claims |= {"iat": now, "auth_time": now, "exp": now + 86_400, "role": "viewer"}  # type: ignore[dict-item]
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


TOKEN = _token()
