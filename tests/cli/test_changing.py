"""What `run`, `suspend`, `resume` and `cancel` do, with the codes that scripts go by."""

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli import app, change_commands, polling
from emulators.environment import Addresses
from emulators.loopback import request
from shared import firebase
from shared.tasks import TaskEngine, TaskName, TaskSpec, execute_task, specs
from shared.tasks.backends.scheduler import Jobs
from shared.tasks.errors import RunCancelled
from tests.cli.conftest import Hold, Open, Run
from tests.cli.terminal import COMMAND, ROOT
from tests.support.paged_run import PagedRun
from tests.waiting import wait_for

TASK = TaskName.collect_devices_health
WHY = ("--reason", "a test")


def history(kind: str) -> list[tuple[str, str]]:
    """Who did that, and why."""
    found = firebase.firestore_client().collection(f"nx-tasks/{TASK.value}/nx-runs").stream()
    records = [run.to_dict() or {} for run in found]
    return [(record["by"], record["reason"]) for record in records if record["state"] == kind]


def job_of(stack: Addresses, task: TaskName = TASK, call: str = "") -> dict[str, Any]:
    """Cloud Scheduler's job of a task, as it is or after a call."""
    url = f"{stack.jobs_url}/firebase-schedule-{task}-{stack.region}{call}"
    return (request(url, method="POST", body={}) if call else request(url))[1]  # type: ignore[return-value]


def job_state(stack: Addresses) -> str:
    return str(job_of(stack)["state"])


def test_a_run_is_followed_to_its_end(nx: Run) -> None:
    """Cloud Scheduler delivers it: exit code 0 when it completes; the history contains who requested it."""
    ran = nx("run", TASK, *WHY, "--follow")
    assert ran.returncode == 0
    waiting, *progress = ran.stderr.splitlines()
    assert waiting == f"{TASK}: waiting for Cloud Scheduler to start the run"
    assert all(re.match(rf"{TASK}: run \S+ is running", line) for line in progress)
    assert re.fullmatch(rf"{TASK}: run \S+ completed after [\d.]+ s\n", ran.stdout)
    assert history("requested") == [("operator@example.com (demo-operator)", "a test")]
    answer = json.loads(nx("run", TASK, *WHY, "--follow", "--json").stdout)
    assert (answer["outcome"], answer["run"]["state"]) == ("started", "completed")


def test_a_failed_run_is_followed_until_it_is_not_tried_again(nx: Run, clean_firestore: Addresses) -> None:
    """The last result, which the task merges with, is lost. An operator stops the retries: exit code 1."""
    cdrs = TaskName.collect_charge_cdrs
    execute_task("test", cdrs, list, {"save_in": "storage"})
    for lost in firebase.bucket().list_blobs(prefix=f"tasks_data/{cdrs}"):
        lost.delete()
    with subprocess.Popen(
        [*COMMAND, "run", cdrs, *WHY, "--follow"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stderr is not None
        lines = iter(following.stderr)
        failed = next(line for line in lines if " failed: " in line)
        assert re.search(
            r"run \S+ failed: \w+: .*; attempt 2 of 6, about \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+$", failed
        )
        assert nx("cancel", cdrs, *WHY).returncode == 0
        *_, last = lines
        assert last.startswith("the run was cancelled by operator@example.com (demo-operator): a test")
        assert following.wait(60) == 1
    wait_for("the retry to be acknowledged", lambda: job_of(clean_firestore, cdrs).get("status") == {})


def test_the_retries_of_a_requested_run_are_stopped(nx: Run, clean_firestore: Addresses) -> None:
    """The run fails, and is cancelled before Cloud Scheduler delivers it again, as the run of a tick is."""
    cdrs = TaskName.collect_charge_cdrs
    execute_task("test", cdrs, list, {"save_in": "storage"})
    for lost in firebase.bucket().list_blobs(prefix=f"tasks_data/{cdrs}"):
        lost.delete()
    answer = json.loads(nx("run", cdrs, *WHY, "--json").stdout)
    assert answer["run"]["requested"]["reason"] == "a test"
    wait_for("the answer", lambda: job_of(clean_firestore, cdrs).get("status"))
    stopped = nx("cancel", cdrs, *WHY)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    run_id = answer["run"]["id"]
    assert stopped.stdout.startswith(f"{cdrs}: run {run_id} cancelled")
    wait_for("the retry to be acknowledged", lambda: job_of(clean_firestore, cdrs).get("status") == {})
    runs = json.loads(nx("runs", cdrs, "--json").stdout)["runs"]
    assert [run["attempt"] for run in runs if run["id"] == run_id] == [1]
    assert [run["id"] for run in runs if run["requested"]] == [run_id]


ASKED = {
    "id": "request-1",
    "state": "requested",
    "progress": None,
    "error": None,
    "duration_seconds": None,
    "refused": {"count": 2, "reason": "still at work", "at": "2026-11-24T12:00:00Z", "again": None},
    "requested": {"by": "p", "reason": "why", "at": "2026-11-24T12:00:00Z"},
    "expires": None,
}
REFUSED = "2 deliveries refused: still at work; no further delivery"


@pytest.mark.parametrize(
    ("words", "ends", "code", "expected"),
    [
        (
            (),
            {},
            8,
            rf"no run of {TASK} has started yet \({REFUSED}\); see `nx-tasks runs .* --id request-1`",
        ),
        (("-f",), {"state": "completed"}, 0, REFUSED),
        (("-f", "--timeout", "1"), {}, 8, rf"has not started \({REFUSED}\) after 1 s"),
        (
            ("-f",),
            {"expires": "2026-11-24T12:10:00Z"},
            8,
            "no delivery of Cloud Scheduler started run request-1",
        ),
    ],
)
def test_a_refused_delivery_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    ends: dict[str, Any],
    code: int,
    expected: str,
) -> None:
    """The command waits for the run to begin, and reports a refused delivery instead of a missing run."""
    answers = {"run_task": [{"outcome": "requested", "run": ASKED}], "get_run": [ASKED, {**ASKED, **ends}]}

    def caller(function: str, **_: Any) -> Any:
        left = answers[function]
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(change_commands, "caller_of", lambda _: caller)
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["nx-tasks", "run", TASK, *WHY, *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == code
    assert re.search(expected, " ".join(capsys.readouterr().err.split()))


FAILED = {
    **ASKED, "state": "failed", "refused": None, "error": {"type": "ValueError", "message": "no answer"},
    "next_attempt": {"number": 2, "of": 6, "at": "2026-11-24T12:00:10Z"},
}  # fmt: skip
FINAL = {**FAILED, "attempt": 6, "next_attempt": None, "not_retried": "it was delivered 6 times"}


@pytest.mark.parametrize(
    ("words", "answers", "code", "expected"),
    [
        (
            (),
            [FAILED, FAILED, {**FAILED, "state": "completed", "error": None}],
            0,
            r"attempt 2 of 6, about .*",
        ),
        ((), [FAILED, FINAL], 1, "the run failed: ValueError: no answer"),
        (("--timeout", "1"), [FAILED], 8, "failed, and attempt 2 of 6, about .* has not started after 1 s"),
    ],
)
def test_a_followed_run_ends_with_its_last_attempt(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    answers: list[dict[str, Any]],
    code: int,
    expected: str,
) -> None:
    """A failure is reported once, with the attempt that follows; only the last one is exit code 1."""
    left = list(answers)

    def caller(function: str, **_: Any) -> Any:
        if function == "run_task":
            return {"outcome": "started", "run": FAILED}
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(change_commands, "caller_of", lambda _: caller)
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["nx-tasks", "run", TASK, *WHY, "--follow", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    errors = capsys.readouterr().err
    assert ended.value.code == code
    assert errors.count("run request-1 failed: ValueError: no answer; attempt 2 of 6, about ") == 1
    assert re.search(expected, " ".join(errors.split()))


def test_a_task_is_suspended_until_a_time(nx: Run) -> None:
    """A time or a duration; the text has the time with its zone."""
    suspended = nx("suspend", TASK, *WHY, "--until", "2h")
    assert re.fullmatch(rf"{TASK}: suspended until \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", suspended.stdout)
    later = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=3)
    until = nx("suspend", TASK, *WHY, "--until", f"{later:%Y-%m-%d %H:%M:%S}", "--json")
    assert dt.datetime.fromisoformat(json.loads(until.stdout)["task"]["suspended"]["until"]) == later
    again = nx("suspend", TASK, *WHY, "--until", later.isoformat())
    assert again.stdout == f"{TASK}: already suspended until {later:%Y-%m-%d %H:%M:%S} UTC; nothing changed\n"
    past = nx("suspend", TASK, *WHY, "--until", "2020-01-01")
    assert (past.returncode, past.stdout) == (2, "")
    assert "until must be later than now" in past.stderr
    assert re.search(rf"suspended +until {later:%Y-%m-%d}", nx("tasks").stdout)
    assert f"until {later:%Y-%m-%d %H:%M:%S} UTC" in nx("runs", TASK, "--state", "suspended").stdout


def test_where_another_run_holds_the_task_nothing_starts(nx: Run, hold: Hold) -> None:
    """Exit code 6; the error contains the id of that run."""
    hold(TASK)
    wait_for("the run", lambda: "running" in nx("tasks").stdout)
    ran = nx("run", TASK, *WHY)
    assert (ran.returncode, ran.stdout[: len(TASK) + 6]) == (6, f"{TASK}: busy")
    assert "another run holds" in ran.stderr


def test_a_task_is_suspended_and_resumed(nx: Run, clean_firestore: Addresses) -> None:
    """Both document and job change. A second call changes nothing. A suspended task is not run."""
    assert nx("suspend", TASK, *WHY).stdout == f"{TASK}: suspended\n"
    assert job_state(clean_firestore) == "PAUSED"
    assert nx("suspend", TASK, *WHY).stdout == f"{TASK}: already suspended; nothing changed\n"
    refused = nx("run", TASK, *WHY)
    assert (refused.returncode, refused.stdout) == (6, "")
    assert "suspended" in refused.stderr
    answer = json.loads(nx("resume", TASK, *WHY, "--json").stdout)
    assert (answer["changed"], answer["task"]["suspended"]) == (True, None)
    assert job_state(clean_firestore) == "ENABLED"
    again = nx("resume", TASK, *WHY)
    assert (again.returncode, again.stdout) == (0, f"{TASK}: not suspended; nothing changed\n")
    assert nx("suspend", TASK, *WHY).returncode == 0
    assert nx("resume", TASK, *WHY).stdout == f"{TASK}: resumed\n"
    assert (
        history("suspended") == history("resumed") == [("operator@example.com (demo-operator)", "a test")] * 2
    )


def test_the_run_at_work_is_cancelled_and_followed(terminal: Open, nx: Run, hold: Hold) -> None:
    """The command shows progress until the run ends. After that, no run is left to cancel: exit code 6."""
    held = hold(TASK)
    held.progress(1, 2, "half")
    wait_for("its progress", lambda: "1 of 2" in nx("tasks").stdout)
    screen = terminal("cancel", TASK, *WHY, "--follow")
    screen.shows(r"1 of 2 \(50 %\) half")
    held.go_on_until(RunCancelled)
    screen.shows(rf"{TASK}: run \S+ cancelled after [\d.]+ s")
    assert screen.ends() == 0
    run_id = json.loads(nx("runs", TASK, "--state", "cancelled", "--json").stdout)["runs"][0]["id"]
    none = nx("cancel", TASK, *WHY)
    expected = f"nothing to cancel: {TASK} has no current run and no run that may be retried\n"
    assert (none.returncode, none.stderr) == (6, expected)
    ended = nx("cancel", TASK, *WHY, "--id", run_id, "--json")
    assert (ended.returncode, json.loads(ended.stdout)["outcome"]) == (6, "ended")


def test_a_run_between_two_legs_is_cancelled_at_once(nx: Run) -> None:
    """Also with `--follow`: nothing is left to wait for."""
    long = PagedRun.waiting(TASK)
    busy = nx("run", TASK, *WHY)
    assert (busy.returncode, busy.stdout) == (6, f"{TASK}: busy, run {long.run_id} running\n")
    cancelled = nx("cancel", TASK, *WHY, "--follow")
    done = f"{TASK}: run {long.run_id} cancelled after 25 min 0 s\n"
    assert (cancelled.returncode, cancelled.stdout, cancelled.stderr) == (0, done, "")
    assert long.deliver(2).status == "duplicate"


LEGS = {
    "number": 2, "tries": 0, "deadline": "2026-11-24T18:00:00Z", "worked_seconds": 1500.0,
    "waiting_since": "2026-11-24T12:25:00Z", "expected_by": "2026-11-24T12:30:00Z",
}  # fmt: skip


def test_a_long_run_is_followed_over_its_legs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command keeps following while the run waits, and reports the failure of a retried leg once."""
    waits = {**ASKED, "state": "running", "refused": None, "legs": LEGS, "last_failure": None}
    failed = {**waits, "last_failure": {"type": "ValueError", "message": "no answer"}}
    works = {**waits, "legs": {**LEGS, "waiting_since": None, "expected_by": None}}
    answers = [waits, failed, failed, works, {**works, "state": "completed", "duration_seconds": 3000.0}]

    def caller(function: str, **_: Any) -> Any:
        return {"outcome": "started", "run": waits} if function == "run_task" else answers.pop(0)

    monkeypatch.setattr(change_commands, "caller_of", lambda _: caller)
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["nx-tasks", "run", TASK, *WHY, "--follow"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (0, f"{TASK}: run request-1 completed after 50 min 0 s\n")
    _, waiting, failure, leg = printed.err.splitlines()
    assert re.match(rf"{TASK}: run request-1 is running: waiting for leg 2 since .*, expected by ", waiting)
    assert failure == f"{TASK}: run request-1: last failure, tried again: ValueError: no answer"
    assert leg == f"{TASK}: run request-1 is running: leg 2"


def test_following_in_a_pipe_shows_progress_and_what_ctrl_c_leaves(nx: Run, hold: Hold) -> None:
    """One line for each change of the progress. After Ctrl-C: the run continues, and how to cancel it."""
    held = hold(TASK)
    held.progress(1, 2, "half")
    wait_for("its progress", lambda: "1 of 2" in nx("tasks").stdout)
    command, pipe = [*COMMAND, "cancel", TASK, *WHY, "--follow"], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as following:
        assert following.stderr is not None
        first = following.stderr.readline()
        following.send_signal(signal.SIGINT)
        left = following.stderr.read()
        assert following.wait(60) == 130
    assert re.fullmatch(rf"{TASK}: run \S+ is running: 1 of 2 \(50 %\) half\n", first)
    assert re.search(rf"run \S+ of {TASK} continues; to cancel it: `nx-tasks cancel {TASK} -m REASON`", left)
    held.go_on_until(RunCancelled)


def test_a_request_without_a_run_is_cancelled_without_an_id(nx: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is made, and not only once its run has begun."""
    monkeypatch.setattr(Jobs, "run", lambda *_, **__: None)  # no delivery comes
    monkeypatch.setitem(specs.REGISTERED, TASK, TaskSpec(TASK, schedule="0 0 1 1 *"))
    asked = TaskEngine().request_run(TASK, by="ops@example.com", reason="a test", timeout_seconds=0)
    cancelled = nx("cancel", TASK, *WHY, "--json")
    assert cancelled.returncode == 0, cancelled.stderr
    assert json.loads(cancelled.stdout)["run"]["id"] == asked.run_id


def test_ctrl_c_during_a_request_reports_that_the_run_may_start(nx: Run) -> None:
    """The service has received the request, even if the command does not wait for the response."""
    asked, answered = threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            answered.wait(60)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command, pipe = [*COMMAND, "run", TASK, *WHY, "--follow"], subprocess.PIPE
        env = {**os.environ, "NX_FUNCTIONS_URL": f"http://127.0.0.1:{server.server_port}"}
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True) as running:
            assert asked.wait(60)
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 130
        answered.set()
        server.shutdown()
    assert f"the run of {TASK} was requested and may still start" in errors


@pytest.mark.usefixtures("clean_firestore")
def test_the_retries_of_a_failed_run_can_be_cancelled(nx: Run) -> None:
    """Exit code 0 as well for a run that no tick caused, which is not tried again anyway."""

    def fails() -> None:
        raise ValueError("no")

    called = execute_task("test", TASK, fails).run_id
    ended = nx("cancel", TASK, *WHY, "--id", called)
    assert (ended.returncode, ended.stdout.partition(", ")[0]) == (6, f"{TASK}: ended")
    run_id = execute_task("test", TASK, fails, {"scheduled_for": dt.datetime.now(dt.UTC)}).run_id
    kept = nx("cancel", TASK, *WHY)
    assert kept.returncode == 0
    assert kept.stdout.startswith(f"{TASK}: run {run_id} cancelled")


def test_a_timeout_while_following_reports_that_the_run_continues(nx: Run, hold: Hold) -> None:
    """Exit code 8."""
    hold(TASK)
    wait_for("the run", lambda: "running" in nx("tasks").stdout)
    waited = nx("cancel", TASK, *WHY, "--follow", "--timeout", "1")
    assert waited.returncode == 8
    assert waited.stderr.endswith("is still running after 1 s\n")


@pytest.mark.parametrize("words", [("run",), ("suspend",), ("resume",), ("cancel", "--id", "some-run")])
def test_viewers_change_nothing(nx: Run, clean_firestore: Addresses, words: tuple[str, ...]) -> None:
    """The server denies it: exit code 4."""
    refused = nx("--user", "viewer@example.com", *words, TASK, *WHY)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "Only operators can change tasks." in refused.stderr
    assert job_state(clean_firestore) == "ENABLED"
    assert list(firebase.firestore_client().collection("nx-tasks").stream()) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (2, ("suspend", TASK)),
        (2, ("suspend", TASK, "--reason", "")),
        (2, ("suspend", "no_such_task", *WHY)),
        (2, ("cancel", "no_such_task", *WHY)),
        (2, ("runs", TASK, "--state", "no-such-state")),
        (1, ("--project", "some-project", "login")),
        (2, ("no-such-command",)),
        (3, ("--user", "nobody@example.com", "tasks")),
        (3, ("--project", "some-project", "tasks")),
        (5, ("cancel", TASK, *WHY, "--id", "never-was")),
        (2, ("login", "--email", "a@b.c", "--api-key", "k")),
    ],
)
def test_each_failure_has_its_exit_code(nx: Run, code: int, words: tuple[str, ...]) -> None:
    """The error states what to do, on standard error only."""
    failed = nx(*words)
    prompted = "Email: " if words[-1] == "login" else ""
    assert (failed.returncode, failed.stdout) == (code, prompted)
    assert failed.stderr
    assert "Traceback" not in failed.stderr


def test_an_unreachable_service_is_reported(nx: Run) -> None:
    """Exit code 7; the error states what to start."""
    failed = nx("tasks", NX_FUNCTIONS_URL="http://127.0.0.1:1")
    assert failed.returncode == 7
    assert "is the local stack running (make run)?" in failed.stderr
