"""What an instance logs about its reads."""

import re

import pytest

from shared.tasks.serving.read_counts import LOG_SECONDS, ReadCounts
from tests.support.world import HandClock


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, int]]:
    """The counts of each entry since the last call."""
    lines = [line for line in capsys.readouterr().out.splitlines() if "results served" in line]
    return [{name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)} for line in lines]


def test_reads_are_logged_at_most_once_per_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """Each entry has what was counted since the last one."""
    clock = HandClock()
    counts = ReadCounts(clock)
    counts.hits += 3
    counts.add_miss()
    counts.add_fetch(500)
    counts.log_if_due()
    assert logged(capsys) == []
    clock.ahead += LOG_SECONDS
    counts.log_if_due()
    counts.log_if_due()
    assert logged(capsys) == [{"reads": 4, "cache_hits": 3, "fetches": 1, "fetched_bytes": 500}]
    counts.hits += 1
    clock.ahead += LOG_SECONDS
    counts.log_if_due()
    assert logged(capsys) == [{"reads": 1, "cache_hits": 1, "fetches": 0, "fetched_bytes": 0}]
