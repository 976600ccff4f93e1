"""Records are sorted on disk and merged."""

import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.collectors.ocpi import spool as module
from shared.collectors.ocpi.spool import Spool, entry, newest

BEGAN = datetime(2026, 5, 5, tzinfo=UTC)
KEYS = st.text(st.sampled_from("ab\x1f-"), min_size=1, max_size=3)
RECORDS = st.lists(st.tuples(KEYS, st.integers(0, 3), st.text(max_size=4)), max_size=60)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(RECORDS, RECORDS)
def test_the_newest_entry_of_each_key_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    old: list[tuple[str, int, str]],
    new: list[tuple[str, int, str]],
) -> None:
    """Sorted by key, with any number of runs; of equally old entries the last one wins."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 40)
    monkeypatch.setattr(module, "MAX_SEGMENTS", 3)
    spool = Spool(tmp_path_factory.mktemp("spool"), "new")
    for key, age, text in new:
        spool.add(key, BEGAN + timedelta(hours=age), {"text": text})
    known = sorted(old, key=lambda one: one[:2])
    existing = [entry(key, BEGAN + timedelta(hours=age), {"text": text}) for key, age, text in known]
    merged = [(one.key.decode(), one.record["text"]) for one in newest(existing, spool.entries())]

    expected: dict[str, tuple[int, str]] = {}
    for key, age, text in [*known, *new]:
        if key not in expected or age >= expected[key][0]:
            expected[key] = (age, text)
    assert merged == [(key, expected[key][1]) for key in sorted(expected)]
    assert spool.count == len(new)


def test_the_number_of_files_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are merged before too many are open at once, and removed in the end."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10_000)
    spool = Spool(tmp_path, "many")
    for number in range(20_000):
        spool.add(f"{number * 7919 % 20_000:05}", BEGAN, {"padding": "x" * 90})
        assert len(list(tmp_path.iterdir())) <= module.MAX_SEGMENTS + 1
    assert [int(one.key) for one in spool.entries()] == list(range(20_000))
    assert spool.disk_bytes == sum(file.stat().st_size for file in tmp_path.iterdir()) > 0
    spool.clear()
    assert (list(tmp_path.iterdir()), spool.disk_bytes, list(spool.entries())) == ([], 0, [])
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > module.MAX_SEGMENTS
