"""Waits for conditions, with a timeout."""

import sys
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")

#: Seconds between two checks.
PAUSE_SECONDS = 0.05


def wait_for(what: str, look: Callable[[], _Found | None], *, seconds: float = 120.0) -> _Found:
    """Call a function until it returns a truthy value, and return that value.

    Args:
        what: Name of the condition for the error message of a timeout.
        look: Returns a falsy value until the condition holds.
        seconds: Timeout, seconds.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(PAUSE_SECONDS)
    return found


def wait_until_in(function: str, thread: int) -> None:
    """Wait until a thread, given by its identifier, is in a call of a function with this name."""

    def is_in() -> bool:
        frame = sys._current_frames().get(thread)
        return function in {each.name for each in traceback.extract_stack(frame)} if frame else False

    wait_for(f"a thread to be in {function}", is_in)
