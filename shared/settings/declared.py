"""A setting is an environment variable, declared once with its meaning, its parser and its default.

Errors contain the variable, what it must be, and its value unless that may be secret.
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
    """A required setting is not set; the text names the variable."""


class SettingInvalid(RuntimeError):
    """A setting has an invalid value; the text names the variable and what it must be."""


class Setting(Struct, Generic[Value], frozen=True, kw_only=True):
    """A setting.

    Attributes:
        name: The environment variable.
        meaning: What it decides, in a few words.
        expected: What it must be, as a phrase that follows "must be" and "set it to".
        parse: Parser of the variable's text; raises ValueError for an invalid one.
        pattern: Regular expression that the whole text must match; empty for none. `firebase deploy` checks
            it when it asks for the setting.
        affects: Names of the functions that it affects, or "every function" or "every callable".
        default: Text that applies if the variable is not set; None if the setting has none.
        default_text: Description of the default, if `default` does not show it.
        is_shown: Whether errors may show the text.
        secret: Whether it is stored in Secret Manager. Errors never show a secret.
    """

    name: str
    meaning: str
    expected: str
    parse: Callable[[str], Value]
    affects: str
    pattern: str = ""
    default: str | None = None
    default_text: str = ""
    is_shown: bool = True
    secret: bool = False

    def text(self) -> str | None:
        """Return the variable's text; None if it is not set."""
        return os.environ.get(self.name)

    def value(self) -> Value | None:
        """Return the value, or the default's; None if there is neither.

        Raises:
            SettingInvalid: The text is invalid.
        """
        text = self._text_or_default()
        return None if text is None else self._parsed(text)

    def required(self) -> Value:
        """Return the value, or the default's.

        Raises:
            SettingMissing: The variable is not set or blank, and the setting has no default.
            SettingInvalid: The text is invalid.
        """
        text = self._text_or_default()
        if text is None or (self.default is None and not text.strip()):
            raise SettingMissing(f"{self.name} is not set; {self._advice}")
        return self._parsed(text)

    def _text_or_default(self) -> str | None:
        text = self.text()
        return self.default if text is None else text

    def _parsed(self, text: str) -> Value:
        try:
            if self.pattern and not re.fullmatch(self.pattern, text):
                raise ValueError(text)  # noqa: TRY301
            return self.parse(text)
        except ValueError:
            raise SettingInvalid(self._invalid(text)) from None

    def _invalid(self, text: str) -> str:
        if self.secret:
            return f"{self.name} is invalid (its value is not shown); {self._advice}"
        shown = f"{text!r}" if self.is_shown else "a value that is not shown"
        return f"{self.name} must be {self.expected}, got {shown}"

    @property
    def _advice(self) -> str:
        if self.secret:
            return f"store {self.expected} with `firebase functions:secrets:set {self.name}`"
        return f"set it to {self.expected}"


def parse_switch(text: str) -> bool:
    """Parse "on" or "off"."""
    if text not in {"on", "off"}:
        raise ValueError(text)
    return text == "on"


def whole_number(least: int, largest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `largest`, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,6}", text) or not least <= int(text) <= largest:
            raise ValueError(text)
        return int(text)

    return parse
