"""The soak itself: a short one finds nothing, and what is wrong is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.tasks import TaskName
from tests.engine.world import World
from tests.soak.readers import Seen
from tests.soak.soak import Record, Soak
from tests.soak.verdict import SAMPLES, Left, findings, look, table

TASK = TaskName.collect_charge_cdrs
A, B, C = (TASK, "a"), (TASK, "b"), (TASK, "c")


def test_a_short_soak_finds_nothing(world: World) -> None:
    """Deaths, faults, frozen processes and readers, and after it all is as it must be."""
    record = Soak(3, print).run(ticks=4)
    left = {task: look(world.database, world.bucket, task) for task in TaskName}
    found = findings(record, left)
    assert not any(found.values()), "\n".join(table(record, left, found))
    assert len(record.ticks) == 16
    assert record.faults
    assert {seen.reader for seen in record.seen} >= {"cold", "warm"}


def run(attempt: int, token: str, started: float, state: str = "completed") -> dict[str, Any]:
    began = datetime.fromtimestamp(started, UTC)
    result = {"saved_in": "storage"}
    return {"state": state, "attempt": attempt, "token": token, "started": began, "result": result}


def good() -> tuple[Record, Left]:
    """Tick a ran at once, tick b at its second attempt, tick c was skipped."""
    record = Record(
        ticks=[A, B, C],
        answers={A: ["completed", "duplicate"], B: ["killed", "busy", "completed"], C: ["skipped"]},
        began={A: [1], B: [1, 2]},
        seen=[seen(4, None), seen(15, ("a", 1)), seen(25, ("b", 2)), seen(22, ("a", 1), "warm")],
        memory={"instance": [100 << 20] * SAMPLES},
    )
    result = {"version": "b.t2", "saved_in": "storage"}
    left = Left(
        status={"status": "completed", "run": {"state": "completed", "result": result}},
        value=("b", 2),
        mirror="b.t2",
        history={"a": run(1, "t1", 8), "b": run(2, "t2", 12), "c.skipped": {"state": "skipped"}},
        changed={"a": 10, "b": 20, "c.skipped": 21},
    )
    return record, left


def seen(moment: float, what: Any, reader: str = "cold") -> Seen:
    return Seen(reader, TASK, moment, moment + 0.01, what)


def test_what_is_right_is_no_finding() -> None:
    """Retries, duplicates, skips and a warm reader's age are all in order."""
    record, left = good()
    assert not any(findings(record, {TASK: left}).values())


BROKEN: dict[str, tuple[str, Callable[[Record, Left], Any]]] = {
    "a tick without a trace": ("lost results", lambda _, left: left.history.pop("c.skipped")),
    "a success that was none": ("lost results", lambda _, left: left.history["a"].update(state="failed")),
    "a tick that was never answered": ("lost results", lambda record, _: record.ticks.append((TASK, "d"))),
    "two successes": ("duplicate runs", lambda record, _: record.answers[A].append("completed")),
    "an attempt twice": ("duplicate runs", lambda record, _: record.began[A].append(1)),
    "an attempt after the success": ("duplicate runs", lambda record, _: record.began[A].append(2)),
    "a run that lost the task": (
        "stale publications",
        lambda _, left: left.history.update(b=run(2, "t2", 9)),
    ),
    "nothing read": ("wrong reads", lambda record, _: record.seen.append(seen(15, None))),
    "an old result": ("wrong reads", lambda record, _: record.seen.append(seen(22, ("a", 1)))),
    "a result too early": ("wrong reads", lambda record, _: record.seen.append(seen(15, ("b", 2)))),
    "a result too old for the warm": (
        "wrong reads",
        lambda record, _: record.seen.append(seen(29, ("a", 1), "warm")),
    ),
    "an error": ("wrong reads", lambda record, _: record.seen.append(seen(15, "ResultUnavailable"))),
    "still running": ("left in disorder", lambda _, left: left.status["run"].update(state="running")),
    "a history that runs": (
        "left in disorder",
        lambda _, left: left.history.update(d=run(1, "t4", 30, "running")),
    ),
    "an older result": (
        "left in disorder",
        lambda _, left: left.status["run"]["result"].update(version="a.t1"),
    ),
    "memory": ("growing memory", lambda record, _: record.memory["instance"].extend([150 << 20] * SAMPLES)),
    "an exception": ("errors", lambda record, _: record.answers[C].append("ValueError()")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_found(what: str) -> None:
    """Each thing that must not be is a finding of its kind."""
    kind, breaks = BROKEN[what]
    record, left = good()
    breaks(record, left)
    assert findings(record, {TASK: left})[kind]


@pytest.mark.parametrize("changed", [{"mirror": "a.t1"}, {"value": ("a", 1)}, {"value": None}])
def test_a_mirror_or_a_value_that_is_not_the_last_is_found(changed: dict[str, Any]) -> None:
    """What readers of either kind get in the end is the last result."""
    record, left = good()
    assert findings(record, {TASK: replace(left, **changed)})["left in disorder"]
