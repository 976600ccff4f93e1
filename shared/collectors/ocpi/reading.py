"""One record as it came, checked: what it is in plain JSON, or why it is set aside.

A record is checked twice: against OCPI (`records`), and against what a result can hold.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.records import NOT_AVAILABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: How far ahead of this clock an operator's may be.
CLOCK_SKEW = timedelta(minutes=10)
#: Levels inside one another that a record may have; a result's readers are sure to manage these.
MAX_DEPTH = 60
#: Bytes of JSON that a record may have: in Python it may take thirty times as much.
MAX_RECORD_BYTES = 1 << 20
#: Bytes of a part of a record's name beyond which it is not decoded.
_NAME_BYTES = 400
#: Characters of a reason that are told.
REASON_LENGTH = 160
#: What a CDR has for a start or an end that nobody knows (10.3.1): no RFC 3339, and yet the specification's.
_NEVER = b'"1970-1-1T00:00:00Z"', b'"1970-01-01T00:00:00Z"'
_LONG_NUMBER = re.compile(rb"[0-9]{19}")

Kind = TypeVar("Kind")


class Checked(NamedTuple, Generic[Kind]):
    """A record that is as OCPI wants it.

    Attributes:
        key: what tells it from all others.
        updated: when it was last updated, UTC.
        record: the record as it came, in plain JSON.
        seen: the same as OCPI sees it.
    """

    key: str
    updated: datetime
    record: dict[str, Any]
    seen: Kind


def read(raw: msgspec.Raw, decoder: msgspec.json.Decoder[Kind]) -> Checked[Kind]:
    """Check a record.

    Args:
        raw: the record as it came.
        decoder: of the object that it must be.

    Raises:
        SetAside: it is no such object, or holds what a result can't; with its id, where it has one.
    """
    if len(memoryview(raw)) > MAX_RECORD_BYTES:
        raise SetAside(f"more than {MAX_RECORD_BYTES} bytes", _name_of_raw(raw), _updated_of_raw(raw))
    said = bytes(raw).replace(*_NEVER)
    try:
        seen: Any = decoder.decode(said)  # the schema first: what it refuses is not decoded as a whole
        plain = msgspec.json.decode(said)
        _check_identity(plain)
        _check_fits(said, plain)
        return Checked(key_of(plain), in_utc(seen.last_updated), plain, seen)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise SetAside(_reason(error), _name_of_raw(raw), _updated_of_raw(raw)) from None


class _Name(msgspec.Struct):
    country_code: msgspec.Raw = msgspec.Raw(b"null")
    party_id: msgspec.Raw = msgspec.Raw(b"null")
    id: msgspec.Raw = msgspec.Raw(b"null")


def _name_of_raw(raw: msgspec.Raw) -> str:
    """Return the name of a record that could not be decoded, as far as it has one."""
    try:
        name = msgspec.structs.asdict(msgspec.json.decode(raw, type=_Name))
        return name_of({field: _short_text(part) for field, part in name.items()})
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return name_of(None)


class _Dated(msgspec.Struct):
    last_updated: datetime


def _updated_of_raw(raw: msgspec.Raw) -> datetime | None:
    """Return `last_updated` of a record that is not as it should be; None if it has no such time."""
    try:
        return in_utc(msgspec.json.decode(raw, type=_Dated).last_updated)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
        return None


def _short_text(raw: msgspec.Raw) -> object:
    return msgspec.json.decode(raw) if len(memoryview(raw)) <= _NAME_BYTES else None


def read_dated(
    read: Callable[[msgspec.Raw, str], Checked[Kind]], latest: datetime, raw: msgspec.Raw, version: str
) -> Checked[Kind]:
    """Check a record, and that it is not of the future: it would win over all that follow.

    Args:
        read: Checks the record.
        latest: Latest `last_updated`, UTC.
        raw: The record as it came.
        version: The operator's version of OCPI.

    Raises:
        SetAside: The record is not as it should be, or updated later.
    """
    checked = read(raw, version)
    if checked.updated > latest:
        raise SetAside("`last_updated` is in the future", name_of(checked.record), checked.updated)
    return checked


def name_of(record: object) -> str:
    """Return country, party and id of a record, as far as it has them."""
    if not isinstance(record, dict):
        return "?"
    parts = (record.get(field) for field in ("country_code", "party_id", "id"))
    return "/".join(part[:40] if isinstance(part, str) and part.isprintable() else "?" for part in parts)


def key_of(record: Mapping[str, Any]) -> str:
    """Return what tells a record from all others: country_code, party_id and id, which know no case."""
    return "\x1f".join((record["country_code"], record["party_id"], record["id"])).lower()


def in_utc(moment: datetime) -> datetime:
    """Return a DateTime in UTC, which is what it means without a time zone (16.2)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _check_identity(record: dict[str, Any]) -> None:
    """Refuse a record whose operator has no identity for it: two of them would be one."""
    for field in ("party_id", "id"):
        if record[field].upper() == NOT_AVAILABLE:
            raise msgspec.ValidationError(f"`{field}` is {NOT_AVAILABLE}: it identifies nothing")


def _check_fits(said: bytes, plain: Any) -> None:
    """See that a result can hold it: few records have anything that is worth a look."""
    if said.count(b"[") + said.count(b"{") > MAX_DEPTH and _depth(plain) > MAX_DEPTH:
        raise msgspec.ValidationError(f"more than {MAX_DEPTH} levels inside one another")
    if _LONG_NUMBER.search(said) and not _integers_fit(plain):
        raise msgspec.ValidationError("an integer beyond 64 bits")


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


def _integers_fit(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_integers_fit, value.values()))
    if isinstance(value, list):
        return all(map(_integers_fit, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "text that is no UTF-8"
    if isinstance(error, OverflowError):
        return "a time beyond all calendars"
    if isinstance(error, RecursionError):
        return f"more than {MAX_DEPTH} levels inside one another"
    return str(error)[:REASON_LENGTH]
