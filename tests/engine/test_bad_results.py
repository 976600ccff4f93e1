"""Results that a document cannot store, and results that cannot be stored at all."""

from typing import Any

import pytest

from shared.tasks import DeadlineExceeded, RunLost, TaskEngine, TaskName
from tests.support.values import Unprintable, nested
from tests.support.world import TASK, World


def cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append({"again": ring})
    return ring


@pytest.mark.parametrize(
    "value",
    [
        ["x" * 1000] * 1100,
        [[1, [2]], [3]],
        nested(25),
        {"": 1},
        {"k" * 1401: 1},
        {"__name__": 1},
        "x" * 1_100_000,
    ],
    ids=["large", "arrays", "deep", "empty key", "long key", "reserved key", "large text"],
)
@pytest.mark.parametrize("save_in", [None, "db"])
def test_a_result_that_does_not_fit_a_document_goes_to_storage(
    engine: TaskEngine, world: World, value: Any, save_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is logged and read back equal (lesson 14)."""
    assert engine.execute_task("s", TASK, lambda: value, {"save_in": save_in}).status == "completed"
    assert world.status()["run"]["result"]["saved_in"] == "storage"
    assert "result moved to Storage" in capsys.readouterr().out
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == value


@pytest.mark.parametrize(
    "value",
    [
        nested(19),
        ["x" * 999] * 990,
        {"k" * 1400: 1},
        {"_a_": {"a.b`c\\": [{"/": "\x00"}]}},
        [1] * 124_000,
        [{"a": i} for i in range(45_000)],
    ],
    ids=["deep", "large", "long key", "odd keys", "many numbers", "many entries"],
)
def test_a_result_that_just_fits_a_document_stays_there(engine: TaskEngine, world: World, value: Any) -> None:
    """The engine's limits are slightly below Firestore's own."""
    assert engine.execute_task("s", TASK, lambda: value).status == "completed"
    assert world.status()["run"]["result"]["saved_in"] == "db"
    assert TaskEngine().get_task_data(TASK) == value


def test_a_result_that_firestore_refuses_goes_to_storage(
    engine: TaskEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that fails because of its content is repeated with the result in Storage."""
    monkeypatch.setattr("shared.tasks.results.normalisation.MAX_KEY_BYTES", 1_500)
    value = {"k" * 1500: 1}
    assert engine.execute_task("s", TASK, lambda: value).status == "completed"
    assert world.status()["run"]["result"]["saved_in"] == "storage"
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == value


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([float("nan")], "result[0]: nan"),
        ({"b": b"raw"}, "result.b: JSON cannot hold bytes"),
        ([2**64], "result[0]: an int beyond 64 bits"),
        ({"s": {1}}, "result.s: JSON cannot hold set"),
        (["\ud800"], "result[0]: text with a lone surrogate"),
        (cycle(), "result[0].again: it contains itself"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_the_run_and_names_the_place(
    engine: TaskEngine, world: World, value: Any, text: str, save_in: Any
) -> None:
    """It is neither saved nor cached; the last good result stays (lesson 12)."""
    engine.execute_task("s", TASK, lambda: ["good"])
    outcome = engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    assert outcome.status == "failed"
    assert world.status()["error"].startswith(f"ResultNotStorable: {text}")
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == ["good"]
    assert world.objects() == set()


def test_with_none_any_result_is_accepted(engine: TaskEngine, world: World) -> None:
    """It is not saved, so the run does not fail because of it."""
    assert engine.execute_task("s", TASK, lambda: {1, 2}, {"save_in": "none"}).status == "completed"
    assert engine.get_task_data(TASK) == []


class Odd:
    def __repr__(self) -> str:
        return "an odd one"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError(), "ValueError"),
        (ValueError(cycle()), "ValueError: [{'again': [...]}]"),
        (ValueError(Odd()), "ValueError: an odd one"),
        (Unprintable(), "Unprintable: (its message can't be read)"),
        (RunLost("raised by the task"), "RunLost: raised by the task"),
        (DeadlineExceeded("raised by the task"), "DeadlineExceeded: raised by the task"),
        (ValueError("\ud800\x00"), "ValueError: ?\x00"),
        (ValueError("x" * 3_000_000), "ValueError: " + "x" * 1487 + "…"),
    ],
    ids=["no message", "cycle", "object", "unreadable", "lost", "late", "no Unicode", "huge"],
)
def test_no_error_leaves_a_run_running(engine: TaskEngine, world: World, error: Exception, text: str) -> None:
    """Whatever a task raises, its status becomes failed (lessons 9, 10)."""

    def raises() -> None:
        raise error

    assert engine.execute_task("s", TaskName.send_reset_sms, raises).status == "failed"
    status = world.status(TaskName.send_reset_sms)
    assert (status["status"], status["error"]) == ("failed", text)


def test_an_error_becomes_text_in_the_status_and_keeps_type_and_stack(
    engine: TaskEngine, world: World
) -> None:
    """The contract's `error` is a string; type and stack are in the run record (lesson 11)."""

    def raises() -> None:
        raise KeyError({"code": 5})

    outcome = engine.execute_task("s", TASK, raises)
    assert world.status()["error"] == "KeyError: {'code': 5}"
    kept = world.history()[outcome.run_id]["error"]
    assert (kept["type"], kept["message"]) == ("KeyError", "{'code': 5}")
    assert 'raise KeyError({"code": 5})' in kept["traceback"]
