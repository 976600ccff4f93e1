"""Engines on the running stack."""

from collections.abc import Iterator

import grpc
import pytest
import requests
from google.cloud.storage import Bucket
from google.cloud.storage import Client as Storage

from emulators.environment import Addresses
from shared import firebase
from shared.firebase import FirestoreWire, StorageWire
from shared.tasks import TaskEngine
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.scheduler import Jobs, JobState
from shared.tasks.backends.storage import Objects
from tests.engine.line import Line
from tests.support.counting import Counter
from tests.support.instances import intercepted
from tests.support.world import TASK, HandClock, World


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def engine(world: World, clock: HandClock) -> TaskEngine:
    """The engine of a warm instance."""
    return TaskEngine(clock=clock)


@pytest.fixture
def jobs(stack: Addresses) -> Iterator[Jobs]:
    """The jobs of the local Cloud Scheduler; the task's job is enabled before and after the test."""
    jobs = Jobs(firebase.scheduler_wire)
    jobs.set_state(TASK, JobState.enabled)
    yield jobs
    jobs.set_state(TASK, JobState.enabled)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def counted(world: World, counter: Counter, clock: HandClock) -> TaskEngine:
    """An engine whose calls to Firestore are counted."""
    wire = intercepted(counter)
    return TaskEngine(Store(lambda: wire), clock=clock)


@pytest.fixture
def line(world: World, stack: Addresses) -> Iterator[Line]:
    """A proxy in front of Firestore that a test can cut."""
    with Line(stack.firestore) as line:
        yield line


@pytest.fixture
def storage_line(world: World, stack: Addresses) -> Iterator[Line]:
    """A proxy in front of Storage that a test can cut."""
    with Line(stack.storage.removeprefix("http://")) as line:
        yield line


@pytest.fixture
def call_seconds() -> float:
    """Longest duration of one call of `far_engine` and `far_objects`."""
    return 1.0


@pytest.fixture
def far_wire(line: Line) -> Iterator[FirestoreWire]:
    """A connection to Firestore through its proxy."""
    near = firebase.firestore_wire()
    options = [(f"grpc.{kind}_reconnect_backoff_ms", 50) for kind in ("initial", "max")]
    with grpc.insecure_channel(line.address, options=options) as channel:
        yield FirestoreWire(channel, near.database, near.metadata)


@pytest.fixture
def far_bucket(storage_line: Line, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket behind its proxy."""
    firebase.storage_wire()  # created once from the environment: other engines must not use the proxy
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{storage_line.address}")
    return Storage(project=firebase.bucket().client.project).bucket(firebase.bucket().name)


@pytest.fixture
def far_objects(storage_line: Line, far_bucket: Bucket, call_seconds: float) -> Objects:
    """Objects behind their proxy, with short time-outs."""
    reads = StorageWire(requests.Session(), f"http://{storage_line.address}", far_bucket.name)
    return Objects(
        lambda: far_bucket, lambda: reads, call_seconds=call_seconds, total_seconds=2 * call_seconds
    )


@pytest.fixture
def far_engine(
    far_wire: FirestoreWire, far_objects: Objects, clock: HandClock, call_seconds: float
) -> TaskEngine:
    """An engine behind both proxies, with short time-outs."""
    return TaskEngine(Store(lambda: far_wire, call_seconds=call_seconds), far_objects, clock=clock)
