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

from cli import lateness, rendering, tables, times
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
    text = drawn(rendering.tasks_table([{**task(name), "error": long} for name in TaskName], NOW), 100)
    assert all(heading in text for heading in ("RESULT", "AGE", "NEXT RUN"))
    assert text.count("OperatorUnreachable") == len(TaskName)
    assert "answered 503" not in text


def test_schedule_and_lateness_are_columns() -> None:
    """The zone of a schedule is shown unless it is UTC; a result on time has no lateness."""
    hour = dt.timedelta(hours=1)
    ticks = [(NOW - hour * n).isoformat() for n in range(10)]
    late = {
        **task("collect_charge_cdrs"), "error": None, "schedule": "0 * * * *", "time_zone": "Europe/Berlin",
        "recent_ticks": ticks, "deadline_seconds": 600,
        "result": {"count": 1, "size_bytes": 1, "completed": (NOW - 3 * hour).isoformat(), "run_id": None},
    }  # fmt: skip
    header, line, *_ = drawn(rendering.tasks_table([late], NOW + hour / 2), 200).splitlines()
    assert re.search(r"LATE +SCHEDULE", header)
    assert re.search(r"3 runs +0 \* \* \* \* Europe/Berlin", line)
    on_time = {**late, "time_zone": "Etc/UTC", "result": {**late["result"], "completed": ticks[0]}}
    header, line, *_ = drawn(rendering.tasks_table([on_time], NOW + hour / 2), 200).splitlines()
    assert "LATE" not in header
    assert re.search(r"0 \* \* \* \* +2026", line)


def test_a_late_result_is_compared_with_the_last_runs_duration() -> None:
    """A run that took 20 minutes may take them again; a suspended task is not late."""
    minutes = dt.timedelta(minutes=1)
    tick = NOW.isoformat().replace("+00:00", ".000000Z")
    result = {"completed": (NOW + 20 * minutes).isoformat(), "run_id": tick}
    one = {
        "recent_ticks": [(NOW + 60 * minutes).isoformat(), NOW.isoformat()],
        "deadline_seconds": 3600,
        "result": result,
    }
    assert lateness.words(one, NOW + 75 * minutes) == ""
    assert lateness.words(one, NOW + 82 * minutes) == "1 run late"
    assert lateness.words({**one, "suspended": {"by": "a"}}, NOW + 82 * minutes) == ""
    assert lateness.words({**one, "result": None}, NOW + 82 * minutes) == ""
    old = {"completed": (NOW - 60 * minutes).isoformat(), "run_id": None}
    assert lateness.words({**one, "result": old}, NOW + 82 * minutes) == "2 or more runs late"


def test_what_follows_a_failure_is_shown_before_its_error() -> None:
    """So that a long error does not hide it; a cancelled run has neither that nor the state "failed"."""
    following = {"number": 2, "of": 6, "at": NOW.isoformat()}
    failed = {**task("collect_charge_cdrs"), "next_attempt": following, "outcome": "failed"}
    text = drawn(rendering.tasks_table([failed], NOW), 200)
    assert f"attempt 2 of 6, about {times.full(NOW.isoformat())}; OperatorUn" in text
    cancelled = {
        **failed,
        "outcome": "cancelled",
        "error": "RunCancelled: cancelled by a: b",
        "next_attempt": None,
    }
    (_, line) = drawn(rendering.tasks_table([cancelled], NOW), 200).splitlines()
    assert re.search(r"cancelled +cancelled by a: b", line)
    assert rendering.next_attempt_text({**following, "at": None}) == "attempt 2 of 6"


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
    assert header.split() == ["TASK", "STATUS", "RESULT", "AGE", "NEXT", "RUN", f"({times.zone()})"]
    assert "…" not in header + line


def test_a_narrow_history_keeps_the_error() -> None:
    """The id is dropped before the reason of a failure; the note names every dropped column."""
    text = drawn(rendering.runs_table([{**run(), "id": "0123456789abcdef" * 2}]), 60)
    assert "OperatorUn" in text
    assert "no room for RESULT, ID: widen the terminal, or use --json" in " ".join(text.split())


def test_a_note_is_as_wide_as_the_terminal() -> None:
    """It is not wrapped to the width of a narrower table."""
    lines = drawn(rendering.records_table([{"n": 1}] * 3, 2), 100).splitlines()
    assert lines[3] == "1 more records; --format json or csv prints all"


def test_a_table_of_many_columns_is_drawn_at_once() -> None:
    """Each column is measured once, and the note names some of those that were dropped."""
    record = {f"field{number:03}": "x" * 9 for number in range(400)}
    text = drawn(rendering.records_table([record] * 20, 20), 80)
    assert text.split()[0] == "field000"
    assert re.search(r"no room for (field\d+, ){4}field\d+ and \d+ more columns", " ".join(text.split()))


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
