"""Checks how functions are declared when main.py is imported.

firebase-tools reports an invalid option without the function, the value or the fix.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeGuard

from firebase_functions.options import RESET_VALUE, MemoryOption
from firebase_functions.params import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SIZES = tuple(option.value for option in MemoryOption)


def check_options(name: str, options: Mapping[str, object], fixes: Mapping[str, str]) -> None:
    """Check the options of a function that are passed on to the SDK.

    Args:
        name: Name of the function.
        options: The options.
        fixes: Options that a declaration may not have, with what to do instead.

    Raises:
        ValueError: An option is invalid; the text has the function, the option, the value and the fix.
    """
    for option, value in options.items():
        if option in fixes:
            raise ValueError(f"{name} must not have the option {option}, got {value!r}; {fixes[option]}")
    memory, cpu = options.get("memory"), options.get("cpu")
    if not (_is_open(memory) or (_is_number(memory) and memory in _SIZES)):
        sizes = ", ".join(map(str, _SIZES))
        raise ValueError(f"memory of {name} must be one of {sizes} (MB), got {memory!r}")
    if not (_is_open(cpu) or cpu == "gcf_gen1" or (_is_number(cpu) and cpu > 0)):
        raise ValueError(f'cpu of {name} must be a positive number or "gcf_gen1", got {cpu!r}')


def check_parameters(
    function: Callable[..., Any], name: str, arguments: tuple[int, ...], expected: str
) -> None:
    """Check that a function can be called with one of these numbers of arguments.

    Raises:
        ValueError: It cannot; the text has the function, its parameters and `expected`.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in callables may have no signature
        return
    for count in arguments:
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return
    raise ValueError(f"{name} must have {expected}, got {name}{signature}")


def _is_open(value: object) -> bool:
    """Return whether the SDK or the deployment chooses the value."""
    return value is None or value is RESET_VALUE or isinstance(value, Expression)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
