"""Converts between Python values and Firestore's wire values.

The client library converts through proto-plus, which costs more than the commit itself for a large result.
This module encodes the types that the engine writes, and decodes all types of Firestore.
"""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from google.cloud.firestore_v1.types import document as _document
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WireValue: TypeAlias = Any
"""A `google.firestore.v1.Value`; its generated class has no types."""
WireFields: TypeAlias = Any
"""The fields of a document or a map value: names and wire values."""
Value: TypeAlias = Any
"""A JSON value that may contain aware datetimes."""

ValuePb = _document.Value.pb()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(value: object, target: WireValue) -> None:
    """Write a value into a wire value.

    Args:
        value: None, bool, int of 64 bits, float, str, aware datetime, list or mapping of these.
        target: The empty wire value (`ValuePb`) that receives it.

    Raises:
        TypeError: The engine never writes values of this type.
        ValueError: An int has more than 64 bits, or a string is not Unicode text.
    """
    write = _ENCODERS.get(type(value)) or _encoder_of(value)
    write(value, target)


def encode_fields(values: Mapping[str, object], fields: WireFields) -> None:
    """Write a mapping into the fields of a document or a map value."""
    for name, value in values.items():
        encode(value, fields[name])


def decode(value: WireValue) -> Value:
    """Return the Python value of a wire value.

    Times become aware datetimes in UTC. Other types without a JSON form are converted: bytes to base64 text,
    a geo point to latitude and longitude, a reference to its path. NaN and infinities become None, as in
    JavaScript's JSON.stringify.
    """
    kind = value.WhichOneof("value_type")
    if kind in {"string_value", "boolean_value", "integer_value", "reference_value"}:
        return getattr(value, kind)
    return _DECODERS[kind](value) if kind in _DECODERS else None


def decode_fields(fields: WireFields) -> dict[str, Value]:
    """Return the fields of a document or a map value as a dict."""
    return {name: decode(value) for name, value in fields.items()}


def to_timestamp(moment: datetime) -> Timestamp:
    """Return an aware datetime as a wire timestamp, to the microsecond."""
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def to_datetime(timestamp: Timestamp) -> datetime:
    """Return a wire timestamp as a datetime in UTC; nanoseconds beyond microseconds are cut."""
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1_000)


def _encode_map(value: Mapping[str, object], target: WireValue) -> None:
    target.map_value.SetInParent()  # an empty map must be encoded, too
    encode_fields(value, target.map_value.fields)


def _encode_array(value: Sequence[object], target: WireValue) -> None:
    target.array_value.SetInParent()
    add = target.array_value.values.add
    for item in value:
        encode(item, add())


def _encode_time(value: datetime, target: WireValue) -> None:
    since = value - _EPOCH  # written in place: a message for each time would double the cost
    moment = target.timestamp_value
    moment.seconds, moment.nanos = since.days * 86_400 + since.seconds, since.microseconds * 1_000


def _encoder_of(value: object) -> Callable[[Any, WireValue], None]:
    """Find the encoder of a type that derives from an encodable type."""
    for kind, write in _ENCODERS.items():  # bool comes before int, from which it derives
        if isinstance(value, kind):
            return write
    raise TypeError(f"expected a type that the engine writes to documents, got {type(value).__name__}")


_ENCODERS: dict[type, Callable[[Any, WireValue], None]] = {
    str: lambda value, target: setattr(target, "string_value", value),
    type(None): lambda _, target: setattr(target, "null_value", 0),
    bool: lambda value, target: setattr(target, "boolean_value", value),
    int: lambda value, target: setattr(target, "integer_value", value),
    float: lambda value, target: setattr(target, "double_value", value),
    datetime: _encode_time,
    dict: _encode_map,
    list: _encode_array,
    tuple: _encode_array,
}
_DECODERS: dict[str, Callable[[WireValue], Value]] = {
    "map_value": lambda value: decode_fields(value.map_value.fields),
    "array_value": lambda value: [decode(item) for item in value.array_value.values],
    "timestamp_value": lambda value: to_datetime(value.timestamp_value),
    "double_value": lambda value: value.double_value if math.isfinite(value.double_value) else None,
    "bytes_value": lambda value: base64.b64encode(value.bytes_value).decode(),
    "geo_point_value": lambda value: {
        "latitude": value.geo_point_value.latitude,
        "longitude": value.geo_point_value.longitude,
    },
}


def as_text(value: object) -> str | None:
    """Return a decoded value if it is a string, None if another writer wrote another type."""
    return value if isinstance(value, str) else None


def as_int(value: object) -> int | None:
    """Return a decoded value if it is an int."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_time(value: object) -> datetime | None:
    """Return a decoded value if it is a time."""
    return value if isinstance(value, datetime) else None
