"""Counts an engine's requests on the wire, and can hold responses back there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import requests


class Answers:
    """The answers to a read, as an interceptor passes them on, and the call to cancel."""

    def __init__(self, answers: Iterator[Any], call: Any) -> None:
        self._answers = answers
        self.cancel = call.cancel

    def __iter__(self) -> Iterator[Any]:
        return self._answers


class Counter(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Records the method of each call and the field mask of each read."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        #: Number of writes in each commit.
        self.writes: list[int] = []
        self.masks: list[list[str]] = []
        #: Received documents and bytes on the wire.
        self.documents = self.bytes = 0
        self._held: threading.Event | None = None
        self._has_arrived = threading.Semaphore(0)

    def intercept_unary_unary(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        self.calls.append(details.method.rpartition("/")[2])
        if hasattr(request, "writes"):
            self.writes.append(len(request.writes))
        return call(details, request)

    def intercept_unary_stream(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        self.calls.append(details.method.rpartition("/")[2])
        if hasattr(request, "structured_query"):
            self.masks.append([field.field_path for field in request.structured_query.select.fields])
        else:
            self.masks.append(list(request.mask.field_paths))
        sent = call(details, request)
        answers = self._counted(sent)
        held = self._held
        if held is None:
            return Answers(answers, sent)
        arrived = list(answers)
        self._has_arrived.release()
        assert held.wait(60)
        return iter(arrived)

    def _counted(self, answers: Iterator[Any]) -> Iterator[Any]:
        for answer in answers:
            self.bytes += answer.ByteSize()
            self.documents += any(
                answer.HasField(name) for name in ("found", "document") if name in _fields(answer)
            )
            yield answer

    @contextmanager
    def held_back(self) -> Iterator[Callable[[], None]]:
        """Hold back responses to reads until the block ends; yields a function that waits for one."""
        held = self._held = threading.Event()

        def wait_for_answer() -> None:
            assert self._has_arrived.acquire(timeout=60)

        try:
            yield wait_for_answer
        finally:
            self._held = None
            held.set()


def _fields(message: Any) -> Any:
    return message.DESCRIPTOR.fields_by_name


class CountedSession(requests.Session):
    """Records each request, also failed ones."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        self.requests.append(f"{request.method} {request.url}")
        return super().send(request, **how)
