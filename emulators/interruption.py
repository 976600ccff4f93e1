"""Ctrl-C, SIGTERM and SIGHUP as one exception, raised once, so that an end in progress is not cut short."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Somebody asked this program to end; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the main thread at the first signal that asks for the end; pass over others."""
    before = {each: signal.signal(each, _interrupt) for each in _SIGNALS}
    if before[signal.SIGHUP] == signal.SIG_IGN:  # nohup keeps its meaning
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def pass_over_signals() -> None:
    """From now on, until interruptible ends, signals do nothing: the end has begun."""
    for each in _SIGNALS:
        # Not SIG_IGN, which programs that are started from here would inherit.
        signal.signal(each, lambda _number, _frame: None)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    pass_over_signals()
    # At once, since the end takes seconds; not through sys.stderr, which the signal may have interrupted.
    os.write(2, "Ending …\n".encode())
    raise Interrupted(number)
