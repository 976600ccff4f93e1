"""A server that accepts calls and never responds: each call and each run ends within its time limit."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import requests
from google.api_core.exceptions import GoogleAPIError
from google.cloud.storage import Bucket

from shared.firebase import FirestoreWire
from shared.tasks import ResultUnavailable, TaskEngine, TaskName
from shared.tasks.backends.downloads import DownloadFailed
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.firestore_calls import LAST_TRY_SECONDS
from shared.tasks.backends.storage import Objects
from shared.tasks.errors import StoreUnavailable
from tests.engine.line import Line
from tests.support.instances import intercepted
from tests.support.world import TASK, HandClock, World, in_thread

OWN = f"tasks_data/{TASK.value}/run.token.json"
CONTRACT_COPY = f"tasks_data/{TASK.value}.json"


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Make a call that must end in this time; return its result."""
    thread, result = in_thread(call)
    thread.join(seconds)
    assert not thread.is_alive(), f"the call did not end within {seconds:g} s"
    return result[0]


class Watch(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Records the time-out of each call."""

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
def far_store(far_wire: FirestoreWire, watch: Watch) -> Store:
    """A store behind the proxy whose calls are recorded."""
    watched = intercepted(watch, far_wire.channel)
    return Store(lambda: watched, call_seconds=1.0)


def test_the_last_try_of_a_read_ends_within_its_time_limit(
    far_store: Store, watch: Watch, line: Line
) -> None:
    """A late try gets the rest of the time and not the time-out of a whole call."""
    far_store.read_version(TASK)  # connect, so that each try below uses its whole time-out
    watch.bounds.clear()
    line.stall()
    with pytest.raises(StoreUnavailable):
        far_store.read_version(TASK, timeout=1.9)
    assert len(watch.bounds) >= 2
    assert sum(watch.bounds) <= 1.9 + LAST_TRY_SECONDS


def test_no_call_of_a_run_exceeds_the_time_limit_of_the_store(world: World, watch: Watch) -> None:
    """Even with a long lease; otherwise the end of a run would exceed its function's time-out."""
    wire = intercepted(watch)
    engine = TaskEngine(Store(lambda: wire, call_seconds=5.0))
    assert engine.execute_task("s", TASK, lambda: [1], {"lease_seconds": 600}).status == "completed"
    assert max(watch.bounds) <= 5.0


@pytest.mark.parametrize(
    "call",
    [
        lambda objects: objects.write(OWN, b"[1]", once=True),
        lambda objects: objects.read(OWN),
        lambda objects: objects.read_metadata(OWN),
        lambda objects: objects.copy(OWN, CONTRACT_COPY, generation=0),
        lambda objects: objects.remove(OWN),
        lambda objects: objects.list_folder("tasks_data/"),
    ],
    ids=["write", "read", "metadata", "copy", "remove", "listed"],
)
def test_no_call_to_a_hanging_storage_exceeds_its_time_limit(
    far_objects: Objects, storage_line: Line, call: Callable[[Objects], Any]
) -> None:
    """Including retries: two seconds here instead of the client's two minutes."""
    storage_line.stall()

    def calls() -> str:
        try:
            call(far_objects)
        except (DownloadFailed, GoogleAPIError, requests.RequestException) as error:
            return repr(error)
        return "answered"

    assert within(10, calls) != "answered"


def test_a_task_does_not_start_while_firestore_hangs(far_engine: TaskEngine, line: Line) -> None:
    """It has no lease; the delivery fails in time for Cloud Scheduler's retry."""
    ran: list[int] = []
    line.stall()
    outcome = within(30, lambda: far_engine.execute_task("s", TASK, lambda: ran.append(1)))
    assert (outcome.status, ran) == ("failed", [])
    assert "not started" in outcome.error


def test_a_hanging_firestore_does_not_delay_a_run_past_its_deadline(
    far_engine: TaskEngine, line: Line, clock: HandClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the lease extension nor the outcome waits for ever; the outcome is logged."""
    go_on = threading.Event()

    def works() -> None:
        line.stall()
        go_on.wait(60)

    def passes(_: float) -> None:
        clock.ahead += 10_000

    clock.sleep = passes  # type: ignore[method-assign]  # no time is left after the first try
    options = {"lease_seconds": 3, "deadline_seconds": 2}
    outcome = within(30, lambda: far_engine.execute_task("s", TASK, works, options))
    go_on.set()
    assert outcome.status == "failed"
    logged = capsys.readouterr().out
    assert "lease not extended" in logged
    assert "ERROR the end of a run could not be recorded" in logged


def test_readers_that_wait_for_a_hanging_storage_fail_together(
    far_engine: TaskEngine, storage_line: Line, world: World
) -> None:
    """They share the failure of one read."""
    TaskEngine().execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    store, reads_made = far_engine.store, []
    read = store.read_result
    together = threading.Barrier(6)

    def counted(*arguments: Any, **options: Any) -> Any:
        reads_made.append(1)
        return read(*arguments, **options)

    def reads() -> str:
        together.wait(30)
        with pytest.raises(ResultUnavailable) as error:
            far_engine.get_task_data(TASK)
        assert error.value.__cause__ is not None
        return str(error.value)

    store.read_result = counted  # type: ignore[method-assign]  # counts, then reads
    storage_line.stall()
    readers = [in_thread(reads) for _ in range(6)]
    for thread, _ in readers:
        thread.join(30)
    errors = [each for _, result in readers for each in result]
    assert len(errors) == 6
    assert len(set(errors)) == 1
    assert reads_made == [1]
    storage_line.restore()
    assert far_engine.get_task_data(TASK) == [1]


def test_a_hanging_storage_leaves_the_watchdog_time_for_every_task(
    far_engine: TaskEngine,
    far_bucket: Bucket,
    storage_line: Line,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It does the work that needs only Firestore for all tasks and reports the incidents."""
    monkeypatch.setattr("shared.tasks.admin.operations.WATCH_TASK_SECONDS", 2.0)
    patient = Objects(lambda: far_bucket)  # as deployed, with two minutes for each call
    engine = TaskEngine(far_engine.store, patient)
    last = list(TaskName)[-1]
    engine.execute_task("s", last, lambda: [1])
    past = datetime.now(UTC) - timedelta(minutes=1)
    document = world.database.document(f"nx-tasks/{last.value}")
    document.update({"run.state": "running", "run.lease_until": past})
    storage_line.stall()
    assert within(60, engine.watch_tasks) is False
    assert world.status(last)["run"]["state"] == "failed"
    assert "incident=dead_run" in capsys.readouterr().out
