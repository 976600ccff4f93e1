"""Details of a result: JSON of any size that is published with it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskRun
from shared.tasks.backends.storage import Objects
from tests.support.world import TASK, World

#: Larger than a summary may be.
ROWS = [{"month": f"2026-{number}", "cost": str(number)} for number in range(2_000)]


def giving(details: dict[str, Any], save_in: str = "db", *, fails: bool = False) -> Callable[[TaskRun], Any]:
    """A task whose result has details."""

    def works(run: TaskRun) -> Any:
        run.summarise({"rows": len(details)}, details=details)
        if fails:
            raise ValueError("no result")
        return [save_in]

    return works


def streams(run: TaskRun) -> Iterator[str]:
    """A stream with details that are known at its end."""
    yield "storage"
    run.summarise({"rows": 1}, details={"rows": ROWS})


@pytest.mark.parametrize("save_in", ["db", "storage", "none"])
def test_details_are_published_with_the_result(engine: TaskEngine, world: World, save_in: str) -> None:
    """Wherever the result is stored; the status document has only their path."""
    assert engine.execute_task("s", TASK, giving({"rows": ROWS}), {"save_in": save_in}).status == "completed"
    details = TaskEngine().get_task_details(TASK)
    result = world.status()["run"]["result"]
    assert (details.value, details.version) == ({"rows": ROWS}, result["version"])
    assert result["details"] in world.objects()
    assert result["summary"] == {"rows": 1}


def test_a_stream_has_details(engine: TaskEngine) -> None:
    """A task may set them after its last record."""
    assert engine.execute_task("s", TASK, streams, {"save_in": "storage"}).status == "completed"
    assert (engine.get_task_details(TASK).value, engine.get_task_data(TASK)) == ({"rows": ROWS}, ["storage"])


def test_details_belong_to_their_result(engine: TaskEngine, world: World) -> None:
    """A failed run changes neither; a result without details has none."""
    assert engine.get_task_details(TASK).value == {}
    engine.execute_task("s", TASK, giving({"run": 1}))
    engine.execute_task("s", TASK, giving({"run": 2}, fails=True))
    assert engine.get_task_details(TASK).value == {"run": 1}
    engine.execute_task("s", TASK, lambda: [1])
    details = engine.get_task_details(TASK)
    assert (details.payload, details.version) == (None, world.status()["run"]["result"]["version"])


def test_details_without_their_object_are_none(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task that continues from them must not fail for ever; the loss is logged."""
    engine.execute_task("s", TASK, giving({"run": 1}))
    world.bucket.blob(world.status()["run"]["result"]["details"]).delete()
    assert engine.get_task_details(TASK).value == {}
    assert "result details missing" in capsys.readouterr().out


@pytest.mark.parametrize("details", [{"bad": {1, 2}}, {"long": "x" * (16 << 20)}], ids=["no JSON", "long"])
def test_details_that_cannot_be_stored_fail_the_run(engine: TaskEngine, details: dict[str, Any]) -> None:
    """Like a result that is not JSON."""
    outcome = engine.execute_task("s", TASK, giving(details))
    assert outcome.status == "failed"
    assert "ResultNotStorable" in (outcome.error or "")


def test_details_that_storage_refuses_fail_the_run(
    engine: TaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is not published without them."""

    def refuses(*_: Any, **__: Any) -> int:
        raise OSError("no")

    engine.execute_task("s", TASK, giving({"run": 1}))
    monkeypatch.setattr(Objects, "write", refuses)
    outcome = engine.execute_task("s", TASK, giving({"run": 2}))
    assert (outcome.status, "ResultNotKept" in (outcome.error or "")) == ("failed", True)
    assert TaskEngine().get_task_details(TASK).value == {"run": 1}


def test_superseded_details_are_removed(
    engine: TaskEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog removes them after seven days and keeps those of the current result."""
    for number in range(3):
        engine.execute_task("s", TASK, giving({"run": number}))
    present = world.status()["run"]["result"]["details"]
    assert engine.watch_tasks()
    assert len(world.objects()) == 3
    monkeypatch.setattr("shared.tasks.protocol.retention.RETENTION", timedelta(0))
    assert engine.watch_tasks()
    assert world.objects() == {present}
