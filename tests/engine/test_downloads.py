"""Reading objects over HTTP, from a server that misbehaves. No stack is needed for it."""

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
    """Answers each request with the next of its answers, the last of them again and again.

    Args:
        answers: each is given the connection whose request has come, and whether the test is over.
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
    said = [b"HTTP/1.1 %d X" % status, b"Connection: close", *more]
    if length is not None:
        said.append(b"Content-Length: %d" % length)
    return b"\r\n".join(said) + b"\r\n\r\n"


def says(said: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says this and hangs up."""
    return lambda connection, _: connection.sendall(said)


def hangs(said: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says this, and then nothing."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(said)
        over.wait(10)

    return answer


def trickles(said: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says this, and then a byte at a time."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(said)
        for _ in range(200):  # not for ever, so that a reader who would wait for ever fails
            if over.wait(0.05):
                return
            connection.sendall(b"x")

    return answer


def resets(said: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says this and drops the connection hard."""

    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(said)
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


def test_an_object_is_read_as_it_is_stored(serve: Serve) -> None:
    """One request, for the bytes as they lie there, the path escaped."""
    server = serve(says(GOOD))
    assert reads(server.address).read(PATH) == STORED
    [request] = server.requests
    assert request.startswith(
        b"GET /download/storage/v1/b/results/o/tasks_data%2Fa%20b%2Frun.token.json?alt=media HTTP/1.1\r\n"
    )
    assert b"accept-encoding: gzip\r\n" in request.lower()


@pytest.mark.parametrize("length", [0, 1])
def test_an_object_of_no_byte_is_an_object(serve: Serve, length: int) -> None:
    """What is empty is not taken for what is not there."""
    assert reads(serve(says(head(200, length) + b"x" * length)).address).read(PATH) == b"x" * length


def test_a_chunked_request_is_accepted(serve: Serve) -> None:
    """A chunked answer is read to its end."""
    chunked = head(200, None, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert reads(serve(says(chunked)).address).read(PATH) == b"abcde"


def test_an_object_that_is_not_there_is_none(serve: Serve) -> None:
    """It is asked for once."""
    server = serve(says(head(404, 0)))
    assert reads(server.address).read(PATH) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 412])
def test_a_refusal_is_not_asked_again(serve: Serve, status: int) -> None:
    """Trying again would not help; the status is told."""
    server = serve(says(head(status, 0)))
    with pytest.raises(DownloadFailed, match=f"HTTP {status}"):
        reads(server.address).read(PATH)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_trouble_that_passes_is_outlasted(serve: Serve, status: int) -> None:
    """The same call again, after a pause."""
    server = serve(says(head(status, 0)), says(head(status, 0)), says(GOOD))
    assert reads(server.address).read(PATH) == STORED
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(says(b""), id="hangs up"),
        pytest.param(says(GOOD[: len(GOOD) // 2]), id="hangs up in the middle"),
        pytest.param(resets(GOOD[:1000]), id="resets"),
        pytest.param(says(GOOD[:-1] + b"?"), id="damaged"),
        pytest.param(says(GOOD.replace(b"Length: %d" % len(STORED), b"Length: 9")), id="wrong length"),
        pytest.param(
            says(head(200, None, b"Transfer-Encoding: chunked") + b"5\r\nabc"), id="ends within a chunk"
        ),
    ],
)
def test_what_breaks_off_is_read_anew_and_never_taken_for_whole(serve: Serve, broken: Any) -> None:
    """Half a body, or another than was stored, is no result: the next try gives it."""
    server = serve(broken, says(GOOD))
    assert reads(server.address).read(PATH) == STORED
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 503])
def test_trouble_that_stays_is_told_in_time(serve: Serve, status: int) -> None:
    """Tries are a few, with pauses between them, within the seconds given."""
    server = serve(says(head(status, 0)))
    with within(3), pytest.raises(DownloadFailed, match=f"HTTP {status}"):
        reads(server.address).read(PATH, timeout=2)
    assert 2 <= len(server.requests) <= 20


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(hangs(b""), id="says nothing"),
        pytest.param(hangs(GOOD[:1000]), id="hangs"),
        pytest.param(trickles(GOOD[:1000]), id="trickles"),
        pytest.param(trickles(head(200, None)), id="trickles without a length"),
    ],
)
def test_a_download_ends_within_its_bound(serve: Serve, endless: Any) -> None:
    """However slowly a server speaks: silences and bytes that trickle count together."""
    server = serve(endless)
    with within(3), pytest.raises(DownloadFailed):
        reads(server.address).read(PATH, timeout=2)


def test_a_silence_is_not_waited_for_longer_than_a_call_may_take(serve: Serve) -> None:
    """The next try has time left."""
    server = serve(hangs(GOOD[:1000]), says(GOOD))
    with within(3):
        assert reads(server.address, call_seconds=0.5, total_seconds=30).read(PATH) == STORED


def test_a_server_that_is_not_there_is_told_in_time(serve: Serve) -> None:
    """Nothing listens: asked again, for as long as it may take."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with within(3), pytest.raises(DownloadFailed, match="ConnectionError"):
        reads(address).read(PATH, timeout=1.5)


def test_a_line_that_is_cut_and_mended_is_outlasted(serve: Serve) -> None:
    """A connection that broke is not used again."""
    server = serve(says(GOOD))
    with Line(server.address) as line:
        downloads = reads(line.address)
        line.cut()
        mended = threading.Timer(0.5, line.mend)
        mended.start()
        assert downloads.read(PATH) == STORED
        mended.join()


class Metered:
    """Sends zeros for ever, and counts them."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.sent = 0

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        connection.sendall(self._said)
        while not over.is_set():
            self.sent += connection.send(b"\x00" * 65_536)


@pytest.mark.parametrize("length", [None, 1 << 30])
def test_no_more_is_read_than_the_reader_takes(serve: Serve, length: int | None) -> None:
    """A body that says it is longer is not begun; one that does not say is left where it is too long."""
    endless = Metered(head(200, length))
    server = serve(endless)
    with within(5), pytest.raises(ResultTooLarge) as told:
        reads(server.address).read(PATH, max_bytes=1_000_000)
    assert told.value.path == PATH
    assert len(server.requests) == 1
    assert endless.sent < 12_000_000  # what it took, and what loopback's buffers hold


@pytest.mark.parametrize(("most", "fits"), [(len(STORED), True), (len(STORED) - 1, False)])
@pytest.mark.parametrize("told", [True, False], ids=["length told", "not told"])
def test_the_largest_that_a_reader_takes(serve: Serve, most: int, *, fits: bool, told: bool) -> None:
    """As many bytes as it says, and not one more."""
    server = serve(says(head(200, len(STORED) if told else None) + STORED))
    if fits:
        assert reads(server.address).read(PATH, max_bytes=most) == STORED
    else:
        with pytest.raises(ResultTooLarge):
            reads(server.address).read(PATH, max_bytes=most)
