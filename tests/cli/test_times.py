"""Times as users type them, and as they are shown."""

import datetime as dt
import time
from collections.abc import Iterator

import pytest
import typer

from cli import times

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the local time zone."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", "2026-11-30T11:58:30Z"),
        ("90min", "2026-11-30T10:30:00Z"),
        ("5 m", "2026-11-30T11:55:00Z"),
        ("2h", "2026-11-30T10:00:00Z"),
        ("3d", "2026-11-27T12:00:00Z"),
        ("1w", "2026-11-23T12:00:00Z"),
        ("2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
        ("2026-11-30T08:00:00+05:00", "2026-11-30T03:00:00Z"),
        ("2026-11-30 08:00", "2026-11-30T07:00:00Z"),
        ("2026-07-01 08:00", "2026-07-01T06:00:00Z"),
        ("2026-11-30", "2026-11-29T23:00:00Z"),
    ],
)
def test_a_time_is_a_duration_or_a_date(text: str, expected: str) -> None:
    """Without a zone it is in the local one, with its summer time."""
    assert times.rfc3339(times.parse(text, NOW, ahead=False)) == expected


def test_a_duration_counts_into_the_future_for_an_end() -> None:
    assert times.rfc3339(times.parse("2h", NOW, ahead=True)) == "2026-11-30T14:00:00Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2", "2x", "-2h", "2026-13-01", "08:00"])
def test_any_other_text_is_refused(text: str) -> None:
    """The error contains examples and the text."""
    with pytest.raises(typer.BadParameter, match="must be a duration such as 2h or 3d, or a time such as"):
        times.parse(text, NOW, ahead=False)


@pytest.mark.parametrize("text", ["999999w", "99999999d"])
def test_a_duration_beyond_the_calendar_is_refused(text: str) -> None:
    """The error has the limit instead of examples of what was typed."""
    with pytest.raises(typer.BadParameter, match=f"must be in the years 1 to 9999, got '{text}'"):
        times.parse(text, NOW, ahead=False)


def test_times_have_date_and_zone() -> None:
    """In a column the heading has the zone; a time on the other side of a change of the clock has its own."""
    assert times.full("2026-11-30T12:00:05Z") == "2026-11-30 13:00:05 CET"
    assert times.full("2026-07-01T12:00:05Z", seconds=False) == "2026-07-01 14:00 CEST"
    assert times.in_column("2026-11-30T12:00:05Z", "CET") == "2026-11-30 13:00:05"
    assert times.in_column("2026-07-01T12:00:05Z", "CET", seconds=False) == "2026-07-01 14:00 CEST"
    assert (times.full(None), times.in_column(None, "CET")) == ("-", "-")
