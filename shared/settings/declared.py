"""What a setting is: a variable of the environment, declared once, with all that is to be said of it.

Its errors name the variable and say what it may be.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


class SettingMissing(RuntimeError):
    """A setting that the product can't do without is absent; the text names the variable."""


class SettingInvalid(RuntimeError):
    """A setting has a value that means nothing; the text names the variable and what it may be."""


class Setting(Struct, Generic[Value], frozen=True, kw_only=True):
    """A setting.

    Attributes:
        name: the variable.
        meaning: what it decides, in a few words.
        wanted: what it may be set to, as the end of "set it to …".
        parse: makes a value of what is said, or raises ValueError.
        pattern: what is said must match it as a whole, where there is one; a deployment checks it as it asks.
        counts_in: the functions that it makes a difference to, in words.
        default: what counts where nothing is said, as it would be said; None: nothing does.
        default_told: what a person is told of the default, where there is more to it.
        shown: whether an error may show what is said.
        secret: whether it is kept in Secret Manager. Then no error shows it.
    """

    name: str
    meaning: str
    wanted: str
    parse: Callable[[str], Value]
    counts_in: str
    pattern: str = ""
    default: str | None = None
    default_told: str = ""
    shown: bool = True
    secret: bool = False

    def said(self) -> str | None:
        """Return what the environment says; None where it says nothing."""
        return os.environ.get(self.name)

    def value(self) -> Value | None:
        """Return its value, else the default's; None where there is neither.

        Raises:
            SettingInvalid: what is said means nothing.
        """
        said = self._in_force()
        return None if said is None else self._parsed(said)

    def required(self) -> Value:
        """Return its value, which must be there: said or by default.

        Raises:
            SettingMissing: nothing is said, or nothing but blanks.
            SettingInvalid: what is said means nothing.
        """
        said = self._in_force()
        if said is None or (self.default is None and not said.strip()):
            raise SettingMissing(f"{self.name} is not set: {self._advice}")
        return self._parsed(said)

    def _in_force(self) -> str | None:
        said = self.said()
        return self.default if said is None else said

    def _parsed(self, said: str) -> Value:
        try:
            if self.pattern and not re.fullmatch(self.pattern, said):
                raise ValueError(said)  # noqa: TRY301
            return self.parse(said)
        except ValueError:
            shown = repr(said) if self.shown and not self.secret else "not what it must be"
            raise SettingInvalid(f"{self.name} is {shown}: {self._advice}") from None

    @property
    def _advice(self) -> str:
        if self.secret:
            return f"store {self.wanted} with `firebase functions:secrets:set {self.name}`"
        return f"set it to {self.wanted}"


def switch(said: str) -> bool:
    """Parse "on" or "off"."""
    if said not in {"on", "off"}:
        raise ValueError(said)
    return said == "on"


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers, both bounds included."""

    def parse(said: str) -> int:
        if not re.fullmatch("[0-9]{1,6}", said) or not least <= int(said) <= most:
            raise ValueError(said)
        return int(said)

    return parse
