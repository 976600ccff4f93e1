"""Deployed callables and the results that they serve."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from shared.tasks import TaskName, TaskRun, execute_task
from tests.functions.callable_protocol import sign_in, sign_up
from tests.functions.issuer import Issuer, published
from tests.functions.production import served

#: Serves a callable (get_task_data by default) with these settings until the module ends;
#: returns its host and port.
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def people(stack: Addresses) -> dict[str, str]:
    """ID tokens of the demo's operator and viewer, and of a user without claims."""
    demo_data.seed(datetime.now(UTC))
    tokens = {role: sign_in(stack, f"{role}@example.com") for role in ("operator", "viewer")}
    return {**tokens, "stranger": sign_up(stack)}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Signs tokens that the served callables accept."""
    return Issuer()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the most recently served callable."""
    return tmp_path_factory.mktemp("served") / "log"


@pytest.fixture(scope="module")
def serve(issuer: Issuer, log: Path) -> Iterator[Serve]:
    """Serves callables like Cloud Run."""
    # App Check's part of firebase-admin requires credentials, but does not use them.
    account = log.with_name("account.json")
    fields = {"type": "service_account", "client_email": "a@b.c", "token_uri": "http://127.0.0.1:1"}
    account.write_text(json.dumps({**fields, "private_key": issuer.private_pem}), "utf-8")
    defaults = {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        "NX_TASKS_APP_CHECK": "off",
        "NX_TASKS_CALLS_PER_MINUTE": "0",
    }
    with ExitStack() as running:
        keys = running.enter_context(published(issuer))

        def serve(function: str = "get_task_data", **settings: str) -> str:
            return running.enter_context(served(function, keys, log, {**defaults, **settings}))

        yield serve


@pytest.fixture(scope="module")
def results(clear_firestore: Callable[[], None]) -> dict[TaskName, list[str]]:
    """Each task's result in Firestore; it contains the task's name, and so does the log of its run."""
    clear_firestore()
    results = {task: [f"the result of {task.value}"] for task in TaskName}
    results[TaskName.collect_devices_health] *= 200  # large enough to be compressed
    for task, result in results.items():
        assert execute_task("test", task, logging(result)).status == "completed"
    return results


def logging(result: list[str]) -> Callable[[TaskRun], list[str]]:
    """Return a task with a log and this result."""

    def task(run: TaskRun) -> list[str]:
        run.log.info(log_line(run.task_name))
        return result

    return task


def log_line(task: TaskName) -> str:
    """What the run of a task in `results` has logged."""
    return f"the log of {task.value}"
