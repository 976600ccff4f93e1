"""The kinds of runs with the number of their calls; faults are injected at each call."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from emulators.environment import Addresses
from emulators.errors import StackError
from emulators.storage import FAKE_GCS, OFFICIAL, choose_storage
from shared.tasks import TaskOutcome, TaskRun
from tests.faults.faulty import Fault, Faulty, HastyClock, engine_behind
from tests.support.world import TASK

ROOT = Path(__file__).resolve().parents[2]
#: What the task logs.
LOGGED = "at work"


@dataclass(frozen=True, slots=True)
class Way:
    """A kind of run.

    Attributes:
        calls: number of its calls.
        save_in: where its result is stored.
        fails: whether its task raises.
        warm: whether its instance carried out the task's last run, for another tick.
        extends: whether its lease is extended, once.
        tells: whether its task reports progress.
        streams: whether its task yields its records: one call begins the upload, another sends it.
    """

    calls: int
    save_in: str = "db"
    fails: bool = False
    warm: bool = False
    extends: bool = False
    tells: bool = False
    streams: bool = False


def storage_server() -> str:
    """Return the Storage server of this session, as far as it is known before the stack starts."""
    if "FIRESTORE_EMULATOR_HOST" in os.environ:
        return Addresses.from_environment().storage_server
    try:
        return choose_storage(ROOT, os.environ, lambda *_, **__: False)
    except StackError:  # fake-gcs-server is not available
        return OFFICIAL


#: The official emulator copies nothing by itself: the contract copy's content passes through the instance.
STORED = {FAKE_GCS: 7, OFFICIAL: 10}
WAYS = {
    "db": Way(3),
    "db, the task fails": Way(3, fails=True),
    "db, warm": Way(2, warm=True),
    "db, the lease is extended": Way(4, extends=True),
    "db, with progress": Way(4, tells=True),
    "none": Way(3, save_in="none"),
    "storage": Way(STORED[storage_server()], save_in="storage"),
    "stream": Way(STORED[storage_server()] + 1, save_in="storage", streams=True),
}


class TellingClock(HastyClock):
    """Its first wait ends at once; `again` is set when the second wait begins."""

    def __init__(self) -> None:
        super().__init__()
        self.again = threading.Event()
        self._waits = 0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._waits += 1
        if self._waits == 1:
            self._ahead += seconds
            return False
        self.again.set()
        return super().wait(event, seconds)


def carry_out(
    way: Way,
    fault: Fault,
    tick: datetime,
    *,
    document_seconds: float = 0.3,
    object_seconds: float = 0.5,
) -> tuple[TaskOutcome, Faulty]:
    """Carry out a run with a fault on an instance of its own.

    Args:
        way: the kind of run.
        fault: the fault, and the call that it happens to.
        tick: its tick.
        document_seconds: bound on a call to Firestore.
        object_seconds: bound on a call to Storage with its repetitions.
    """
    clock = TellingClock() if way.extends else HastyClock()
    faulty = Faulty(Fault(0))
    engine = engine_behind(faulty, clock, document_seconds=document_seconds, object_seconds=object_seconds)

    def task(run: TaskRun) -> list[str] | Iterator[str]:
        run.log.info(LOGGED)
        if way.tells:
            run.progress(1)
        if isinstance(clock, TellingClock):
            assert clock.again.wait(30), "the extension did not come to an end"
        if way.fails:
            raise RuntimeError("injected")
        return iter(["hit"]) if way.streams else ["hit"]

    options = {"save_in": way.save_in, "debug_logs": False, "deadline_seconds": 60}
    if way.warm:
        before = {**options, "scheduled_for": tick - timedelta(minutes=1)}
        assert engine.execute_task("victim", TASK, lambda: ["before"], before).status == "completed"
    faulty.begin(fault)
    return engine.execute_task("victim", TASK, task, {**options, "scheduled_for": tick}), faulty
