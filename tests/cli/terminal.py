"""A terminal with a program in it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Self

from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "cli")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """Runs a program in a terminal of 40 lines and keeps its output."""

    def __init__(self, *command: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 180, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "TZ": "UTC"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._master)

    @property
    def raw(self) -> str:
        """The output as written."""
        return self._written.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """The output without colours and cursor movements."""
        return _ESCAPES.sub("", self.raw)

    def shows(self, pattern: str, *, after: int = 0) -> int:
        """Wait for text that matches after an offset; return the offset of its end."""

        def look() -> int:
            found = re.compile(pattern).search(self.text, after)
            return found.end() if found else 0

        try:
            return wait_for(repr(pattern), look)
        except AssertionError as error:
            raise AssertionError(f"{error}; there was {self.text!r}") from error

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ends(self) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(60)
        self._reader.join()
        return code

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # the program has closed it
                return
            if not chunk:
                return
            self._written += chunk
