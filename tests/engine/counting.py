"""What an engine asks of its servers, counted at the wire; answers can be held back there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import requests


class Counter(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Notes each call by its method's name, and the fields that a read asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.masks: list[list[str]] = []
        #: What came, asked for or not: documents, and bytes on the wire.
        self.documents = self.bytes = 0
        self._held: threading.Event | None = None
        self._has_come = threading.Semaphore(0)

    def intercept_unary_unary(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        self.calls.append(details.method.rpartition("/")[2])
        return call(details, request)

    def intercept_unary_stream(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        self.calls.append(details.method.rpartition("/")[2])
        if hasattr(request, "structured_query"):
            self.masks.append([field.field_path for field in request.structured_query.select.fields])
        else:
            self.masks.append(list(request.mask.field_paths))
        answers = self._counted(call(details, request))
        held = self._held
        if held is None:
            return answers
        come = list(answers)
        self._has_come.release()
        assert held.wait(60)
        return iter(come)

    def _counted(self, answers: Iterator[Any]) -> Iterator[Any]:
        for answer in answers:
            self.bytes += answer.ByteSize()
            self.documents += any(
                answer.HasField(name) for name in ("found", "document") if name in _fields(answer)
            )
            yield answer

    @contextmanager
    def held_back(self) -> Iterator[Callable[[], None]]:
        """Keep what is read meanwhile from the reader until the block ends; gives a wait for one of it."""
        held = self._held = threading.Event()

        def wait_for_answer() -> None:
            assert self._has_come.acquire(timeout=60)

        try:
            yield wait_for_answer
        finally:
            self._held = None
            held.set()


def _fields(message: Any) -> Any:
    return message.DESCRIPTOR.fields_by_name


class CountedSession(requests.Session):
    """Notes each request, whatever comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        self.requests.append(f"{request.method} {request.url}")
        return super().send(request, **how)
