"""What can go wrong with an operator, and with one of its records. None of these texts holds a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class OcpiError(Exception):
    """An operator can't be read; the text says why, and what to do where that is known."""


class NoOperatorAnswered(OcpiError):
    """Not one operator could be read: the run has failed, and the last good result stays."""


class SetAside(Exception):
    """A record is not as OCPI wants it.

    Attributes:
        reason: why, and where in it.
        record: which one, as far as it says so itself.
        updated: Its `last_updated`, UTC; None if that cannot be read.
    """

    def __init__(self, reason: str, record: str, updated: datetime | None = None) -> None:
        super().__init__(f"{record}: {reason}")
        self.reason = reason
        self.record = record
        self.updated = updated
