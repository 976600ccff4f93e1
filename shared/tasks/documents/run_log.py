"""The log of a run: the last lines that its task wrote through `run.log`."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tasks.redaction import clean, is_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.tasks.clock import Clock

#: Largest number of lines that are kept; older ones are lost.
MAX_LINES = 200
#: Longest line, in characters.
MAX_CHARACTERS = 500
#: Largest size of all lines, in bytes of UTF-8.
MAX_BYTES = 32_000


class LogLine(Struct, frozen=True):
    """A line of a run's log.

    Attributes:
        at: When the task wrote it, UTC.
        level: "info", "warning" or "error".
        text: The event and its fields, redacted.
    """

    at: datetime
    level: str
    text: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return len(self.text.encode())


class KeptLines(Struct, frozen=True):
    """What is kept of a log: its last lines, oldest first, and the number of lines lost before them."""

    lines: tuple[LogLine, ...]
    lost: int

    @property
    def count(self) -> int:
        """Number of all lines that were logged."""
        return self.lost + len(self.lines)


class RunLog:
    """The last lines that a task logged in one attempt. Safe to share between threads.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: deque[LogLine] = deque()
        self._size_bytes = 0
        self._lost = 0
        self._stored = 0
        self._is_uncertain = False

    def add(self, level: str, event: object, fields: Mapping[str, object]) -> None:
        """Add a line without its secrets. Values that have no text are replaced by their type."""
        shown = {name: "…" if is_secret(name) else _text(value) for name, value in fields.items()}
        words = [_text(event), *(f"{name}={value}" for name, value in shown.items())]
        text = clean(" ".join(words), MAX_CHARACTERS)
        with self._lock:
            line = LogLine(self._clock.now(), level, text)
            self._lines.append(line)
            self._size_bytes += line.size_bytes
            while len(self._lines) > MAX_LINES or self._size_bytes > MAX_BYTES:
                self._size_bytes -= self._lines.popleft().size_bytes
                self._lost += 1

    def unstored(self) -> KeptLines | None:
        """Return the lines; None if the stored log certainly has all of them."""
        with self._lock:
            kept = KeptLines(tuple(self._lines), self._lost)
            return kept if kept.count > (0 if self._is_uncertain else self._stored) else None

    def mark_stored(self, kept: KeptLines) -> None:
        """Note that a document contains these lines."""
        with self._lock:
            self._stored = max(self._stored, kept.count)

    def mark_uncertain(self) -> None:
        """Note that an unanswered write may still be applied, and may replace later lines."""
        with self._lock:
            self._is_uncertain = True


def _text(value: object) -> str:
    try:
        return str(value)[: 4 * MAX_CHARACTERS]
    except Exception:  # noqa: BLE001  (a value's own str() may fail, which must not fail the task)
        return f"<{type(value).__name__}>"
