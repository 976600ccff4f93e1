"""The end of an instance: after a task that hangs in it, and when the platform tells it to end.

An instance is one process that serves one function. In production and in the Functions emulator it
is a worker of gunicorn: when it ends, gunicorn starts another one.
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

    from flask import Response

#: Seconds within which the ends of runs are recorded after SIGTERM. Cloud Run ends a process 10 s after it.
SHUT_DOWN_SECONDS = 8.0

_lock = threading.Lock()
_deliveries = 0
_is_ending = False
_is_watched = False
_signals: SimpleQueue[int] = SimpleQueue()


def delivery_began() -> None:
    """Count a delivery, and shut down on SIGTERM from now on."""
    global _deliveries, _is_watched  # noqa: PLW0603  (of the process, as its end is)
    with _lock:
        _deliveries += 1
        is_first, _is_watched = not _is_watched, True
    if is_first:
        try:
            _call_on_main_thread(_watch_for_sigterm)
        except Exception as error:  # noqa: BLE001  (a run without this is better than none)
            _is_watched = False  # the next delivery tries again
            logger.warning("SIGTERM not handled", error=error)


def answered(response: Response) -> Response:
    """Return a delivery's answer; once it is sent, the instance ends if a task hangs in it.

    Other deliveries are answered first: the last one ends the process.
    """
    global _is_ending  # noqa: PLW0603
    if report_hung_tasks():
        _is_ending = True
    response.call_on_close(_answer_sent)
    return response


def _answer_sent() -> None:
    global _deliveries  # noqa: PLW0603
    with _lock:
        _deliveries -= 1
        is_last = _deliveries == 0
    if _is_ending and is_last:
        _exit()


def _exit() -> None:
    """End the process at once: an orderly exit would wait for threads that the task started."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _call_on_main_thread(call: Callable[[], None]) -> None:
    """Have the main thread make a call: only it may set signal handlers.

    Deliveries are served by other threads, and gunicorn sets its own handlers after it has loaded the
    function's module. The main thread makes the call when it next runs Python code. It waits for
    connections up to a second at a time, so a signal wakes it: gunicorn's handler of SIGWINCH does nothing.

    Raises:
        RuntimeError: The interpreter takes no more pending calls.
    """
    if threading.current_thread() is threading.main_thread():
        call()
        return
    import ctypes  # noqa: PLC0415  (only here)

    def make(_: Any) -> int:
        call()
        return 0

    global _pending  # noqa: PLW0603  (must live until it is called)
    _pending = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(make)
    if ctypes.pythonapi.Py_AddPendingCall(_pending, None) != 0:
        raise RuntimeError("the interpreter's queue of pending calls is full")
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGWINCH)


_pending: Any = None


def _watch_for_sigterm() -> None:
    """End all runs on SIGTERM, beside what gunicorn's handler does."""
    gunicorns = signal.getsignal(signal.SIGTERM)
    if not callable(gunicorns):
        return

    def on_sigterm(number: int, frame: Any) -> None:
        # A handler interrupts the main thread anywhere: it may take no lock, and `put` takes none.
        _signals.put(number)
        gunicorns(number, frame)

    signal.signal(signal.SIGTERM, on_sigterm)
    signal.siginterrupt(signal.SIGTERM, False)
    threading.Thread(target=_end_runs, name="sigterm", daemon=True).start()


def _end_runs() -> None:
    """Wait for SIGTERM, and end all runs."""
    _signals.get()
    logger.warning("instance shutting down", signal="SIGTERM")
    if not shut_down(timeout_seconds=SHUT_DOWN_SECONDS):
        logger.warning("runs not ended before the instance", seconds=SHUT_DOWN_SECONDS)
