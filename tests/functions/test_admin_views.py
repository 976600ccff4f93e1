"""`list_tasks`, `list_runs` and `get_run` on the real Functions emulator, with the demo's users."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulators.environment import Addresses
from functions.requests import shown
from functions.serializers import time_text
from shared import firebase
from shared.tasks import TaskEngine, TaskName, TaskRun, execute_task, resume_task, store, suspend_task
from shared.tasks.admin.queries import view_tasks
from shared.tasks.documents.legs import HAND_OVER_GRACE
from shared.tasks.documents.run_log import MAX_LINES
from shared.tasks.specs import RETRY_COUNT, RETRY_PERIOD, retry_backoff
from tests.functions.callable_protocol import PRIVATE, call, refused
from tests.support.paged_run import PagedRun
from tests.support.world import in_thread
from tests.waiting import wait_for

TASK = TaskName.collect_charge_cdrs
WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}
#: Tracebacks contain paths, and so do responses to callers who may see them.
BUT_TRACES = tuple(word for word in PRIVATE if word not in {".py", "/functions", "/shared", "/venv"})


@pytest.fixture
def ask(clean_firestore: Addresses, people: dict[str, str]) -> Any:
    """Calls a function as one of these users; returns its result."""

    def call_function(function: str, data: dict[str, Any], who: str = "operator") -> Any:
        answer = call(clean_firestore, data, people[who], function=function, private=BUT_TRACES)
        assert answer.status == 200, answer
        return answer.json["result"]

    return call_function


def fails() -> None:
    raise ValueError("no such place")


def test_tasks_without_runs_are_listed_with_their_schedules(ask: Any) -> None:
    """All tasks in order, with the fields of their specs."""
    shown = ask("list_tasks", {})["tasks"]
    assert [task["name"] for task in shown] == sorted(TaskName)
    cdrs = shown[0]
    assert (cdrs["schedule"], cdrs["time_zone"], cdrs["save_in"]) == ("37 * * * *", "Etc/UTC", "storage")
    due = datetime.fromisoformat(cdrs["next_run"])
    assert due.minute == 37
    assert timedelta() < due - datetime.now(UTC) <= timedelta(hours=1)
    known_later = ("status", "state", "source", "started", "completed", "error", "run", "retries")
    assert {cdrs[field] for field in (*known_later, "suspended", "result", "problem")} == {None}


def test_a_listed_task_has_its_last_run_its_result_and_its_suspension(ask: Any) -> None:
    """A failed run keeps the last good result."""

    def task(run: TaskRun) -> list[int]:
        run.summarise({"sum": 3})
        return [1, 2]

    run_id = execute_task("test", TASK, task).run_id
    execute_task("again", TASK, fails)
    suspend_task(TASK, **WHO)
    shown = ask("list_tasks", {})["tasks"][0]
    assert (shown["status"], shown["state"], shown["source"]) == ("suspended", "failed", "again")
    assert shown["error"] == "ValueError: no such place"
    assert shown["suspended"].items() >= WHO.items()
    assert shown["next_run"] is None
    expected = {"run_id": run_id, "saved_in": "db", "size_bytes": 5, "count": 2, "summary": {"sum": 3}}
    assert shown["result"].items() >= expected.items()


def test_the_next_run_of_a_suspended_task_follows_the_end_of_its_suspension(ask: Any) -> None:
    """Its first tick after that time; none if an operator must resume it, or if its job is wrong."""
    until = datetime.now(UTC).replace(minute=40, second=0, microsecond=0) + timedelta(days=2)
    suspend_task(TASK, **WHO, until=until)
    shown = ask("list_tasks", {})["tasks"][0]
    assert datetime.fromisoformat(shown["next_run"]) == until + timedelta(minutes=57)
    status = firebase.firestore_client().document(f"nx-tasks/{TASK.value}")
    status.update({"run.job": {"found": "MISSING"}})
    assert ask("list_tasks", {})["tasks"][0]["next_run"] is None


def test_a_task_with_a_paused_job_has_no_next_run(ask: Any) -> None:
    """Once the watchdog or a change has noticed it; the task is not suspended."""
    execute_task("test", TASK, lambda: [1])
    status = firebase.firestore_client().document(f"nx-tasks/{TASK.value}")
    for note in ({"found": "PAUSED"}, {"found": "MISSING"}, {"wanted": "ENABLED", "at": datetime.now(UTC)}):
        status.update({"run.job": note})
        shown = ask("list_tasks", {})["tasks"][0]
        assert (shown["next_run"], shown["suspended"], bool(shown["problem"])) == (None, None, True)
    status.update({"run.job": {"wanted": "ENABLED", "at": datetime.now(UTC), "shared": True, "done": True}})
    shown = ask("list_tasks", {})["tasks"][0]
    assert (bool(shown["next_run"]), shown["problem"]) == (True, None)


def test_a_viewer_sees_the_state_of_an_operators_task_without_its_summary(ask: Any) -> None:
    """Charge detail records are for operators."""
    run_id = execute_task("test", TASK, lambda run: run.summarise({"sum": 3})).run_id
    shown = ask("list_tasks", {}, "viewer")["tasks"][0]
    assert (shown["readable"], shown["state"], shown["result"]["summary"]) == (False, "completed", None)
    request = {"task_name": TASK, "id": run_id}
    assert ask("get_run", request)["result"]["summary"] == {"sum": 3}
    assert "summary" not in ask("get_run", request, "viewer")["result"]


def test_a_viewer_sees_no_error_or_progress_of_an_operators_task(ask: Any) -> None:
    """Both may contain the task's data."""

    def task(run: TaskRun) -> None:
        run.progress(1, 3, "card 4711")
        raise ValueError("card 4711")

    run_id = execute_task("test", TASK, task).run_id
    (listed,) = ask("list_runs", {"task_name": TASK}, "viewer")["runs"]
    for run in (listed, ask("get_run", {"task_name": TASK, "id": run_id}, "viewer")):
        assert (run["state"], run["error"], run["progress"]) == (
            "failed",
            {"type": "ValueError", "message": ""},
            None,
        )
    shown = ask("list_tasks", {}, "viewer")["tasks"][0]
    assert (shown["state"], shown["error"]) == ("failed", None)
    run = ask("get_run", {"task_name": TASK, "id": run_id})
    assert (run["error"]["message"], run["progress"]["message"]) == ("card 4711", "card 4711")
    assert "card 4711" in run["error"]["traceback"]


def test_a_run_has_the_log_of_its_task(ask: Any) -> None:
    """While it works, and afterwards. Lists and records other than runs have no logs."""
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        for number in range(MAX_LINES + 2):
            run.log.info("page read", page=number)
        run.log.error("card 4711", error=ValueError("Bearer s3cret"))
        run.progress(1)
        assert goes_on.wait(60)

    options = {"scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)}
    thread, _ = in_thread(lambda: execute_task("test", TASK, task, options))
    request = {"task_name": TASK, "id": "2026-11-24T12:00:00.000000Z"}
    try:
        wait_for("the progress", lambda: (view_tasks(store, (TASK,))[0]).progress)
        works = ask("get_run", request)
    finally:
        goes_on.set()
        thread.join()
    ended = ask("get_run", request)
    assert (works["state"], ended["state"]) == ("running", "completed")
    assert works["log"] == ended["log"]
    assert (len(ended["log"]["lines"]), ended["log"]["lost"]) == (MAX_LINES, 3)
    last = ended["log"]["lines"][-1]
    assert datetime.now(UTC) - datetime.fromisoformat(last.pop("at")) < timedelta(minutes=2)
    assert last == {
        "attempt": 1,
        "leg": 1,
        "number": MAX_LINES + 3,
        "level": "error",
        "text": "card 4711 error=Bearer …",
    }
    assert ask("get_run", request, "viewer")["log"] is None  # charge detail records are for operators
    assert all("log" not in run for run in ask("list_runs", {"task_name": TASK})["runs"])
    suspend_task(TASK, **WHO)
    (change,) = ask("list_runs", {"task_name": TASK, "states": ["suspended"]})["runs"]
    assert ask("get_run", {"task_name": TASK, "id": change["id"]})["log"] is None


def test_an_unchanged_run_costs_a_few_bytes(ask: Any) -> None:
    """A caller with the current version gets `not_modified` until something that it shows changes."""
    tick = {"scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)}
    request: dict[str, Any] = {"task_name": TASK, "id": "2026-11-24T12:00:00.000000Z"}
    versions: list[str] = []

    def changed(who: str = "operator") -> Any:
        """What `get_run` answers to the caller with the last version; after that it has not changed again."""
        answer = ask("get_run", request, who)
        assert "not_modified" not in answer
        request["if_version"] = answer["version"]
        versions.append(answer["version"])
        again = ask("get_run", request, who)
        assert again == {"version": answer["version"], "not_modified": True}
        assert len(json.dumps(again)) < 80
        return answer

    def task(run: TaskRun) -> None:
        changed()
        run.log.info("page read")
        run.progress(1)
        assert changed()["progress"]["done"] == 1
        raise ValueError

    execute_task("test", TASK, task, tick)
    ended = changed()
    assert (ended["state"], ended["next_attempt"]["number"]) == ("failed", 2)
    assert [line["text"] for line in ended["log"]["lines"]] == ["page read"]
    suspend_task(TASK, **WHO)
    assert changed()["next_attempt"] is None
    resume_task(TASK, **WHO)
    assert changed()["version"] == ended["version"]
    assert changed("viewer")["log"] is None  # another caller sees other fields
    TaskEngine().cancel_run(TASK, request["id"], **WHO)
    assert changed()["outcome"] == "cancelled"
    assert len(set(versions)) == len(versions) - 1
    request["if_version"] = "another"
    assert ask("get_run", request)["version"] == versions[-1]


def test_a_run_without_a_log_has_no_lines(ask: Any) -> None:
    run_id = execute_task("test", TASK, lambda: [1]).run_id
    assert ask("get_run", {"task_name": TASK, "id": run_id})["log"] == {
        "lines": [],
        "lost": 0,
        "lost_is_exact": True,
    }


def test_a_running_task_is_listed_with_its_progress(ask: Any) -> None:
    """The progress is read from the run record; there is none after the run."""
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        run.progress(1, 3, "first")
        assert goes_on.wait(60)

    thread, _ = in_thread(lambda: execute_task("test", TASK, task))
    try:
        shown = wait_for("progress", lambda: _progress_of(ask("list_tasks", {})))
        assert (shown["done"], shown["total"], shown["message"]) == (1, 3, "first")
    finally:
        goes_on.set()
        thread.join()
    ended = ask("list_tasks", {})["tasks"][0]
    assert (ended["run"], ended["state"]) == (None, "completed")


def test_a_run_between_two_legs_is_running(ask: Any) -> None:
    """Its legs and its checkpoint are beside the state; a viewer of an operators' task sees no positions."""
    run = PagedRun.waiting(TASK)
    request = {"task_name": TASK, "id": run.run_id}
    task, record = ask("list_tasks", {})["tasks"][0], ask("get_run", request)
    assert (task["status"], task["state"], record["state"]) == ("running", "running", "running")
    since = datetime.fromisoformat(task["run"]["legs"]["waiting_since"])
    assert datetime.fromisoformat(task["run"]["legs"]["expected_by"]) == since + HAND_OVER_GRACE
    checkpoint = {"steps": 1, "parts": 0, "positions": {"pages of north": "5"}}
    for each in (task["run"], record):
        assert each["legs"].items() >= {"number": 2, "tries": 0, "worked_seconds": 1500}.items()
        assert (each["checkpoint"], each["progress"]["done"]) == (checkpoint, 5)
    (listed,) = ask("list_runs", {"task_name": TASK, "states": ["running"]})["runs"]
    assert (listed["id"], listed["legs"]["number"]) == (run.run_id, 2)
    for each in (ask("list_tasks", {}, "viewer")["tasks"][0]["run"], ask("get_run", request, "viewer")):
        assert (each["legs"]["number"], each["checkpoint"]["positions"]) == (2, {})
    cancelled = ask("cancel_run", {**request, "reason": "a test"})
    assert (cancelled["outcome"], cancelled["run"]["state"]) == ("cancelled", "failed")
    assert ask("list_tasks", {})["tasks"][0]["run"] is None


def test_a_failed_tick_is_listed_with_the_end_of_its_retries(ask: Any) -> None:
    """A run without a tick has no retries."""
    execute_task("test", TASK, fails)
    assert ask("list_tasks", {})["tasks"][0]["retries"] is None
    tick = datetime(2026, 11, 24, 12, tzinfo=UTC)
    run_id = execute_task("test", TASK, fails, {"scheduled_for": tick}).run_id
    shown = ask("list_tasks", {})["tasks"][0]
    over = datetime.fromisoformat(shown["completed"]) + RETRY_PERIOD
    assert shown["retries"] == {"id": run_id, "until": time_text(over), "cancel": None}
    again = datetime.fromisoformat(shown["completed"]) + retry_backoff(1)
    following = {"number": 2, "of": 1 + RETRY_COUNT, "at": time_text(again)}
    request = {"task_name": TASK, "id": run_id}
    assert (shown["next_attempt"], ask("get_run", request)["next_attempt"]) == (following, following)
    suspend_task(TASK, **WHO)  # its deliveries are skipped
    run = ask("get_run", request)
    assert (ask("list_tasks", {})["tasks"][0]["next_attempt"], run["next_attempt"]) == (None, None)
    assert run["not_retried"] == "its task is suspended, so its delivery is skipped"
    resume_task(TASK, **WHO)
    TaskEngine().cancel_run(TASK, run_id, **WHO)
    shown = ask("list_tasks", {})["tasks"][0]
    assert shown["retries"]["cancel"].items() >= WHO.items()
    assert (shown["status"], shown["outcome"], shown["next_attempt"]) == ("failed", "cancelled", None)
    (run, *_) = ask("list_runs", {"task_name": TASK, "states": ["failed"]})["runs"]
    assert (run["state"], run["outcome"]) == ("failed", "cancelled")
    run = ask("get_run", request)
    assert (run["outcome"], run["next_attempt"], run["not_retried"]) == ("cancelled", None, None)


def test_a_tick_without_further_retries_has_no_retries_field(ask: Any) -> None:
    """Cloud Scheduler has delivered it as often as it may."""
    tick = {"scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)}
    shown = []
    for _ in range(1 + RETRY_COUNT):
        assert execute_task("test", TASK, fails, tick).status == "failed"
        shown.append(ask("list_tasks", {})["tasks"][0]["retries"])
    assert [each is None for each in shown] == [False] * RETRY_COUNT + [True]


def _progress_of(answer: Any) -> Any:
    run = answer["tasks"][0]["run"]
    return run and run["progress"]


def test_an_unchanged_system_costs_a_few_bytes(ask: Any) -> None:
    """A caller with the current version gets `not_modified` until something changes."""
    execute_task("test", TASK, lambda: [1])
    first = ask("list_tasks", {"if_version": None})
    again = ask("list_tasks", {"if_version": first["version"]})
    assert again == {"version": first["version"], "now": again["now"], "not_modified": True}
    assert len(json.dumps(again)) < 120
    execute_task("test", TASK, lambda: [1])
    assert ask("list_tasks", {"if_version": first["version"]})["tasks"]


def test_the_run_history_is_listed_newest_first_in_pages(ask: Any) -> None:
    """Every record once, with any page size; the last page is marked."""
    ids = [execute_task("test", TASK, lambda: [1]).run_id for _ in range(5)][::-1]
    pages, cursor = [], None
    while True:
        answer = ask("list_runs", {"task_name": TASK, "limit": 2, "cursor": cursor})
        pages.append([run["id"] for run in answer["runs"]])
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert pages == [ids[:2], ids[2:4], ids[4:]]


def test_the_run_history_can_be_filtered_by_states(ask: Any) -> None:
    """Failures have their error, skips their reason, and changes the person."""
    execute_task("test", TASK, lambda: [1])
    failed = execute_task("test", TASK, fails).run_id
    suspend_task(TASK, **WHO)
    execute_task("test", TASK, lambda: [1])
    resume_task(TASK, **WHO)

    def runs(*states: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask("list_runs", {"task_name": TASK, "states": states})["runs"]
        assert {run["state"] for run in found} == set(states)
        return found

    (run,) = runs("failed")
    assert (run["id"], run["error"]) == (failed, {"type": "ValueError", "message": "no such place"})
    (skip,) = runs("skipped")
    assert skip["reason"] == "suspended"
    assert [(change["by"], change["reason"]) for change in runs("suspended", "resumed")] == [
        (WHO["by"], WHO["reason"])
    ] * 2
    assert (
        "no such place" in (trace := ask("get_run", {"task_name": TASK, "id": failed}))["error"]["traceback"]
    )
    assert trace["duration_seconds"] >= 0


def test_the_run_history_can_be_limited_to_a_time_range(ask: Any) -> None:
    """The range has its start and not its end, also with states and over pages; it has its own version."""
    runs = [execute_task("test", TASK, fails if number == 2 else lambda: [1]).run_id for number in range(4)]
    listed = ask("list_runs", {"task_name": TASK})
    assert [run["id"] for run in listed["runs"]] == runs[::-1]
    started = [run["started"] for run in listed["runs"]][::-1]

    def ids(**options: Any) -> list[str]:
        return [run["id"] for run in ask("list_runs", {"task_name": TASK, **options})["runs"]]

    assert ids(since=started[1], until=started[3]) == [runs[2], runs[1]]
    assert ids(since=started[1], until=started[3], states=["completed"]) == [runs[1]]
    assert ids(until=started[1], states=["completed", "failed"]) == [runs[0]]
    first = ask("list_runs", {"task_name": TASK, "since": started[1], "limit": 1})
    assert ids(since=started[1], limit=9, cursor=first["next_cursor"]) == [runs[2], runs[1]]
    assert "runs" in ask("list_runs", {"task_name": TASK, "limit": 1, "if_version": first["version"]})
    for extreme in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        assert len(ids(since=extreme)) + len(ids(until=extreme)) == len(runs)


def test_the_run_history_can_be_limited_to_outcomes(ask: Any) -> None:
    """Failed and cancelled runs share a state, so a page of one of them may be short and have a next one."""

    def cancels(run: TaskRun) -> None:
        TaskEngine().cancel_run(TASK, run.run_id, **WHO)
        run.progress(1)

    runs = [execute_task("test", TASK, task).run_id for task in (fails, cancels, lambda: [1], cancels, fails)]

    def listed(outcomes: list[str], **options: Any) -> Any:
        return ask("list_runs", {"task_name": TASK, "outcomes": outcomes, **options})

    def ids(outcomes: list[str], **options: Any) -> list[str]:
        return [run["id"] for run in listed(outcomes, **options)["runs"]]

    assert ids(["cancelled"]) == [runs[3], runs[1]]
    assert ids(["failed"]) == [runs[4], runs[0]]
    assert ids(["failed", "cancelled", "completed"]) == runs[::-1]
    assert ids(["cancelled"], states=["completed"]) == []
    page, pages = listed(["cancelled"], limit=1), []
    while page["next_cursor"] is not None:
        pages.append([run["id"] for run in page["runs"]])
        page = listed(["cancelled"], limit=1, cursor=page["next_cursor"])
    assert [*pages, page["runs"]] == [[], [runs[3]], [runs[1]], []]
    version = listed(["cancelled"])["version"]
    assert listed(["cancelled"], if_version=version)["not_modified"] is True
    assert "runs" in listed(["failed"], if_version=version)


def test_a_run_a_skip_or_a_change_makes_a_new_version_of_the_history(ask: Any) -> None:
    request: dict[str, Any] = {"task_name": TASK, "limit": 10}
    counts = []
    for change in (
        lambda: None,
        lambda: execute_task("test", TASK, lambda: [1]),
        lambda: suspend_task(TASK, **WHO),
        lambda: execute_task("test", TASK, lambda: [1]),
    ):
        change()
        answer = ask("list_runs", request)
        request["if_version"] = answer["version"]
        counts.append(len(answer["runs"]))
        assert ask("list_runs", request) == {"version": answer["version"], "not_modified": True}
    assert counts == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("function", "data", "text"),
    [
        ("list_tasks", {"task_name": TASK}, 'unknown field "task_name"; send {if_version?}'),
        (
            "list_runs",
            {},
            "task_name is missing; send {task_name, limit?, cursor?, states?, outcomes?, since?, until?",
        ),
        ("list_runs", {"task_name": TASK, "limit": 0}, "limit must be a whole number from 1 to 200, got 0"),
        (
            "list_runs",
            {"task_name": TASK, "limit": 201},
            "limit must be a whole number from 1 to 200, got 201",
        ),
        ("list_runs", {"task_name": TASK, "limit": True}, "limit must be a whole number"),
        ("list_runs", {"task_name": TASK, "limit": 1e3}, "limit must be a whole number"),
        (
            "list_runs",
            {"task_name": TASK, "cursor": "x"},
            'cursor must be a next_cursor of this list or null, got "x"',
        ),
        ("list_runs", {"task_name": TASK, "states": "failed"}, "states must be a list"),
        ("list_runs", {"task_name": TASK, "states": [1]}, "states must be a list of up to 10 states"),
        (
            "list_runs",
            {"task_name": TASK, "since": "2026-11-30"},
            'since must be a time with its zone, such as "2026-11-30T12:00:00Z", or null, got "2026-11-30"',
        ),
        (
            "list_runs",
            {"task_name": TASK, "since": "2026-11-30T04:00:00Z", "until": "2026-11-30T04:00:00Z"},
            "since must be before until, got 2026-11-30T04:00:00+00:00 and 2026-11-30T04:00:00+00:00",
        ),
        ("get_run", {"task_name": TASK}, "id is missing; send {task_name, id, if_version?}"),
        ("get_run", {"task_name": TASK, "id": 5}, "id must be text, got 5"),
        (
            "get_run",
            {"task_name": TASK, "id": "x", "if_version": 5},
            "if_version must be text or null, got 5",
        ),
    ],
)
def test_an_invalid_request_is_refused(
    stack: Addresses, people: dict[str, str], function: str, data: dict[str, Any], text: str
) -> None:
    """The message names the field and the valid values."""
    status, message = refused(call(stack, data, people["operator"], function=function))
    assert (status, message[: len(text)]) == (400, text)


@pytest.mark.parametrize("run_id", ["no-such-run", "a/b", "..", "", "x" * 500])
def test_an_unknown_run_is_not_found(clean_firestore: Addresses, people: dict[str, str], run_id: str) -> None:
    answer = call(clean_firestore, {"task_name": TASK, "id": run_id}, people["operator"], function="get_run")
    assert refused(answer) == (404, f"{TASK} has no run with the id {shown(run_id)} in its history")


@pytest.mark.parametrize("function", ["list_tasks", "list_runs", "get_run"])
def test_callers_without_access_are_denied(stack: Addresses, people: dict[str, str], function: str) -> None:
    """Callers that are not signed in or have no claim."""
    data = {"list_tasks": {}, "list_runs": {"task_name": TASK}, "get_run": {"task_name": TASK, "id": "x"}}
    assert refused(call(stack, data[function], function=function)) == (
        401,
        "not signed in; sign in first",
    )
    assert call(stack, data[function], people["stranger"], function=function).status == 403
