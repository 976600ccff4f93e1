"""Connections with a deadline for a whole response, from the request to the last byte of its body.

The timeout of a socket applies to each read, so a server that sends one byte at a time could hold its reader
forever. Here each read waits no longer than the time that is left until the deadline.
"""

from __future__ import annotations

import http.client
import io
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket


class _BoundedFile(io.RawIOBase):
    """Reads a socket until a deadline, by `time.monotonic()`."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._read_timeout = sock.gettimeout()
        self._deadline = deadline
        self._file: Any = sock.makefile("rb", buffering=0)  # keeps the socket open until this is closed

    def readable(self) -> bool:
        """Return that the file can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read available bytes, waiting until the deadline at most."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response took too long")
        self._sock.settimeout(left if self._read_timeout is None else min(left, self._read_timeout))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Release the socket."""
        self._file.close()
        super().close()


class _BoundedSocket:
    """The part of a socket that http.client uses for a response."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file to read the response from."""
        return io.BufferedReader(_BoundedFile(self._sock, self._deadline))


def _response(sock: socket.socket, *args: Any, deadline: float, **options: Any) -> http.client.HTTPResponse:
    bounded: Any = _BoundedSocket(sock, deadline)
    return http.client.HTTPResponse(bounded, *args, **options)


class _Bounded:
    """Starts the time of a response with its request.

    Args:
        call_seconds: Seconds from the request to the end of the response.
    """

    def __init__(self, call_seconds: float, *args: Any, **options: Any) -> None:
        self._call_seconds = call_seconds
        super().__init__(*args, **options)

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request."""
        deadline = time.monotonic() + self._call_seconds
        self.response_class: Any = partial(_response, deadline=deadline)
        super().request(*args, **options)  # type: ignore[misc]


class _Connection(_Bounded, HTTPConnection):
    """A connection without TLS."""


class _TlsConnection(_Bounded, HTTPSConnection):
    """A connection with TLS."""


class BoundedAdapter(HTTPAdapter):
    """Limits the time of each response.

    Args:
        call_seconds: Seconds from the request to the end of the response.
    """

    def __init__(self, call_seconds: float) -> None:
        self._call_seconds = call_seconds
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Create the pools of connections through a proxy."""
        return self._bound(super().proxy_manager_for(*args, **options))

    def _bound(self, manager: Any) -> Any:
        manager.pool_classes_by_scheme = {
            "http": partial(_pool, HTTPConnectionPool, partial(_Connection, self._call_seconds)),
            "https": partial(_pool, HTTPSConnectionPool, partial(_TlsConnection, self._call_seconds)),
        }
        return manager


def _pool(kind: Any, connection: Any, *args: Any, **options: Any) -> Any:
    pool = kind(*args, **options)
    pool.ConnectionCls = connection
    return pool
