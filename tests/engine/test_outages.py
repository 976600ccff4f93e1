"""Outages of Firestore or Storage at each stage of a run and of a read."""

import threading
from typing import Any

import grpc
import pytest
import requests

from shared import firebase
from shared.settings import SettingMissing
from shared.tasks import ResultNotKept, ResultUnavailable, TaskEngine
from shared.tasks.errors import WriteUnknown
from tests.engine.line import Line
from tests.support.world import TASK, HandClock, World
from tests.waiting import wait_for


@pytest.fixture
def call_seconds() -> float:
    """Short, because calls on a cut line are repeated for up to three times as long."""
    return 0.5


def test_without_firestore_at_the_start_the_task_does_not_run(
    far_engine: TaskEngine, line: Line, world: World
) -> None:
    """It has no lease; the outcome is failed, and Cloud Scheduler retries."""
    ran: list[int] = []
    line.cut()
    outcome = far_engine.execute_task("s", TASK, lambda: ran.append(1))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "not started" in outcome.error
    assert ran == []
    line.restore()
    assert world.status() == {}


def test_an_outage_of_firestore_during_a_task_has_no_effect(
    far_engine: TaskEngine, line: Line, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lease extensions fail and are retried; the outage is over before the end."""

    def works() -> list[int]:
        line.cut()
        wait_for("an extension to fail", lambda: "lease not extended" in capsys.readouterr().out or None)
        line.restore()
        return [1]

    options = {"lease_seconds": 3, "deadline_seconds": 60}
    assert far_engine.execute_task("s", TASK, works, options).status == "completed"
    assert world.status()["data"] == [1]


def test_failed_extensions_are_retried_with_jitter(
    far_engine: TaskEngine, line: Line, clock: HandClock
) -> None:
    """An outage affects all instances, which should not retry at the same time."""
    waits: list[float] = []
    at_work = threading.Event()

    def passes(event: threading.Event, seconds: float) -> bool:
        at_work.wait(30)
        waits.append(seconds)
        return event.wait(0.01 if len(waits) < 4 else seconds)

    def works() -> None:
        line.cut()
        at_work.set()
        wait_for("two extensions to fail", lambda: len(waits) > 3 or None)
        line.restore()

    clock.wait = passes  # type: ignore[method-assign]  # records the pauses between extensions
    assert far_engine.execute_task("s", TASK, works, {"lease_seconds": 60}).status == "completed"
    first, second, third = waits[1:4]
    assert all(1 <= each <= 2 for each in (first, second, third))
    assert len({first, second, third}) == 3


def test_failing_commits_do_not_delay_a_run_past_its_deadline(
    far_engine: TaskEngine, line: Line, clock: HandClock
) -> None:
    """An extension gives up after a few tries, because the same thread ends the run."""
    sent: list[int] = []
    store = far_engine.store
    commit = store.commit

    def passes(seconds: float) -> None:  # for twenty seconds the run retries to record its outcome
        clock.ahead += seconds

    def loses(written: Any, *, timeout: float | None = None) -> Any:
        sent.append(1)
        if len(sent) == 1:
            return commit(written, timeout=timeout)
        raise WriteUnknown("lost")

    store.commit = loses  # type: ignore[method-assign]  # a network that loses every response
    clock.sleep = passes  # type: ignore[method-assign]  # the pauses take no real time
    go_on = threading.Event()
    options = {"lease_seconds": 0.3, "deadline_seconds": 1}
    outcome = far_engine.execute_task("s", TASK, lambda: go_on.wait(60) and None, options)
    go_on.set()
    assert outcome.status == "failed"
    assert len(sent) < 100


@pytest.mark.parametrize("fails", [False, True])
def test_an_outage_of_firestore_at_the_end_delays_the_outcome(
    far_engine: TaskEngine,
    line: Line,
    clock: HandClock,
    world: World,
    capsys: pytest.CaptureFixture[str],
    fails: bool,
) -> None:
    """The record of the result or the failure is retried until it succeeds (lesson 8).

    What the task raised is logged before, because the process may die meanwhile. The failure is logged once.
    """
    logs: list[str] = []

    def works() -> list[int]:
        line.cut()
        if fails:
            raise ValueError("boom")
        return [1]

    pause = clock.sleep

    def restores(seconds: float) -> None:
        logs.append(capsys.readouterr().out)
        line.restore()
        pause(seconds)

    clock.sleep = restores  # type: ignore[method-assign]  # Firestore is restored during the pause
    end = "failed" if fails else "completed"
    assert far_engine.execute_task("s", TASK, works).status == end
    assert any("run end not recorded yet" in each for each in logs)
    assert ("WARNING task raised" in logs[0], "ValueError: boom" in logs[0]) == (fails, fails)
    assert ("in works: raise ValueError" in logs[0], "ERROR" in logs[0]) == (fails, False)
    assert capsys.readouterr().out.count("ERROR task failed") == fails
    assert (world.status()["status"], world.status().get("data")) == (end, None if fails else [1])
    assert [run["state"] for run in world.history().values()] == [end]


@pytest.mark.parametrize("fails", [False, True])
def test_an_outcome_that_cannot_be_recorded_is_logged_completely(
    far_engine: TaskEngine, line: Line, clock: HandClock, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    """Firestore is unreachable until the deadline; the outcome is not a success, and is reported once."""

    def works() -> list[int]:
        line.cut()
        if fails:
            raise ValueError("boom")
        return [1]

    def passes(_: float) -> None:
        clock.ahead += 10_000

    clock.sleep = passes  # type: ignore[method-assign]  # no time is left after the first try
    outcome = far_engine.execute_task("s", TASK, works)
    logged = capsys.readouterr().out
    assert outcome.status == "failed"
    assert "ERROR the end of a run could not be recorded" in logged
    assert (logged.count("ERROR"), logged.count("WARNING task raised")) == (1, fails)
    assert outcome.run_id in logged
    assert f"end={'failed' if fails else 'completed'}" in logged
    assert "attempt=1 token=" in logged
    assert fails or f"'version': '{outcome.run_id}." in logged


def test_a_result_that_was_not_written_is_not_served_by_its_instance(
    far_engine: TaskEngine, line: Line, clock: HandClock, world: World
) -> None:
    """The cache is filled after the commit, so that instances agree (lesson 12)."""
    far_engine.execute_task("s", TASK, lambda: ["written"])

    def works() -> list[str]:
        line.cut()
        return ["never written"]

    def passes(_: float) -> None:
        clock.ahead += 10_000

    clock.sleep = passes  # type: ignore[method-assign]  # no time is left after the first try
    assert far_engine.execute_task("s", TASK, works).status == "failed"
    assert far_engine.cache.get_array_data(TASK) == ["written"]
    line.restore()
    assert far_engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == ["written"]


def test_an_outage_of_storage_fails_the_run(far_engine: TaskEngine, storage_line: Line, world: World) -> None:
    """A result that could not be stored is not a success (lesson 4); the last good one stays."""
    far_engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})

    def works() -> list[int]:
        storage_line.cut()
        return [2]

    outcome = far_engine.execute_task("s", TASK, works, {"save_in": "storage"})
    assert outcome.status == "failed"
    assert world.status()["error"].startswith("ResultNotKept: Storage did not take the result")
    assert TaskEngine().get_task_data(TASK) == [1]
    with pytest.raises(ResultNotKept):
        far_engine.keep_task_data_in_storage(TASK, [1])


def test_a_failed_contract_copy_does_not_fail_a_published_run(
    far_engine: TaskEngine, storage_line: Line, line: Line, world: World
) -> None:
    """The commit has published the result; the copy is repaired later."""
    commit = far_engine.store.commit

    def commits_and_cuts(*arguments: Any, **options: Any) -> Any:
        version = commit(*arguments, **options)
        if world.status()["status"] == "completed":
            storage_line.cut()
        return version

    far_engine.store.commit = commits_and_cuts  # type: ignore[method-assign]  # commits, then cuts
    assert far_engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"}).status == "completed"
    assert TaskEngine().get_task_data(TASK) == [1]


def test_an_outage_is_an_error_and_never_missing_data(
    far_engine: TaskEngine, line: Line, storage_line: Line, world: World
) -> None:
    """With an empty cache the caller gets an error (lesson 24)."""
    TaskEngine().execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    storage_line.cut()
    with pytest.raises(ResultUnavailable):
        far_engine.get_task_data(TASK)
    with pytest.raises(ResultUnavailable):
        far_engine.get_task_data_from_storage(TASK)
    line.cut()
    with pytest.raises(ResultUnavailable):
        far_engine.get_task_data(TASK)
    with pytest.raises(ResultUnavailable):
        far_engine.get_task_data_from_storage(TASK)


def test_the_error_of_an_outage_has_its_causes_and_its_code(
    far_engine: TaskEngine, line: Line, storage_line: Line
) -> None:
    """Each exception is raised from the one below, down to the client's own (lesson 25)."""

    def causes(error: BaseException | None) -> list[BaseException]:
        return [] if error is None else [error, *causes(error.__cause__)]

    line.cut()
    with pytest.raises(ResultUnavailable) as unread:
        far_engine.get_task_data(TASK)
    refused = [each for each in causes(unread.value) if isinstance(each, grpc.RpcError)]
    assert [each.code() for each in refused] == [grpc.StatusCode.UNAVAILABLE]
    storage_line.cut()
    with pytest.raises(ResultNotKept) as unkept:
        far_engine.keep_task_data_in_storage(TASK, [1])
    assert any(isinstance(each, requests.ConnectionError) for each in causes(unkept.value))


def test_a_cached_result_is_served_during_a_short_outage(
    far_engine: TaskEngine, line: Line, world: World, clock: HandClock
) -> None:
    """After max-age an instance serves its cached result for a limited time, then raises an error."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert far_engine.get_task_data(TASK) == [1]
    line.cut()
    clock.ahead += 60
    assert far_engine.get_task_data(TASK) == [1]
    clock.ahead += 300
    with pytest.raises(ResultUnavailable):
        far_engine.get_task_data(TASK)
    line.restore()
    assert far_engine.get_task_data(TASK) == [1]


def test_a_missing_setting_is_not_an_outage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and does not ask to try again later."""
    assert TaskEngine().execute_task("s", TASK, lambda: [1], {"save_in": "storage"}).status == "completed"
    monkeypatch.delenv("NX_TASKS_BUCKET")
    monkeypatch.delenv("FIREBASE_CONFIG", raising=False)
    monkeypatch.setattr(firebase, "_made", {})  # a new instance
    with pytest.raises(SettingMissing, match="NX_TASKS_BUCKET"):
        TaskEngine().get_task_data(TASK)
    assert world.status()["status"] == "completed"


def test_a_completion_with_a_lost_response_keeps_its_object(engine: TaskEngine, world: World) -> None:
    """After an unexpected error neither is a failure written over it nor the object removed."""
    sent: list[int] = []
    commit = engine.store.commit

    def breaks(written: Any, *, timeout: float | None = None) -> Any:
        sent.append(1)
        version = commit(written, timeout=timeout)
        if len(sent) == 2:
            raise RuntimeError("a library's own")
        return version

    engine.store.commit = breaks  # type: ignore[method-assign]  # an error that no client of Firestore raises
    assert engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"}).status == "superseded"
    assert (world.status()["status"], world.status()["error"]) == ("completed", "")
    assert TaskEngine().get_task_data(TASK) == [1]
