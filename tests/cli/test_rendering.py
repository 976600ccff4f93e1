"""Tables as a terminal of any width shows them; no stack is needed."""

import datetime as dt
import io
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import rendering, tables
from shared.tasks import TaskName
from tests.cli.terminal import COMMAND, ROOT

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
AGO = (NOW - dt.timedelta(seconds=6)).isoformat()
RUN_ID = "2026-11-25T16:38:55.815554Z"
WORDS = "OperatorUnreachable: north: GET https://ocpi.example.com/locations answered 503, three times"


def task(name: str) -> dict[str, Any]:
    return {
        "name": name, "status": "failed", "state": "failed", "run": None, "error": WORDS, "problem": None,
        "next_run": NOW.isoformat(), "result": {"count": 3996, "size_bytes": 4_100_000, "completed": AGO},
    }  # fmt: skip


def run() -> dict[str, Any]:
    error = {"type": "OperatorUnreachable", "message": WORDS}
    return {
        "id": RUN_ID, "started": NOW.isoformat(), "state": "failed", "duration_seconds": 18.0, "error": error,
        "result": {"count": 3996, "size_bytes": 4_100_000},
    }  # fmt: skip


def drawn(table: tables.FittingTable, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    assert max(map(len, out.getvalue().splitlines())) <= width
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_narrow_terminal_gets_fewer_columns_whole(width: int) -> None:
    """Names, states and ids are never shortened or wrapped; dropped columns are counted."""
    tasks = drawn(rendering.tasks_table(map(task, TaskName), NOW), width)
    runs = drawn(rendering.runs_table([run()]), width)
    assert all(name in tasks for name in TaskName)
    assert "failed" in runs
    assert (RUN_ID in runs) == (width > 60)
    assert "OperatorUn" in runs
    assert ("no room for" in tasks) == ("no room for" in runs) == (width < 100)
    assert "PROBLEM" not in tasks
    assert width < 100 or ("6 s" in tasks and "AGE" in tasks)


def test_a_long_error_does_not_displace_columns() -> None:
    """Age and next run of a failing task are more useful than the rest of a URL."""
    long = f"OperatorUnreachable: GET https://ocpi.example.com/{'locations/' * 30}?limit=100 answered 503"
    told = drawn(rendering.tasks_table([{**task(name), "error": long} for name in TaskName], NOW), 100)
    assert all(heading in told for heading in ("RESULT", "AGE", "NEXT RUN"))
    assert told.count("OperatorUnreachable") == len(TaskName)
    assert "answered 503" not in told


def test_records_begin_with_their_identifying_fields() -> None:
    """In any order of the fields; nested values are JSON, as in an export."""
    record = {"battery": 12.5, "fix": True, "reasons": ["low", "weak"], "name": "Tracker", "id": "t-1"}
    lines = drawn(rendering.records_table([record] * 3, 2), 100).splitlines()
    assert lines[0].split() == ["id", "name", "battery", "fix", "reasons"]
    assert lines[1].split() == ["t-1", "Tracker", "12.5", "true", '["low","weak"]']
    assert "1 more records" in lines[3]
    narrow = drawn(rendering.records_table([record], 2), 20)
    assert narrow.split()[:2] == ["id", "name"]
    assert "no room for reasons, battery: widen the terminal" in " ".join(narrow.split())


def test_a_column_keeps_its_width_when_earlier_ones_are_dropped() -> None:
    """Without a problem its column is dropped, and each age is complete."""
    well = {**task("collect_devices_health"), "error": None}
    header, line, *_ = drawn(rendering.tasks_table([well], NOW), 120).splitlines()
    assert header.split() == ["TASK", "STATUS", "RESULT", "AGE", "NEXT", "RUN"]
    assert "…" not in header + line


def test_a_narrow_history_keeps_the_error() -> None:
    """The id is dropped before the reason of a failure; the note names every dropped column."""
    told = drawn(rendering.runs_table([{**run(), "id": "0123456789abcdef" * 2}]), 60)
    assert "OperatorUn" in told
    assert "no room for RESULT, ID: widen the terminal, or use --json" in " ".join(told.split())


def test_a_note_is_as_wide_as_the_terminal() -> None:
    """It is not wrapped to the width of a narrower table."""
    lines = drawn(rendering.records_table([{"n": 1}] * 3, 2), 100).splitlines()
    assert lines[3] == "1 more records; --format json or csv prints all"


def test_a_table_of_many_columns_is_drawn_at_once() -> None:
    """Each column is measured once, and the note names some of those that were dropped."""
    record = {f"field{number:03}": "x" * 9 for number in range(400)}
    told = drawn(rendering.records_table([record] * 20, 20), 80)
    assert told.split()[0] == "field000"
    assert re.search(r"no room for (field\d+, ){4}field\d+ and \d+ more columns", " ".join(told.split()))


def test_a_closed_stream_does_not_fail() -> None:
    """As a shell closes it: `nx-tasks --help >&-`."""
    command = f"{shlex.join(COMMAND)} --help >&-"
    closed = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in closed.stderr


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="only Linux has a device that is full")
def test_a_full_disk_is_reported_without_a_traceback() -> None:
    command = f"{shlex.join(COMMAND)} completion bash >/dev/full"
    full = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in full.stderr
    assert full.returncode == 1
