"""Waiting for what happens elsewhere: until it has happened, and not for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")

#: Seconds between two looks.
PAUSE_SECONDS = 0.05


def wait_for(what: str, look: Callable[[], _Found | None], *, seconds: float = 30.0) -> _Found:
    """Look until there is something to see, and return it.

    Args:
        what: what is waited for, as the failure says it.
        look: returns it, or something empty while it is not there.
        seconds: how long to go on.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(PAUSE_SECONDS)
    return found
