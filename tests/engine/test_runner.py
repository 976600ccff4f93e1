"""Running tasks when their process shuts down, and tasks that hang."""

import queue
import threading
from datetime import UTC, datetime

import pytest

from shared.tasks import TaskEngine, TaskRun
from tests.support.world import TASK, World, in_thread
from tests.waiting import wait_for, wait_until_in

TICK = {"scheduled_for": datetime(2026, 11, 24, 12, 5, tzinfo=UTC)}


def test_a_run_is_failed_when_its_process_shuts_down(engine: TaskEngine, world: World) -> None:
    """Another instance can run the tick at once; the ending process starts no further run."""
    at_work, goes_on = queue.SimpleQueue[int](), threading.Event()

    def works(run: TaskRun) -> list[int]:
        run.progress(57, 100)
        at_work.put(threading.get_ident())
        goes_on.wait(60)
        return [1]

    engine.execute_task("s", TASK, lambda: [0])
    thread, outcomes = in_thread(lambda: engine.execute_task("s", TASK, works, TICK))
    wait_until_in("wait", at_work.get(timeout=30))
    assert engine.shut_down(timeout_seconds=30)
    thread.join(30)
    assert outcomes[0].status == "failed"
    status, record = world.status(), world.history()[outcomes[0].run_id]
    assert (status["status"], status["data"]) == ("failed", [0])
    assert status["error"].startswith("InstanceShutDown: the instance received SIGTERM")
    assert " in works: goes_on.wait(60)" in record["error"]["traceback"]
    assert record["progress"]["done"] == 57
    assert engine.execute_task("s", TASK, lambda: [2], TICK).status == "busy"
    assert not engine.report_hung_tasks()
    assert TaskEngine().execute_task("s", TASK, lambda: [2], TICK).status == "completed"
    goes_on.set()
    assert (world.status()["data"], world.history()[outcomes[0].run_id]["attempt"]) == ([2], 2)


def test_a_run_that_begins_while_its_process_shuts_down_does_not_start_its_task(
    engine: TaskEngine, world: World
) -> None:
    """SIGTERM arrived while the run acquired its task's lease."""
    started: list[int] = []
    commit = engine.store.commit

    def commits(*what: object, **how: object) -> object:
        engine.store.commit = commit  # type: ignore[method-assign]
        written = commit(*what, **how)  # type: ignore[arg-type]
        assert not engine.shut_down(timeout_seconds=0)
        return written

    engine.store.commit = commits  # type: ignore[method-assign,assignment]
    outcome = engine.execute_task("s", TASK, lambda: started.append(1))
    assert (outcome.status, world.status()["status"], started) == ("failed", "failed", [])
    assert outcome.error is not None
    assert outcome.error.startswith("InstanceShutDown: ")


def test_a_process_without_runs_shuts_down_at_once(engine: TaskEngine) -> None:
    """Also after a completed run."""
    engine.execute_task("s", TASK, lambda: [1])
    assert engine.shut_down(timeout_seconds=0)


def test_a_hung_task_is_an_incident_until_it_ends(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reported once per run, with the fields that the alert policy matches."""
    del world
    goes_on = threading.Event()
    options = {"deadline_seconds": 1, "lease_seconds": 3}
    outcome = engine.execute_task("s", TASK, lambda: goes_on.wait(60), options)
    assert engine.report_hung_tasks()
    logged = capsys.readouterr().out
    for field in ("ERROR", "incident=hung_task", f"task={TASK.value}", f"run_id={outcome.run_id}"):
        assert field in logged
    assert engine.report_hung_tasks()
    assert "hung_task" not in capsys.readouterr().out
    goes_on.set()
    wait_for("the task to end", lambda: not engine.report_hung_tasks())


def test_a_task_that_ended_late_is_not_reported_with_a_later_hang(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the run whose task still hangs is reported."""
    del world
    late, hangs, threads = threading.Event(), threading.Event(), list[threading.Thread]()

    def task() -> None:
        threads.append(threading.current_thread())
        late.wait(60)

    options = {"deadline_seconds": 1, "lease_seconds": 3}
    engine.execute_task("s", TASK, task, options)
    late.set()
    threads[0].join(60)
    assert not engine.report_hung_tasks()
    hung = engine.execute_task("s", TASK, lambda: hangs.wait(60), options)
    assert engine.report_hung_tasks()
    hangs.set()
    (logged,) = [line for line in capsys.readouterr().out.splitlines() if "incident=hung_task" in line]
    assert f"run_id={hung.run_id}" in logged
