"""Runs as they end, from the history."""

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import firestore

from emulators.environment import PROJECT
from emulators.history import LATE, History, Run

if TYPE_CHECKING:
    from emulators.environment import Addresses

NOW = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (
            {"state": "completed", "duration_ms": 412, "result": {"saved_in": "storage", "size_bytes": 812}},
            "tick completed 0.41 s storage 812 B",
        ),
        (
            {"state": "failed", "duration_ms": 9, "error": {"type": "ValueError", "message": "no\n  no"}},
            "tick failed 0.01 s - - ValueError: no no",
        ),
        (
            {"state": "skipped", "reason": "overlap", "holder": "r1"},
            "tick skipped - - - overlap, r1 holds the task",
        ),
        ({"state": "skipped", "reason": "suspended"}, "tick skipped - - - suspended"),
        ({"state": "missed"}, "tick missed - - -"),
    ],
)
def test_a_run_is_told_on_one_line(document: dict[str, Any], line: str) -> None:
    """When, which task, how it ended, how long, where, how large, and what went wrong."""
    told = Run.from_document("tick", "1", {"completed": NOW, **document}).line()
    assert re.match(r"\d\d:\d\d:\d\d  tick", told)
    assert "\n" not in told
    assert " ".join(told.split()[1:]) == line


def test_each_run_is_told_once_in_the_order_of_their_ends(clean_firestore: "Addresses") -> None:
    """Runs of two tasks, ends at the same moment, late ones: each once; what still runs or is old, not."""
    client = firestore.Client(project=PROJECT)
    history = History(client, ["a", "b"], since=NOW)

    def write(task: str, run_id: str, end: dt.datetime | None, state: str = "completed") -> None:
        ended = {} if end is None else {"completed": end}
        client.document("nx-tasks", task, "nx-runs", run_id).set({"state": state, **ended})

    def told() -> list[str]:
        return [f"{run.task}{run.id} {run.state}" for run in history.ended()]

    write("a", "old", NOW - SECOND)
    write("a", "runs", None, "running")
    assert told() == []
    write("a", "2", NOW + 2 * SECOND)
    write("b", "1", NOW + SECOND, "skipped")
    write("a", "3", NOW + 3 * SECOND, "failed")
    assert told() == ["b1 skipped", "a2 completed", "a3 failed"]
    write("a", "4", NOW + 3 * SECOND)  # at the same moment as one that was returned
    write("a", "0", NOW + SECOND)  # ended before it, written after it
    write("a", "9", NOW + 2 * LATE)
    assert told() == ["a0 completed", "a4 completed", "a9 completed"]
    assert told() == []
    write("a", "3", NOW + 2 * LATE)  # its retry
    assert told() == ["a3 completed"]
    assert told() == []


def test_a_terminal_obeys_nothing_of_an_error() -> None:
    """Control characters are shown as escapes."""
    document = {
        "state": "failed",
        "completed": dt.datetime.now(dt.UTC),
        "error": {"type": "ValueError", "message": "a\nb\x1b[31mred\u202e"},
    }
    assert Run.from_document("tick", "1", document).remark == r"ValueError: a b\x1b[31mred\u202e"
