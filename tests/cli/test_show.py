"""`show` of real tasks on the real stack, in a pipe and in a terminal."""

import datetime as dt
import json
import re

from shared.tasks import TaskEngine, TaskName, execute_task, suspend_task
from tests.cli.conftest import Open, Run
from tests.support.paged_run import DEADLINE, PagedRun
from tests.waiting import wait_for

TASK = TaskName.collect_devices_health
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


def fails() -> None:
    raise ValueError("no [/such] place\x1b[2J")


def test_a_task_that_never_ran_has_its_schedule(nx: Run) -> None:
    shown = nx("show", "collect_charge_cdrs")
    assert (shown.returncode, shown.stderr) == (0, "")
    schedule, due, deadline, result = shown.stdout.splitlines()[2:]
    assert (schedule, deadline) == ("schedule      37 * * * * in Etc/UTC", "deadline      12 h 0 min")
    assert re.fullmatch(r"next tick     \d{4}-\d\d-\d\d \d\d:37 UTC", due)
    assert result == "result        none yet"


def test_a_failed_task_has_error_next_attempt_and_last_good_result(nx: Run, terminal: Open) -> None:
    """A pipe and a terminal show the same; data is printed as text."""
    execute_task("test", TASK, lambda: [1, 2])
    run_id = execute_task("test", TASK, fails, {"scheduled_for": dt.datetime.now(dt.UTC)}).run_id
    shown = nx("show", TASK).stdout
    assert re.search(rf"last run +failed after [\d.]+ s, attempt 1, {run_id}\nstarted +{MOMENT}\n", shown)
    assert "error         ValueError: no [/such] place\\x1b[2J\n" in shown
    stop = rf"to stop it: nx-tasks cancel {TASK} -m REASON"
    assert re.search(rf"next +attempt 2 of 6, about {MOMENT}; {stop}\n", shown)
    assert re.search(rf"result +2 records in 5 B, published {MOMENT}, \d+ s ago\n", shown)
    assert "\x1b" not in shown
    screen = terminal("show", TASK)
    assert screen.ends() == 0
    assert "attempt 2 of 6, about" in screen.text
    assert "no [/such] place\\x1b[2J" in screen.text
    answer = json.loads(nx("show", TASK, "--json").stdout)
    assert (answer["task"]["name"], answer["last_run"]["id"]) == (TASK, run_id)
    TaskEngine().cancel_run(TASK, run_id, by="ops@example.com", reason="it is known")
    shown = nx("show", TASK).stdout
    assert "status        cancelled\n" in shown
    assert "error         cancelled by ops@example.com: it is known" in shown
    assert "next  " not in shown


def test_a_suspended_task_has_who_why_and_until_when(nx: Run) -> None:
    """Its next tick is the first one after that time, or there is none; and it is not late."""
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    tick = until.replace(minute=until.minute - until.minute % 5) + dt.timedelta(minutes=5)
    suspend_task(TASK, by="ops@example.com", reason="texts are [/b] wrong", until=until)
    shown = nx("show", TASK).stdout
    who = rf"by ops@example.com since {MOMENT}, until {until:%Y-%m-%d %H:%M:%S} UTC: texts are \[/b\] wrong"
    assert re.search(rf"next tick +{tick:%Y-%m-%d %H:%M} UTC\n.*\nsuspended +{who}\n", shown)
    suspend_task(TASK, by="ops@example.com", reason="for good")
    shown = nx("show", TASK).stdout
    assert re.search(rf"since {MOMENT}, until an operator resumes it: for good\n", shown)
    assert re.search(r"next tick +none\n", shown)


def test_a_requested_run_has_who_asked_for_it(nx: Run) -> None:
    """And why, in every view."""
    ran = json.loads(nx("run", TASK, "-m", "a test", "--json").stdout)
    run_id = ran["run"]["id"]
    by = r"by operator@example\.com \(demo-operator\)"
    wait_for("its end", lambda: json.loads(nx("show", TASK, "--json").stdout)["task"]["run"] is None)
    shown = nx("show", TASK).stdout
    assert re.search(rf"{run_id}\nstarted .*\nrequested +{by} at {MOMENT}: a test\n", shown)
    assert re.search(rf"requested: {by} at {MOMENT}: a test\n", nx("runs", TASK, "--id", run_id).stdout)


def test_a_long_run_that_failed_for_good_has_a_reason(nx: Run) -> None:
    """A leg of a long run is not delivered again after its deadline; its last position is shown."""
    long = PagedRun.waiting(TASK)
    long.clock.advance(DEADLINE.total_seconds())
    assert long.deliver(2).status == "duplicate"
    shown = nx("show", TASK).stdout
    assert re.search(r"error +DeadlineExceeded: the deadline passed in leg 2\n", shown)
    assert "next          no further attempt: its deadline has passed\n" in shown
    shown = nx("runs", TASK, "--id", long.run_id).stdout
    assert "next attempt: none, because its deadline has passed\n" in shown
    assert "position of pages of north: 5\n" in shown


def test_an_unknown_task_is_refused_with_the_names(nx: Run) -> None:
    refused = nx("show", "no_such_task")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"unknown task no_such_task; use one of {', '.join(sorted(TaskName))}" in refused.stderr
