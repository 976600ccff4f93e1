"""The local Cloud Scheduler serves the official client library and raw requests."""

import contextlib
import http.client
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import scheduler_v1
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerRestTransport

from emulators.scheduler.__main__ import run_jobs
from emulators.scheduler.clock import SystemClock
from emulators.scheduler.dispatch import HttpDispatcher
from emulators.scheduler.engine import Scheduler
from emulators.scheduler.manifest import Manifest
from emulators.scheduler.server import SchedulerServer
from tests.emulators.scheduler_doubles import (
    PATIENCE,
    PROJECT,
    REGION,
    FakeClock,
    LoopbackFunctions,
    job,
    retries,
    write_manifest,
)

ROOT = Path(__file__).parents[2]
PARENT = f"projects/{PROJECT}/locations/{REGION}"
State = scheduler_v1.Job.State


@pytest.fixture
def functions() -> Iterator[LoopbackFunctions]:
    with LoopbackFunctions() as server:
        yield server


class Service:
    """A scheduler in this process with schedules off, and the official client."""

    def __init__(self, functions: LoopbackFunctions) -> None:
        self.ended: queue.Queue[str] = queue.Queue()
        dispatcher = HttpDispatcher(functions.url)
        self.scheduler = Scheduler(SystemClock(), dispatcher, self.ended.put, paused=True)
        # A forced run has the time of another tick shortly before one, so ticks are years apart.
        self.scheduler.load([job(name, "0 9 29 2 *") for name in ("a", "b", "c")])
        self.server = SchedulerServer(("127.0.0.1", 0), self.scheduler, PROJECT, dispatcher.uri)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.client = official_client(self.server.port)

    def raw(self, request: bytes) -> tuple[int, Any]:
        """Send raw bytes; return the status and the JSON of the response."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, json.loads(response.read() or b"null")

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        return self.raw(head.encode() + body)


def official_client(port: int) -> scheduler_v1.CloudSchedulerClient:
    """Return google-cloud-scheduler over REST, configured as documented for local servers."""
    transport = CloudSchedulerRestTransport(
        host=f"127.0.0.1:{port}", url_scheme="http", credentials=AnonymousCredentials()
    )
    return scheduler_v1.CloudSchedulerClient(transport=transport)


@pytest.fixture
def service(functions: LoopbackFunctions) -> Iterator[Service]:
    service = Service(functions)
    yield service
    service.client.transport.close()
    service.server.shutdown()
    service.server.server_close()


def test_the_official_client_reads_every_field_of_a_job(
    service: Service, functions: LoopbackFunctions
) -> None:
    """These are name, target, schedule, state, times, retries and deadline."""
    service.scheduler.load([job("a", "0 9 * * 1", time_zone="Europe/Berlin", retry=retries(2))])
    read = service.client.get_job(name=job("a").name)
    assert read.name == f"{PARENT}/jobs/firebase-schedule-a-us-central1"
    assert (read.schedule, read.time_zone, read.state) == ("0 9 * * 1", "Europe/Berlin", State.ENABLED)
    assert read.http_target.http_method == scheduler_v1.HttpMethod.POST
    assert read.http_target.uri == f"{functions.url}/functions/projects/{PROJECT}/triggers/us-central1-a-0"
    assert dict(read.http_target.headers) == {"User-Agent": "Google-Cloud-Scheduler"}
    assert read.attempt_deadline == timedelta(minutes=3)
    assert (read.retry_config.retry_count, read.retry_config.max_doublings) == (2, 5)
    assert read.retry_config.min_backoff_duration == timedelta(seconds=1)
    assert read.retry_config.max_backoff_duration == timedelta(hours=1)
    assert read.schedule_time > datetime.now(UTC) >= read.user_update_time
    assert "last_attempt_time" not in read
    assert "status" not in read


def test_the_official_client_lists_jobs_page_by_page(service: Service) -> None:
    """All jobs are returned by name for each page size; another location has none."""
    expected = [job(name).name for name in ("a", "b", "c")]
    for size in (0, 1, 2, 3, 1000):
        pages = service.client.list_jobs(request={"parent": PARENT, "page_size": size})
        assert [listed.name for listed in pages] == expected
    first = next(service.client.list_jobs(request={"parent": PARENT, "page_size": 2}).pages)
    assert len(first.jobs) == 2
    assert list(service.client.list_jobs(parent=f"projects/{PROJECT}/locations/mars")) == []


def test_the_official_client_runs_a_job(service: Service, functions: LoopbackFunctions) -> None:
    """run_job sends at once, also while a run hangs; the job has the outcome of the last attempt."""
    before = datetime.now(UTC)
    ran = service.client.run_job(name=job("b").name)
    hangs = functions.next()
    assert ran.last_attempt_time >= before
    sent = datetime.fromisoformat(hangs.headers["X-CloudScheduler-ScheduleTime"])
    assert sent.replace(microsecond=0) == ran.schedule_time
    service.client.run_job(name=job("b").name)
    functions.next().answer("500 Internal Server Error")
    assert "forced run" in service.ended.get(timeout=PATIENCE)
    failed = service.client.get_job(name=job("b").name).status
    assert (failed.code, failed.message) == (13, "HTTP 500")
    hangs.answer()
    service.ended.get(timeout=PATIENCE)
    ended = service.client.get_job(name=job("b").name)
    assert "status" in ended
    assert ended.status.code == 0


def test_the_official_client_pauses_and_resumes_a_job(service: Service, functions: LoopbackFunctions) -> None:
    """A paused job can be forced to run; a wrong state is FAILED_PRECONDITION."""
    name = job("c").name
    assert service.client.pause_job(name=name).state == State.PAUSED
    assert service.client.get_job(name=name).state == State.PAUSED
    assert "schedule_time" not in service.client.get_job(name=name)
    with pytest.raises(GoogleAPICallError, match="must be ENABLED") as caught:
        service.client.pause_job(name=name)
    assert caught.value.code == 400
    service.client.run_job(name=name)
    functions.next().answer()
    assert service.client.resume_job(name=name).state == State.ENABLED
    with pytest.raises(GoogleAPICallError, match="must be PAUSED"):
        service.client.resume_job(name=name)


def test_the_official_client_gets_the_errors_of_the_service(service: Service) -> None:
    """Unknown jobs, projects, pages and methods raise the client's exceptions."""
    with pytest.raises(NotFound, match="Job not found"):
        service.client.get_job(name=f"{PARENT}/jobs/none")
    with pytest.raises(NotFound):
        service.client.run_job(name=f"{PARENT}/jobs/none")
    with pytest.raises(Forbidden, match="only the project demo-nx-tasks"):
        service.client.list_jobs(parent="projects/real/locations/us-central1")
    with pytest.raises(BadRequest, match="pageToken"):
        service.client.list_jobs(request={"parent": PARENT, "page_token": "junk"})
    with pytest.raises(BadRequest, match="pageSize"):
        service.client.list_jobs(request={"parent": PARENT, "page_size": -1})
    for call in (service.client.create_job, service.client.delete_job, service.client.update_job):
        with pytest.raises(GoogleAPICallError, match="edit its function") as caught:
            call(request=REQUESTS[call.__name__])
        assert caught.value.code == 501


REQUESTS: dict[str, dict[str, Any]] = {
    "create_job": {"parent": PARENT, "job": {"schedule": "* * * * *"}},
    "delete_job": {"name": job("a").name},
    "update_job": {"job": {"name": job("a").name}},
}


def test_enums_are_names_unless_the_client_requests_numbers(service: Service) -> None:
    """With enum-encoding=int they are numbers."""
    path = f"/v1/{job('a').name}"
    assert service.request("GET", path)[1]["state"] == "ENABLED"
    numbers = service.request("GET", f"{path}?%24alt=json%3Benum-encoding%3Dint")[1]
    assert (numbers["state"], numbers["httpTarget"]["httpMethod"]) == (1, 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "name"),
    [
        ("GET", "/", b"", 404, "NOT_FOUND"),
        ("GET", "//[", b"", 404, "NOT_FOUND"),
        ("GET", "/v1/projects/p/locations", b"", 404, "NOT_FOUND"),
        ("GET", f"/v1/{PARENT}/jobs/../../x", b"", 404, "NOT_FOUND"),
        ("GET", f"/v1/{PARENT}/jobs/%ff%00", b"", 404, "NOT_FOUND"),
        ("GET", f"/v1/{PARENT}/jobs?pageSize=x", b"", 400, "INVALID_ARGUMENT"),
        ("GET", f"/v1/{job('a').name}:run", b"", 501, "UNIMPLEMENTED"),
        ("POST", f"/v1/{job('a').name}:explode", b"{}", 501, "UNIMPLEMENTED"),
        ("POST", f"/v1/{job('a').name}:pause", b"{", 400, "INVALID_ARGUMENT"),
        ("POST", f"/v1/{job('a').name}:pause", b"[" * 100_000, 400, "INVALID_ARGUMENT"),
        ("POST", f"/v1/{job('a').name}:pause", b"\xff", 400, "INVALID_ARGUMENT"),
        ("PUT", f"/v1/{job('a').name}", b"{}", 501, "UNIMPLEMENTED"),
        ("BREW", f"/v1/{job('a').name}", b"", 501, "UNIMPLEMENTED"),
        ("GET", "/" + "x" * 70_000, b"", 414, "INVALID_ARGUMENT"),
    ],
)
def test_an_invalid_request_gets_an_error_in_googles_format(
    service: Service, method: str, path: str, body: bytes, status: int, name: str
) -> None:
    """The server continues."""
    code, answer = service.request(method, path, body)
    assert (code, answer["error"]["code"], answer["error"]["status"]) == (status, status, name)
    assert service.client.get_job(name=job("a").name).state == State.ENABLED


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\r\n\r\njunk\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_a_malformed_request_gets_an_error_and_a_closed_connection(
    service: Service, raw: bytes, status: int
) -> None:
    """A body that is too long is not read."""
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=PATIENCE) as connection:
        connection.sendall(raw.lstrip())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert f" {status} ".encode() in answer.split(b"\r\n")[0] or f'"code": {status}'.encode() in answer
    assert service.client.get_job(name=job("a").name).state == State.ENABLED


def test_head_has_no_body_and_disconnected_clients_are_ignored(service: Service) -> None:
    """A client that disconnects during a response causes no error."""
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", service.server.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    assert service.client.get_job(name=job("a").name).state == State.ENABLED


class Process:
    """`python -m emulators.scheduler` with its output by line."""

    def __init__(self, manifest: Path, functions_url: str, *options: str) -> None:
        command = [sys.executable, "-m", "emulators.scheduler", "--port", "0", "--manifest", str(manifest)]
        command += ["--functions-url", functions_url, "--project", PROJECT, *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        Thread(
            target=lambda: [self.lines.put(line) for line in self.process.stdout or ()], daemon=True
        ).start()

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches a pattern."""
        while True:
            if found := re.search(pattern, self.lines.get(timeout=PATIENCE)):
                return found

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and stderr."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE), self.process.stderr.read() if self.process.stderr else ""


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Process] = []

    def starter(*arguments: Any) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield starter
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(PATIENCE)
        for pipe in (each.process.stdout, each.process.stderr):
            if pipe:
                pipe.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_while_a_function_hangs(
    start: Start, functions: LoopbackFunctions, tmp_path: Path, number: int
) -> None:
    """The exit code is 0 and stderr is empty."""
    manifest = tmp_path / "the manifest.json"
    write_manifest(manifest, f="0 0 1 1 *")
    process = start(manifest, functions.url)
    port = int(process.line(r"127\.0\.0\.1:(\d+); jobs, which run on schedule:")[1])
    process.line('firebase-schedule-f-us-central1: "0 0 1 1 [*]" UTC, next tick ')
    client = official_client(port)
    client.run_job(name=job().name)
    functions.next()
    assert process.end(number) == (0, "")
    client.transport.close()


def test_a_changed_manifest_is_loaded_and_an_invalid_one_is_not(
    start: Start, functions: LoopbackFunctions, tmp_path: Path
) -> None:
    """Paused jobs stay paused; an invalid file is logged once, and the old jobs continue."""
    manifest = tmp_path / "manifest.json"
    write_manifest(manifest, f="0 0 1 1 *")
    process = start(manifest, functions.url, "--paused")
    client = official_client(int(process.line(r":(\d+); jobs, which run only on request:")[1]))
    client.pause_job(name=job("f").name)
    write_manifest(manifest, f="0 0 1 1 *", g="every 2 hours")
    process.line("the manifest changed; jobs")
    process.line('firebase-schedule-g-us-central1: "every 2 hours"')
    states = {listed.name: listed.state for listed in client.list_jobs(parent=PARENT)}
    assert states == {job("f").name: State.PAUSED, job("g").name: State.ENABLED}
    write_manifest(manifest, g="@daily")
    process.line('the jobs stay the same: .*"@daily"')
    manifest.write_text("{")
    process.line("the jobs stay the same: .*not a readable JSON file")
    assert len(list(client.list_jobs(parent=PARENT))) == 2
    client.run_job(name=job("g").name)
    functions.next().answer()
    process.line("forced run .*, attempt 1: HTTP 200 after .* s; no next tick")
    client.transport.close()
    assert process.end() == (0, "")


def test_the_loop_fires_due_ticks(functions: LoopbackFunctions, tmp_path: Path) -> None:
    """The process's loop sends the tick when the clock passes it."""
    write_manifest(tmp_path / "manifest.json", f="* * * * *")
    ends = threading.Event()

    class EndingManifest(Manifest):
        def changed(self) -> bool:
            if ends.is_set():
                raise SystemExit
            return super().changed()

    clock, manifest = FakeClock(), EndingManifest(tmp_path / "manifest.json", PROJECT)
    scheduler = Scheduler(clock, HttpDispatcher(functions.url), lambda _: None)
    scheduler.load(manifest.read())

    def keep_going() -> None:
        with contextlib.suppress(SystemExit):
            run_jobs(scheduler, manifest)

    loop = Thread(target=keep_going)
    loop.start()
    clock.move(seconds=30)
    received = functions.next()
    received.answer()
    ends.set()
    loop.join(PATIENCE)
    assert received.headers["X-CloudScheduler-ScheduleTime"].startswith("2026-05-05T12:01:00.")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--project", "other"], "is of project 'demo-nx-tasks', not 'other'"),
        (["--functions-url", "5001"], "must have the form http://HOST:PORT"),
        (["--manifest", "/nonexistent"], "/nonexistent is not a readable JSON file"),
        (["--port", "70000"], "port must be 0-65535"),
        (["--host", "256.0.0.1"], "cannot listen on 256.0.0.1:0"),
    ],
)
def test_a_failed_start_prints_the_cause_on_one_line(
    start: Start, tmp_path: Path, options: list[str], complaint: str
) -> None:
    """The exit code is 1, without a stack trace."""
    write_manifest(tmp_path / "manifest.json", f="* * * * *")
    process = start(tmp_path / "manifest.json", "http://127.0.0.1:1", *options).process
    assert process.wait(PATIENCE) == 1
    assert process.stderr is not None
    [line] = process.stderr.read().splitlines()
    assert complaint in line


def test_the_error_for_a_port_in_use_names_the_port(start: Start, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", f="* * * * *")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        process = start(tmp_path / "manifest.json", "http://127.0.0.1:1", "--port", port).process
        assert process.wait(PATIENCE) == 1
    assert process.stderr is not None
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in process.stderr.read()
