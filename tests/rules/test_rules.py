"""Clients with the real Firebase JavaScript SDK are refused the database and the bucket, whoever they are."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from emulators import demo_data
from emulators.environment import Addresses
from emulators.storage import OFFICIAL
from shared import firebase
from shared.tasks import TaskName, execute_task
from tests.client.javascript import JavaScript, Refused, javascript

TASK = TaskName.collect_charge_cdrs
STATUS = f"nx-tasks/{TASK}"
RESULT = f"tasks_data/{TASK}.json"
WHO = ["nobody", "anonymous", "viewer@example.com", "operator@example.com"]


@pytest.fixture(scope="module")
def sdk(clear_firestore: Callable[[], None]) -> Iterator[JavaScript]:
    """The SDK, beside a database and a bucket that hold what it is after."""
    clear_firestore()
    demo_data.seed(datetime.now(UTC))
    assert execute_task("test", TASK, lambda: [{"id": "1"}], {"save_in": "storage"}).status == "completed"
    firebase.bucket().blob(RESULT).upload_from_string(b"[]", "application/json")
    with javascript() as sdk:
        yield sdk


@pytest.fixture(params=WHO)
def client(sdk: JavaScript, request: pytest.FixtureRequest) -> JavaScript:
    """The SDK with each kind of user signed in."""
    who = request.param
    sdk.do("signOut")
    if who == "anonymous":
        assert sdk.do("signInAnonymously") is True
    elif who != "nobody":
        role = sdk.do("signIn", email=who, password=demo_data.PASSWORD)
        assert role == demo_data.USERS[who]
    return sdk


def history() -> str:
    """The path of a run that is there."""
    (run, *_) = firebase.firestore_client().document(STATUS).collection("nx-runs").list_documents()
    return str(run.path)


@pytest.mark.parametrize("op", ["get", "set", "update", "delete"])
def test_no_document_is_read_or_written(client: JavaScript, op: str) -> None:
    """Neither a task's status with its URL (lesson 23), nor its history, a device, or what is not there."""
    there = [STATUS, history(), "nx-devices/tracker-0001"]
    for path in [*there, "nx-tasks/x", "nx-tasks/x/nx-runs/y", "nx-devices/x", "anything/x"]:
        answer = client.do(op, path=path)
        assert isinstance(answer, Refused), (path, answer)
        assert answer.code == "permission-denied", path
    database = firebase.firestore_client()
    assert all(database.document(path).get().exists for path in there)


@pytest.mark.parametrize("path", ["nx-tasks", f"{STATUS}/nx-runs", "nx-devices", "anything"])
def test_no_collection_is_listed(client: JavaScript, path: str) -> None:
    """A query is refused as a read is."""
    answer = client.do("list", path=path)
    assert isinstance(answer, Refused), answer
    assert answer.code == "permission-denied"


@pytest.mark.parametrize("path", ["nx-tasks", "nx-runs", "nx-devices"])
def test_no_collection_group_is_listed(client: JavaScript, path: str) -> None:
    """Nor is a query over all collections of a name allowed."""
    answer = client.do("group", path=path)
    assert isinstance(answer, Refused), answer
    assert answer.code == "permission-denied"


@pytest.mark.parametrize("op", ["download", "link", "upload", "remove", "objects"])
def test_no_object_is_read_or_written(client: JavaScript, stack: Addresses, op: str) -> None:
    """Neither the result at the contract's path, nor a run's own, nor anything else."""
    if stack.storage_server != OFFICIAL:
        pytest.skip("fake-gcs-server evaluates no rules; the official Storage emulator does")
    (own,) = [blob.name for blob in firebase.bucket().list_blobs(prefix=f"tasks_data/{TASK}/")][:1]
    for path in ["tasks_data"] if op == "objects" else [RESULT, own, "anything"]:
        answer = client.do(op, path=path)
        assert isinstance(answer, Refused), (path, answer)
        assert answer.code == "storage/unauthorized", path
    assert firebase.bucket().blob(RESULT).download_as_bytes() == b"[]"
