"""`nx-tasks logs`, of real runs on the real stack."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import Queue
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from cli import app, log_commands, polling
from cli.cloud_logging import log_filter, log_url
from shared.tasks import TaskEngine, TaskName, TaskRun, execute_task, store, suspend_task
from shared.tasks.admin.run_logs import view_log
from shared.tasks.documents.run_log import MAX_LINES
from tests.cli.conftest import Open, Run
from tests.cli.terminal import COMMAND, ROOT
from tests.support.long_runs import TWO_UNITS, UNIT_SECONDS, LongRun, PassingClock
from tests.support.world import in_thread
from tests.waiting import wait_for

TASK = TaskName.collect_devices_health
#: A task whose results viewers may not read; `LongRun` runs it.
CDRS = TaskName.collect_charge_cdrs
TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUN_ID = "2026-11-24T12:00:00.000000Z"
CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+00:00"


def chatty(run: TaskRun) -> list[int]:
    run.log.info("operator read", operator="north [/b]", records=3)
    run.log.warning("page\nrepeated\x1b[2J", page=2)
    run.log.error("operator failed", error=ValueError("no answer"))
    return [1]


class Steered:
    """A task that the test controls: the lines that it logs, and its end."""

    def __init__(self) -> None:
        self._orders: Queue[str | Exception | None] = Queue()

    def logs(self, *lines: str) -> None:
        """Let the task log these lines."""
        for line in lines:
            self._orders.put(line)

    def ends(self, error: Exception | None = None) -> None:
        """Let the task end, with a result or with this error."""
        self._orders.put(error)

    def __call__(self, run: TaskRun) -> list[int]:
        while (order := self._orders.get(timeout=60)) is not None:
            if isinstance(order, Exception):
                raise order
            run.log.info(order, attempt=run.attempt)
        return [1]


@contextmanager
def steered() -> Iterator[Steered]:
    """Start an attempt of the tick; it ends at the latest with the block."""
    task = Steered()
    options = {"scheduled_for": TICK, "lease_seconds": 6}  # the log is written every 2 s
    thread, _ = in_thread(lambda: execute_task("test", TASK, task, options))
    try:
        yield task
    finally:
        if thread.is_alive():
            task.ends()
        thread.join(60)


def is_logged() -> bool:
    """Whether the run of the tick has a log."""
    return bool(view_log(store, TASK, RUN_ID).lines)


def test_the_log_of_the_last_run_is_printed(nx: Run) -> None:
    """Time with zone, level, event and fields; one line for each, without control characters."""
    execute_task("test", TASK, lambda run: run.log.info("of an earlier run"))
    run_id = execute_task("test", TASK, chatty).run_id
    printed = nx("logs", TASK)
    assert (printed.returncode, printed.stderr) == (0, "")
    first, second, third = printed.stdout.splitlines()
    assert re.fullmatch(rf"{CLOCK} INFO    operator read operator=north \[/b\] records=3", first)
    assert re.fullmatch(rf"{CLOCK} WARNING page\\nrepeated\\x1b\[2J page=2", second)
    assert re.fullmatch(rf"{CLOCK} ERROR   operator failed error=no answer", third)
    assert "+05:45" in nx("logs", TASK, TZ="Asia/Kathmandu").stdout
    assert (
        json.loads(nx("logs", TASK, "--json").stdout)
        == json.loads(nx("runs", TASK, "--id", run_id, "--json").stdout)["log"]
    )


def test_a_run_is_chosen_by_its_id(nx: Run) -> None:
    """Exit code 5 if it does not exist, if the record is not that of a run, or if the task has no runs."""
    assert nx("logs", TASK).returncode == 5
    first = execute_task("test", TASK, lambda run: run.log.info("of the first run")).run_id
    execute_task("test", TASK, chatty)
    assert "of the first run" in nx("logs", TASK, "--id", first).stdout
    suspend_task(TASK, by="ops@example.com", reason="texts are wrong")
    change = json.loads(nx("runs", TASK, "--state", "suspended", "--json").stdout)["runs"][0]["id"]
    for run_id in ("never-was", change):
        missing = nx("logs", TASK, "--id", run_id)
        assert (missing.returncode, missing.stdout) == (5, "")
        assert missing.stderr


def test_a_run_without_a_log_is_reported(nx: Run) -> None:
    run_id = execute_task("test", TASK, lambda: [1]).run_id
    printed = nx("logs", TASK)
    assert (printed.returncode, printed.stdout) == (0, "")
    assert printed.stderr == f"run {run_id} of {TASK} has logged nothing\n"


def test_a_viewer_is_denied_the_log_of_a_task_for_operators(nx: Run) -> None:
    """Exit code 4. The log of another task is shown."""
    execute_task("test", CDRS, chatty)
    execute_task("test", TASK, chatty)
    denied = nx("--user", "viewer@example.com", "logs", CDRS)
    assert (denied.returncode, denied.stdout) == (4, "")
    assert "viewers who may read the result" in denied.stderr
    assert "operator read" in nx("--user", "viewer@example.com", "logs", TASK).stdout


def test_missing_lines_are_counted(nx: Run) -> None:
    """On standard error: scripts read lines of the log only."""

    def task(run: TaskRun) -> None:
        for number in range(MAX_LINES + 7):
            run.log.info("line", number=number)

    execute_task("test", TASK, task)
    printed = nx("logs", TASK)
    assert printed.stderr == "7 lines are missing here\n"
    assert len(printed.stdout.splitlines()) == MAX_LINES


def test_a_run_is_followed_over_its_attempts_to_its_end(nx: Run, terminal: Open) -> None:
    """In a terminal: an attempt that fails is followed by the next one. The exit code is that of the run."""
    with steered() as first:
        first.logs("first line")
        wait_for("the log", is_logged)
        screen = terminal("logs", TASK, "--follow")
        after = screen.shows(r"INFO    first line attempt=1")
        first.logs("second line", "third line")
        after = screen.shows(r"second line attempt=1\s+.*third line attempt=1", after=after)
        first.ends(ValueError("no answer"))
        after = screen.shows(
            rf"{TASK}: run \S+ failed: ValueError: no answer; attempt 2 of 6, about ", after=after
        )
    with steered() as second:
        second.logs("first line")
        after = screen.shows(r"first line attempt=2", after=after)
        second.ends()
        screen.shows(rf"{TASK}: run {RUN_ID} completed", after=after)
    assert screen.ends() == 0
    assert [screen.text.count(f"{word} line attempt=1") for word in ("first", "second", "third")] == [1, 1, 1]


def test_a_pipe_gets_each_line_once_and_the_run_decides_the_exit_code(nx: Run) -> None:
    """With `--json`, one object for each line. A cancelled run is exit code 1."""
    with steered() as task:
        task.logs("first line")
        wait_for("the log", is_logged)
        command = [*COMMAND, "logs", TASK, "--follow", "--json"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            assert json.loads(reader.stdout.readline())["text"] == "first line attempt=1"
            task.logs("second line")
            assert json.loads(reader.stdout.readline())["number"] == 2
            TaskEngine().cancel_run(TASK, RUN_ID, by="ops@example.com", reason="wrong")
            task.logs("third line")
            task.ends()
            rest, errors = reader.communicate(timeout=60)
    assert [json.loads(line)["text"] for line in rest.splitlines()] == ["third line attempt=1"]
    assert reader.returncode == 1
    assert f"{TASK}: run {RUN_ID} cancelled" in errors.decode()


def test_a_follower_ends_when_its_pipe_is_closed(nx: Run) -> None:
    """Although the run logs nothing more."""
    with steered() as task:
        task.logs("first line")
        wait_for("the log", is_logged)
        command = [*COMMAND, "logs", TASK, "--follow"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            assert b"first line" in reader.stdout.readline()
            reader.stdout.close()
            assert reader.wait(60) == 1


def test_a_long_run_is_followed_over_its_legs(nx: Run, terminal: Open) -> None:
    """Also while it waits for the next one."""
    clock = PassingClock()

    def task(run: TaskRun) -> list[int]:
        cursor = run.cursor("pages", 0)
        while cursor.value < 5:
            run.log.info("page", number=cursor.value, leg=run.leg)
            clock.ahead += UNIT_SECONDS
            cursor.advance(cursor.value + 1)
        return [1]

    long = LongRun(task, clock, leg_seconds=TWO_UNITS)
    long.deliver_tick()
    screen = terminal("logs", CDRS, "--follow")
    after = screen.shows(r"page number=1 leg=1")
    assert long.deliver().status == "waiting"
    after = screen.shows(r"page number=3 leg=2", after=after)
    assert long.deliver().status == "completed"
    screen.shows(r"page number=4 leg=3", after=after)
    assert screen.ends() == 0


# Without a stack


def asked(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[dict[str, Any]],
    *words: str,
    versions: list[str | None] | None = None,
) -> int:
    """Run the command with these answers of `get_run`, the last of which is repeated; the exit code.

    Args:
        versions: Receives the version that each request contains.
    """

    def caller(function: str, *, if_version: str | None = None, **_: Any) -> Any:
        assert function == "get_run"
        if versions is not None:
            versions.append(if_version)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(log_commands, "caller_of", lambda _: caller)
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["nx-tasks", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return int(ended.value.code or 0)


def run_with(state: str, *lines: tuple[int, int, int], lost: int = 0, **more: Any) -> dict[str, Any]:
    """What `get_run` returns; a line has an attempt, a leg and a number."""
    shown = [
        {
            "attempt": attempt,
            "leg": leg,
            "number": number,
            "at": "2026-11-24T12:00:00Z",
            "level": "info",
            "text": f"{attempt}.{leg}.{number}",
        }
        for attempt, leg, number in lines
    ]
    return {
        "id": "r",
        "state": state,
        "error": None,
        "expires": None,
        "refused": None,
        "requested": {"at": "2026-11-24T11:59:00Z"},
        "scheduled_for": None,
        "started": "2026-11-24T12:00:00Z",
        "log": {"lines": shown, "lost": lost, "lost_is_exact": True},
        **more,
    }


def printed(capfd: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """The texts of the lines on standard output, and standard error."""
    out, err = capfd.readouterr()
    return [line.rpartition(" ")[2] for line in out.splitlines()], err.splitlines()


def test_lines_that_are_lost_between_two_requests_are_counted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those of an attempt before the first line shown count as well."""
    answers = [
        run_with("running", (1, 1, 4), (1, 1, 5), lost=3),
        run_with("running", (1, 1, 5), (1, 1, 6), lost=4),
        run_with("running", (1, 1, 9), (2, 1, 1), lost=8),
        run_with("completed", (2, 1, 1), (2, 2, 3), lost=11),
    ]
    assert asked(monkeypatch, answers, "logs", TASK, "--id", "r", "--follow") == 0
    lines, notes = printed(capfd)
    assert lines == ["1.1.4", "1.1.5", "1.1.6", "1.1.9", "2.1.1", "2.2.3"]
    assert notes == [
        "3 lines are missing here",
        "2 lines are missing here",
        "2 lines are missing here",
        f"{TASK}: run r completed",
    ]


def test_a_request_that_is_not_started_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 8, and also if the time to wait is over before the run has ended."""
    request = {**run_with("requested"), "log": None, "expires": "2099-11-24T12:00:00Z"}
    expired = {**request, "expires": "2026-11-24T12:00:00Z"}
    assert asked(monkeypatch, [request, expired], "logs", TASK, "--id", "r", "-f") == 8
    assert "no delivery of Cloud Scheduler started run r" in capfd.readouterr().err
    assert asked(monkeypatch, [run_with("running")], "logs", TASK, "--id", "r", "-f", "--timeout", "1") == 8
    assert "still running after 1 s" in capfd.readouterr().err


def test_an_unchanged_run_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each request but the first one contains the version of the run that was received last."""
    answers = [
        run_with("running", (1, 1, 1), version="one"),
        {"version": "one", "not_modified": True},
        run_with("completed", (1, 1, 1), (1, 1, 2), version="two"),
    ]
    sent: list[str | None] = []
    assert asked(monkeypatch, answers, "logs", TASK, "--id", "r", "--follow", versions=sent) == 0
    assert printed(capfd)[0] == ["1.1.1", "1.1.2"]
    assert sent == [None, "one", "one"]


@pytest.mark.parametrize("words", [(), ("--follow", "--timeout", "1")])
def test_a_record_of_a_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Exit code 5 at once, because the record never changes. The error names the run that was requested."""
    record = {**run_with("requested"), "id": "r.requested", "holder": "r", "log": None}
    assert asked(monkeypatch, [record], "logs", TASK, "--id", "r.requested", *words) == 5
    error = " ".join(capfd.readouterr().err.split())
    assert "r.requested of" in error
    assert f"see `nx-tasks logs {TASK} --id r`" in error


def test_the_link_leads_to_the_entries_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a project, since the request or the tick; on standard error, as results alone go to the output."""
    answers = [run_with("completed", (1, 1, 1))]
    assert asked(monkeypatch, answers, "--project", "nexus", "logs", TASK, "--id", "r") == 0
    lines, (note,) = printed(capfd)
    assert lines == ["1.1.1"]
    link = urlsplit(note.removeprefix("all lines: "))
    assert (link.scheme, link.netloc) == ("https", "console.cloud.google.com")
    path, _, query = link.path.partition(";query=")
    assert path == "/logs/query"
    assert parse_qs(link.query) == {"project": ["nexus"]}
    assert unquote(query) == log_filter(TASK, "r", "2026-11-24T11:59:00Z")


def test_the_filter_is_that_of_the_documentation() -> None:
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    assert f"```\n{log_filter('TASK', 'RUN', 'START')}\n```" in page


def test_a_link_quotes_whatever_an_id_contains() -> None:
    """Neither the address nor the filter ends early."""
    link = log_url("p", "t", 'a"; ?&#\\', None)
    query = link.partition(";query=")[2].partition("?")[0]
    assert unquote(query) == 'jsonPayload.task="t"\njsonPayload.run_id="a\\"; ?&#\\\\"'
    assert link.endswith("?project=p")
