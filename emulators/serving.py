"""The HTTP server that the stack's own services share: one port, in the foreground, until a signal."""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NoReturn, TypeVar

_IDLE_SECONDS = 30


class Server(ThreadingMixIn, TCPServer):
    """A server with a thread per connection. Port 0 selects a free one; a port in use raises OSError."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    @property
    def port(self) -> int:
        """Port that the server listens on."""
        return int(self.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"http://{self.socket.getsockname()[0]}:{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of clients that disconnected."""


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of a connection, which stays open between them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the acknowledgement of its headers
    timeout = _IDLE_SECONDS

    def send(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a response."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 named by the base class
        """Log nothing, because requests may contain secrets."""


Served = TypeVar("Served", bound=Server)


def serve(
    name: str, module: str, make: Callable[[tuple[str, int]], Served], describe: Callable[[Served], str]
) -> int:
    """Serve until a signal ends the process.

    Args:
        name: Name for messages.
        module: Module that is run, "emulators.x".
        make: Makes the server for an address.
        describe: Returns the line that is printed once the server listens.

    Returns:
        The exit code: 0 after a signal, 1 if the server cannot start.
    """
    end_at_signals()
    options = address_parser(module, f"{name} in the foreground, until SIGTERM or Ctrl-C.").parse_args()
    try:
        server = make((options.host, options.port))
    except (OSError, OverflowError) as error:
        return failed(name, f"cannot listen on {options.host}:{options.port}: {error}")
    print(describe(server), flush=True)
    server.serve_forever()
    return 0


def address_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser for the options `--port` and `--host`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 selects a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    return parser


def failed(name: str, why: str) -> int:
    """Print why the server cannot start, and return the exit code 1."""
    sys.stderr.write(f"{name}: {why}\n")
    return 1


def end_at_signals() -> None:
    """End this process at once with exit code 0 at SIGTERM or Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)
