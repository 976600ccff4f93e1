"""Security rules deny clients with the real Firebase JavaScript SDK any access to database and bucket."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from emulators import demo_data
from emulators.environment import Addresses
from emulators.storage import OFFICIAL
from shared import firebase
from shared.tasks import TaskName, TaskRun, execute_task
from tests.client.javascript import JavaScript, Refused, javascript

TASK = TaskName.collect_charge_cdrs
STATUS = f"nx-tasks/{TASK}"
RESULT = f"tasks_data/{TASK}.json"
WHO = ["signed out", "anonymous", "viewer@example.com", "operator@example.com"]


@pytest.fixture(scope="module")
def sdk(clear_firestore: Callable[[], None]) -> Iterator[JavaScript]:
    """The SDK, with a database and a bucket that contain data."""
    clear_firestore()
    demo_data.seed(datetime.now(UTC))
    assert execute_task("test", TASK, logs, {"save_in": "storage"}).status == "completed"
    firebase.bucket().blob(RESULT).upload_from_string(b"[]", "application/json")
    with javascript() as sdk:
        yield sdk


def logs(run: TaskRun) -> list[dict[str, str]]:
    """A task with a log and a result."""
    run.log.info("read")
    return [{"id": "1"}]


@pytest.fixture(params=WHO)
def client(sdk: JavaScript, request: pytest.FixtureRequest) -> JavaScript:
    """The SDK with each kind of user signed in."""
    who = request.param
    sdk.do("signOut")
    if who == "anonymous":
        assert sdk.do("signInAnonymously") is True
    elif who != "signed out":
        role = sdk.do("signIn", email=who, password=demo_data.PASSWORD)
        assert role == demo_data.USERS[who]
    return sdk


def history() -> str:
    """The path of an existing run record."""
    (run, *_) = firebase.firestore_client().document(STATUS).collection("nx-runs").list_documents()
    return str(run.path)


@pytest.mark.parametrize("op", ["get", "set", "update", "delete"])
def test_no_document_is_read_or_written(client: JavaScript, op: str) -> None:
    """Status documents with their URL (lesson 23), run records, logs, devices, and missing documents."""
    there = [STATUS, history(), f"{history()}/nx-log/0001.00001", "nx-devices/tracker-0001"]
    for path in [*there, "nx-tasks/x", "nx-tasks/x/nx-runs/y", "nx-devices/x", "anything/x"]:
        answer = client.do(op, path=path)
        assert isinstance(answer, Refused), (path, answer)
        assert answer.code == "permission-denied", path
    database = firebase.firestore_client()
    assert all(database.document(path).get().exists for path in there)


@pytest.mark.parametrize("path", ["nx-tasks", f"{STATUS}/nx-runs", "nx-devices", "anything"])
def test_no_collection_is_listed(client: JavaScript, path: str) -> None:
    answer = client.do("list", path=path)
    assert isinstance(answer, Refused), answer
    assert answer.code == "permission-denied"


@pytest.mark.parametrize("path", ["nx-tasks", "nx-runs", "nx-log", "nx-devices"])
def test_no_collection_group_is_listed(client: JavaScript, path: str) -> None:
    answer = client.do("group", path=path)
    assert isinstance(answer, Refused), answer
    assert answer.code == "permission-denied"


@pytest.mark.parametrize("op", ["download", "link", "upload", "remove", "objects"])
def test_no_object_is_read_or_written(client: JavaScript, stack: Addresses, op: str) -> None:
    """The contract copy, result objects, and any other object."""
    if stack.storage_server != OFFICIAL:
        pytest.skip("fake-gcs-server evaluates no rules; the official Storage emulator does")
    (own,) = [blob.name for blob in firebase.bucket().list_blobs(prefix=f"tasks_data/{TASK}/")][:1]
    for path in ["tasks_data"] if op == "objects" else [RESULT, own, "anything"]:
        answer = client.do(op, path=path)
        assert isinstance(answer, Refused), (path, answer)
        assert answer.code == "storage/unauthorized", path
    assert firebase.bucket().blob(RESULT).download_as_bytes() == b"[]"
