"""The threads that tasks work on, kept for the next task.

To start a thread and wait until it has begun costs a run more than all its decisions; to hand
work to one that waits for it costs a third of that. Python can't stop a thread: one whose task
never ends is never handed anything again.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Threads that wait for work; those beyond end when their work does.
KEPT = 4


class Workers:
    """Threads that are handed calls. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Callable[[], None]]] = []

    def hand(self, call: Callable[[], None]) -> None:
        """Have a call made on a thread of its own; it must raise nothing.

        Raises:
            RuntimeError: the process can start no more threads.
        """
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="task", daemon=True).start()
        inbox.put(call)

    def _serve(self, inbox: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            inbox.get()()
            with self._lock:
                if len(self._idle) >= KEPT:
                    return
                self._idle.append(inbox)


#: The process's own. Whoever makes a second engine needs no second set of threads.
WORKERS = Workers()
