"""A server that takes calls and never answers: each call ends within its bound, and so does what made it."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import requests
from google.api_core.exceptions import GoogleAPIError

from shared import firebase
from shared.firebase import FirestoreWire
from shared.tasks import ResultUnavailable, TaskEngine, TaskName
from shared.tasks.backends.downloads import DownloadFailed
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.firestore_calls import LAST_TRY_SECONDS
from shared.tasks.backends.storage import Objects
from shared.tasks.errors import StoreUnavailable
from tests.engine.line import Line
from tests.engine.world import TASK, HandClock, World, in_thread

OWN = f"tasks_data/{TASK.value}/run.token.json"
CONTRACT_COPY = f"tasks_data/{TASK.value}.json"


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Make a call that must end in that time; return what it returned."""
    thread, result = in_thread(call)
    thread.join(seconds)
    assert not thread.is_alive(), f"still at it after {seconds:g} s"
    return result[0]


class Watch(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Notes each call's time-out."""

    def __init__(self) -> None:
        self.bounds: list[float] = []

    def intercept_unary_unary(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._noted(call, details, request)

    def intercept_unary_stream(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._noted(call, details, request)

    def _noted(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        self.bounds.append(details.timeout)
        return call(details, request)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def far_store(far_engine: TaskEngine, watch: Watch) -> Store:
    """A store behind the line whose calls are noted."""
    wire = far_engine.store._make_wire()
    watched = FirestoreWire(grpc.intercept_channel(wire.channel, watch), wire.database, wire.metadata)
    return Store(lambda: watched, call_seconds=1.0)


def test_the_last_try_of_a_read_ends_within_its_bound(far_store: Store, watch: Watch, line: Line) -> None:
    """A try that begins late gets what is left, and not a whole call's time."""
    far_store.read_version(TASK)  # connected: from here each try uses up its bound
    watch.bounds.clear()
    line.hush()
    with pytest.raises(StoreUnavailable):
        far_store.read_version(TASK, timeout=1.9)
    assert len(watch.bounds) >= 2
    assert sum(watch.bounds) <= 1.9 + LAST_TRY_SECONDS


def test_no_call_of_a_run_is_longer_than_the_store_s_bound(world: World, watch: Watch) -> None:
    """A long lease gives its calls no longer time: the end of a run would outlast its function."""
    near = firebase.firestore_wire()
    wire = FirestoreWire(grpc.intercept_channel(near.channel, watch), near.database, near.metadata)
    engine = TaskEngine(Store(lambda: wire, call_seconds=5.0))
    assert engine.execute_task("s", TASK, lambda: [1], {"lease_seconds": 600}).status == "completed"
    assert max(watch.bounds) <= 5.0


@pytest.mark.parametrize(
    "call",
    [
        lambda objects: objects.write(OWN, b"[1]", once=True),
        lambda objects: objects.read(OWN),
        lambda objects: objects.metadata(OWN),
        lambda objects: objects.copy(OWN, CONTRACT_COPY, generation=0),
        lambda objects: objects.remove(OWN),
        lambda objects: objects.listed("tasks_data/"),
    ],
    ids=["write", "read", "metadata", "copy", "remove", "listed"],
)
def test_no_call_to_a_storage_that_hangs_outlasts_its_bound(
    far_engine: TaskEngine, storage_line: Line, call: Callable[[Objects], Any]
) -> None:
    """Repetitions included: two seconds here, and not the client's own two minutes."""
    storage_line.hush()

    def calls() -> str:
        try:
            call(far_engine._objects)
        except (DownloadFailed, GoogleAPIError, requests.RequestException) as error:
            return repr(error)
        return "answered"

    assert within(10, calls) != "answered"


def test_a_task_does_not_begin_while_firestore_hangs(far_engine: TaskEngine, line: Line) -> None:
    """Unheld it does not work; the delivery is given up in time for Cloud Scheduler to come again."""
    ran: list[int] = []
    line.hush()
    outcome = within(30, lambda: far_engine.execute_task("s", TASK, lambda: ran.append(1)))
    assert (outcome.status, ran) == ("failed", [])
    assert "not started" in outcome.error


def test_a_firestore_that_hangs_does_not_keep_a_run_from_its_deadline(
    far_engine: TaskEngine, line: Line, clock: HandClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the extension of its lease nor its end waits for ever: the log tells how it ended."""
    go_on = threading.Event()

    def works() -> None:
        line.hush()
        go_on.wait(60)

    def passes(_: float) -> None:
        clock.ahead += 10_000

    clock.sleep = passes  # type: ignore[method-assign]  # after the first try no time is left
    options = {"lease_seconds": 3, "deadline_seconds": 2}
    outcome = within(30, lambda: far_engine.execute_task("s", TASK, works, options))
    go_on.set()
    assert outcome.status == "failed"
    told = capsys.readouterr().out
    assert "lease not extended" in told
    assert "ERROR the end of a run could not be recorded" in told


def test_readers_that_wait_for_a_storage_that_hangs_fail_together(
    far_engine: TaskEngine, storage_line: Line, world: World
) -> None:
    """Who waited for a read that failed shares its failure, and waits for no outage of its own."""
    TaskEngine().execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    store, asked = far_engine.store, []
    read = store.read_result
    together = threading.Barrier(6)

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(1)
        return read(*arguments, **options)

    def reads() -> str:
        together.wait(30)
        with pytest.raises(ResultUnavailable) as error:
            far_engine.get_task_data(TASK)
        assert error.value.__cause__ is not None
        return str(error.value)

    store.read_result = counted  # type: ignore[method-assign]  # counts, and reads for real
    storage_line.hush()
    readers = [in_thread(reads) for _ in range(6)]
    for thread, _ in readers:
        thread.join(30)
    said = [each for _, result in readers for each in result]
    assert len(said) == 6
    assert len(set(said)) == 1
    assert asked == [1]
    storage_line.mend()
    assert far_engine.get_task_data(TASK) == [1]


def test_a_storage_that_hangs_leaves_the_watchdog_time_for_every_task(
    far_engine: TaskEngine,
    storage_line: Line,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What Firestore alone needs is done for all of them, and what was found on the way is told."""
    monkeypatch.setattr("shared.tasks.admin.operations.WATCH_TASK_SECONDS", 2.0)
    patient = Objects(far_engine._objects._bucket)  # as deployed: two minutes a call
    engine = TaskEngine(far_engine.store, patient)
    last = list(TaskName)[-1]
    engine.execute_task("s", last, lambda: [1])
    past = datetime.now(UTC) - timedelta(minutes=1)
    document = world.database.document(f"nx-tasks/{last.value}")
    document.update({"run.state": "running", "run.lease_until": past})
    storage_line.hush()
    assert within(60, engine.watch_tasks) is False
    assert world.status(last)["run"]["state"] == "failed"
    assert "incident=dead_run" in capsys.readouterr().out
