"""A long run whose legs meet a fault, also in a process that is killed meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emulators.storage import FAKE_GCS
from shared.tasks import TaskOutcome, TaskRun
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.options import Continuation
from shared.tasks.runtime.checkpoint_limits import MAX_STEP_BYTES
from tests.faults.faulty import NO_FAULT, Fault, Faulty, HastyClock, engine_behind
from tests.faults.ways import STORED, storage_server
from tests.support.world import TASK

#: Two units of work fit into a leg, so the run has three legs. Each unit has a checkpoint.
UNITS, UNIT_SECONDS, LEG_SECONDS = 5, 60.0, 150.0
RESULT = [f"record {number}" for number in range(2 * UNITS)]


@dataclass(frozen=True, slots=True)
class LegWay:
    """A leg of a kind of long run.

    Attributes:
        leg: Number of the leg.
        calls: Number of its calls.
        save_in: Where the result is stored.
        streams: Whether the task yields its records; it then also has a large step.
    """

    leg: int
    calls: int
    save_in: str = "db"
    streams: bool = False


#: Calls that copy a result for readers of the contract: the official emulator copies nothing by itself.
_MORE = STORED[storage_server()] - STORED[FAKE_GCS]
LEG_WAYS = {
    "legs, middle": LegWay(2, 8),
    "legs, last": LegWay(3, 5),
    "legs, last, storage": LegWay(3, 9 + _MORE, save_in="storage"),
    "legs, stream, first": LegWay(1, 13, save_in="storage", streams=True),
    "legs, stream, middle": LegWay(2, 12, save_in="storage", streams=True),
    "legs, stream, last": LegWay(3, 17 + _MORE, save_in="storage", streams=True),
}


class WorkClock(HastyClock):
    """Work takes no time either."""

    def work(self) -> None:
        self._ahead += UNIT_SECONDS


def deliver(
    way: LegWay,
    tick: datetime,
    leg: int,
    url: str,
    fault: Fault = NO_FAULT,
    *,
    document_seconds: float = 0.3,
    object_seconds: float = 0.5,
) -> tuple[TaskOutcome, Faulty]:
    """Deliver a leg to an instance of its own.

    Args:
        way: The kind of run.
        tick: Its tick.
        leg: Number of the leg.
        url: Where Cloud Tasks delivers the next one.
        fault: The fault, and the call that it happens to.
        document_seconds: Bound on a call to Firestore.
        object_seconds: Bound on a call to Storage with its repetitions.
    """
    faulty, clock = Faulty(fault), WorkClock()
    engine = engine_behind(
        faulty, clock, document_seconds=document_seconds, object_seconds=object_seconds, legs_to=url
    )

    def records(run: TaskRun) -> Iterator[str]:
        size = MAX_STEP_BYTES if way.streams else 10
        assert run.step("size", lambda: "x" * size) == "x" * size
        cursor = run.cursor("units", 0)
        while cursor.value < UNITS:
            yield from RESULT[2 * cursor.value : 2 * cursor.value + 2]
            clock.work()
            cursor.advance(cursor.value + 1)

    def task(run: TaskRun) -> Any:
        if way.streams:
            return records(run)
        for _ in records(run):
            pass
        return RESULT

    options = {
        "save_in": way.save_in,
        "debug_logs": False,
        "deadline_seconds": 3_600.0,
        "leg_seconds": LEG_SECONDS,
    }
    which = {"scheduled_for": tick} if leg == 1 else {"continuation": Continuation(run_id_of(tick), leg)}
    return engine.execute_task("victim", TASK, task, {**options, **which}), faulty


def run_leg_victim(name: str, fault: Fault, tick: datetime, url: str) -> None:
    """Carry out the leg with the fault."""
    way = LEG_WAYS[name]
    deliver(way, tick, way.leg, url, fault)
