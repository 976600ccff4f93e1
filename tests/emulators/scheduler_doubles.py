"""Test doubles for the local Cloud Scheduler: a clock, a dispatcher and functions."""

import json
import queue
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any, Self

from emulators.scheduler.dispatch import Attempt, Outcome
from emulators.scheduler.engine import Scheduler
from emulators.scheduler.job import Job, RetryConfig

PROJECT = "demo-nx-tasks"
REGION = "us-central1"
#: Timeout of waits, seconds; reached only by failing tests.
PATIENCE = 10


class FakeClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, text: str = "2026-05-05T12:00:30Z") -> None:
        self.moment = datetime.fromisoformat(text)

    def now(self) -> datetime:
        return self.moment

    def move(self, **span: float) -> None:
        self.moment += timedelta(**span)


@dataclass
class Sent:
    """An attempt whose outcome the test determines."""

    attempt: Attempt
    done: Callable[[Outcome], None]
    given_up: bool = False

    def answer(self, code: int = 0, message: str = "HTTP 200") -> None:
        self.done(Outcome(code, message))

    def abort(self) -> None:
        self.given_up = True

    @property
    def tick(self) -> str:
        return self.attempt.schedule_time.isoformat().replace("+00:00", "Z")


class FakeDispatcher:
    """Keeps attempts until the test determines their outcomes."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def send(self, attempt: Attempt, done: Callable[[Outcome], None]) -> Callable[[], None]:
        self.sent.append(Sent(attempt, done))
        return self.sent[-1].abort


@dataclass
class Bench:
    """A scheduler with a fake clock and a fake dispatcher."""

    clock: FakeClock = field(default_factory=FakeClock)
    dispatcher: FakeDispatcher = field(default_factory=FakeDispatcher)
    lines: list[str] = field(default_factory=list)
    paused: bool = False

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.clock, self.dispatcher, self.lines.append, paused=self.paused)

    @property
    def sent(self) -> list[Sent]:
        return self.dispatcher.sent

    def advance(self, **span: float) -> None:
        self.clock.move(**span)
        self.scheduler.advance()


def job(function: str = "f", schedule: str = "* * * * *", **changes: Any) -> Job:
    """Return a job for a function."""
    return Job(PROJECT, REGION, function, schedule, **changes)


def retries(count: int, **changes: Any) -> RetryConfig:
    """Return a retry config with a first back-off of one second."""
    return RetryConfig(count, **{"min_backoff": timedelta(seconds=1), **changes})


def write_manifest(path: Path, **schedules: str) -> None:
    """Write a manifest with one function per schedule."""
    endpoints = {
        name: {"platform": "gcfv2", "region": [REGION], "scheduleTrigger": {"schedule": schedule}}
        for name, schedule in schedules.items()
    }
    path.write_text(json.dumps({"project": PROJECT, "location": REGION, "endpoints": endpoints}))


@dataclass(frozen=True)
class Delivery:
    """A request that a function received."""

    line: str
    headers: dict[str, str]
    connection: socket.socket

    def answer(self, status: str = "200 OK", body: str = "") -> None:
        """Send a response and close the connection."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\n\r\n"
        self.end(f"{head}{body}".encode())

    def end(self, raw: bytes = b"") -> None:
        """Send raw bytes and close the connection."""
        try:
            self.connection.sendall(raw)
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The caller has closed the connection.
        self.connection.close()


class LoopbackFunctions(ThreadingMixIn, TCPServer):
    """A Functions emulator whose responses the test determines.

    Attributes:
        triggers: Names of the present triggers, which the response to an unknown one lists.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self) -> None:
        self.deliveries: queue.Queue[Delivery] = queue.Queue()
        self.all: list[Delivery] = []
        self.triggers: list[str] = []
        super().__init__(("127.0.0.1", 0), _Receive)
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next(self) -> Delivery:
        return self.deliveries.get(timeout=PATIENCE)

    def shutdown_request(self, request: Any) -> None:
        """Leave the connection open until the test responds."""

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        for delivery in self.all:
            delivery.end()
        super().__exit__(*error)

    def __enter__(self) -> Self:
        return self


class _Receive(StreamRequestHandler):
    server: LoopbackFunctions

    def handle(self) -> None:
        line = self.rfile.readline().decode().strip()
        headers = {}
        while header := self.rfile.readline().decode().strip():
            name, _, value = header.partition(": ")
            headers[name] = value
        delivery = Delivery(line, headers, self.connection)
        self.server.all.append(delivery)
        if "/triggers/unknown " in line:
            names = ", ".join(self.server.triggers)
            delivery.answer("404 Not Found", f"Function unknown does not exist, valid functions are: {names}")
            return
        self.server.deliveries.put(delivery)


def utc(text: str) -> datetime:
    """Parse a time in RFC 3339 format."""
    return datetime.fromisoformat(text).astimezone(UTC)
