"""Waits for conditions, with a timeout."""

import time
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
