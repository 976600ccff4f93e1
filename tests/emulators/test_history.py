"""Ended runs are read from the run history."""

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
def test_a_run_is_shown_on_one_line(document: dict[str, Any], line: str) -> None:
    """The line has time, task, outcome, duration, storage location, size and error."""
    shown = Run.from_document("tick", "1", {"completed": NOW, **document}).line()
    assert re.match(r"\d\d:\d\d:\d\d  tick", shown)
    assert "\n" not in shown
    assert " ".join(shown.split()[1:]) == line


def test_each_ended_run_is_returned_once_in_order(clean_firestore: "Addresses") -> None:
    """This includes simultaneous and late ends, but not running or old runs."""
    client = firestore.Client(project=PROJECT)
    history = History(client, ["a", "b"], since=NOW)

    def write(task: str, run_id: str, end: dt.datetime | None, state: str = "completed") -> None:
        ended = {} if end is None else {"completed": end}
        client.document("nx-tasks", task, "nx-runs", run_id).set({"state": state, **ended})

    def new_runs() -> list[str]:
        return [f"{run.task}{run.id} {run.state}" for run in history.ended()]

    write("a", "old", NOW - SECOND)
    write("a", "runs", None, "running")
    assert new_runs() == []
    write("a", "2", NOW + 2 * SECOND)
    write("b", "1", NOW + SECOND, "skipped")
    write("a", "3", NOW + 3 * SECOND, "failed")
    assert new_runs() == ["b1 skipped", "a2 completed", "a3 failed"]
    write("a", "4", NOW + 3 * SECOND)  # ended at the same moment as a returned run
    write("a", "0", NOW + SECOND)  # ended earlier but was written later
    write("a", "9", NOW + 2 * LATE)
    assert new_runs() == ["a0 completed", "a4 completed", "a9 completed"]
    assert new_runs() == []
    write("a", "3", NOW + 2 * LATE)  # the retry of a failed run
    assert new_runs() == ["a3 completed"]
    assert new_runs() == []


def test_control_characters_of_an_error_are_escaped() -> None:
    document = {
        "state": "failed",
        "completed": dt.datetime.now(dt.UTC),
        "error": {"type": "ValueError", "message": "a\nb\x1b[31mred\u202e"},
    }
    assert Run.from_document("tick", "1", document).remark == r"ValueError: a b\x1b[31mred\u202e"
