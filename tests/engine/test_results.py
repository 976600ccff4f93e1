"""A result is converted to JSON once; errors name the place of an invalid value."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest
from google.cloud import firestore
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks import ResultNotStorable
from shared.tasks.results.normalisation import CALLABLE_KEYS, MAX_DEPTH, encode_record, normalise
from tests.support.values import nested

#: Keys that are stored unchanged.
KEYS = st.text().filter(lambda key: key not in CALLABLE_KEYS)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=40,
)


class Colour(StrEnum):
    red = "rouge"


class Level(IntEnum):
    high = 3


class Plain(Enum):
    pair = ("a", 1)
    half = 0.5
    none = float("nan")


@dataclass
class Data:
    x: int = 1


class Point(NamedTuple):
    x: int
    y: int


def cycle() -> list[Any]:
    ring: list[Any] = [1]
    ring.append({"again": ring})
    return ring


@given(json_values)
def test_json_values_are_unchanged(value: Any) -> None:
    """From the value and from its bytes."""
    result = normalise(value)
    assert result.value == value
    assert orjson.loads(result.encoded) == value


@given(json_values)
def test_a_later_change_of_the_returned_value_has_no_effect(value: Any) -> None:
    """The published result is a copy."""
    before = orjson.dumps(value)
    result = normalise([value])
    if isinstance(value, list | dict):
        value.clear()
    assert orjson.dumps(result.value[0]) == before


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (Colour.red, "rouge"),
        (Level.high, 3),
        (Plain.pair, ["a", 1]),
        ({Colour.red: 1}, {"rouge": 1}),
        (Plain.half, 0.5),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ({"a": [None, UUID(int=5)]}, {"a": [None, "00000000-0000-0000-0000-000000000005"]}),
        (date(2026, 2, 3), "2026-02-03"),
        (datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC), "2026-02-03T04:05:06.000007Z"),
        (datetime(2026, 2, 3, 4, tzinfo=timezone(timedelta(hours=2))), "2026-02-03T02:00:00Z"),
    ],
)
def test_types_of_python_become_json(value: Any, becomes: Any) -> None:
    """Tuples, enum members, mappings and dates, streamed or not."""
    assert normalise(value).value == becomes
    assert encode_record(value, 0) == orjson.dumps(becomes)


@pytest.mark.parametrize("empty", [[], {}, 0, 0.0, False, ""])
def test_empty_results_are_not_missing(empty: Any) -> None:
    """Lessons 1 and 15."""
    result = normalise(empty)
    assert result.value == empty
    assert type(result.value) is type(empty)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, {"b": float("nan")}]}, "result.a[1].b: nan is not a JSON number"),
        ([float("-inf")], "result[0]: -inf is not a JSON number"),
        ([{"a": Plain.none}], "result[0].a: nan is not a JSON number"),
        ([[[None, float("nan")]]], "result[0][0][1]: nan is not a JSON number"),
        ([time(12)], "result[0]: JSON cannot hold time"),
        ([Data()], "result[0]: JSON cannot hold Data"),
        ({"k": b"x"}, "result.k: JSON cannot hold bytes"),
        ([{1, 2}], "result[0]: JSON cannot hold set"),
        (cycle(), "result[1].again: it contains itself"),
        ({"n": 2**63}, "result.n: an int beyond 64 bits"),
        ([-(2**63) - 1], "result[0]: an int beyond 64 bits"),
        ({"a b": "\ud800"}, "result['a b']: text with a lone surrogate"),
        ({"\udfff": 1}, "text with a lone surrogate"),
        ({3: 1}, "the key 3 is a int"),
        ([datetime(2026, 1, 1)], "result[0]: a datetime without a time zone"),  # noqa: DTZ001
        ({"t": firestore.SERVER_TIMESTAMP}, "result.t: JSON cannot hold Sentinel"),
        ({"t": firestore.DELETE_FIELD}, "result.t: JSON cannot hold Sentinel"),
        ({"t": firestore.Increment(1)}, "result.t: JSON cannot hold Increment"),
        ({"t": firestore.ArrayUnion([1])}, "result.t: JSON cannot hold ArrayUnion"),
        (object(), "result: JSON cannot hold object"),
        ((item for item in [1]), "result: JSON cannot hold generator"),
    ],
)
def test_the_error_for_a_value_that_is_not_json_has_its_place(value: Any, text: str) -> None:
    with pytest.raises(ResultNotStorable) as refused:
        normalise(value)
    assert text in str(refused.value)
    with pytest.raises(ResultNotStorable) as refused:
        encode_record(value, 17)
    assert text.replace("result", "result[17]", 1) in str(refused.value)


def test_excessive_depth_is_refused_with_a_short_error() -> None:
    """JSON readers could not read it; the place in the error is shortened."""
    value: Any = 1
    for _ in range(MAX_DEPTH + 50):
        value = {"deeper": value}
    with pytest.raises(ResultNotStorable, match="more than 200 levels") as refused:
        normalise(value)
    assert len(str(refused.value)) < 400


def test_a_shared_object_is_not_a_cycle() -> None:
    shared = {"a": 1}
    assert normalise([shared, shared]).value == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([[1]], "array directly inside an array"),
        ({"": 1}, "key that no document can have"),
        ({"k" * 1401: 1}, "key that no document can have"),
        ({"é" * 701: 1}, "key that no document can have"),
        ({"__name__": 1}, "key that no document can have"),
        (nested(20), "deeper than a document"),
        ("x" * 1_000_001, "bytes are more than a document can hold"),
        ([1] * 130_000, "bytes are more than a document can hold"),
    ],
)
def test_a_value_that_only_a_document_cannot_store_is_a_misfit(value: Any, text: str) -> None:
    """Storage can store it, so it is not refused (lesson 14)."""
    assert text in str(normalise(value).misfit)


@pytest.mark.parametrize(
    "value", [nested(19), "x" * 999_000, {"k" * 1400: 1}, {"_a_": 1}, {"__a": 1}, [{"a": [1]}]]
)
def test_a_value_that_a_document_can_store_is_not_a_misfit(value: Any) -> None:
    """The limits are not stricter than documented."""
    assert normalise(value).misfit is None


@pytest.mark.parametrize("key", sorted(CALLABLE_KEYS))
def test_a_key_that_callables_cannot_carry_is_marked(key: str) -> None:
    """In a result and in a streamed record; a result that is stored again is not marked twice."""
    value = {"a": [{key: {key: 1}}], "text": key}
    marked = {"a": [{f"@{key}": {f"@{key}": 1}}], "text": key}
    assert normalise(value).value == marked
    assert orjson.loads(encode_record(value, 0)) == marked
    assert normalise(marked).value == marked
    with pytest.raises(ResultNotStorable, match="are stored alike; rename one"):
        normalise({key: 1, f"@{key}": 2})
