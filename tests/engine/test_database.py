"""A Firestore database other than `(default)` has all documents of the engine and the collectors."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.history import History
from shared import firebase
from shared.collectors import devices_health
from shared.tasks import TaskEngine, TaskName
from tests.support.world import World

DATABASE = "nx-data"
TASK = TaskName.collect_devices_health


@pytest.fixture
def named(world: World, stack: Addresses, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty database that a new instance is configured to use."""
    address = f"http://{stack.firestore}/emulator/v1/projects/{PROJECT}/databases/{DATABASE}/documents"
    monkeypatch.setenv("NX_TASKS_DATABASE", DATABASE)
    monkeypatch.setattr(firebase, "_made", {})
    assert requests.delete(address, timeout=30).ok
    yield address
    assert requests.delete(address, timeout=30).ok


def test_a_named_database_has_all_documents_and_the_default_one_none(named: str, world: World) -> None:
    """Devices, status documents, run records, and results."""
    demo_data.seed(datetime.now(UTC))
    engine = TaskEngine()
    began = datetime.now(UTC)
    database = firebase.firestore_client()
    outcome = engine.execute_task("test", TASK, lambda: devices_health.collect(database, began))
    assert (outcome.status, outcome.error) == ("completed", None)
    assert len(engine.get_task_data(TASK)) == demo_data.DEVICE_COUNT
    assert len(TaskEngine().get_task_data(TASK)) == demo_data.DEVICE_COUNT  # another instance, from Firestore

    assert (database.document(f"nx-tasks/{TASK.value}").get().to_dict() or {})["status"] == "completed"
    assert [run.state for run in History(database, [TASK.value], began).ended()] == ["completed"]
    assert list(world.database.collections()) == []


def test_rules_deny_clients_in_a_named_database(named: str, stack: Addresses) -> None:
    """The same rules hold for every database."""
    demo_data.seed(datetime.now(UTC))
    path = f"v1/projects/{PROJECT}/databases/{DATABASE}/documents/{demo_data.DEVICES}/tracker-0001"
    answer = requests.get(f"http://{stack.firestore}/{path}", timeout=30)
    assert answer.status_code == 403, answer.text
