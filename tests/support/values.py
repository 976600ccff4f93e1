"""Values and errors that are hard to store or to describe."""

from collections.abc import Callable
from typing import Any


def nested(levels: int, wrap: Callable[[Any], Any] = lambda value: {"a": value}) -> Any:
    """Wrap a number in nested containers, mappings by default."""
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


class Unprintable(Exception):
    """An error whose message cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no message")
