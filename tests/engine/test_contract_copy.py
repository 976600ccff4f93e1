"""The contract copy with concurrent writers, on a server that checks preconditions.

fake-gcs-server checks the precondition of an upload but, in its releases so far, not of a rewrite (its
pull request 2343). Here a rewrite therefore gets 501, as from the official emulator, and the engine
uploads the copy. The parameters of a rewrite have their own test.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.cloud.storage import Client as Storage

from emulators.environment import Addresses
from shared import firebase
from shared.tasks import TaskEngine
from shared.tasks.backends.storage import Objects
from shared.tasks.protocol.contract_copy import COPY_TRIES
from tests.support.world import TASK, World

CONTRACT_COPY = f"tasks_data/{TASK.value}.json"
STORED = {"save_in": "storage"}


class Session(requests.Session):
    """A connection to Storage that records each rewrite and can respond to it."""

    def __init__(self, *, rewrites: bool) -> None:
        super().__init__()
        self.trust_env = False
        self.noted: list[dict[str, list[str]]] = []
        self._rewrites = rewrites

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> requests.Response:
        options.pop("max_allowed_time", None)
        if "/rewriteTo/" in url:
            self.noted.append(parse_qs(urlsplit(url).query))
            if not self._rewrites:
                answer = requests.Response()
                answer.status_code, answer.request = 501, requests.Request(method, url).prepare()
                return answer
        return super().request(method, url, *arguments, **options)


def objects_on(session: Session) -> Objects:
    near = firebase.bucket()
    bucket = Storage(project=near.client.project, _http=session).bucket(near.name)
    return Objects(lambda: bucket)


@pytest.fixture
def objects(world: World, stack: Addresses) -> Objects:
    """Objects whose copies are conditional on the local server."""
    if stack.storage_server != "fake-gcs":
        pytest.skip("the official Storage emulator ignores if_generation_match")
    return objects_on(Session(rewrites=False))


@pytest.fixture
def conditional(objects: Objects) -> TaskEngine:
    """An engine with these objects."""
    return TaskEngine(objects=objects)


def meeting(objects: Objects, before_each_copy: Callable[[int], Any]) -> list[bool]:
    """Run a function between an engine's read and each of its copies; return whether each was written."""
    copied: list[bool] = []
    copy = objects.copy

    def meets(*paths: str, **how: Any) -> bool:
        before_each_copy(len(copied) + 1)
        copied.append(copy(*paths, **how))
        return copied[-1]

    objects.copy = meets  # type: ignore[method-assign]  # copies for real
    return copied


def contract_copy(world: World) -> tuple[bytes, bool]:
    """The content of the contract copy, and whether its metadata has the current version."""
    blob = world.bucket.get_blob(CONTRACT_COPY)
    present = world.status()["run"]["result"]["version"]
    return blob.download_as_bytes(), (blob.metadata or {}).get("nx-version") == present


def test_an_older_result_never_replaces_a_newer_one(
    conditional: TaskEngine, objects: Objects, world: World
) -> None:
    """The copy of a run is refused if a later run has published in the meantime."""
    copied = meeting(
        objects,
        lambda _: TaskEngine().execute_task("s", TASK, lambda: ["newer"], STORED).status == "completed",
    )
    assert conditional.execute_task("s", TASK, lambda: ["older"], STORED).status == "completed"
    assert copied == [False]
    assert contract_copy(world) == (b'["newer"]', True)


def test_a_copy_is_repeated_after_another_write(
    conditional: TaskEngine, objects: Objects, world: World
) -> None:
    """In the end the contract's path has the current result."""

    def writes_once(number: int) -> None:
        if number == 1:
            TaskEngine().keep_task_data_in_storage(TASK, ["another's"])

    copied = meeting(objects, writes_once)
    assert conditional.execute_task("s", TASK, lambda: ["mine"], STORED).status == "completed"
    assert copied == [False, True]
    assert contract_copy(world) == (b'["mine"]', True)


def test_a_contract_copy_that_fails_repeatedly_is_left_to_the_watchdog(
    conditional: TaskEngine, objects: Objects, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run logs it and does not fail; the next pass of the watchdog repairs the copy."""
    copied = meeting(objects, lambda number: TaskEngine().keep_task_data_in_storage(TASK, [number]))
    assert conditional.execute_task("s", TASK, lambda: ["mine"], STORED).status == "completed"
    assert copied == [False] * COPY_TRIES
    assert "contract copy left to the watchdog" in capsys.readouterr().out
    assert contract_copy(world) == (b"[5]", False)
    TaskEngine().watch_tasks()
    assert contract_copy(world) == (b'["mine"]', True)


def test_a_rewrite_has_the_generation_as_precondition(world: World) -> None:
    """The one that was read before the status document; 0 if there was no object."""
    session = Session(rewrites=True)
    engine = TaskEngine(objects=objects_on(session))
    engine.execute_task("s", TASK, lambda: [1], STORED)
    generation = world.bucket.get_blob(CONTRACT_COPY).generation
    engine.execute_task("s", TASK, lambda: [2], STORED)
    assert [each["ifGenerationMatch"] for each in session.noted] == [["0"], [str(generation)]]
    assert contract_copy(world) == (b"[2]", True)
