"""Converts a task's result to JSON once, so that cache, Firestore and Storage cannot differ.

A value that JSON or its readers cannot hold is an error that names its place. A value that only a Firestore
document cannot hold is reported separately, because Storage can.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

import orjson
from msgspec import Struct

from shared.tasks.errors import ResultNotStorable

if TYPE_CHECKING:
    from shared.tasks.contract import Json

#: Largest size of `data` as Firestore counts it, in bytes; its document may have 1,048,576.
MAX_DOCUMENT_BYTES = 1_000_000
#: Deepest nesting of maps and arrays in a document; one level is `data` itself.
MAX_DOCUMENT_DEPTH = 19
#: Largest name of a field in bytes. Firestore's limit is 1,500 bytes of the encoded name.
MAX_KEY_BYTES = 1_400
#: Levels that every JSON reader can parse; orjson's limit is 254.
MAX_DEPTH = 200

#: orjson encodes only the Python types that it and this module encode alike. Integers beyond 53 bits are
#: checked one by one.
_NATIVE = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_STRICT_INTEGER

_RESERVED_KEY = re.compile(r"__.*__", re.DOTALL)
#: Keys that Firebase's callable protocol or its JavaScript client cannot carry. The client takes a map with
#: `@type` for an encoded number or fails, fails at `hasOwnProperty`, and loses `__proto__`. Each is stored
#: with a mark before it, so that a result is the same for every reader.
CALLABLE_KEYS = frozenset({"@type", "hasOwnProperty", "__proto__"})
CALLABLE_MARK = "@"
_CALLABLE_BYTES = tuple(f'"{key}"'.encode() for key in sorted(CALLABLE_KEYS))


class Result(Struct, frozen=True):
    """A result that can be stored and served.

    Attributes:
        value: The result in JSON's own types; never passed to a reader, which might change it.
        encoded: The same as JSON, UTF-8.
        misfit: Why a Firestore document cannot hold it; None if it can.
    """

    value: Json
    encoded: bytes
    misfit: str | None = None

    @property
    def is_collection(self) -> bool:
        """Whether it is an array or an object, which the contract stores in Storage on request."""
        return isinstance(self.value, list | dict)

    @property
    def count(self) -> int | None:
        """Records of an array or entries of an object; None for a bare value."""
        return len(self.value) if self.is_collection else None


def normalise(value: object) -> Result:
    """Convert what a task returned to JSON.

    Tuples become lists, enum members their values, aware datetimes RFC 3339 in UTC, dates ISO
    8601, UUIDs text. A key that callables cannot carry gets a mark (`CALLABLE_KEYS`). The task's own objects
    are neither changed nor kept.

    Raises:
        ResultNotStorable: The value contains NaN, an infinity, bytes, a set, a cycle, an int beyond 64 bits,
            text with lone surrogates, a key that is not a string, a naive datetime, a Firestore sentinel or
            another type. The text names the place.
    """
    walk = _Walk()
    try:
        plain = walk.plain(value, 0)
    except _Unstorable as error:
        raise ResultNotStorable(f"result{error.place()}: {error.reason}") from None
    encoded = orjson.dumps(plain)
    misfit = walk.misfit
    if misfit is None and len(encoded) * 4 > MAX_DOCUMENT_BYTES:
        # JSON is at least a quarter of what Firestore counts, so that most results need no count.
        size = _document_bytes(plain)
        if size > MAX_DOCUMENT_BYTES:
            misfit = f"{size} bytes are more than a document can hold"
    return Result(plain, encoded, misfit)


def encode_record(record: object, place: int) -> bytes:
    """Return one record of a streamed result as JSON, converted as `normalise` converts an element.

    Args:
        record: What the task yielded.
        place: Its index in the result.

    Raises:
        ResultNotStorable: `normalise` would refuse the record. The text names its place in the result.
    """
    with suppress(orjson.JSONEncodeError):  # the walk converts it, or names its place
        line = orjson.dumps(record, option=_NATIVE)
        carried = not any(key in line for key in _CALLABLE_BYTES)
        # orjson also encodes NaN, as null, and values too deep for other readers.
        shallow = b"null" not in line and line.count(b"{") + line.count(b"[") < MAX_DEPTH
        if carried and (shallow or _is_plain(record, 1)):
            return line
    try:
        return orjson.dumps(_Walk().plain(record, 1))
    except _Unstorable as error:
        raise ResultNotStorable(f"result[{place}]{error.place()}: {error.reason}") from None


def _is_plain(value: Json, depth: int) -> bool:
    """Return whether a value has JSON's own types, is finite and not too deep; keys are not checked."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return kind is str
    for item in value:
        kind = type(item)
        if kind is str:
            continue
        if kind is dict or kind is list:
            if depth >= MAX_DEPTH - 1 or not _is_plain(item, depth + 1):
                return False
        elif kind is float:
            if item - item != 0.0:  # an infinity, or NaN
                return False
        elif item is not None and kind is not int and kind is not bool:
            return False
    return True


class _Unstorable(Exception):  # never leaves this module
    """Carries the reason outwards; each level that it passes adds its place."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def place(self) -> str:
        path = "".join(reversed(self.path))
        return path if len(path) <= 200 else f"{path[:100]}…{path[-99:]}"


class _Walk:
    """One pass over a result, which copies it as JSON and notes what a document cannot hold."""

    def __init__(self) -> None:
        self.misfit: str | None = None
        self._open: set[int] = set()

    def plain(self, value: Json, depth: int, in_array: bool = False) -> Json:
        kind = type(value)
        if kind is str:
            return _text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return _integer(value)
        if kind is float:
            return _number(value)
        if kind is dict:
            return self._map(value, depth)
        if kind is list:
            return self._array(value, depth, in_array)
        return self._other(value, depth, in_array)

    def _other(self, value: object, depth: int, in_array: bool) -> Json:  # noqa: PLR0911  (a table of types)
        """Convert the less common types."""
        if isinstance(value, Enum):
            return self.plain(value.value, depth, in_array)
        if isinstance(value, str):
            return _text(str.__str__(value))
        if isinstance(value, int):
            return _integer(int(value))
        if isinstance(value, float):
            return _number(float(value))
        if isinstance(value, list | tuple):
            return self._array(value, depth, in_array)
        if isinstance(value, Mapping):
            return self._map(value, depth)
        if isinstance(value, datetime):
            return _moment(value)
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, UUID):
            return str(value)
        return _refuse(f"JSON cannot hold {kind_of(value)}; return text, numbers, lists or dicts")

    def _map(self, value: Mapping[object, object], depth: int) -> dict[str, Json]:
        self._enter(value, depth)
        plain: dict[str, Json] = {}
        for key, item in value.items():
            name = key if type(key) is str else _key(key)
            if name in CALLABLE_KEYS:
                name = CALLABLE_MARK + name
                if name in value:
                    _refuse(f"it has the keys {key!r} and {name!r}, which are stored alike; rename one")
            if not name or name[0] == "_" or len(name) > MAX_KEY_BYTES // 4:
                self._check_key(name)
            try:
                plain[_text(name)] = self.plain(item, depth + 1)
            except _Unstorable as error:
                error.path.append(f".{name}" if name.isidentifier() else f"[{name!r}]")
                raise
        self._open.discard(id(value))
        return plain

    def _array(self, value: Sequence[object], depth: int, in_array: bool) -> list[Json]:
        self._enter(value, depth)
        if in_array and self.misfit is None:
            self.misfit = "it has an array directly inside an array"
        plain: list[Json] = []
        for item in value:
            try:
                plain.append(self.plain(item, depth + 1, in_array=True))
            except _Unstorable as error:
                error.path.append(f"[{len(plain)}]")
                raise
        self._open.discard(id(value))
        return plain

    def _enter(self, container: object, depth: int) -> None:
        if id(container) in self._open:
            _refuse("it contains itself")
        if depth >= MAX_DEPTH:
            _refuse(f"more than {MAX_DEPTH} levels")
        if depth >= MAX_DOCUMENT_DEPTH and self.misfit is None:
            self.misfit = "it nests deeper than a document can"
        self._open.add(id(container))

    def _check_key(self, name: str) -> None:
        if self.misfit is None and (
            not name or len(name.encode(errors="replace")) > MAX_KEY_BYTES or _RESERVED_KEY.fullmatch(name)
        ):
            self.misfit = f"it has a key that no document can have: {name[:60]!r}"


def kind_of(value: object) -> str:
    """Return the name of a value's type for an error's text."""
    return type(value).__name__


def _refuse(reason: str) -> NoReturn:
    raise _Unstorable(reason)


def _key(key: object) -> str:
    if isinstance(key, str):
        return str.__str__(key.value if isinstance(key, Enum) else key)
    _refuse(f"the key {key!r:.60} is a {kind_of(key)}; JSON's keys are text")


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse("text with a lone surrogate is not Unicode")
    return value


def _integer(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        _refuse("an int beyond 64 bits; return it as text")
    return value


def _number(value: float) -> float:
    if not math.isfinite(value):
        _refuse(f"{value} is not a JSON number; return None if there is no value")
    return value


def _moment(value: datetime) -> str:
    if value.utcoffset() is None:
        _refuse("a datetime without a time zone; create it with one, such as datetime.now(UTC)")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _document_bytes(value: Json) -> int:
    """Return the size of a value as Firestore counts it ("Storage size calculations")."""
    if isinstance(value, str):
        return len(value.encode()) + 1
    if isinstance(value, dict):
        return sum(len(key.encode()) + 1 + _document_bytes(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(_document_bytes, value))
    return 1 if value is None or isinstance(value, bool) else 8
