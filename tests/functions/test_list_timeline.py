"""`list_timeline` on the real Functions emulator, with the demo's users."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulators.environment import Addresses
from shared import firebase
from shared.tasks import TaskName, TaskRun, execute_task, suspend_task
from shared.tasks.cron import COMING
from tests.functions.callable_protocol import call, refused

TASK, OTHER = TaskName.collect_charge_cdrs, TaskName.collect_devices_health
WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}
HOUR = timedelta(hours=1)


def ago(duration: timedelta) -> str:
    return (datetime.now(UTC) - duration).isoformat()


@pytest.fixture
def ask(clean_firestore: Addresses, people: dict[str, str]) -> Any:
    """Calls the function as one of these users; returns its result."""

    def call_function(who: str = "operator", **data: Any) -> Any:
        sent = {"since": ago(HOUR), **data}
        answer = call(clean_firestore, sent, people[who], function="list_timeline")
        assert answer.status == 200, answer
        return answer.json["result"]

    return call_function


def by_name(answer: Any) -> dict[str, Any]:
    return {task["name"]: task for task in answer["tasks"]}


def fails() -> None:
    raise ValueError("no such place: " + "x" * 1_000)


def test_each_task_has_its_ticks_to_come(ask: Any) -> None:
    """All tasks in order, also one that never ran; the ticks are those of the next 25 hours.

    A suspended task has them, too: `list_tasks` returns until when it is suspended.
    """
    answer = ask()
    assert [task["name"] for task in answer["tasks"]] == sorted(TaskName)
    task, now = by_name(answer)[TASK], datetime.fromisoformat(answer["now"])
    assert task.keys() == {"name", "ticks", "runs", "next_cursor"}
    assert (task["runs"], task["next_cursor"]) == ([], None)
    ticks = [datetime.fromisoformat(tick) for tick in task["ticks"]]
    assert (len(ticks), {tick.minute for tick in ticks}) == (25, {37})
    assert now < ticks[0] <= now + HOUR
    assert ticks[-1] <= now + COMING
    suspend_task(TASK, **WHO)
    assert len(by_name(ask())[TASK]["ticks"]) == 25


def test_runs_skips_refusals_and_missed_ticks_are_returned(ask: Any) -> None:
    """With the fields that a timeline shows, and without those that are null."""
    tick = datetime.now(UTC).replace(second=0, microsecond=0) - HOUR / 2
    completed = execute_task("test", TASK, lambda: [1]).run_id
    failed = execute_task("test", TASK, fails, {"scheduled_for": tick}).run_id
    suspend_task(TASK, **WHO)
    execute_task("test", TASK, lambda: [1], {"scheduled_for": tick + HOUR / 4})
    history = firebase.firestore_client().collection(f"nx-tasks/{TASK.value}/nx-runs")
    missed = {
        "state": "missed_tick",
        "run_id": f"{tick:%Y-%m-%dT%H:%M:%S}.000000Z",
        "detail": "no run started",
    }
    refusal = {"state": "refused", "reason": "busy", "count": 2, "scheduled_for": tick}
    for name, fields in {"missed": missed, "refusal": refusal}.items():
        history.document(name).set({**fields, "started": datetime.now(UTC), "completed": datetime.now(UTC)})
    runs = {run["state"]: run for run in by_name(ask())[TASK]["runs"]}
    assert runs.keys() == {"completed", "failed", "suspended", "skipped", "missed_tick", "refused"}
    assert runs["completed"]["id"] == completed
    assert runs["completed"].keys() == {
        "id",
        "state",
        "outcome",
        "started",
        "completed",
        "duration_seconds",
        "attempt",
    }
    assert (runs["failed"]["id"], runs["failed"]["error"]["type"]) == (failed, "ValueError")
    assert len(runs["failed"]["error"]["message"]) == 200
    assert datetime.fromisoformat(runs["failed"]["scheduled_for"]) == tick
    assert (runs["skipped"]["reason"], runs["suspended"]["by"]) == ("suspended", WHO["by"])
    assert datetime.fromisoformat(runs["missed_tick"]["scheduled_for"]) == tick
    assert runs["refused"]["refused"]["count"] == 2


def test_only_the_named_tasks_are_returned(ask: Any) -> None:
    assert [*by_name(ask(task_names=[OTHER, TASK, OTHER]))] == [OTHER, TASK]
    assert by_name(ask(task_names=[])) == {}


def test_pages_continue_each_task_after_its_last_record(ask: Any) -> None:
    """A task without a cursor is complete; a page does not repeat the ticks."""
    ids = {execute_task("test", TASK, lambda: [1]).run_id for _ in range(12)}
    execute_task("test", OTHER, lambda: [1])
    first = by_name(ask(limit=10))
    assert (len(first[TASK]["runs"]), first[OTHER]["next_cursor"]) == (10, None)
    answer = ask(limit=10, cursors={TASK: first[TASK]["next_cursor"]})
    (second,) = answer["tasks"]
    assert second.keys() == {"name", "runs", "next_cursor"}
    assert second["next_cursor"] is None
    assert {run["id"] for run in [*first[TASK]["runs"], *second["runs"]]} == ids


def test_a_caller_with_the_time_of_the_last_answer_gets_what_has_changed(ask: Any) -> None:
    """Runs that started or ended since, with one answer for all tasks, and a few bytes if none did."""
    execute_task("test", TASK, lambda: [1])
    now = datetime.now(UTC)
    assert now - datetime.fromisoformat(ask()["as_of"]) > timedelta(seconds=55)  # commits may be late
    answer = ask(changed_since=now.isoformat())
    assert answer.keys() == {"now", "as_of", "more", "tasks"}
    assert (answer["tasks"], answer["more"], len(json.dumps(answer)) < 140) == ([], False, True)
    run_id = execute_task("test", OTHER, lambda: [1]).run_id
    answer = ask(changed_since=now.isoformat())
    assert [(task["name"], [run["id"] for run in task["runs"]]) for task in answer["tasks"]] == [
        (OTHER, [run_id])
    ]
    assert ask(changed_since=now.isoformat(), task_names=[TASK])["tasks"] == []
    old = {"changed_since": now.isoformat(), "since": ago(3 * HOUR), "until": ago(2 * HOUR)}
    assert ask(**old)["tasks"] == []  # no change within the range


def test_a_running_run_is_returned_again_once_it_has_ended(ask: Any) -> None:
    """Its end is a change, whenever it started."""
    seen: list[Any] = []

    def task(_run: TaskRun) -> list[int]:
        seen.append(by_name(ask())[TASK]["runs"])
        return [1]

    now = datetime.now(UTC)
    execute_task("test", TASK, task)
    (changed,) = ask(changed_since=now.isoformat())["tasks"]
    assert [run["state"] for run in seen[0]] == ["running"]
    assert "completed" not in seen[0][0]
    assert [(run["id"], run["state"]) for run in changed["runs"]] == [(seen[0][0]["id"], "completed")]


def test_a_large_answer_is_compressed(clean_firestore: Addresses, people: dict[str, str]) -> None:
    for _ in range(20):
        execute_task("test", TASK, lambda: [1])
    sent, accepts = {"since": ago(HOUR)}, {"Accept-Encoding": "gzip"}
    answer = call(clean_firestore, sent, people["viewer"], function="list_timeline", headers=accepts)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) * 3 < len(plain := gzip.decompress(answer.body))
    assert len(by_name(json.loads(plain)["result"])[TASK]["runs"]) == 20


def test_a_viewer_sees_no_error_of_an_operators_task(ask: Any) -> None:
    execute_task("test", TASK, fails)
    (run,) = by_name(ask("viewer"))[TASK]["runs"]
    assert run["error"] == {"type": "ValueError", "message": ""}


DAY = timedelta(days=1)
RANGE = "since must be at most 7 days before until and 31 days ago, got "


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"since": ago(7.01 * DAY)}, RANGE),
        ({"since": ago(-HOUR)}, RANGE),
        ({"since": ago(HOUR), "until": ago(2 * HOUR)}, RANGE),
        ({"since": ago(32 * DAY), "until": ago(31 * DAY)}, RANGE),
        ({"since": "0001-01-01T00:00:00+05:00", "until": "0001-01-01T00:00:00-05:00"}, RANGE),
        ({"since": "9999-12-31T23:59:59-23:00", "until": "9999-12-31T23:59:59-23:59"}, RANGE),
        (
            {"since": ago(HOUR), "cursors": {TASK: "x"}},
            "cursors must be the next_cursor of each task in the last answer, got {",
        ),
        ({"since": ago(HOUR), "task_names": ["x"]}, "task_name must be one of "),
        ({"since": ago(HOUR), "cursors": {"x": "x"}}, "task_name must be one of "),
        ({"since": ago(HOUR), "task_name": TASK}, 'unknown field "task_name"; send {since, until?, '),
    ],
)
def test_an_invalid_request_is_refused(
    stack: Addresses, people: dict[str, str], data: dict[str, Any], text: str
) -> None:
    """The message names the field and the valid values."""
    status, message = refused(call(stack, data, people["operator"], function="list_timeline"))
    assert (status, message[: len(text)]) == (400, text)


def test_callers_without_access_are_denied(stack: Addresses, people: dict[str, str]) -> None:
    """Callers that are not signed in or have no claim."""
    data = {"since": ago(HOUR)}
    assert refused(call(stack, data, function="list_timeline")) == (401, "not signed in; sign in first")
    for more in ({}, {"task_names": []}, {"cursors": {}}):
        assert call(stack, {**data, **more}, people["stranger"], function="list_timeline").status == 403
