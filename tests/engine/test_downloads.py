"""Downloads over HTTP from a server that misbehaves; needs no stack."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import google_crc32c
import pytest
import requests

from shared.firebase import StorageWire
from shared.tasks import ResultTooLarge
from shared.tasks.backends.downloads import DownloadFailed, Downloads
from tests.engine.line import Line

PATH = "tasks_data/a b/run.token.json"
STORED = bytes(range(256)) * 8000  # 2 MB


class Server:
    """Responds to each request with the next of its responses; the last one is repeated.

    Args:
        answers: Functions of the connection with the request, and of the event that ends the test.
    """

    def __init__(self, *answers: Callable[[socket.socket, threading.Event], None]) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.sent = 0
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=self._listener.accept()[:1], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += connection.recv(65_536) or b"\r\n\r\n"
            self.requests.append(request)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            answer(connection, self.over)

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def hash_of(stored: bytes) -> bytes:
    return base64.b64encode(google_crc32c.value(stored).to_bytes(4, "big"))


def head(status: int = 200, length: int | None = len(STORED), *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Connection: close", *more]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def sends(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send this and close the connection."""
    return lambda connection, _: connection.sendall(data)


def hangs(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send this, and then nothing."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(data)
        over.wait(10)

    return answer


def trickles(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send this, and then one byte at a time."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(data)
        for _ in range(200):  # limited, so that a reader without a time limit fails
            if over.wait(0.05):
                return
            connection.sendall(b"x")

    return answer


def resets(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send this and reset the connection."""

    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


GOOD = head(200, len(STORED), b"X-Goog-Hash: crc32c=" + hash_of(STORED) + b",md5=x==") + STORED

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def make(*answers: Any) -> Server:
        servers.append(Server(*answers))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def reads(address: str, *, call_seconds: float = 5.0, total_seconds: float = 10.0) -> Downloads:
    wire = StorageWire(requests.Session(), f"http://{address}", "results")
    return Downloads(lambda: wire, call_seconds=call_seconds, total_seconds=total_seconds)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_an_object_is_downloaded_unchanged(serve: Serve) -> None:
    """With one request for the stored bytes; the path is escaped."""
    server = serve(sends(GOOD))
    assert reads(server.address).read(PATH) == STORED
    [request] = server.requests
    assert request.startswith(
        b"GET /download/storage/v1/b/results/o/tasks_data%2Fa%20b%2Frun.token.json?alt=media HTTP/1.1\r\n"
    )
    assert b"accept-encoding: gzip\r\n" in request.lower()


@pytest.mark.parametrize("length", [0, 1])
def test_an_empty_object_is_not_missing(serve: Serve, length: int) -> None:
    assert reads(serve(sends(head(200, length) + b"x" * length)).address).read(PATH) == b"x" * length


def test_a_chunked_response_is_read_to_its_end(serve: Serve) -> None:
    chunked = head(200, None, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert reads(serve(sends(chunked)).address).read(PATH) == b"abcde"


def test_a_missing_object_is_none(serve: Serve) -> None:
    """It is requested once."""
    server = serve(sends(head(404, 0)))
    assert reads(server.address).read(PATH) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 412])
def test_a_refusal_is_not_retried(serve: Serve, status: int) -> None:
    """The error has the status."""
    server = serve(sends(head(status, 0)))
    with pytest.raises(DownloadFailed, match=f"HTTP {status}"):
        reads(server.address).read(PATH)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_temporary_error_is_retried(serve: Serve, status: int) -> None:
    """After a pause."""
    server = serve(sends(head(status, 0)), sends(head(status, 0)), sends(GOOD))
    assert reads(server.address).read(PATH) == STORED
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(sends(b""), id="hangs up"),
        pytest.param(sends(GOOD[: len(GOOD) // 2]), id="hangs up in the middle"),
        pytest.param(resets(GOOD[:1000]), id="resets"),
        pytest.param(sends(GOOD[:-1] + b"?"), id="damaged"),
        pytest.param(sends(GOOD.replace(b"Length: %d" % len(STORED), b"Length: 9")), id="wrong length"),
        pytest.param(
            sends(head(200, None, b"Transfer-Encoding: chunked") + b"5\r\nabc"), id="ends within a chunk"
        ),
    ],
)
def test_an_incomplete_or_damaged_body_is_read_again(serve: Serve, broken: Any) -> None:
    """It is never taken for the object."""
    server = serve(broken, sends(GOOD))
    assert reads(server.address).read(PATH) == STORED
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 503])
def test_a_persistent_error_is_raised_within_the_time_limit(serve: Serve, status: int) -> None:
    """After a few tries with pauses."""
    server = serve(sends(head(status, 0)))
    with within(3), pytest.raises(DownloadFailed, match=f"HTTP {status}"):
        reads(server.address).read(PATH, timeout=2)
    assert 2 <= len(server.requests) <= 20


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(hangs(b""), id="sends nothing"),
        pytest.param(hangs(GOOD[:1000]), id="hangs"),
        pytest.param(trickles(GOOD[:1000]), id="trickles"),
        pytest.param(trickles(head(200, None)), id="trickles without a length"),
    ],
)
def test_a_slow_download_ends_within_its_time_limit(serve: Serve, endless: Any) -> None:
    """Silence and slow bytes count together."""
    server = serve(endless)
    with within(3), pytest.raises(DownloadFailed):
        reads(server.address).read(PATH, timeout=2)


def test_a_silent_server_leaves_time_for_another_try(serve: Serve) -> None:
    server = serve(hangs(GOOD[:1000]), sends(GOOD))
    with within(3):
        assert reads(server.address, call_seconds=0.5, total_seconds=30).read(PATH) == STORED


def test_an_unreachable_server_is_retried_within_the_time_limit(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with within(3), pytest.raises(DownloadFailed, match="ConnectionError"):
        reads(address).read(PATH, timeout=1.5)


def test_a_download_survives_a_short_disconnection(serve: Serve) -> None:
    """A broken connection is not used again."""
    server = serve(sends(GOOD))
    with Line(server.address) as line:
        downloads = reads(line.address)
        line.cut()
        restored = threading.Timer(0.5, line.restore)
        restored.start()
        assert downloads.read(PATH) == STORED
        restored.join()


class Metered:
    """Sends zeros endlessly and counts them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.sent = 0

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        connection.sendall(self._data)
        while not over.is_set():
            self.sent += connection.send(b"\x00" * 65_536)


@pytest.mark.parametrize("length", [None, 1 << 30])
def test_a_download_stops_at_the_limit_of_its_reader(serve: Serve, length: int | None) -> None:
    """A body with too large a length is not read; one without a length is read up to the limit."""
    endless = Metered(head(200, length))
    server = serve(endless)
    with within(5), pytest.raises(ResultTooLarge) as error:
        reads(server.address).read(PATH, max_bytes=1_000_000)
    assert error.value.path == PATH
    assert len(server.requests) == 1
    assert endless.sent < 12_000_000  # bytes read, plus the buffers of the loopback interface


@pytest.mark.parametrize(("most", "fits"), [(len(STORED), True), (len(STORED) - 1, False)])
@pytest.mark.parametrize("has_length", [True, False], ids=["with length", "without length"])
def test_the_limit_of_a_reader_is_exact(serve: Serve, most: int, *, fits: bool, has_length: bool) -> None:
    server = serve(sends(head(200, len(STORED) if has_length else None) + STORED))
    if fits:
        assert reads(server.address).read(PATH, max_bytes=most) == STORED
    else:
        with pytest.raises(ResultTooLarge):
            reads(server.address).read(PATH, max_bytes=most)
