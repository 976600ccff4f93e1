"""A charge point operator that answers whatever a test says, byte by byte if need be.

Versions and endpoints are as they should be; what its lists answer is the test's. It remembers
what it was asked, and with which token.
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


class Asked(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "Hostile"

    @property
    def route(self) -> str:
        """The path that is asked for."""
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters with which."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def list(self, records: list[Any], *, code: int = 1000, **headers: str) -> None:
        """Answer records in an envelope; `X_Total_Count` and the like are headers."""
        self.envelope({"data": records, "status_code": code, "timestamp": "2026-05-05T12:00:00Z"}, **headers)

    def envelope(self, content: Any, *, status: int = 200, **headers: str) -> None:
        """Answer JSON."""
        self.body(json.dumps(content).encode(), status=status, **headers)

    def body(self, body: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Answer bytes, of which there are said to be so many."""
        self.head(status, Content_Length=str(len(body) if length is None else length), **headers)
        self.wfile.write(body)

    def head(self, status: int = 200, **headers: str) -> None:
        """Begin an answer."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers_seen.append(dict(self.headers.items()))
        with suppress(OSError):  # it had enough of it
            self.server.answer(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Hostile(ThreadingHTTPServer):
    """The server. `lists` answers requests for lists."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, lists: Callable[[Asked], None], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            # Hands are shaken by the thread of each connection, as it reads.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.lists = lists
        self.versions = ["2.2.1"]
        self.role = "SENDER"
        #: Other origins that are named for "versions" or "endpoints".
        self.named: dict[str, str] = {}
        self.asked: list[str] = []
        self.headers_seen: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}"

    def operator(self, name: str = "hostile", **changes: Any) -> Operator:
        """It, as a setting names it."""
        said: dict[str, Any] = {"name": name, "url": f"{self.url}/versions", "token": TOKEN}
        return Operator(**said | changes)

    def answer(self, asked: Asked) -> None:
        """Answer versions and endpoints; lists as the test says."""
        if asked.route == "/versions":
            at = self.named.get("versions", self.url)
            asked.list([{"version": version, "url": f"{at}/{version}"} for version in self.versions])
        elif asked.route.strip("/") in self.versions:
            at = self.named.get("endpoints", self.url)
            endpoints = [{"identifier": each, "role": self.role, "url": f"{at}/{each}"} for each in MODULES]
            details = {"version": asked.route.strip("/"), "endpoints": endpoints}
            asked.envelope({"data": details, "status_code": 1000, "timestamp": "2026-05-05T12:00:00Z"})
        else:
            self.lists(asked)

    def list_requests(self) -> list[str]:
        """What was asked of lists."""
        return [path for path in self.asked if urlsplit(path).path.strip("/") in MODULES]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def hostile(lists: Callable[[Asked], None], tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Serve for the time of a with block; with TLS where there is a context for it."""
    server = Hostile(lists, tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serving(*records: dict[str, Any]) -> Callable[[Asked], None]:
    """One page with these records, and nothing hostile about it."""
    return lambda asked: asked.list(list(records), X_Total_Count=str(len(records)))
