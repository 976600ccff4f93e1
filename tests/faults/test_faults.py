"""At each call of a run, in each save mode, each kind of fault: nothing is lost, twice, or left running."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskSpec
from tests.engine.world import TASK, World
from tests.faults.faulty import KINDS, Fault, Faulty, HastyClock, engine_behind, faulty_engine

Record = Callable[[str, object], None]

ROOT = Path(__file__).resolve().parents[2]
BEFORE, HIT, AFTER = (datetime(2026, 11, 24, 12, minute, tzinfo=UTC) for minute in (0, 5, 10))
#: Calls of a cold run in each save mode.
COUNT = {"db": 3, "none": 3, "storage": 7}
EVERY = [
    (save_in, at, kind) for save_in, calls in COUNT.items() for at in range(1, calls + 1) for kind in KINDS
]
#: What `make test` injects: each call once, each kind often.
SOME = [each for place, each in enumerate(EVERY) if place % 5 == place // 5 % 5]


@contextmanager
def read_all_the_time(allowed: list[Any]) -> Iterator[list[Any]]:
    """Let cold readers read while the block runs; give the list of what they got that is not allowed."""
    over, wrong = threading.Event(), []

    def reads() -> None:
        while not over.is_set():
            try:
                data = TaskEngine().get_task_data(TASK)
            except Exception as error:  # noqa: BLE001  (any error is a finding)
                data = repr(error)
            if data not in allowed:
                wrong.append(data)

    reader = threading.Thread(target=reads)
    reader.start()
    try:
        yield wrong
    finally:
        over.set()
        reader.join(60)


def run_with(fault: Fault, save_in: str) -> str:
    """Run the task with the fault on its way, in a process of its own if that is to be killed."""
    if fault.kind.startswith("kill"):
        arguments = [str(fault.at), fault.kind, save_in, HIT.isoformat()]
        victim = subprocess.run(
            [sys.executable, "-m", "tests.faults.victim", *arguments],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert victim.returncode == -signal.SIGKILL, victim.stderr.decode()
        return "killed"
    engine, _ = faulty_engine(fault)
    options = {"save_in": save_in, "scheduled_for": HIT, "debug_logs": False}
    return engine.execute_task("victim", TASK, lambda: ["hit"], options).status


def let_time_pass(world: World) -> None:
    """The lease of whoever died is over."""
    if "lease_until" in world.status().get("run", {}):
        world.database.document(f"nx-tasks/{TASK.value}").update({"run.lease_until": BEFORE})


def survives(world: World, fault: Fault, save_in: str) -> None:
    """Inject a fault into a run between two good ones, and check what is left."""
    options = {"save_in": save_in, "debug_logs": False}
    engine = TaskEngine()
    assert (
        engine.execute_task("s", TASK, lambda: ["before"], {**options, "scheduled_for": BEFORE}).status
        == "completed"
    )
    nothing = [[]] if save_in == "none" else []
    with read_all_the_time([["before"], ["hit"], *nothing]) as wrong:
        status = run_with(fault, save_in)
        let_time_pass(world)
        TaskEngine()._watch(TaskSpec(TASK))
        if status not in {"completed", "duplicate", "skipped"}:  # Cloud Scheduler comes again
            again = TaskEngine().execute_task("s", TASK, lambda: ["hit"], {**options, "scheduled_for": HIT})
            assert again.status in {"completed", "duplicate"}
        check(world, save_in, ["hit"], 2)
    assert wrong == []
    last = TaskEngine().execute_task("s", TASK, lambda: ["after"], {**options, "scheduled_for": AFTER})
    assert last.status == "completed"
    check(world, save_in, ["after"], 3)


def check(world: World, save_in: str, data: list[str], runs: int) -> None:
    """Status, history, result, mirror: all as after an untroubled run."""
    status, history = world.status(), world.history()
    assert (status["status"], status["run"]["state"]) == ("completed", "completed")
    assert len(history) == runs
    assert {run["state"] for run in history.values()} == {"completed"}
    assert TaskEngine().get_task_data(TASK) == ([] if save_in == "none" else data)
    if save_in == "storage":
        TaskEngine()._watch(TaskSpec(TASK))
        blob = world.bucket.get_blob("tasks_data/collect_charge_cdrs.json")
        assert blob.metadata["nx-version"] == status["run"]["result"]["version"]


@pytest.mark.parametrize("save_in", COUNT)
def test_the_calls_are_these(world: World, save_in: str, record_property: Record) -> None:
    """The harness strikes at each call there is: a run makes no more than it counts on."""
    faulty = Faulty(Fault(0))  # and time for each call: one that is repeated would be counted twice
    engine = engine_behind(faulty, HastyClock(), document_seconds=10.0, object_seconds=10.0)
    engine.execute_task("s", TASK, lambda: ["x"], {"save_in": save_in})
    record_property("calls", (save_in, faulty.calls))
    assert len(faulty.calls) == COUNT[save_in], faulty.calls


@pytest.mark.parametrize(("save_in", "at", "kind"), SOME)
def test_a_fault_is_survived(world: World, save_in: str, at: int, kind: str, record_property: Record) -> None:
    """The result is right, each run once in the history; readers always had the last good one (lesson 22)."""
    record_property("fault", (save_in, at, kind))
    survives(world, Fault(at, kind), save_in)


@pytest.mark.full
@pytest.mark.parametrize(("save_in", "at", "kind"), [each for each in EVERY if each not in SOME])
def test_every_fault_is_survived(
    world: World, save_in: str, at: int, kind: str, record_property: Record
) -> None:
    """The same for all calls and kinds."""
    record_property("fault", (save_in, at, kind))
    survives(world, Fault(at, kind), save_in)
