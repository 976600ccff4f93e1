"""Finds failed deliveries in the logs of Cloud Scheduler and of the Cloud Tasks emulator."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

#: The log of each part, and its lines about failed deliveries. `preload.cjs` writes those of Cloud Tasks.
_LOGS = {
    "cloud-scheduler.log": re.compile(r"attempt \d+: (?!HTTP 2)"),
    "firebase-emulators.log": re.compile(r"^Cloud Tasks: .*, attempt \d+: "),
}


class FailedDeliveries:
    """Follows the logs of the stack from their present ends on.

    Args:
        folder: The folder of the logs.
    """

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._logs = {
            self._stack.enter_context((folder / name).open(encoding="utf-8", errors="replace")): pattern
            for name, pattern in _LOGS.items()
        }
        for log in self._logs:
            log.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def lines(self) -> Iterator[str]:
        """Yield the lines that were added since the last call."""
        for log, pattern in self._logs.items():
            yield from (line.strip() for line in log if pattern.search(line))
