"""Errors of an operator, and of one of its records. None of the texts contains a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class OcpiError(Exception):
    """An operator could not be read; the text has the reason and, if known, the fix."""


class RequestFailed(OcpiError):
    """A request got no usable response. The same request may succeed later.

    Attributes:
        refused: Whether the operator refused the request itself: HTTP 4xx, or OCPI 2xxx.
    """

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused


class ReadingEnded(OcpiError):
    """An operator was not read further because the run, or this leg of it, has ended."""


class NoOperatorAnswered(OcpiError):
    """No operator could be read. The run fails, and the last good result stays."""


class SetAside(Exception):
    """A record is left out of the result, for example because it does not follow OCPI.

    Attributes:
        reason: Why, and in which field.
        record: Country, party and id of the record, as far as it has them.
        updated: Its `last_updated`, UTC; None if that cannot be read.
    """

    def __init__(self, reason: str, record: str, updated: datetime | None = None) -> None:
        super().__init__(f"{record}: {reason}")
        self.reason = reason
        self.record = record
        self.updated = updated
