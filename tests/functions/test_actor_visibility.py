"""Who is told which person acted on a task, and why: every field of what callables answer, as deployed."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.serializers import SOMEONE
from shared import firebase
from shared.tasks import TaskEngine, TaskName, TaskRun, execute_task, resume_task, suspend_task
from tests.engine.world import in_thread
from tests.functions.conftest import Serve
from tests.functions.issuer import Issuer
from tests.functions.test_authorization_matrix import call
from tests.waiting import wait_for

TASK = TaskName.send_reset_sms
WHO = {"by": "anna@example.com (her-id)", "reason": "what she alone knows"}
#: What gives away who acted, or why.
PERSONAL = ("anna", "her-id", "she alone")
CLAIMS: dict[str, dict[str, Any]] = {
    "operator": {"role": "operator"},
    "viewer": {"role": "viewer"},
    "app": {"tasks": [TASK.value]},
    "app of a viewer": {"role": "viewer", "tasks": [TASK.value]},
}

#: Fields that may change between two callers' calls.
MOVING = (".lease_until", ".next_run")

#: The values of fields, by path.
Fields = dict[str, Any]


@pytest.fixture(scope="module")
def looked_at(results: dict[TaskName, list[str]], serve: Serve) -> dict[str, str]:
    """Where each function is served that only looks."""
    return {function: serve(function) for function in ("list_tasks", "list_runs", "get_run")}


@pytest.fixture(scope="module")
def seen(looked_at: dict[str, str], issuer: Issuer) -> dict[str, Fields]:
    """What each caller was told, by field, while a person did everything that people can do to a task."""
    told: dict[str, Fields] = {caller: {} for caller in CLAIMS}
    for moment in acted_on():
        for caller, claims in CLAIMS.items():
            for path, value in look(looked_at, issuer.id_token(**claims)):
                told[caller][f"{moment}: {path}"] = value
    return told


def acted_on() -> Iterator[str]:
    """Have a person act on the task; after each step there is something to look at."""
    document = firebase.firestore_client().document(f"nx-tasks/{TASK}")
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        assert goes_on.wait(60)
        run.progress(1)

    thread, _ = in_thread(lambda: execute_task("test", TASK, task))
    try:
        run_id = wait_for("the run", lambda: running(document.get().to_dict() or {}))
        TaskEngine().cancel_run(TASK, run_id, **WHO)
        suspend_task(TASK, **WHO)
        yield "cancelling and suspended"
    finally:
        goes_on.set()
        thread.join()
        resume_task(TASK, **WHO)
    yield "cancelled and resumed"
    failed = execute_task("test", TASK, fails, {"scheduled_for": datetime(2026, 11, 24, 12, tzinfo=UTC)})
    TaskEngine().cancel_run(TASK, failed.run_id, **WHO)
    requested = {"state": "requested", "started": datetime.now(UTC), **WHO}
    document.collection("nx-runs").document("requested").set(requested)
    yield "not tried again, and requested"


def running(status: dict[str, Any]) -> str | None:
    """The run at work."""
    return str(status["run"]["id"]) if status["status"] == "running" else None


def fails() -> None:
    raise ValueError("no such place")


def look(looked_at: dict[str, str], token: str) -> Iterator[tuple[str, Any]]:
    """Ask for all there is to see of the task; each field that is no object or list, with its path."""
    tasks = result(call(looked_at["list_tasks"], None, token))["tasks"]
    yield from leaves("list_tasks", next(task for task in tasks if task["name"] == TASK))
    runs = result(call(looked_at["list_runs"], TASK, token))["runs"]
    yield from leaves("list_runs", runs)
    for number, run in enumerate(runs):
        whole = result(call(looked_at["get_run"], TASK, token, private=(), id=run["id"]))
        yield from leaves(f"get_run.{number}", whole)


def result(answer: tuple[int, Any]) -> Any:
    assert answer[0] == 200, answer
    return answer[1]["result"]


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(f"{path}.{key}", item)
    elif not path.endswith(MOVING):
        yield path, value


def names_a_person(value: Any) -> bool:
    return any(word in str(value) for word in PERSONAL)


def test_an_app_is_told_in_no_field_who_acted_or_why(seen: dict[str, Fields]) -> None:
    """A caller with the claim `tasks` sees that a person acted; other fields are as operators see them."""
    assert not [path for path, value in seen["app"].items() if names_a_person(value)]
    for path, value in seen["operator"].items():
        if path not in seen["app"]:
            assert path.endswith("error.traceback"), path  # of the task's code
        elif names_a_person(value):
            assert seen["app"][path] in (SOMEONE, "", None, *CANCELLED), path
            if path.endswith(".by"):
                assert seen["app"][path] == SOMEONE
        else:
            assert seen["app"][path] == value, path


CANCELLED = (f"cancelled by {SOMEONE}", f"RunCancelled: cancelled by {SOMEONE}")


@pytest.mark.parametrize("caller", ["viewer", "app of a viewer"])
def test_who_looks_after_tasks_is_told_who_acted_and_why(seen: dict[str, Fields], caller: str) -> None:
    """A viewer as an operator, whatever else they may do."""
    assert seen[caller] == seen["operator"]


@pytest.mark.parametrize(
    "field",
    [
        "cancelling and suspended: list_tasks.suspended.by",
        "cancelling and suspended: list_tasks.suspended.reason",
        "cancelling and suspended: list_tasks.run.cancel.by",
        "cancelling and suspended: list_tasks.run.cancel.reason",
        "cancelled and resumed: list_tasks.error",
        "not tried again, and requested: list_tasks.error",
        "not tried again, and requested: list_tasks.retries.cancel.by",
        "not tried again, and requested: list_tasks.retries.cancel.reason",
    ],
)
def test_the_fields_in_which_a_person_is_named_are_covered(seen: dict[str, Fields], field: str) -> None:
    """Else the comparison with what an app is told would compare nothing."""
    assert names_a_person(seen["operator"][field])


@pytest.mark.parametrize("function", ["list_runs", "get_run"])
@pytest.mark.parametrize("field", ["by", "reason", "error.message"])
def test_the_fields_of_runs_in_which_a_person_is_named_are_covered(
    seen: dict[str, Fields], function: str, field: str
) -> None:
    """The same of the history: what was changed, and what was cancelled."""
    found = [path for path in seen["operator"] if f": {function}." in path and path.endswith(f".{field}")]
    assert any(names_a_person(seen["operator"][path]) for path in found), json.dumps(found)
