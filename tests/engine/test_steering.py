"""Suspending and resuming a task on the real Firestore."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.tasks import InvalidOptions, TaskEngine
from shared.tasks.admin.queries import view_tasks
from tests.support.world import TASK, World

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}


def test_a_suspended_task_skips_its_ticks_until_it_is_resumed(engine: TaskEngine, world: World) -> None:
    """The status has person, time and reason; the last good result stays."""
    engine.execute_task("s", TASK, lambda: [1])
    assert engine.suspend_task(TASK, **WHO) is True
    status = world.status()
    assert (status["status"], status["data"]) == ("suspeneded", [1])
    assert status["run"]["suspended"].items() >= WHO.items()
    assert engine.execute_task("s", TASK, lambda: [2]).status == "skipped"
    assert engine.resume_task(TASK, **WHO) is True
    assert world.status()["status"] == "completed"
    assert "suspended" not in world.status()["run"]
    assert engine.execute_task("s", TASK, lambda: [2]).status == "completed"


def test_each_change_is_recorded(engine: TaskEngine, world: World) -> None:
    """With the person and the reason."""
    engine.suspend_task(TASK, **WHO)
    engine.resume_task(TASK, by="other", reason="it is back")
    changes = [(run["state"], run["by"], run["reason"]) for run in world.history().values()]
    assert changes == [("suspended", *WHO.values()), ("resumed", "other", "it is back")]


def test_a_repeated_change_has_no_effect(engine: TaskEngine, world: World) -> None:
    """The second suspension keeps the reason of the first."""
    assert engine.suspend_task(TASK, **WHO) is True
    assert engine.suspend_task(TASK, by="late", reason="too") is False
    assert world.status()["run"]["suspended"]["by"] == WHO["by"]
    assert engine.resume_task(TASK, **WHO) is True
    assert engine.resume_task(TASK, **WHO) is False


@pytest.mark.parametrize("status", ["completed", "failed", "running"])
def test_resuming_restores_a_legacy_document(engine: TaskEngine, world: World, status: str) -> None:
    """Suspending keeps its status, and no field of this engine stays in it."""
    before = {"status": status, "source": "ts", "data": [1], "completed": datetime(2026, 1, 1, tzinfo=UTC)}
    world.write(before)
    engine.suspend_task(TASK, **WHO)
    assert engine.execute_task("s", TASK, lambda: [2]).status == "skipped"
    engine.resume_task(TASK, **WHO)
    after = world.status()
    assert after.pop("run") == {}
    after.pop("timestamp")
    assert after == before


def test_a_resumed_task_that_never_ran_has_no_run_status(engine: TaskEngine, world: World) -> None:
    """It is neither failed nor completed."""
    engine.suspend_task(TASK, **WHO)
    engine.resume_task(TASK, **WHO)
    assert "status" not in world.status()
    (task,) = view_tasks(engine.store, (TASK,))
    assert (task.status, task.state, task.suspended) == (None, None, None)

    def fails() -> None:
        raise ValueError("no")

    assert engine.execute_task("s", TASK, fails).status == "failed"
    (task,) = view_tasks(engine.store, (TASK,))
    assert (task.status, task.result) == ("failed", None)
    assert engine.execute_task("s", TASK, lambda: [1]).status == "completed"


def test_a_task_suspended_by_the_legacy_writer_can_be_resumed(engine: TaskEngine, world: World) -> None:
    """Only its status is suspended; resumed, it has the status of its last run."""
    world.write({"status": "suspeneded", "completed": datetime(2026, 1, 1, tzinfo=UTC), "data": [1]})
    assert engine.resume_task(TASK, **WHO) is True
    assert world.status()["status"] == "completed"
    assert engine.execute_task("s", TASK, lambda: [2]).status == "completed"


def test_a_legacy_start_ends_a_suspension(engine: TaskEngine, world: World) -> None:
    """The legacy writer overwrites the document."""
    engine.suspend_task(TASK, **WHO)
    world.write({"status": "running", "started": datetime.now(UTC)})
    assert engine.execute_task("s", TASK, lambda: [2]).error == "overlap by original"


@pytest.mark.parametrize("wrong", [{"by": ""}, {"reason": "  "}, {"by": None}, {"reason": "x" * 501}])
def test_a_change_without_who_or_why_is_refused(
    engine: TaskEngine, world: World, wrong: dict[str, Any]
) -> None:
    """The document does not change."""
    with pytest.raises(InvalidOptions, match="must be a text of 1 to 500 characters, got"):
        engine.suspend_task(TASK, **{**WHO, **wrong})
    assert world.status() == {}
