"""Suspending and resuming a task, on the real Firestore."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.tasks import InvalidOptions, TaskEngine
from shared.tasks.admin.queries import view_tasks
from tests.engine.world import TASK, World

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}


def test_a_suspended_task_skips_its_ticks_until_it_is_resumed(engine: TaskEngine, world: World) -> None:
    """Who, when and why is in the status; the last good result stays; resumed, it runs as before."""
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


def test_each_change_is_in_the_history(engine: TaskEngine, world: World) -> None:
    """Who changed what, and why."""
    engine.suspend_task(TASK, **WHO)
    engine.resume_task(TASK, by="other", reason="it is back")
    changes = [(run["state"], run["by"], run["reason"]) for run in world.history().values()]
    assert changes == [("suspended", *WHO.values()), ("resumed", "other", "it is back")]


def test_the_same_change_twice_is_one(engine: TaskEngine, world: World) -> None:
    """The second suspension says so and leaves the first one's reason."""
    assert engine.suspend_task(TASK, **WHO) is True
    assert engine.suspend_task(TASK, by="late", reason="too") is False
    assert world.status()["run"]["suspended"]["by"] == WHO["by"]
    assert engine.resume_task(TASK, **WHO) is True
    assert engine.resume_task(TASK, **WHO) is False


@pytest.mark.parametrize("status", ["completed", "failed", "running"])
def test_a_document_of_the_originals_is_given_back_as_it_was(
    engine: TaskEngine, world: World, status: str
) -> None:
    """Suspending keeps its status, resuming restores it, and nothing of ours stays in it."""
    before = {"status": status, "source": "ts", "data": [1], "completed": datetime(2026, 1, 1, tzinfo=UTC)}
    world.write(before)
    engine.suspend_task(TASK, **WHO)
    assert engine.execute_task("s", TASK, lambda: [2]).status == "skipped"
    engine.resume_task(TASK, **WHO)
    after = world.status()
    assert after.pop("run") == {}
    after.pop("timestamp")
    assert after == before


def test_a_task_that_never_ran_says_nothing_of_a_run_once_it_is_resumed(
    engine: TaskEngine, world: World
) -> None:
    """It has neither failed nor completed."""
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


def test_a_task_that_the_original_suspended_can_be_resumed(engine: TaskEngine, world: World) -> None:
    """Its status alone says suspended; resumed, it says what its last run came to."""
    world.write({"status": "suspeneded", "completed": datetime(2026, 1, 1, tzinfo=UTC), "data": [1]})
    assert engine.resume_task(TASK, **WHO) is True
    assert world.status()["status"] == "completed"
    assert engine.execute_task("s", TASK, lambda: [2]).status == "completed"


def test_a_start_of_the_originals_ends_a_suspension(engine: TaskEngine, world: World) -> None:
    """Its code knows none: it overwrites the document whole."""
    engine.suspend_task(TASK, **WHO)
    world.write({"status": "running", "started": datetime.now(UTC)})
    assert engine.execute_task("s", TASK, lambda: [2]).error == "overlap by original"


@pytest.mark.parametrize("wrong", [{"by": ""}, {"reason": "  "}, {"by": None}, {"reason": "x" * 501}])
def test_a_change_without_who_or_why_is_refused(
    engine: TaskEngine, world: World, wrong: dict[str, Any]
) -> None:
    """Nothing is changed that nobody answers for."""
    with pytest.raises(InvalidOptions, match="must be a text of 1 to 500 characters, got"):
        engine.suspend_task(TASK, **{**WHO, **wrong})
    assert world.status() == {}
