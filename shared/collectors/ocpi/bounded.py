"""Connections on which an answer has a time as a whole, from the request to the last byte of its body.

A time-out of the standard library starts anew with each byte, so a peer that sends one now and
then holds its reader for ever. Here each wait is shortened to what is left of the whole.
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
    """Reads a socket until a moment, by `time.monotonic()`."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._sock = sock
        self._silence = sock.gettimeout()
        self._ends_at = ends_at
        self._hold: Any = sock.makefile("rb", buffering=0)  # keeps the socket open until this is closed

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what is there; wait for it no longer than what is left of the whole."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long as a whole")
        self._sock.settimeout(left if self._silence is None else min(left, self._silence))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._hold.close()
        super().close()


class _BoundedSocket:
    """What http.client needs of a socket: something to read from."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._sock = sock
        self._ends_at = ends_at

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file of what is read."""
        return io.BufferedReader(_BoundedFile(self._sock, self._ends_at))


def _response(sock: socket.socket, *args: Any, ends_at: float, **options: Any) -> http.client.HTTPResponse:
    bounded: Any = _BoundedSocket(sock, ends_at)
    return http.client.HTTPResponse(bounded, *args, **options)


class _Bounded:
    """Starts the time of an answer with its request.

    Args:
        call_seconds: that an answer may take as a whole.
    """

    def __init__(self, call_seconds: float, *args: Any, **options: Any) -> None:
        self._call_seconds = call_seconds
        super().__init__(*args, **options)

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request."""
        ends_at = time.monotonic() + self._call_seconds
        self.response_class: Any = partial(_response, ends_at=ends_at)
        super().request(*args, **options)  # type: ignore[misc]


class _Connection(_Bounded, HTTPConnection):
    """A connection without TLS."""


class _TlsConnection(_Bounded, HTTPSConnection):
    """A connection with TLS."""


class BoundedAdapter(HTTPAdapter):
    """Gives each connection the seconds that an answer may take as a whole."""

    def __init__(self, call_seconds: float) -> None:
        self._call_seconds = call_seconds
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Make the pools of connections through a proxy."""
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
