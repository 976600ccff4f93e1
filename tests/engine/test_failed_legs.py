"""Legs that fail after their work, or in unusual ways, and are tried again."""

import sys
from datetime import timedelta
from typing import Any

import pytest

from shared import firebase
from shared.tasks import TaskEngine, TaskRun
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.storage import Objects
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.errors import WriteRejected
from shared.tasks.runtime.checkpoint_limits import CHECKPOINT_SECONDS, MAX_PARTS, pause_between
from tests.support.long_runs import TICK, UNIT_SECONDS, FixedJob, LongRun, PassingClock
from tests.support.world import TASK, World

RUN_ID = run_id_of(TICK)


@pytest.fixture
def clock(world: World) -> PassingClock:
    return PassingClock()


class UnitsOfWork:
    """A task of three units, one per leg; `end` is called in the last leg, before the task returns."""

    def __init__(self, clock: PassingClock) -> None:
        self._clock = clock
        self.ends: list[TaskRun] = []
        self.failures: list[Any] = []

    def __call__(self, run: TaskRun) -> list[int]:
        done = run.cursor("units", [])
        while len(done.value) < 3:
            self._clock.ahead += UNIT_SECONDS
            done.advance([*done.value, len(done.value)])
        self.ends.append(run)
        if self.failures:
            raise self.failures.pop()
        return done.value  # type: ignore[no-any-return]


def state(world: World) -> str:
    return world.status()["run"]["state"]  # type: ignore[no-any-return]


def test_a_leg_whose_result_cannot_be_stored_is_tried_again(world: World, clock: PassingClock) -> None:
    """Firestore refuses the result, and Storage is down when it is moved there: no work is repeated."""

    class RefusingStore(Store):
        def commit(self, writes: Any, *, timeout: float | None = None) -> Any:
            writes = list(writes)
            if any("data" in write.update.fields for write in writes):
                raise WriteRejected("injected")
            return super().commit(writes, timeout=timeout)

    class BrokenObjects(Objects):
        def write(self, *_: Any, **__: Any) -> int:
            raise OSError("injected")

    class OnBrokenStorage(LongRun):
        def engine(self) -> TaskEngine:
            store, objects = RefusingStore(firebase.firestore_wire), BrokenObjects(firebase.bucket)
            return TaskEngine(store, objects, clock, jobs=FixedJob(), queue=self.queue)

    task = UnitsOfWork(clock)
    long = OnBrokenStorage(task, clock)
    assert [long.deliver_tick().status, *long.deliver_all()] == ["waiting"] * 3 + ["failed"]
    assert (state(world), world.status()["status"]) == ("waiting", "running")
    healthy = LongRun(task, clock)
    healthy.queue.created = long.queue.created
    assert healthy.deliver().status == "completed"
    assert TaskEngine().get_task_data(TASK) == [0, 1, 2]


@pytest.mark.parametrize("leg", [1, 4])
def test_a_leg_that_cloud_tasks_delivered_is_tried_again(world: World, clock: PassingClock, leg: int) -> None:
    """Also the first one, which the watchdog had delivered after its process died."""
    task = UnitsOfWork(clock)
    long = LongRun(task, clock)
    assert [long.deliver_tick().status, *(long.deliver().status for _ in range(2))] == ["waiting"] * 3
    world.database.document(f"nx-tasks/{TASK.value}").update({"run.legs.number": leg})
    task.failures = [ValueError("once")]
    assert long.deliver(leg).status == "failed"
    assert state(world) == "waiting"
    assert long.deliver(leg).status == "completed"


def test_a_task_that_exits_is_tried_again(world: World, clock: PassingClock) -> None:
    """A library may call sys.exit; the work of hours is not lost, and the caller gets the exception."""
    task = UnitsOfWork(clock)
    long = LongRun(task, clock)
    assert [long.deliver_tick().status, *(long.deliver().status for _ in range(2))] == ["waiting"] * 3
    task.failures = [SystemExit(3)]
    with pytest.raises(SystemExit):
        long.deliver()
    assert state(world) == "waiting"
    assert long.deliver().status == "completed"
    assert sys.exc_info()[0] is None


def test_a_deployment_with_a_short_deadline_ends_legs_in_time(world: World, clock: PassingClock) -> None:
    """The function's time-out is that of the short deadline; the run keeps its own deadline."""
    task = UnitsOfWork(clock)
    long = LongRun(task, clock)
    long.deliver_tick()
    long.options |= {"leg_seconds": None, "deadline_seconds": 540.0}
    assert long.deliver().status == "completed"
    (run,) = task.ends
    assert run.times.attempt_ends - run.times.leg_ends > 60
    assert run.leg_remaining() <= 540 < run.remaining()


@pytest.mark.parametrize("hours", [1, 12, 24])
def test_a_run_stays_below_the_limit_of_parts(hours: int) -> None:
    """One part at each checkpoint, and a leg of 25 minutes: each leg plans with the parts that are left."""
    deadline, at, parts = timedelta(hours=hours).total_seconds(), 0.0, 0
    while at < deadline:
        pause, leg_ends = pause_between(deadline - at, parts=parts), min(at + 1_500, deadline)
        assert pause >= CHECKPOINT_SECONDS
        count = int((leg_ends - at) // pause) + 1
        at, parts = leg_ends, parts + count
    assert parts < MAX_PARTS
