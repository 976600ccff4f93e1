"""Many concurrent deliveries on the real Firestore give one run each, in any order."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskOutcome, TaskRun
from shared.tasks.clock import CLOCK_SKEW, Clock
from shared.tasks.contract import contract_object
from shared.tasks.options import LEASE_SECONDS
from tests.support.world import TASK, World, in_thread

TICK = datetime(2026, 11, 24, tzinfo=UTC)
#: Waves of a round, each of which takes over the task from the last one, and ticks in each.
WAVES, TICKS = 4, 5
#: Seconds after which another instance considers a lease expired.
LEASE_IS_OVER = timedelta(seconds=LEASE_SECONDS) + CLOCK_SKEW + timedelta(seconds=1)


Started = list[tuple[threading.Thread, list[Any]]]


def started(calls: list[Callable[[], Any]]) -> Started:
    """Start all calls at the same moment, each in its own thread."""
    together = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        together.wait(60)
        return call()

    return [in_thread(partial(make, call)) for call in calls]


def ended(calls: Started) -> list[Any]:
    """Wait for all calls; return their results."""
    over = time.monotonic() + 120
    for thread, _ in calls:
        thread.join(max(over - time.monotonic(), 0))
    assert not any(thread.is_alive() for thread, _ in calls), "deliveries did not end within two minutes"
    return [result[0] for _, result in calls]


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make all calls at the same moment; return their results."""
    return ended(started(calls))


def delivery(tick: datetime, task: Callable[..., Any], **options: Any) -> Callable[[], TaskOutcome]:
    """A delivery to its own instance."""
    options = {"scheduled_for": tick, "debug_logs": False, **options}
    return lambda: TaskEngine().execute_task("s", TASK, task, options)


class Race:
    """Counts the completed rounds and the outcomes of their deliveries."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.over = 0
        self.outcomes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[int]:
        for number in range(self.rounds):
            yield number
            self.over += 1


@pytest.fixture
def race(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, record_property: Callable[[str, Any], None]
) -> Iterator[Race]:
    """The rounds of a test, which are added to the report however it ends."""
    race = Race(200 if pytestconfig.getoption("--full") else 20)
    record_property("race", request.function.__name__.removeprefix("test_").replace("_", " "))
    yield race
    record_property("rounds", race.over)
    record_property("deliveries", race.outcomes.total())
    record_property("outcomes", dict(sorted(race.outcomes.items())))


def test_fifty_concurrent_deliveries_of_one_tick_run_once(world: World, race: Race) -> None:
    """All others are duplicates or busy."""
    for number in race:
        ran: list[int] = []
        tick = TICK + timedelta(minutes=number)
        outcomes = at_once([delivery(tick, partial(ran.append, 1)) for _ in range(50)])
        statuses = Counter(outcome.status for outcome in outcomes)
        race.outcomes.update(statuses)
        assert len(ran) == 1, statuses
        assert statuses["completed"] == 1, statuses
        assert set(statuses) <= {"completed", "duplicate", "busy"}, statuses
    states = Counter(run["state"] for run in world.history().values())
    assert states.pop("refused", 0) <= race.rounds, "one record per run counts refused deliveries"
    assert states == {"completed": race.rounds}


class Workplace:
    """A task that waits until another delivery has been decided, and counts overlapping runs.

    Args:
        deliveries: The number of deliveries.
    """

    def __init__(self, deliveries: int) -> None:
        self.most: list[int] = []
        self._at_work = 0
        self._undecided = deliveries
        self._changed = threading.Condition()

    def __call__(self) -> list[int]:
        with self._changed:
            self._at_work += 1
            self.most.append(self._at_work)
            others = self._undecided - 1
            another = self._changed.wait_for(lambda: others == 0 or self._undecided <= others, 60)
            self._at_work -= 1
            assert another, "no other delivery was decided"
        return [1]

    def visited(self, delivery: Callable[[], TaskOutcome]) -> TaskOutcome:
        """Make a delivery and notify the running tasks of its decision."""
        outcome = delivery()
        with self._changed:
            self._undecided -= 1
            self._changed.notify_all()
        return outcome


def test_twenty_concurrent_ticks_never_overlap(world: World, race: Race) -> None:
    """Each tick runs alone or is skipped and recorded; no run stays running."""
    for number in race:
        place = Workplace(20)
        first = TICK + timedelta(hours=number)
        ticks = [delivery(first + timedelta(minutes=each), place) for each in range(20)]
        outcomes = at_once([partial(place.visited, tick) for tick in ticks])
        race.outcomes.update(outcome.status for outcome in outcomes)
        assert {outcome.status for outcome in outcomes} <= {"completed", "skipped"}
        assert max(place.most) == 1
        assert len(place.most) == sum(outcome.status == "completed" for outcome in outcomes)
    history = world.history()
    assert len(history) == 20 * race.rounds
    assert {run["state"] for run in history.values()} == {"completed", "skipped"}


class Instance(Clock):
    """An instance that is frozen while its task runs, and its clock.

    Args:
        wave: The number of leases that have expired before it starts.
    """

    def __init__(self, wave: int) -> None:
        self.wave = wave
        self.engine = TaskEngine(clock=self)
        self._leases_passed = wave
        self._goes_on = threading.Event()

    def now(self) -> datetime:
        return super().now() + LEASE_IS_OVER * self._leases_passed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if self._goes_on.is_set():
            return super().wait(event, seconds)
        self.stands_still()
        return event.is_set()  # if not set, its lease should have been extended long ago

    def stands_still(self) -> None:
        assert self._goes_on.wait(60), "the instance was not resumed"

    def goes_on(self, leases_passed: int) -> None:
        self._leases_passed = leases_passed
        self._goes_on.set()


class Relay:
    """Waves of ticks; each starts once the lease of the last holder has expired, while that one is frozen.

    Args:
        number: The round, which determines where results are stored and when holders resume.

    Attributes:
        holders: The runs that acquired the task, one for each wave.
    """

    def __init__(self, number: int) -> None:
        self.save_in = ("db", "storage")[number % 2]
        self.holders: dict[str, Instance] = {}
        self._first = TICK + timedelta(days=1, hours=number)
        self._at_once = number // 2 % 2 == 0
        self._others: list[str] = []
        self._changed = threading.Condition()

    def start_wave(self, wave: int) -> Started:
        """Deliver its ticks concurrently; return once one of them holds the task."""
        ticks = [self._first + timedelta(minutes=wave, seconds=each) for each in range(TICKS)]
        calls = started([partial(self._deliver, tick, Instance(wave)) for tick in ticks])
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.holders) > wave, 60), "no run acquired the task"
        return calls

    def go_on(self) -> None:
        """Resume all frozen instances at once, when no other run can acquire the task."""
        with self._changed:
            others = WAVES * (TICKS - 1)
            assert self._changed.wait_for(lambda: len(self._others) == others, 60), (
                "other deliveries are undecided"
            )
        for holder in self.holders.values():
            holder.goes_on(WAVES)

    def _deliver(self, tick: datetime, instance: Instance) -> TaskOutcome:
        options = {"scheduled_for": tick, "save_in": self.save_in, "debug_logs": False}
        outcome = instance.engine.execute_task("s", TASK, partial(self._work, instance), options)
        with self._changed:
            self._others += [outcome.run_id] * (outcome.run_id not in self.holders)
            self._changed.notify_all()
        return outcome

    def _work(self, instance: Instance, run: TaskRun) -> list[str]:
        with self._changed:
            if len(self.holders) > instance.wave:  # the wave has a holder, so this run must not start
                instance.goes_on(instance.wave)
                return [run.run_id]
            before = list(self.holders.values())[-1:]
            self.holders[run.run_id] = instance
            self._changed.notify_all()
        if self._at_once:
            for holder in before:
                holder.goes_on(instance.wave)
        instance.stands_still()
        return [run.run_id]


def test_runs_that_lose_their_lease_do_not_publish(world: World, race: Race) -> None:
    """A resumed run finds the task taken over; the newest holder's result stays."""
    for number in race:
        relay = Relay(number)
        waves = [relay.start_wave(wave) for wave in range(WAVES)]
        relay.go_on()
        outcomes = {outcome.run_id: outcome.status for wave in waves for outcome in ended(wave)}
        race.outcomes.update(outcomes.values())
        *lost, newest = relay.holders
        assert outcomes.pop(newest) == "completed"
        assert {outcomes.pop(run_id) for run_id in lost} <= {"lost", "superseded"}
        assert set(outcomes.values()) == {"skipped"}
        run = world.status()["run"]
        assert (run["id"], run["state"], run["result"]["run_id"]) == (newest, "completed", newest)
        for engine in (TaskEngine(), *(holder.engine for holder in relay.holders.values())):
            assert engine.get_task_data(TASK) == [newest]
        if relay.save_in == "storage":
            contract_copy = world.bucket.get_blob(contract_object(TASK))
            assert contract_copy.metadata["nx-version"] == run["result"]["version"]
    states = Counter(run["state"] for run in world.history().values())
    a_round = {"completed": 1, "failed": WAVES - 1, "skipped": WAVES * (TICKS - 1)}
    assert states == {state: number * race.rounds for state, number in a_round.items()}
