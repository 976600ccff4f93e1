"""A TCP proxy that a test can cut or stall."""

import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Line:
    """Forwards a port of its own to a server until it is cut or stalled; `restore` ends both.

    Args:
        server: Host and port of the real server.
    """

    def __init__(self, server: str) -> None:
        host, port = server.rsplit(":", 1)
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._up = True
        self._forwards = threading.Event()
        self._forwards.set()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._forwards.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """Drop all present and new connections."""
        with self._lock:
            self._up = False
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Accept connections but forward nothing, like a server that hangs."""
        self._forwards.clear()

    def restore(self) -> None:
        """Forward new connections again, and the data that was held back."""
        self._forwards.set()
        with self._lock:
            self._up = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(caller,), daemon=True).start()

    def _forward(self, caller: socket.socket) -> None:
        with suppress(OSError), caller:
            with self._lock:
                if not self._up:
                    return
            with socket.create_connection(self._server) as callee, selectors.DefaultSelector() as ends:
                with self._lock:
                    if not self._up:
                        return
                    self._open |= {caller, callee}
                ends.register(caller, selectors.EVENT_READ, callee)
                ends.register(callee, selectors.EVENT_READ, caller)
                self._pass_on(ends)
                with self._lock:
                    self._open -= {caller, callee}

    def _pass_on(self, ends: selectors.BaseSelector) -> None:
        while True:
            for key, _ in ends.select():
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                if not data:
                    return
                self._forwards.wait()
                key.data.sendall(data)
