"""Wire values equal those of the client library."""

from datetime import UTC
from typing import Any

import pytest
from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.types import Value
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.documents import codec
from tests.engine.test_results import json_values

storable = json_values | st.datetimes(timezones=st.just(UTC))


@given(storable)
def test_a_value_is_encoded_like_the_library_and_decoded_back(value: Any) -> None:
    """Other services read the documents with Google's clients."""
    wire = codec.ValuePb()
    codec.encode(value, wire)
    assert _helpers.encode_value(value)._pb == wire
    assert codec.decode(wire) == value


@pytest.mark.parametrize("value", [b"x", {1}, object(), 2**64, "\ud800"])
def test_a_type_that_the_engine_never_writes_is_refused(value: Any) -> None:
    """Before it is sent."""
    with pytest.raises((TypeError, ValueError)):
        codec.encode(value, codec.ValuePb())


def test_an_unset_value_is_none() -> None:
    """A kind of value that this version does not support is read as None."""
    assert codec.decode(Value()._pb) is None
