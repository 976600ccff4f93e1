"""Engines whose calls can be made to fail: numbered, in the order in which they are sent.

Nothing stands in for the servers. A call is held back, refused, sent and its answer dropped, or
the process is killed before or after it, on its way to the real emulators.
"""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import requests
from google.cloud.firestore import Client as Firestore
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.storage import Client as Storage
from msgspec.structs import replace

from shared import firebase
from shared.firebase import SchedulerWire
from shared.tasks import TaskEngine
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.leg_queue import LegQueue
from shared.tasks.backends.scheduler import Jobs, JobTarget
from shared.tasks.backends.storage import Objects
from shared.tasks.clock import Clock
from tests.support.instances import intercepted

#: What can happen to a call. The number is how many calls in a row it happens to.
KINDS = ("kill before", "kill after", "fail 1", "fail 3", "fail all", "lose answer")


@dataclass(frozen=True)
class Fault:
    """One fault: to which call, from 1, and of what kind. 0 is none."""

    at: int
    kind: str = ""

    @property
    def last(self) -> float:
        """The last call that it happens to."""
        times = {"fail 3": 3.0, "fail all": float("inf")}.get(self.kind, 1.0)
        return self.at + times - 1


NO_FAULT = Fault(0)


class Down(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """UNAVAILABLE, as a channel raises it."""

    def code(self) -> Any:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "injected"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Faulty(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, requests.Session):  # type: ignore[misc]
    """All wires, to Firestore, Storage and other services, with one count of calls and one fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.trust_env = False
        self.calls: list[str] = []
        self._fault = fault
        self._lock = threading.Lock()

    def begin(self, fault: Fault) -> None:
        """Count the calls from here, and let the fault happen to them."""
        with self._lock:
            self.calls, self._fault = [], fault

    def intercept_unary_unary(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._around(
            details.method, lambda: call(details, request), Down, lambda answer: answer.result()
        )

    def intercept_unary_stream(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._around(details.method, lambda: call(details, request), Down, list)

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> Any:
        options = {name: value for name, value in options.items() if name != "max_allowed_time"}
        send = lambda: requests.Session.request(self, method, url, *arguments, **options)  # noqa: E731
        return self._around(
            _http_call(method, url), send, requests.ConnectionError, lambda answer: answer.content
        )

    def _around(
        self, what: str, send: Callable[[], Any], error: type[Exception], finish: Callable[[Any], Any]
    ) -> Any:
        kind = self._strikes(what.rpartition("/")[2])
        if kind == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind.startswith("fail"):
            raise error
        answer = send()
        if kind in {"kill after", "lose answer"}:
            finish(answer)  # it has been applied
            if kind == "kill after":
                os.kill(os.getpid(), signal.SIGKILL)
            raise error
        return answer

    def _strikes(self, call: str) -> str:
        """Count a call; return what happens to it, if anything does."""
        with self._lock:
            self.calls.append(call)
            struck = self._fault.at <= len(self.calls) <= self._fault.last and self._fault.at > 0
        return self._fault.kind if struck else ""


def _http_call(method: str, url: str) -> str:
    path = url.partition("?")[0]
    if "/jobs/" in path:
        return f"{method} job"
    if path.endswith("/tasks"):
        return f"{method} task"
    if path.endswith("/Messages.json"):
        return f"{method} messages"
    if "/upload/" in path:
        return "upload"
    if "/rewriteTo/" in path:
        return "rewrite"
    return f"{method} {'object' if '/o/' in path else 'bucket'}"


def faulty_client(faulty: Faulty) -> Firestore:
    """The client library's own client, its calls on the same count."""
    client = Firestore(project=firebase.firestore_client().project)
    channel = grpc.intercept_channel(firebase.firestore_wire().channel, faulty)
    client._firestore_api_internal = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
    return client


class HastyClock(Clock):
    """Pauses take no time, and yet pass."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += seconds * 20


class RedirectedJob(Jobs):
    """The job of a task, whose legs go to a URL of the test's."""

    def __init__(self, wire: Callable[[], SchedulerWire], url: str) -> None:
        super().__init__(wire)
        self._url = url

    def read_target(self, task: Any, *, timeout: float | None = None) -> JobTarget:
        return replace(super().read_target(task, timeout=timeout), url=self._url)


def engine_behind(
    faulty: Faulty,
    clock: Clock,
    *,
    document_seconds: float,
    object_seconds: float,
    legs_to: str = "http://127.0.0.1:1/",
) -> TaskEngine:
    """An instance of its own.

    Args:
        faulty: Its wires.
        clock: Its clock.
        document_seconds: Bound on a call to Firestore.
        object_seconds: Bound on a call to Storage with its repetitions.
        legs_to: URL to which Cloud Tasks delivers the legs of its runs.
    """
    wire = intercepted(faulty)
    bucket = Storage(project=firebase.bucket().client.project, _http=faulty).bucket(firebase.bucket().name)
    reads = replace(firebase.storage_wire(), session=faulty)
    return TaskEngine(
        Store(lambda: wire, call_seconds=document_seconds),
        Objects(lambda: bucket, lambda: reads, call_seconds=2.0, total_seconds=object_seconds),
        clock=clock,
        jobs=RedirectedJob(lambda: replace(firebase.scheduler_wire(), session=faulty), legs_to),
        queue=LegQueue(lambda: replace(firebase.tasks_wire(), session=faulty)),
    )
