"""What `tasks`, `runs` and `data` print, of real runs on the real stack."""

import csv
import datetime as dt
import io
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cli.callables import Caller
from cli.errors import CliError
from cli.http_client import post
from cli.polling import changes
from cli.target import target_of
from shared.tasks import (
    TaskEngine,
    TaskName,
    TaskRun,
    execute_task,
    resume_task,
    suspend_task,
)
from tests.cli.conftest import Hold, Open, Run
from tests.cli.terminal import COMMAND, ROOT
from tests.functions.callable_protocol import reading_app
from tests.support.paged_run import PagedRun
from tests.waiting import wait_for
from tests.web.past import devices

TASK = TaskName.collect_devices_health
CDRS = TaskName.collect_charge_cdrs
LOCATIONS = TaskName.collect_charge_locations


def fails() -> None:
    raise ValueError("no [/such] place\x1b[2J")


def line_of(text: str, word: str) -> str:
    (line,) = [line for line in text.splitlines() if word in line]
    return line


def test_all_tasks_are_shown_with_their_state(nx: Run, hold: Hold) -> None:
    """One line for each task: result, progress, failure or suspension."""
    execute_task("test", TASK, lambda: [1, 2])
    execute_task("test", CDRS, fails)
    suspend_task(TaskName.send_reset_sms, by="ops@example.com", reason="texts are wrong")
    held = hold(LOCATIONS)
    held.progress(30, 120, "north [/b]")
    shown = nx("tasks")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.search(r"completed +2 in 5 B +\d+ s ", line_of(shown.stdout, TASK))
    assert "failed     ValueError: no [/such] place\\x1b[2J" in line_of(shown.stdout, CDRS)
    assert "suspended" in line_of(shown.stdout, "send_reset_sms")
    assert "\x1b" not in shown.stdout
    running = line_of(shown.stdout, LOCATIONS)
    assert "running" in running
    assert "30 of 120 (25 %) north [/b]" in running


def test_a_run_between_two_legs_is_shown_as_running(nx: Run) -> None:
    """With its leg, what it waits for, the progress of all legs, its positions and its last failure."""
    long = PagedRun.waiting(TASK)
    long.fails = ValueError("no [/such] answer")
    assert long.deliver(2).status == "failed"
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    waits = rf"waiting for leg 2 since {moment}, expected by {moment}"
    failed = r"last failure, tried again: ValueError: no \[/such\] answer"
    (line,) = re.findall(rf"{TASK} +(running .*)", nx("tasks", COLUMNS="400").stdout)
    following = rf"attempt 2 of 10, about {moment}"
    assert re.match(rf"running +{waits}, 5 of 12 \(41 %\) page 5; {failed}; {following}", line)
    (entry,) = nx("runs", TASK, "--state", "running", COLUMNS="400").stdout.splitlines()[1:]
    assert re.search(rf"running +- +- +{waits}, 5 of 12 \(41 %\) page 5; {failed} +{long.run_id}", entry)
    shown = nx("runs", TASK, "--id", long.run_id).stdout
    assert "state: running\n" in shown
    assert re.search(r"legs: deadline .*, number 2, tries 1, ", shown)
    assert "checkpoint: parts 0, steps 1\nposition of pages of north: 5\n" in shown
    assert re.search(rf"{failed}\n.*in _work: raise self\.fails", shown)
    assert re.search(rf"next attempt: 2 of 10, about {moment}\n", shown)
    assert "error:" not in shown
    long.fails = None
    assert [long.deliver(leg).status for leg in (2, 3)] == ["waiting", "completed"]
    assert re.search(r"completed +1 h 0 min +1 in 3 B +3 legs ", nx("runs", TASK).stdout)
    assert "position of pages of north: 12\n" in nx("runs", TASK, "--id", long.run_id).stdout


def test_json_is_the_callables_response(nx: Run) -> None:
    """Standard output contains only JSON, for scripts."""
    execute_task("test", TASK, lambda: [1, 2])
    answer = json.loads(nx("tasks", "--json").stdout)
    assert [task["name"] for task in answer["tasks"]] == sorted(TaskName)
    (task,) = [task for task in answer["tasks"] if task["name"] == TASK]
    assert (task["status"], task["result"]["count"]) == ("completed", 2)


def test_a_history_is_shown_newest_first_and_by_state(nx: Run) -> None:
    """As many runs as requested, from as many pages as needed."""
    ids = [execute_task(f"test {n}", TASK, fails if n == 1 else list).run_id for n in range(3)]
    runs = json.loads(nx("runs", TASK, "--json").stdout)["runs"]
    assert [run["id"] for run in runs] == ids[::-1]
    assert len(json.loads(nx("runs", TASK, "--limit", "2", "--json").stdout)["runs"]) == 2
    shown = nx("runs", TASK, "--state", "failed").stdout
    assert f"ValueError: no [/such] place\\x1b[2J  {ids[1]}" in re.sub(r" +(?=\d|\w{8}-)", "  ", shown)
    assert ids[0] not in shown


def test_cancelled_runs_are_a_state_of_their_own(nx: Run) -> None:
    """`--state` accepts what the column shows, and `failed` does not list cancelled runs."""

    def cancelled(run: TaskRun) -> None:
        TaskEngine().cancel_run(TASK, run.run_id, by="ops@example.com", reason="texts are wrong")

    ids = {body: execute_task("test", TASK, body).run_id for body in (fails, cancelled, list)}

    def listed(*words: str) -> set[str]:
        return {run["id"] for run in json.loads(nx("runs", TASK, *words, "--json").stdout)["runs"]}

    assert listed("--state", "cancelled", "--limit", "1") == {ids[cancelled]}
    assert listed("--state", "failed", "--limit", "1") == {ids[fails]}
    assert listed("--state", "failed", "--state", "cancelled") == {ids[fails], ids[cancelled]}
    assert listed("--state", "completed", "--state", "cancelled") == {ids[list], ids[cancelled]}
    shown = nx("runs", TASK, "--id", ids[cancelled]).stdout
    assert "state: cancelled\n" in shown
    assert "cancelled: by ops@example.com: texts are wrong\n" in shown


def test_a_history_is_limited_to_a_time_range(nx: Run) -> None:
    """By a duration or a time; without a zone, a time is in the local one."""
    before = execute_task("test", TASK, list).run_id
    between = dt.datetime.now(dt.UTC)
    after = execute_task("test", TASK, list).run_id

    def listed(*words: str, **environment: str) -> list[str]:
        read = nx("runs", TASK, *words, "--json", **environment)
        return [run["id"] for run in json.loads(read.stdout)["runs"]]

    assert listed("--since", "2h") == [after, before]
    assert listed("--since", between.isoformat()) == [after]
    assert listed("--until", between.isoformat()) == [before]
    in_berlin = f"{between.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%d %H:%M:%S.%f}"
    assert listed("--since", in_berlin, TZ="Europe/Berlin") == [after]
    assert listed("--since", "2h", "--until", "1h") == []
    shown = nx("runs", TASK, TZ="Europe/Berlin").stdout
    assert re.match(r"STARTED \(CES?T\) ", shown)


def test_one_run_is_shown_with_its_trace(nx: Run) -> None:
    """With its state, error and id."""
    run_id = execute_task("test", TASK, fails).run_id
    shown = nx("runs", TASK, "--id", run_id).stdout
    assert "state: failed" in shown
    assert "error: ValueError: no [/such] place" in shown
    assert " in fails: raise ValueError(" in shown
    assert "[engine] shared/tasks/runtime/task_thread.py" in shown
    assert "\x1b" not in shown
    assert json.loads(nx("runs", TASK, "--id", run_id, "--json").stdout)["id"] == run_id
    assert nx("runs", TASK, "--id", "never-was").returncode == 5


def publish_and_wait(nx: Run, task: TaskName, value: Any, **options: Any) -> None:
    """Publish a result, and wait until the function serves it instead of what it served another test."""
    execute_task("test", task, lambda: value, options)
    wait_for("the result", lambda: json.loads(nx("data", task, "--json").stdout) == value)


def test_a_result_is_shown_and_exported(nx: Run, tmp_path: Path) -> None:
    """As a table, JSON or CSV, to standard output or to a file whose name selects the format."""
    records = list(devices(30))
    publish_and_wait(nx, TASK, records)
    shown = nx("data", TASK)
    assert set(shown.stdout.splitlines()[0].split()) == set(records[0])
    assert "tracker-000019" in shown.stdout
    assert "tracker-000020" not in shown.stdout
    assert "10 more records; --format json or csv prints all" in shown.stdout
    assert json.loads(nx("data", TASK, "--json").stdout) == records
    rows = list(csv.DictReader(io.StringIO(nx("data", TASK, "--format", "csv").stdout)))
    assert [row["id"] for row in rows] == [record["id"] for record in records]
    assert [json.loads(row["reasons"]) for row in rows] == [record["reasons"] for record in records]
    assert float(rows[3]["battery_voltage"]) == records[3]["battery_voltage"]
    lines = nx("data", TASK, "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line) for line in lines] == records
    for name in ("there.csv", "there.json", "there.ndjson", "there.jsonl"):
        written = nx("data", TASK, "--out", str(tmp_path / name))
        assert (written.returncode, written.stdout) == (0, ""), written
        assert written.stderr.startswith(f"{tmp_path / name}: ")
    assert list(csv.DictReader(io.StringIO((tmp_path / "there.csv").read_text("utf-8")))) == rows
    assert json.loads((tmp_path / "there.json").read_text("utf-8")) == records
    for name in ("there.ndjson", "there.jsonl"):
        assert (tmp_path / name).read_text("utf-8").splitlines() == lines


@pytest.mark.parametrize("raw", [False, True])
def test_csv_in_a_pipe_is_not_executed(nx: Run, raw: bool) -> None:
    """Text that a spreadsheet would execute gets an apostrophe, unless --raw is given."""
    record = {"name": '=HYPERLINK("http://x")', "phone": " +1", "change": -5, "city": "Zürich"}
    publish_and_wait(nx, TASK, [record])
    text = nx("data", TASK, "--format", "csv", *["--raw"] * raw).stdout
    mark = "" if raw else "'"
    (row,) = csv.DictReader(io.StringIO(text))
    assert row == {
        "name": f"{mark}{record['name']}", "phone": f"{mark} +1", "change": "-5", "city": "Zürich"
    }  # fmt: skip


def test_details_are_written_as_json(nx: Run) -> None:
    """The details that a task returned besides its result."""
    details = {"totals": [{"cost": "0.30"}]}

    def works(run: TaskRun) -> list[int]:
        run.summarise({}, details=details)
        return [1]

    execute_task("test", TASK, works)
    wait_for("the details", lambda: json.loads(nx("data", TASK, "--details").stdout)["details"] == details)


def test_an_empty_result_is_stated_in_words(nx: Run) -> None:
    """A result without records does not print an empty line."""
    publish_and_wait(nx, CDRS, [])
    shown = nx("data", CDRS)
    assert (shown.stdout, shown.stderr) == ("no records\n", "")


@pytest.mark.parametrize(
    ("task", "text"),
    [(LOCATIONS, "has no result yet"), (TaskName.send_reset_sms, "keeps no result")],
)
def test_a_missing_result_is_stated_on_standard_error(
    nx: Run, tmp_path: Path, task: TaskName, text: str
) -> None:
    """Scripts still get the empty list, and exit code 0."""
    wait_for("no result", lambda: nx("data", task, "--json").stdout == "[]\n")
    for words in ((), ("--format", "json"), ("--out", str(tmp_path / "there.csv"))):
        read = nx("data", task, *words)
        assert (read.returncode, f"{task} {text}\n" in read.stderr) == (0, True), read


@pytest.mark.parametrize(
    "words", [("tasks",), ("tasks", "--json"), ("data", TASK, "--json"), ("completion", "bash")]
)
def test_a_closed_pipe_ends_a_command_quietly(people: None, words: tuple[str, ...]) -> None:
    """As `head` does: exit code 1, and no traceback."""
    read, write = os.pipe()
    os.close(read)
    try:
        left = subprocess.run(
            [*COMMAND, *words], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(write)
    assert (left.returncode, left.stderr) == (1, b"")


def test_a_large_result_comes_with_a_progress_bar(terminal: Open, nx: Run, tmp_path: Path) -> None:
    """A terminal shows how much was received; the file is complete."""
    records = list(devices(100_000))
    publish_and_wait(nx, LOCATIONS, records, save_in="storage")
    there = tmp_path / "large.json"
    screen = terminal("data", LOCATIONS, "--out", str(there))
    screen.shows(rf"{LOCATIONS} \S+ +[\d.]+/[\d.]+ [kM]B")
    screen.shows(r"large\.json: \d\d\.\d MB")
    assert screen.ends() == 0
    assert json.loads(there.read_text("utf-8")) == records


def test_a_failed_download_keeps_the_existing_file(nx: Run, tmp_path: Path) -> None:
    """A user without access gets exit code 4, and no partial file."""
    execute_task("test", CDRS, lambda: [1])
    there = tmp_path / "cdrs.json"
    there.write_text("older", "utf-8")
    refused = nx("--user", "viewer@example.com", "data", CDRS, "--out", str(there))
    assert (refused.returncode, refused.stdout) == (4, "")
    assert there.read_text("utf-8") == "older"
    assert nx("data", CDRS, "--out", str(tmp_path / "no/such/folder.json")).returncode == 2
    assert list(tmp_path.iterdir()) == [there]


def test_watch_is_a_live_table(terminal: Open, hold: Hold) -> None:
    """In colour, and updated until Ctrl-C."""
    screen = terminal("watch", "--every", "0.5")
    at = screen.shows(rf"{TASK} +never ran")
    held = hold(TASK)
    at = screen.shows(rf"{TASK} +running", after=at)
    held.progress(1, 4, "a quarter")
    at = screen.shows(r"1 of 4 \(25 %\) a quarter", after=at)
    held.end()
    screen.shows(rf"{TASK} +completed", after=at)
    assert "\x1b[32mcompleted" in screen.raw
    screen.interrupt()
    assert screen.ends() == 130
    assert "Traceback" not in screen.text


def test_an_outage_keeps_the_last_table_and_is_reported(nx: Run) -> None:
    """Until the service answers again."""
    execute_task("test", TASK, lambda: [1, 2])
    there = target_of(None)
    caller = Caller(there)
    pictures = changes(caller, interval_seconds=0.01)
    before = next(pictures)
    caller._target = replace(there, functions="http://127.0.0.1:1")
    during = next(pictures)
    assert (during["tasks"], "does not respond" in during["stale"]) == (before["tasks"], True)
    caller._target = there
    assert "stale" not in next(pictures)


def test_watch_prints_one_line_of_json_per_change(terminal: Open, nx: Run) -> None:
    """It prints nothing while nothing changes."""
    screen = terminal("watch", "--every", "0.5", "--json")
    at = screen.shows(r'"tasks": .*\n')

    def work(run: TaskRun) -> list[int]:
        run.progress(1)
        return [1, 2, 3]

    execute_task("test", TASK, work)
    screen.shows(r'"count": 3.*\n', after=at)
    screen.interrupt()
    assert screen.ends() == 130
    answers = [json.loads(line) for line in screen.text.splitlines() if line.startswith("{")]
    versions = [answer["version"] for answer in answers]
    assert len(versions) == len(set(versions)) > 1


@contextmanager
def watched(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A watch whose output is a pipe; it is killed at the end, and where nothing comes any more."""
    command, pipe = [*COMMAND, "watch", "--every", "0.5", *words], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as watching:
        patience = threading.Timer(60, watching.kill)
        patience.start()
        try:
            yield watching
        finally:
            patience.cancel()
            watching.kill()


@pytest.mark.usefixtures("nx")
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_watch_ends_when_its_pipe_is_closed(words: tuple[str, ...]) -> None:
    """Even if nothing changes and it has nothing to write, as in `nx-tasks watch --json | head -1`."""
    with watched(*words) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        watching.stdout.readline()
        watching.stdout.close()
        assert (watching.wait(), watching.stderr.read()) == (1, "")


@pytest.mark.usefixtures("nx")
def test_watch_in_a_pipe_prints_one_table_per_change() -> None:
    """A reader of the pipe receives each table at once."""
    with watched() as watching:
        assert watching.stdout is not None
        lines = iter(watching.stdout)
        assert re.match(rf"{TASK} +never ran", next(line for line in lines if line.startswith(TASK)))
        execute_task("test", TASK, lambda: [1])
        while not re.match(rf"{TASK} +completed", next(line for line in lines if line.startswith(TASK))):
            pass  # the run may be at work then


def test_the_local_stack_is_found_on_the_ports_of_firebase_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stack that was moved to other ports is found there; another stack on the old ports is not used."""
    for name in ("NX_FUNCTIONS_URL", "FIREBASE_AUTH_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    moved = tmp_path / "firebase.json"
    ports = {
        part: {"host": "127.0.0.1", "port": port} for part, port in (("functions", 8001), ("auth", 8002))
    }
    moved.write_text(json.dumps({"emulators": ports}), "utf-8")
    target = target_of(None, configured=moved)
    assert target.functions.startswith("http://127.0.0.1:8001/demo-nx-tasks/")
    assert target.tokens.startswith("http://127.0.0.1:8002/")
    assert target_of(None).functions == "http://127.0.0.1:{port}/demo-nx-tasks/us-central1".format_map(
        json.loads((ROOT / "firebase.json").read_text("utf-8"))["emulators"]["functions"]
    )


class _Echo(BaseHTTPRequestHandler):
    """Returns the credentials of each request as the callable's result."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"result": self.headers.get("Authorization")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_requests_carry_no_ambient_credentials_and_reach_loopback_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Neither an entry of ~/.netrc nor a proxy of the environment changes a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv(proxy, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        assert post(url, {}, {"Authorization": "Bearer mine"}).json() == {"result": "Bearer mine"}
        assert post(url, {}).json() == {"result": None}
        server.shutdown()


def test_a_proxy_of_the_environment_is_used_beyond_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that only begins like a loopback address is not one."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CliError, match="ProxyError"):
        post("http://127.0.0.1.example.com/", {})


HOSTILE = {"id": "DE:ABC:1", ":x:": "[b]::1[/b]", "k\x1b[2J\u202e": "v\x9b2J\u2066\ud800"}


def test_data_is_printed_as_text(nx: Run) -> None:
    """Emoji codes and markup stay text; control and bidirectional characters are escaped, in keys as well."""
    execute_task("test", TASK, lambda: [{key: value.replace("\ud800", "") for key, value in HOSTILE.items()}])
    # An instance may serve what it cached for another test until its max-age has passed.
    shown = wait_for("the result", lambda: "DE:ABC:1" in (text := nx("data", TASK).stdout) and text)
    assert "[b]::1[/b]" in shown
    assert ":x:" in shown
    assert r"k\x1b[2J\u202e" in shown
    assert r"v\x9b2J\u2066" in shown
    assert not set(shown) & {"\x1b", "\x9b", "\u202e", "\u2066"}


@pytest.mark.parametrize("form", ["json", "csv", "pretty"])
def test_an_export_to_a_terminal_is_escaped(nx: Run, terminal: Open, form: str) -> None:
    """JSON and CSV are escaped on a terminal, and unchanged in a file."""
    execute_task("test", TASK, lambda: [{"a": "b\x9b2J\u202ec"}])
    wait_for("the result", lambda: "b\x9b2J\u202ec" in nx("data", TASK, "--format", "csv").stdout)
    screen = terminal("data", TASK, "--format", form)
    screen.shows(r"u202ec")
    assert screen.ends() == 0
    assert not set(screen.raw) & {"\x9b", "\u202e"}
    if form != "pretty":
        assert "b\x9b2J\u202ec" in nx("data", TASK, "--format", form).stdout


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
@pytest.mark.parametrize("words", [("data", TASK), ("data", TASK, "--json"), ("tasks",), ("tasks", "--json")])
def test_a_character_outside_the_encoding_does_not_fail(
    nx: Run, encoding: str, words: tuple[str, ...]
) -> None:
    """It is replaced, and JSON stays JSON."""
    execute_task("test", TASK, lambda: [{"name": "Łódź 充電"}])
    shown = nx(*words, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert words[-1] != "--json" or json.loads(shown.stdout)


def test_a_projects_region_is_that_of_its_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of its `.env` file in the checkout, else of the environment, else the default."""
    monkeypatch.delenv("NX_TASKS_REGION", raising=False)
    configured = tmp_path / "firebase.json"
    default = "https://us-central1-some-project.cloudfunctions.net"
    assert target_of("some-project", configured=configured).functions == default
    monkeypatch.setenv("NX_TASKS_REGION", "asia-east1")
    assert target_of("some-project", configured=configured).functions.startswith("https://asia-east1-some")
    (tmp_path / ".env.some-project").write_text("A=b\nNX_TASKS_REGION='europe-west1' # ours\n", "utf-8")
    assert target_of("some-project", configured=configured).functions.startswith("https://europe-west1-some")
    assert target_of("another", configured=configured).functions.startswith("https://asia-east1-another")


def test_a_caller_without_a_role_sees_that_an_operator_acted(nx: Run) -> None:
    """A caller with the claim `tasks` and no role: "an operator", without a name or a reason."""
    who = {"by": "anna@example.com", "reason": "what she alone knows"}
    suspend_task(TASK, **who)
    resume_task(TASK, **who)
    with reading_app("reading-app@example.com", TASK):
        shown = nx("--user", "reading-app@example.com", "runs", TASK)
        as_json = nx("--user", "reading-app@example.com", "runs", TASK, "--json")
    assert shown.stdout.count("by an operator") == 2
    assert not [word for word in ("anna", "alone") if word in shown.stdout + as_json.stdout]
