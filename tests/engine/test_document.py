"""Documents can be read whatever wrote them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.documents.models import RunDocument, TaskDocument
from shared.tasks.documents.result_pointer import ResultPointer

SEEN = Timestamp(seconds=1)
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)

odd_values = st.none() | st.booleans() | st.integers() | st.text() | st.just(MOMENT) | st.lists(st.integers())
odd_maps = st.dictionaries(
    st.sampled_from(["id", "attempt", "token", "state", "lease_until", "suspended", "result", "x"]),
    odd_values | st.dictionaries(st.sampled_from(["version", "saved_in", "object", "count"]), odd_values),
)


def test_a_document_with_only_the_contract_s_fields_is_read() -> None:
    """A document of another implementation has no map `run`."""
    task = TaskDocument.parse(
        {"source": "ts", "status": "completed", "started": MOMENT, "completed": MOMENT, "timestamp": MOMENT},
        SEEN,
    )
    assert (task.status, task.run_id, task.result, task.is_suspended) == ("completed", None, None, False)
    assert task.completed == MOMENT


@given(
    st.dictionaries(
        st.sampled_from(["status", "started", "completed", "timestamp", "run", "error"]),
        odd_values | odd_maps,
    )
)
def test_fields_of_other_types_count_as_missing(fields: dict[str, Any]) -> None:
    """A status document can always be read."""
    task = TaskDocument.parse(fields, SEEN)
    assert task.exists
    assert isinstance(task.result_version, str)
    RunDocument.parse(fields, SEEN)


def test_the_description_of_a_result_is_read_as_it_was_written() -> None:
    pointer = ResultPointer(
        version="v",
        saved_in="storage",
        run_id="r",
        completed=MOMENT,
        path="p",
        size_bytes=0,
        count=0,
        encoding="gzip",
    )
    assert ResultPointer.parse(pointer.to_fields()) == pointer
    assert pointer.to_fields()["object"] == "p"


@pytest.mark.parametrize("field", ["completed", "timestamp", "status"])
def test_the_next_legacy_result_has_another_version(field: str) -> None:
    """Its documents have no version; one is derived from fields that change with each run."""
    fields = {"status": "running", "completed": MOMENT, "timestamp": MOMENT}
    changed = {**fields, field: "completed" if field == "status" else datetime(2027, 1, 1, tzinfo=UTC)}
    assert TaskDocument.parse(fields, SEEN).result_version != TaskDocument.parse(changed, SEEN).result_version


@pytest.mark.parametrize("spelling", ["suspeneded", "suspended"])
def test_suspended_is_read_in_both_spellings(spelling: str) -> None:
    """The contract's misspelling and the correct one mean the same."""
    assert TaskDocument.parse({"status": spelling}, SEEN).is_suspended
