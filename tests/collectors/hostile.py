"""A charge point operator whose responses each test defines, byte by byte if necessary.

Its versions and endpoints are valid; the test supplies the responses to list requests. The server
records the path and the headers of each request.
"""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.collectors.ocpi.operators import Operator

TOKEN = "token-of-hostile"
MODULES = ("locations", "cdrs")


class HttpRequest(BaseHTTPRequestHandler):
    """One request and the ways to respond to it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the acknowledgement of its headers
    server: "Hostile"

    @property
    def route(self) -> str:
        """The requested path."""
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; the last value of each."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def list(self, records: list[Any], *, code: int = 1000, **headers: str) -> None:
        """Send records in an envelope; keyword arguments such as `X_Total_Count` become headers."""
        self.envelope({"data": records, "status_code": code, "timestamp": "2026-05-05T12:00:00Z"}, **headers)

    def envelope(self, content: Any, *, status: int = 200, **headers: str) -> None:
        """Send a value as JSON."""
        self.body(json.dumps(content).encode(), status=status, **headers)

    def body(self, body: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Send bytes; `length` replaces the real Content-Length."""
        self.head(status, Content_Length=str(len(body) if length is None else length), **headers)
        self.wfile.write(body)

    def head(self, status: int = 200, **headers: str) -> None:
        """Send the status line and the headers."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.received_headers.append(dict(self.headers.items()))
        with suppress(OSError):  # the client may have closed the connection
            self.server.answer(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Hostile(ThreadingHTTPServer):
    """The server; `lists` responds to requests for lists."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, lists: Callable[[HttpRequest], None], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), HttpRequest)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            # The thread of each connection does the handshake when it reads.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.lists = lists
        self.versions = ["2.2.1"]
        self.role = "SENDER"
        #: Origins to return instead of this one for "versions" or "endpoints".
        self.named: dict[str, str] = {}
        self.requests: list[str] = []
        self.received_headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}"

    def operator(self, name: str = "hostile", **changes: Any) -> Operator:
        """The server as an operator of the setting."""
        fields: dict[str, Any] = {"name": name, "url": f"{self.url}/versions", "token": TOKEN}
        return Operator(**fields | changes)

    def answer(self, request: HttpRequest) -> None:
        """Respond to versions and endpoints; leave lists to the test."""
        if request.route == "/versions":
            at = self.named.get("versions", self.url)
            request.list([{"version": version, "url": f"{at}/{version}"} for version in self.versions])
        elif request.route.strip("/") in self.versions:
            at = self.named.get("endpoints", self.url)
            endpoints = [{"identifier": each, "role": self.role, "url": f"{at}/{each}"} for each in MODULES]
            details = {"version": request.route.strip("/"), "endpoints": endpoints}
            request.envelope({"data": details, "status_code": 1000, "timestamp": "2026-05-05T12:00:00Z"})
        else:
            self.lists(request)

    def list_requests(self) -> list[str]:
        """The paths of the list requests."""
        return [path for path in self.requests if urlsplit(path).path.strip("/") in MODULES]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def hostile(lists: Callable[[HttpRequest], None], tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Run a server for the duration of a with block, with TLS if a context is given."""
    server = Hostile(lists, tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serving(*records: dict[str, Any]) -> Callable[[HttpRequest], None]:
    """A valid list of one page with these records."""
    return lambda request: request.list(list(records), X_Total_Count=str(len(records)))
