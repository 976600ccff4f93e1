"""Rules that are left out, to see that the model finds what breaks."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from tests.model.explore import Model
from tests.model.invariants import Violation

Patch = pytest.MonkeyPatch
#: The rule, the function that leaves it out, the configuration that finds the violation, and its message.
LeftOut: TypeAlias = tuple[str, Callable[[Patch], None], str, str]


def parameters(rules: list[LeftOut]) -> list[Any]:
    """Return the parameters of a test: the function, the configuration and the message."""
    return [pytest.param(*how, id=f"{rule}: {how[0].__name__}") for rule, *how in rules]


def check_violation(configuration: tuple[Any, ...], violation: str) -> None:
    """Check that the model finds a violation with this message."""
    with pytest.raises(Violation, match=violation):
        Model(*configuration).explore()
