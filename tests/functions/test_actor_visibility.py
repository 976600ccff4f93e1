"""Which callers see the person who acted on a task, in every field of every view, as deployed."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.serializers import SOMEONE
from shared import firebase
from shared.tasks import (
    RunCancelled,
    TaskEngine,
    TaskName,
    TaskRun,
    execute_task,
    resume_task,
    suspend_task,
)
from tests.functions.conftest import Serve
from tests.functions.issuer import Issuer
from tests.functions.test_authorization_matrix import call, result
from tests.support.world import in_thread
from tests.waiting import wait_for

TASK = TaskName.send_reset_sms
WHO = {"by": "anna@example.com (her-id)", "reason": "what she alone knows"}
#: Texts that identify the person or the reason.
PERSONAL = ("anna", "her-id", "she alone")
CLAIMS: dict[str, dict[str, Any]] = {
    "operator": {"role": "operator"},
    "viewer": {"role": "viewer"},
    "app": {"tasks": [TASK.value]},
    "app of a viewer": {"role": "viewer", "tasks": [TASK.value]},
}

#: Part of the path of a log's fields.
LOG = ".log."
#: A time before these tests.
SINCE = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
#: Fields that may change between the calls of two callers.
MOVING = (".lease_until", ".next_run")

#: Values of fields by path.
Fields = dict[str, Any]


@pytest.fixture(scope="module")
def views(results: dict[TaskName, list[str]], serve: Serve) -> dict[str, str]:
    """The address of each read-only function."""
    return {function: serve(function) for function in ("list_tasks", "list_runs", "get_run", "list_timeline")}


@pytest.fixture(scope="module")
def shown(views: dict[str, str], issuer: Issuer) -> dict[str, Fields]:
    """The fields that each caller receives while a person performs every action on a task."""
    fields: dict[str, Fields] = {caller: {} for caller in CLAIMS}
    for moment in actions():
        for caller, claims in CLAIMS.items():
            for path, value in look(views, issuer.id_token(**claims)):
                fields[caller][f"{moment}: {path}"] = value
    return fields


def actions() -> Iterator[str]:
    """Perform each action on the task; yields its name."""
    document = firebase.firestore_client().document(f"nx-tasks/{TASK}")
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        assert goes_on.wait(60)
        try:
            run.progress(1)
        except RunCancelled as cancelled:
            run.log.warning("stopped", error=cancelled)
            raise

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
    """The id of the current run."""
    return str(status["run"]["id"]) if status["status"] == "running" else None


def fails() -> None:
    raise ValueError("no such place")


def look(views: dict[str, str], token: str) -> Iterator[tuple[str, Any]]:
    """Call every view of the task; yields the path and the value of each scalar field."""
    tasks = result(call(views["list_tasks"], None, token))["tasks"]
    yield from leaves("list_tasks", next(task for task in tasks if task["name"] == TASK))
    runs = result(call(views["list_runs"], TASK, token))["runs"]
    yield from leaves("list_runs", runs)
    timeline = result(call(views["list_timeline"], None, token, task_names=[TASK], since=SINCE))["tasks"]
    yield from leaves("list_timeline", timeline)
    for number, run in enumerate(runs):
        whole = result(call(views["get_run"], TASK, token, private=(), id=run["id"]))
        del whole["version"]  # differs by the caller's rights
        yield from leaves(f"get_run.{number}", whole)


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(f"{path}.{key}", item)
    elif not path.endswith(MOVING):
        yield path, value


def names_a_person(value: Any) -> bool:
    return any(word in str(value) for word in PERSONAL)


def test_no_field_shows_an_app_who_acted_or_why(shown: dict[str, Fields]) -> None:
    """A caller with the claim `tasks` sees that a person acted; other fields equal an operator's."""
    assert not [path for path, value in shown["app"].items() if names_a_person(value)]
    for path, value in shown["operator"].items():
        if path not in shown["app"] and ": list_timeline." in path and names_a_person(value):
            assert path.endswith(".reason"), path  # null, which a timeline leaves out
        elif path not in shown["app"]:
            # The task's code, and what it logs, which may contain the cancel that it met.
            assert path.endswith("error.traceback") or LOG in path, path
        elif names_a_person(value):
            assert shown["app"][path] in (SOMEONE, "", None, *CANCELLED), path
            if path.endswith(".by"):
                assert shown["app"][path] == SOMEONE
        else:
            assert shown["app"][path] == value, path


CANCELLED = (f"cancelled by {SOMEONE}", f"RunCancelled: cancelled by {SOMEONE}")


@pytest.mark.parametrize("caller", ["viewer", "app of a viewer"])
def test_operators_and_viewers_see_who_acted_and_why(shown: dict[str, Fields], caller: str) -> None:
    """Whatever other claims they have."""
    assert shown[caller] == shown["operator"]


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
def test_the_fields_that_name_a_person_are_covered(shown: dict[str, Fields], field: str) -> None:
    """Otherwise the comparison with an app's fields would compare nothing."""
    assert names_a_person(shown["operator"][field])


@pytest.mark.parametrize("function", ["list_runs", "get_run", "list_timeline"])
@pytest.mark.parametrize("field", ["by", "reason", "error.message"])
def test_the_fields_of_runs_that_name_a_person_are_covered(
    shown: dict[str, Fields], function: str, field: str
) -> None:
    """In the history, for changes and cancelled runs."""
    found = [path for path in shown["operator"] if f": {function}." in path and path.endswith(f".{field}")]
    assert any(names_a_person(shown["operator"][path]) for path in found), json.dumps(found)


def test_the_log_of_a_run_that_names_a_person_is_covered(shown: dict[str, Fields]) -> None:
    """A task may log the cancel that it met."""
    assert any(names_a_person(value) for path, value in shown["operator"].items() if LOG in path)
    assert not any(LOG in path for path in shown["app"])
