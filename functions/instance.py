"""Ends an instance in which a task hangs, and ends its runs on SIGTERM.

An instance is a process that serves one function. In production and in the Functions emulator it is a worker
of gunicorn, which starts another one when it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from shared import logger
from shared.tasks import report_hung_tasks, shut_down

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from flask import Response

#: Seconds after SIGTERM to record the ends of runs. Cloud Run kills the process after 10 s.
SHUT_DOWN_SECONDS = 8.0

_lock = threading.Lock()
_deliveries = 0
_is_ending = False
_is_watched = False
_signals: SimpleQueue[int] = SimpleQueue()


def count_delivery() -> None:
    """Count a delivery, and install the handler of SIGTERM before the first one."""
    global _deliveries, _is_watched  # noqa: PLW0603  (the end concerns the whole process)
    with _lock:
        _deliveries += 1
        is_first, _is_watched = not _is_watched, True
    if is_first:
        try:
            _call_on_main_thread(_watch_for_sigterm)
        except Exception as error:  # noqa: BLE001  (a run without the handler is better than none)
            _is_watched = False  # The next delivery tries again.
            logger.warning("SIGTERM not handled", error=error)


def end_after(response: Response) -> Response:
    """Return a delivery's response. If a task hangs, the instance ends after the response was sent.

    It ends after the last response, so that no other delivery is interrupted.
    """
    global _is_ending  # noqa: PLW0603
    if report_hung_tasks():
        _is_ending = True
    response.call_on_close(_response_sent)
    return response


def _response_sent() -> None:
    global _deliveries  # noqa: PLW0603
    with _lock:
        _deliveries -= 1
        is_last = _deliveries == 0
    if _is_ending and is_last:
        _exit()


def _exit() -> None:
    """End the process at once, because an orderly exit would wait for threads of the task."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _call_on_main_thread(call: Callable[[], None]) -> None:
    """Make a call on the main thread, which alone may set signal handlers.

    Other threads serve deliveries, and gunicorn sets its own handlers after it has loaded the function's
    module. The main thread makes the call when it next runs Python code. It waits for connections for up to a
    second, so SIGWINCH wakes it, for which gunicorn's handler does nothing.

    Raises:
        RuntimeError: The interpreter's queue of pending calls is full.
    """
    if threading.current_thread() is threading.main_thread():
        call()
        return
    import ctypes  # noqa: PLC0415  (needed only here)

    def make(_: object) -> int:
        call()
        return 0

    global _pending  # noqa: PLW0603  (must not be freed before it is called)
    _pending = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(make)
    if ctypes.pythonapi.Py_AddPendingCall(_pending, None) != 0:
        raise RuntimeError("the interpreter's queue of pending calls is full")
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGWINCH)


_pending: Any = None


def _watch_for_sigterm() -> None:
    """Install a handler that ends all runs on SIGTERM, and then calls gunicorn's handler."""
    gunicorn_handler = signal.getsignal(signal.SIGTERM)
    if not callable(gunicorn_handler):
        return

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        # A handler can interrupt the main thread anywhere, so it must not take a lock; `put` takes none.
        _signals.put(number)
        gunicorn_handler(number, frame)

    signal.signal(signal.SIGTERM, on_sigterm)
    signal.siginterrupt(signal.SIGTERM, False)
    threading.Thread(target=_end_runs, name="sigterm", daemon=True).start()


def _end_runs() -> None:
    """Wait for SIGTERM, then end all runs."""
    _signals.get()
    logger.warning("instance shutting down", signal="SIGTERM")
    if not shut_down(timeout_seconds=SHUT_DOWN_SECONDS):
        logger.warning("runs not ended in time", timeout_seconds=SHUT_DOWN_SECONDS)
