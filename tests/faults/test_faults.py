"""Faults of each kind at each call of a run: nothing is lost, duplicated or left running."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from emulators.environment import Addresses
from shared.tasks import TaskEngine, TaskSpec
from shared.tasks.admin.run_logs import view_log
from shared.tasks.documents.run_ids import run_id_of
from tests.faults.faulty import KINDS, Fault
from tests.faults.victim import run_victim
from tests.faults.victims import check_killed
from tests.faults.ways import LOGGED, STORED, WAYS, carry_out
from tests.support.world import TASK, World

Record = Callable[[str, object], None]

BEFORE, HIT, AFTER = (datetime(2026, 11, 24, 12, minute, tzinfo=UTC) for minute in (0, 5, 10))
EVERY_CALL = [(name, at) for name, way in WAYS.items() for at in range(1, way.calls + 1)]
EVERY = [(*call, kind) for call in EVERY_CALL for kind in KINDS]
#: Faults that `make test` injects: each call once, each kind often.
SOME = [(*call, KINDS[place % len(KINDS)]) for place, call in enumerate(EVERY_CALL)]


class Reader:
    """Reads in a thread, each time with a new engine.

    Args:
        allowed: results that a read may return.

    Attributes:
        wrong: all other results.
    """

    def __init__(self, allowed: list[Any]) -> None:
        self.wrong: list[Any] = []
        self._allowed = allowed
        self._reads = 0
        self._read = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.looks()

    def looks(self) -> None:
        """Wait for the end of a read that began after this call."""
        with self._read:
            wanted = self._reads + 2  # one may be on its way
            assert self._read.wait_for(lambda: self._reads >= wanted, 30), "the readers have ended"

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a read does not end"

    def _go_on(self) -> None:
        while not self._over.is_set():
            try:
                data = TaskEngine().get_task_data(TASK)
            except Exception as error:  # noqa: BLE001  (any error is a finding)
                data = repr(error)
            if data not in self._allowed:
                self.wrong.append(data)
            with self._read:
                self._reads += 1
                self._read.notify_all()


@contextmanager
def read_all_the_time(allowed: list[Any]) -> Iterator[Reader]:
    """Read all the time while the block runs, and fail for a result that is not allowed."""
    reader = Reader(allowed)
    try:
        reader.start()
        yield reader
        reader.looks()
    finally:
        reader.end()
    assert reader.wrong == []


def run_with(fault: Fault, name: str) -> str:
    """Carry out a run with a fault; in a process of its own if the fault kills it."""
    if fault.kind.startswith("kill"):
        check_killed(run_victim, name, fault, HIT)
        return "killed"
    outcome, faulty = carry_out(WAYS[name], fault, HIT)
    assert len(faulty.calls) >= fault.at, "there was no such call"
    return outcome.status


def let_time_pass(world: World) -> None:
    """End the lease of a killed attempt."""
    if "lease_until" in world.status().get("run", {}):
        world.database.document(f"nx-tasks/{TASK.value}").update({"run.lease_until": BEFORE})


def survives(world: World, fault: Fault, name: str) -> None:
    """Inject a fault into a run between two good ones, and check the state after it."""
    way = WAYS[name]
    runs = 3 if way.warm else 2
    good = TaskEngine()

    def runs_well(tick: datetime, data: list[str], *, engine: TaskEngine = good) -> str:
        options = {"save_in": way.save_in, "debug_logs": False, "scheduled_for": tick}
        return engine.execute_task("s", TASK, lambda: data, options).status

    assert runs_well(BEFORE, ["before"]) == "completed"
    nothing = [[]] if way.save_in == "none" else []
    with read_all_the_time([["before"], ["hit"], *nothing]) as reader:
        status = run_with(fault, name)
        if status == "completed":  # its log is part of the commit that ended it
            log = view_log(good.store, TASK, run_id_of(HIT))
            assert ([line.text for line in log.lines], log.lost) == ([LOGGED], 0)
        reader.looks()
        let_time_pass(world)
        TaskEngine()._operations.watch_task(TaskSpec(TASK))
        assert "running" not in {run["state"] for run in [world.status()["run"], *world.history().values()]}
        reader.looks()
        if status not in {"completed", "duplicate", "skipped"}:  # Cloud Scheduler delivers it again
            assert runs_well(HIT, ["hit"], engine=TaskEngine()) in {"completed", "duplicate"}
        check(world, way.save_in, ["hit"], runs)
    assert runs_well(AFTER, ["after"], engine=TaskEngine()) == "completed"
    check(world, way.save_in, ["after"], runs + 1)


def check(world: World, save_in: str, data: list[str], runs: int) -> None:
    """Check that status, history, result and contract copy are as after a run without a fault."""
    status = world.status()
    history = {key: run for key, run in world.history().items() if run["state"] != "lost_leg"}
    assert (status["status"], status["run"]["state"]) == ("completed", "completed")
    assert len(history) == runs
    assert {run["state"] for run in history.values()} == {"completed"}
    assert TaskEngine().get_task_data(TASK) == ([] if save_in == "none" else data)
    if save_in == "storage":
        TaskEngine()._operations.watch_task(TaskSpec(TASK))
        blob = world.bucket.get_blob("tasks_data/collect_charge_cdrs.json")
        assert blob.metadata["nx-version"] == status["run"]["result"]["version"]


@pytest.mark.parametrize("name", WAYS)
def test_a_run_makes_the_expected_calls(
    world: World, stack: Addresses, name: str, record_property: Record
) -> None:
    """Faults are injected at all calls of a run only if it makes no others."""
    way = WAYS[name]
    TaskEngine().execute_task("s", TASK, lambda: ["before"], {"save_in": way.save_in})
    # With time for each call: one that is repeated would be counted twice.
    outcome, faulty = carry_out(way, Fault(0), HIT, document_seconds=10.0, object_seconds=10.0)
    assert outcome.status == ("failed" if way.fails else "completed")
    record_property("calls", (name, faulty.calls))
    wanted = STORED[stack.storage_server] + way.streams if way.save_in == "storage" else way.calls
    assert len(faulty.calls) == wanted, faulty.calls


@pytest.mark.parametrize(("name", "at", "kind"), SOME)
def test_a_fault_is_survived(world: World, name: str, at: int, kind: str, record_property: Record) -> None:
    """The history contains each run once, and readers always got the last good result."""
    record_property("fault", (name, at, kind))
    survives(world, Fault(at, kind), name)


@pytest.mark.full
@pytest.mark.parametrize(("name", "at", "kind"), [each for each in EVERY if each not in SOME])
def test_every_fault_is_survived(
    world: World, name: str, at: int, kind: str, record_property: Record
) -> None:
    """Faults of all kinds at all calls."""
    record_property("fault", (name, at, kind))
    survives(world, Fault(at, kind), name)
