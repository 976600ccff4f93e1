"""A callable has as many threads as Cloud Run sends concurrent requests; needs no stack."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import main
from tests.functions.conftest import Serve
from tests.functions.production import ROOT

CONCURRENCY = main.get_task_data.__firebase_endpoint__.concurrency
#: Prints the number of threads that functions-framework configures for gunicorn.
THREADS = """
import functions_framework
from functions_framework._http.gunicorn import GunicornApplication
app = functions_framework.create_app(source="main.py")
print(GunicornApplication(app, "127.0.0.1", 0, False).cfg.threads)
"""
#: The beginning of a call; gunicorn sends 100 Continue as soon as a thread handles it.
HEAD = (
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n"
    b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
)
BODY = b'{"data": null}'


def threads_of(function: str, **settings: str) -> int:
    """The number of gunicorn's threads for a function."""
    environment = {name: value for name, value in os.environ.items() if name != "THREADS"}
    environment |= {"FUNCTION_TARGET": function, "GOOGLE_CLOUD_PROJECT": "demo-nx-tasks", **settings}
    process = subprocess.run(
        [sys.executable, "-c", THREADS], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return int(process.stdout.splitlines()[-1])


def test_a_callable_has_a_thread_for_each_request() -> None:
    """As many as its deployed concurrency, on any machine."""
    assert threads_of("get_task_data") == CONCURRENCY == 80


def test_other_functions_have_the_default_number_of_threads() -> None:
    """A scheduled function runs in another process with functions-framework's default."""
    assert threads_of("watchdog") == 4 * (os.cpu_count() or 1)


def test_the_setting_threads_takes_precedence() -> None:
    assert threads_of("get_task_data", THREADS="5") == 5


def test_as_many_requests_are_served_concurrently(serve: Serve) -> None:
    """All are started before the first response."""
    host, port = serve().split(":")
    with ExitStack() as open_ones:
        calls = []
        for _ in range(CONCURRENCY):
            call = open_ones.enter_context(socket.create_connection((host, int(port)), timeout=30))
            call.sendall(HEAD)
            calls.append(call)
        for call in calls:
            assert call.recv(100).startswith(b"HTTP/1.1 100 Continue")
        for call in calls:
            call.sendall(BODY)
        for call in calls:
            with call.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 401 UNAUTHORIZED\r\n"
