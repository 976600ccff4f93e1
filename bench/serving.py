"""Functions served as in production (functions-framework with gunicorn, 80 threads), and their clients."""

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
#: The folder of compiled code; the build of a function compiles its source.
COMPILED = ROOT / ".stack" / "compiled"
START_SECONDS = 60.0
#: The variable with the file whose bytes `bench.bare` and the function `fixed` return.
BODY = "NX_BENCH_BODY"
#: Serves these bytes from gunicorn alone.
BARE = ["-m", "bench.bare"]
#: gunicorn closes connections that have been idle for two seconds.
IDLE_SECONDS = 1.5
#: Variables of each process: the threads of a callable, and the folder of compiled code.
SERVED = {"THREADS": "80", "PYTHONPYCACHEPREFIX": str(COMPILED), "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Instance:
    """A function's process.

    Attributes:
        port: its port on loopback.
        pid: the id of its first process.
    """

    port: int
    pid: int


@contextmanager
def instance(target: str, source: Path = PRODUCT, **environment: str) -> Iterator[Instance]:
    """Serve a function until the block ends.

    Args:
        target: the function's name.
        source: the file that defines it.
        environment: additional variables.
    """
    command = ["-m", "bench.production", "--target", target, "--source", str(source)]
    with listening([*command, "--host", "127.0.0.1", "--port"], **environment) as served:
        yield served


@contextmanager
def listening(arguments: list[str], **environment: str) -> Iterator[Instance]:
    """Run a Python program, whose last argument is the port to listen on, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603  (a program of this project)
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
    """One keep-alive connection, with little cost of its own so that the server is what is measured.

    Args:
        port: the port of the function's process.
        data: the data sent to the callable.
        gzip: whether to accept compressed answers.
        token: whether to send an ID token.
    """

    def __init__(self, port: int, data: object = None, *, gzip: bool = True, token: bool = True) -> None:
        self._headers = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json"}
        self._headers |= {"Authorization": f"Bearer {TOKEN}"} if token else {}
        self._headers |= {"Accept-Encoding": "gzip"} if gzip else {}
        self.set_data(data)
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

    def set_data(self, data: object) -> None:
        """Set the data of the next calls."""
        body = json.dumps({"data": data}).encode()
        headers = self._headers | {"Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body

    def connect(self) -> socket.socket:
        """Return the connection, or a new one if gunicorn may have closed it as idle."""
        if self._socket is None or time.monotonic() - self._used > IDLE_SECONDS:
            if self._socket is not None:
                self._socket.close()
            self._socket = socket.create_connection(("127.0.0.1", self._port), 120)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._used = time.monotonic()
        return self._socket

    def call(self) -> None:
        """Send a request and read the whole answer.

        Raises:
            Refused: The status is not 200.
        """
        self.connect()
        self.ask()
        while not self.receive():
            pass

    def ask(self) -> None:
        """Send the request; the previous answer must have been read to its end."""
        self._head.clear()
        self._left = None
        self._open.sendall(self._request)

    def receive(self) -> bool:
        """Read a part of the answer, and return whether it is complete.

        Raises:
            Refused: The status is not 200.
            RuntimeError: The server closed the connection.
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
    """The status of an answer is not 200."""


class Crowd:
    """Concurrent connections, each of which calls again when it has its answer.

    One thread drives all of them, which costs less than the function that answers.

    Args:
        callers: the number of connections.
        port, data, gzip: as for `Client`.
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
        """Call once on all connections, and read every answer."""
        self._call(until=0.0)

    def calls_in(self, seconds: float) -> float:
        """Call repeatedly for that many seconds, and return the calls per second."""
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
    """Return an unsigned ID token, as the Auth emulator issues them."""
    now = int(time.time())
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    claims = {"iss": f"https://securetoken.google.com/{project}", "aud": project, "sub": "bench"}
    claims |= {"iat": now, "auth_time": now, "exp": now + 86_400, "role": "viewer"}  # type: ignore[dict-item]
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


TOKEN = _token()
