"""Faults of each kind at each call of a long run's legs: the result is that of a run without a fault."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from emulators.environment import Addresses
from functions.scheduled_endpoint import HTTP_STATUSES
from shared.tasks import TaskEngine, TaskOutcome, TaskSpec
from shared.tasks.backends.leg_queue import cloud_task_id
from tests.faults.faulty import KINDS, NO_FAULT, Fault, Faulty, HastyClock, engine_behind
from tests.faults.legs import LEG_WAYS, RESULT, deliver, run_leg_victim
from tests.faults.test_faults import BEFORE, check, let_time_pass, read_all_the_time
from tests.faults.victims import check_killed
from tests.support.cloud_tasks import receiving
from tests.support.world import TASK, World
from tests.waiting import wait_for

Record = Callable[[str, object], None]

AFTER = datetime(2026, 11, 24, 13, tzinfo=UTC)
EVERY_CALL = [(name, at) for name, way in LEG_WAYS.items() for at in range(1, way.calls + 1)]
EVERY = [(*call, kind) for call in EVERY_CALL for kind in KINDS]
MIDDLE, LAST = "legs, stream, middle", "legs, stream, last"
#: Faults that `make test` injects: each call of one leg once, and those that are hardest to survive.
SOME = [
    *((name, at, KINDS[(at - 1) % len(KINDS)]) for name, at in EVERY_CALL if name == MIDDLE),
    (MIDDLE, 6, "fail 1"),
    (MIDDLE, 10, "kill after"),
    (MIDDLE, 10, "lose answer"),
    (LAST, 6, "kill after"),
    (LAST, 14, "lose answer"),
]


@dataclass(frozen=True)
class Receiver:
    """Where Cloud Tasks delivers legs.

    Attributes:
        url: Its URL.
        names: The ids of the Cloud Tasks that it received.
    """

    url: str
    names: set[str]


@pytest.fixture(scope="module")
def receiver(stack: Addresses) -> Iterator[Receiver]:
    """Acknowledges each delivery; the tests carry it out."""
    names: set[str] = set()

    def receive(headers: dict[str, str], _: object) -> int:
        names.add(headers["x-cloudtasks-taskname"])
        return 200

    with receiving(receive) as url:
        yield Receiver(url, names)


def is_acknowledged(outcome: TaskOutcome) -> bool:
    return HTTP_STATUSES.get(outcome.status, 500) == 200


class Trial:
    """One long run, a leg of which meets a fault.

    Args:
        world: The stack's clients.
        receiver: Where Cloud Tasks delivers its legs.
        name: The kind of run, and the leg.
    """

    def __init__(self, world: World, receiver: Receiver, name: str) -> None:
        self.way = LEG_WAYS[name]
        self._world, self._receiver, self._name = world, receiver, name
        self._tick = datetime.now(UTC)  # a run of its own, because the emulator remembers names

    def deliver(self, leg: int) -> None:
        """Deliver a leg without a fault; it must be acknowledged."""
        outcome, _ = self.carry_out(leg)
        assert is_acknowledged(outcome), outcome

    def carry_out(self, leg: int, fault: Fault = NO_FAULT) -> tuple[TaskOutcome, Faulty]:
        """Deliver a leg, with time for each call unless there is a fault."""
        document_seconds, object_seconds = (0.3, 0.5) if fault.at else (10.0, 10.0)
        return deliver(
            self.way,
            self._tick,
            leg,
            self._receiver.url,
            fault,
            document_seconds=document_seconds,
            object_seconds=object_seconds,
        )

    def deliver_with(self, fault: Fault) -> bool:
        """Deliver the leg that meets the fault; return whether it was acknowledged."""
        if not fault.kind.startswith("kill"):
            outcome, faulty = self.carry_out(self.way.leg, fault)
            assert len(faulty.calls) >= fault.at, "there was no such call"
            if fault.kind == "lose answer" and faulty.calls[fault.at - 1] != "upload":
                assert is_acknowledged(outcome), outcome  # the attempt finds out that it was applied
            return is_acknowledged(outcome)
        check_killed(run_leg_victim, self._name, fault, self._tick, self._receiver.url)
        return False

    def next_leg(self) -> int | None:
        """Return the leg that Cloud Tasks delivers, once it has; None if the run has ended."""
        run = self._world.status()["run"]
        if run["state"] != "waiting":
            assert run["state"] == "completed"
            return None
        leg: int = run["legs"]["number"]
        name = cloud_task_id(TASK, run["id"], leg, run["legs"]["creation"])
        wait_for(f"the delivery of leg {leg}", lambda: name in self._receiver.names)
        return leg

    def watch(self) -> bool:
        """Let the watchdog pass after the lease has ended; return whether the run waits."""
        let_time_pass(self._world)
        engine = engine_behind(
            Faulty(NO_FAULT),
            HastyClock(),
            document_seconds=10.0,
            object_seconds=10.0,
            legs_to=self._receiver.url,
        )
        engine.watch_task(TaskSpec(TASK))
        return bool(self._world.status()["run"]["state"] == "waiting")


def survives(world: World, receiver: Receiver, fault: Fault, name: str) -> None:
    """Inject a fault into a leg of a run between two good ones, and check the state after it.

    After every other call, the watchdog passes before the leg is delivered again.
    """
    trial = Trial(world, receiver, name)
    before = {"scheduled_for": BEFORE, "save_in": trial.way.save_in}
    assert TaskEngine().execute_task("s", TASK, lambda: ["before"], before).status == "completed"
    with read_all_the_time([["before"], RESULT]) as reader:
        for leg in range(1, trial.way.leg):
            trial.deliver(leg)
            assert trial.next_leg() == leg + 1
        acknowledged = trial.deliver_with(fault)
        reader.looks()
        revived = fault.at % 2 == 0 and trial.watch()
        if not acknowledged and not revived:
            let_time_pass(world)
            trial.deliver(trial.way.leg)
        while (next_leg := trial.next_leg()) is not None:
            trial.deliver(next_leg)
        check(world, trial.way.save_in, RESULT, 2)
    after = {"scheduled_for": AFTER, "save_in": trial.way.save_in}
    assert TaskEngine().execute_task("s", TASK, lambda: ["after"], after).status == "completed"
    check(world, trial.way.save_in, ["after"], 3)


@pytest.mark.parametrize("name", LEG_WAYS)
def test_a_leg_makes_the_expected_calls(
    world: World, receiver: Receiver, name: str, record_property: Record
) -> None:
    """Faults are injected at all calls of a leg only if it makes no others."""
    trial = Trial(world, receiver, name)
    for leg in range(1, trial.way.leg):
        trial.deliver(leg)
    outcome, faulty = trial.carry_out(trial.way.leg)
    assert outcome.status == ("completed" if trial.way.leg == 3 else "waiting")
    record_property("calls", (name, faulty.calls))
    assert len(faulty.calls) == trial.way.calls, " ".join(faulty.calls)


@pytest.mark.parametrize(("name", "at", "kind"), SOME)
def test_a_fault_in_a_leg_is_survived(
    world: World, receiver: Receiver, name: str, at: int, kind: str, record_property: Record
) -> None:
    """The result has each record once, and readers always got the last good result."""
    record_property("fault", (name, at, kind))
    survives(world, receiver, Fault(at, kind), name)


@pytest.mark.full
@pytest.mark.parametrize(("name", "at", "kind"), [each for each in EVERY if each not in SOME])
def test_every_fault_in_a_leg_is_survived(
    world: World, receiver: Receiver, name: str, at: int, kind: str, record_property: Record
) -> None:
    """Faults of all kinds at all calls."""
    record_property("fault", (name, at, kind))
    survives(world, receiver, Fault(at, kind), name)
