"""A short soak has no findings, and each kind of error is found."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest

from shared.tasks import TaskName
from tests.soak.instance import Order
from tests.soak.process import Process
from tests.soak.readers import Read
from tests.soak.soak import Record, Soak
from tests.soak.verdict import SAMPLES, FinalState, final_state, findings, table
from tests.support.world import World
from tests.waiting import wait_for

TASK = TaskName.collect_charge_cdrs
A, B, C = (TASK, "a"), (TASK, "b"), (TASK, "c")


def test_a_short_soak_has_no_findings(world: World) -> None:
    """Processes die and freeze, calls meet faults, readers read, and every check holds afterwards."""
    record = Soak(3, print, legs=6).run(ticks=4)
    final = {task: final_state(world.database, world.bucket, task) for task in TaskName}
    found = findings(record, final)
    assert not any(found.values()), "\n".join(table(record, final, found))
    assert len(record.ticks) == 16
    assert record.faults
    assert {one.reader for one in record.reads} >= {"cold", "warm"}
    assert sum(map(len, record.legs.values())) >= 6


def run(attempt: int, token: str, started: float, state: str = "completed") -> dict[str, Any]:
    began = datetime.fromtimestamp(started, UTC)
    ends = began + timedelta(seconds=1)
    result = {"saved_in": "storage"}
    return {
        "state": state,
        "attempt": attempt,
        "token": token,
        "started": began,
        "completed": ends,
        "result": result,
    }


def good() -> tuple[Record, FinalState]:
    """Tick a completed in its first attempt, tick b in its second, and tick c was skipped."""
    record = Record(
        ticks=[A, B, C],
        answers={A: ["completed", "duplicate"], B: ["killed", "busy", "completed"], C: ["skipped"]},
        began={A: [1], B: [1, 2]},
        completed_at={A: 11, B: 21},
        reads=[read(4, None), read(15, ("a", 1)), read(25, ("b", 2)), read(22, ("a", 1), "warm")],
        memory={"instance": [100 << 20] * SAMPLES},
    )
    result = {"version": "b.t2", "saved_in": "storage"}
    final = FinalState(
        status={"status": "completed", "run": {"state": "completed", "result": result}},
        value=("b", 2),
        contract_copy="b.t2",
        history={"a": run(1, "t1", 8), "b": run(2, "t2", 18), "c.skipped": {"state": "skipped"}},
        changed={"a": 10, "b": 20, "c.skipped": 21},
    )
    return record, final


def read(moment: float, result: Any, reader: str = "cold") -> Read:
    return Read(reader, TASK, moment, moment + 0.01, result)


def test_a_correct_soak_has_no_findings() -> None:
    """Retries, duplicates, skips and a warm reader within max-age are correct."""
    record, final = good()
    assert not any(findings(record, {TASK: final}).values())


BROKEN: dict[str, tuple[str, Callable[[Record, FinalState], Any]]] = {
    "a tick without a record": ("lost results", lambda _, final: final.history.pop("c.skipped")),
    "a success without a completed run": (
        "lost results",
        lambda _, final: final.history["a"].update(state="failed"),
    ),
    "a tick that was never answered": ("lost results", lambda record, _: record.ticks.append((TASK, "d"))),
    "two successes": ("duplicate runs", lambda record, _: record.answers[A].append("completed")),
    "a position that goes back": (
        "repeated legs",
        lambda record, _: record.legs.update({A: [(1, 0), (2, 4), (3, 2)]}),
    ),
    "a leg that goes back": ("repeated legs", lambda record, _: record.legs.update({A: [(2, 4), (1, 4)]})),
    "a leg without progress": ("repeated legs", lambda record, _: record.legs.update({A: [(2, 4), (3, 4)]})),
    "a long run that waits for ever": (
        "inconsistent final state",
        lambda _, final: final.history.update(d=run(1, "t4", 30, "waiting")),
    ),
    "an attempt twice": ("duplicate runs", lambda record, _: record.began[A].append(1)),
    "an attempt after the success": ("duplicate runs", lambda record, _: record.began[A].append(2)),
    "a publication by a run that lost the task": (
        "stale publications",
        lambda _, final: final.history.update(b=run(2, "t2", 9)),
    ),
    "nothing read": ("wrong reads", lambda record, _: record.reads.append(read(15, None))),
    "an outdated result after a known completion": (
        "wrong reads",
        lambda record, _: record.reads.append(read(21.5, ("a", 1))),
    ),
    "an old result": ("wrong reads", lambda record, _: record.reads.append(read(22, ("a", 1)))),
    "a result too early": ("wrong reads", lambda record, _: record.reads.append(read(15, ("b", 2)))),
    "a result too old for a warm reader": (
        "wrong reads",
        lambda record, _: record.reads.append(read(29, ("a", 1), "warm")),
    ),
    "an error": ("wrong reads", lambda record, _: record.reads.append(read(15, "ResultUnavailable"))),
    "still running": (
        "inconsistent final state",
        lambda _, final: final.status["run"].update(state="running"),
    ),
    "a run that never ends": (
        "inconsistent final state",
        lambda _, final: final.history.update(d=run(1, "t4", 30, "running")),
    ),
    "an older result": (
        "inconsistent final state",
        lambda _, final: final.status["run"]["result"].update(version="a.t1"),
    ),
    "memory": ("growing memory", lambda record, _: record.memory["instance"].extend([150 << 20] * SAMPLES)),
    "a task that never completed": ("inconsistent final state", lambda _, final: final.history.clear()),
    "a delivery that hangs": ("hung", lambda record, _: record.answers[C].append("hung")),
    "a process that does not end": ("hung", lambda record, _: record.hung.append("reader did not end")),
    "a process that died": ("errors", lambda record, _: record.errors.append("instance 0 died")),
    "an exception": ("errors", lambda record, _: record.answers[C].append("ValueError()")),
}


@pytest.mark.parametrize("error", BROKEN)
def test_each_error_is_found(error: str) -> None:
    """Each error is a finding of its kind."""
    kind, breaks = BROKEN[error]
    record, final = good()
    breaks(record, final)
    assert findings(record, {TASK: final})[kind]


@pytest.mark.parametrize("changed", [{"contract_copy": "a.t1"}, {"value": ("a", 1)}, {"value": None}])
def test_an_outdated_contract_copy_or_value_is_found(changed: dict[str, Any]) -> None:
    """Readers of both kinds get the last result in the end."""
    record, final = good()
    assert findings(record, {TASK: replace(final, **changed)})["inconsistent final state"]


def test_a_paused_emulator_does_not_make_a_read_wrong() -> None:
    """While a publication is in progress, a reader may see either result."""
    record, final = good()
    record.completed_at[B] = 29
    record.reads += [read(28, ("a", 1)), read(19.5, ("b", 2))]
    assert not any(findings(record, {TASK: final}).values())


def hangs(pipe: Connection) -> None:
    """Never answer."""
    while True:
        signal.pause()


def dies_at_work(pipe: Connection) -> None:
    pipe.recv()
    os._exit(3)


def test_a_hung_process_is_replaced() -> None:
    """Its order gets the answer "hung", and its successor, which hangs as well, is killed at the end."""
    process = Process("it", lambda _: (hangs, {}), print, timeout=0.3)
    assert process.deliver(Order(1)) == "hung"
    assert wait_for("another process", lambda: process.ended) == [-signal.SIGKILL]
    assert process.end(0.3) is False
    assert not process.process.is_alive()


def test_an_unexpected_death_is_recorded() -> None:
    """Another process takes over, and the exit code of the first is recorded."""
    process = Process("it", lambda _: (dies_at_work, {}), print)
    assert process.deliver(Order(1)) == "killed"
    assert process.end() is True
    assert process.ended == [3]


class Gone:
    """A process whose memory cannot be read."""

    name = "it"

    def memory(self) -> int:
        raise OSError("gone")


def test_a_failed_memory_sample_is_recorded() -> None:
    """A soak that does not measure memory must not report it as flat."""
    soak = Soak(1, print)
    soak._helped(soak._sample_memory, [Gone()])
    assert soak.record.errors == ["_sample_memory: OSError('gone')"]
