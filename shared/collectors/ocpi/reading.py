"""Checks one record, against OCPI (`records`) and against the limits of a result.

An invalid record is set aside, with the reason.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.records import NOT_AVAILABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: How far an operator's clock may be ahead of this one.
CLOCK_SKEW = timedelta(minutes=10)
#: Nested levels of a record. All readers of a result can decode these.
MAX_DEPTH = 60
#: Reason for a record with more levels.
TOO_DEEP = f"a record must have at most {MAX_DEPTH} nested levels, got more"
#: Bytes of a record's JSON. In Python it may take thirty times as much memory.
MAX_RECORD_BYTES = 1 << 20
#: Reason for a larger record.
TOO_LARGE = f"a record must have at most {MAX_RECORD_BYTES} bytes, got more"
#: Bytes up to which a part of a record's name is decoded.
_NAME_BYTES = 400
#: Characters of a reason.
REASON_LENGTH = 160
#: An unknown start or end of a CDR (10.3.1), which does not follow RFC 3339, and its valid form.
_UNKNOWN_TIME = b'"1970-1-1T00:00:00Z"', b'"1970-01-01T00:00:00Z"'
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


class Updated(Protocol):
    """A record with the time of its last update."""

    @property
    def last_updated(self) -> datetime:
        """The time of the last update."""


Kind = TypeVar("Kind", bound=Updated)
Kind_co = TypeVar("Kind_co", bound=Updated, covariant=True)


class Checked(NamedTuple, Generic[Kind_co]):
    """A valid record.

    Attributes:
        key: Key of the record, from `key_of`.
        updated: Its `last_updated`, UTC.
        record: All fields, as JSON values.
        typed: The fields that OCPI defines.
    """

    key: str
    updated: datetime
    record: dict[str, Any]
    typed: Kind_co


def read(raw: msgspec.Raw, decoder: msgspec.json.Decoder[Kind]) -> Checked[Kind]:
    """Check a record.

    Args:
        raw: The record.
        decoder: Decoder of its type.

    Raises:
        SetAside: The record does not follow OCPI, or a result cannot contain it.
    """
    if len(memoryview(raw)) > MAX_RECORD_BYTES:
        raise SetAside(TOO_LARGE, _name_of_raw(raw), _updated_of_raw(raw))
    text = bytes(raw).replace(*_UNKNOWN_TIME)
    try:
        typed = decoder.decode(text)  # First, so that invalid records are not decoded completely.
        record = msgspec.json.decode(text)
        _check_identity(record)
        _check_storable(text, record)
        return Checked(key_of(record), in_utc(typed.last_updated), record, typed)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise SetAside(_reason(error), _name_of_raw(raw), _updated_of_raw(raw)) from None


class _Name(msgspec.Struct):
    country_code: msgspec.Raw = msgspec.Raw(b"null")
    party_id: msgspec.Raw = msgspec.Raw(b"null")
    id: msgspec.Raw = msgspec.Raw(b"null")


def _name_of_raw(raw: msgspec.Raw) -> str:
    """Return the name of an invalid record, as far as it has one."""
    try:
        name = msgspec.structs.asdict(msgspec.json.decode(raw, type=_Name))
        return name_of({field: _short_text(part) for field, part in name.items()})
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return name_of(None)


class _Dated(msgspec.Struct):
    last_updated: datetime


def _updated_of_raw(raw: msgspec.Raw) -> datetime | None:
    """Return `last_updated` of an invalid record; None if it has no such time."""
    try:
        return in_utc(msgspec.json.decode(raw, type=_Dated).last_updated)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
        return None


def _short_text(raw: msgspec.Raw) -> object:
    return msgspec.json.decode(raw) if len(memoryview(raw)) <= _NAME_BYTES else None


def read_dated(
    read: Callable[[msgspec.Raw, str], Checked[Kind]], latest: datetime, raw: msgspec.Raw, version: str
) -> Checked[Kind]:
    """Check a record, and that `last_updated` is not in the future, where it would win over later updates.

    Args:
        read: Checks the record otherwise.
        latest: Latest allowed `last_updated`, UTC.
        raw: The record.
        version: The operator's version of OCPI.

    Raises:
        SetAside: The record is invalid, or was updated later.
    """
    checked = read(raw, version)
    if checked.updated > latest:
        raise SetAside("`last_updated` is in the future", name_of(checked.record), checked.updated)
    return checked


def name_of(record: object) -> str:
    """Return country, party and id of a record, such as "DE/ABC/1"; "?" for what is missing."""
    if not isinstance(record, dict):
        return "?"
    parts = (record.get(field) for field in ("country_code", "party_id", "id"))
    return "/".join(part[:40] if isinstance(part, str) and part.isprintable() else "?" for part in parts)


def key_of(record: Mapping[str, Any]) -> str:
    """Return a record's key, from country_code, party_id and id in lower case, since case does not count."""
    return "\x1f".join((record["country_code"], record["party_id"], record["id"])).lower()


def in_utc(moment: datetime) -> datetime:
    """Return a DateTime in UTC; one without a time zone is in UTC (16.2)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _check_identity(record: dict[str, Any]) -> None:
    """Refuse a record without an identity; all such records would have one key."""
    for field in ("party_id", "id"):
        if record[field].upper() == NOT_AVAILABLE:
            raise msgspec.ValidationError(f"`{field}` must identify the record, got {NOT_AVAILABLE}")


def _check_storable(text: bytes, record: object) -> None:
    """Check depth and integers, which a result limits; cheap tests of the text exclude most records."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(record) > MAX_DEPTH:
        raise msgspec.ValidationError(TOO_DEEP)
    if _LONG_NUMBER.search(text) and not _integers_fit(record):
        raise msgspec.ValidationError("an integer beyond 64 bits")


def _depth(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


def _integers_fit(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_integers_fit, value.values()))
    if isinstance(value, list):
        return all(map(_integers_fit, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "text that is not UTF-8"
    if isinstance(error, OverflowError):
        return "a time outside the years 1 to 9999"
    if isinstance(error, RecursionError):
        return TOO_DEEP
    return str(error)[:REASON_LENGTH]
