"""A loopback proxy that replaces Google: it terminates TLS with its own CA and records the requests.

A program with `HTTPS_PROXY` that trusts the CA uses the real host names, and no request leaves the
machine.
`tests.deploy.google` makes the responses.
"""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """One recorded request.

    Attributes:
        method: The HTTP method.
        host: The requested host without port.
        path: The percent-encoded path.
        query: The last value of each query parameter.
        content: The body.
    """

    method: str
    host: str
    path: str
    query: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The JSON body; empty for other content."""
        return json.loads(self.content) if self.content.startswith((b"{", b"[")) else None

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON response with an HTTP status."""

    body: Any
    status: int = 200


class Recorder:
    """The proxy, which runs during a with block.

    Args:
        answer: Returns the response to a request.
        folder: Folder for `ca.pem`, the certificate to trust.
    """

    def __init__(self, answer: Callable[[Request], Answer], folder: Path) -> None:
        self.requests: list[Request] = []
        self.trusted = folder / "ca.pem"
        self._answer = answer
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.trusted))
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        recorder = self

        class Handler(_Handler):
            owner = recorder

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that make a Node.js program use the proxy."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._server.server_port}",
            "NODE_EXTRA_CA_CERTS": str(self.trusted),
        }

    def taken(self, request: Request) -> Answer:
        """Record a request and return its response, under a lock because responses change the state."""
        with self._lock:
            self.requests.append(request)
            return self._answer(request)

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return the TLS context for a host."""
        with self._lock:
            if host not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._ca.issue_cert(host).configure_cert(context)
                self._contexts[host] = context
            return self._contexts[host]


class _Handler(BaseHTTPRequestHandler):
    """A connection: CONNECT, then TLS, then HTTP requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the acknowledgement of its headers
    owner: Recorder
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0]
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        # A client's "Connection: close" refers to its connection to the proxy.
        self.close_connection = False
        self.connection = self.owner.context_for(self.host).wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb")  # type: ignore[assignment]

    def finish(self) -> None:
        super().finish()
        # The server closes only the original socket, which the TLS socket has replaced.
        self.connection.close()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        answer = self.owner.taken(
            Request(
                self.command,
                self.host or url.hostname or "",
                url.path,
                dict(parse_qsl(url.query, keep_blank_values=True)),
                self._content(),
            )
        )
        content = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  (the server's names)

    def log_message(self, *_: Any) -> None:
        pass
