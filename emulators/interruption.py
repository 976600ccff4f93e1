"""Raises one exception for Ctrl-C, SIGTERM and SIGHUP, once, so that a shutdown is not interrupted."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked this program to end; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the main thread at the first of these signals; ignore later ones."""
    before = {each: signal.signal(each, _interrupt) for each in _SIGNALS}
    if before[signal.SIGHUP] == signal.SIG_IGN:  # started with nohup
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def ignore_signals() -> None:
    """Ignore the signals until `interruptible` ends, because the shutdown has begun."""
    for each in _SIGNALS:
        # Not SIG_IGN, which child processes would inherit.
        signal.signal(each, lambda _number, _frame: None)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    ignore_signals()
    # Print at once, because the shutdown takes seconds. The signal may have interrupted sys.stderr.
    os.write(2, "Stopping …\n".encode())
    raise Interrupted(number)
