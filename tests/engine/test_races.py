"""Many deliveries at once, on the real Firestore: one run each, whatever the order."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from shared.tasks import TaskEngine, TaskOutcome
from tests.engine.world import TASK, World

TICK = datetime(2026, 11, 24, tzinfo=UTC)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make all calls at the same moment, each on a thread of its own; return what they returned."""
    together = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def make(place: int, call: Callable[[], Any]) -> None:
        together.wait(60)
        results[place] = call()

    threads = [threading.Thread(target=make, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def delivery(tick: datetime, task: Callable[..., Any], **options: Any) -> Callable[[], TaskOutcome]:
    """A delivery to an instance of its own."""
    options = {"scheduled_for": tick, "debug_logs": False, **options}
    return lambda: TaskEngine().execute_task("s", TASK, task, options)


class Race:
    """Counts the rounds that are over, and what became of their deliveries."""

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
    """The rounds of this test, told to the report however it ends."""
    race = Race(200 if pytestconfig.getoption("--full") else 20)
    record_property("race", request.function.__name__.removeprefix("test_").replace("_", " "))
    yield race
    record_property("rounds", race.over)
    record_property("deliveries", race.outcomes.total())
    record_property("outcomes", dict(sorted(race.outcomes.items())))


def test_fifty_deliveries_of_one_tick_are_one_run(world: World, race: Race) -> None:
    """The task's body runs once a tick; all others are duplicates or told to come back."""
    for number in race:
        ran: list[int] = []
        tick = TICK + timedelta(minutes=number)
        outcomes = at_once([delivery(tick, partial(ran.append, 1)) for _ in range(50)])
        seen = Counter(outcome.status for outcome in outcomes)
        race.outcomes.update(seen)
        assert len(ran) == 1, seen
        assert seen["completed"] == 1, seen
        assert set(seen) <= {"completed", "duplicate", "busy"}, seen
    states = Counter(run["state"] for run in world.history().values())
    assert states == {"completed": race.rounds}


class Workplace:
    """Counts who is at work at the same time."""

    def __init__(self) -> None:
        self.at_work: list[int] = []
        self.most: list[int] = []

    def __call__(self) -> list[int]:
        self.at_work.append(1)
        self.most.append(len(self.at_work))
        self.at_work.pop()
        return [1]


def test_twenty_ticks_at_once_never_work_at_the_same_time(world: World, race: Race) -> None:
    """Each tick runs alone or is skipped and recorded; nothing is left running."""
    for number in race:
        place = Workplace()
        first = TICK + timedelta(hours=number)
        outcomes = at_once([delivery(first + timedelta(minutes=each), place) for each in range(20)])
        race.outcomes.update(outcome.status for outcome in outcomes)
        assert {outcome.status for outcome in outcomes} <= {"completed", "skipped"}
        assert max(place.most) == 1
        assert len(place.most) == sum(outcome.status == "completed" for outcome in outcomes)
    history = world.history()
    assert len(history) == 20 * race.rounds
    assert {run["state"] for run in history.values()} == {"completed", "skipped"}


def test_runs_that_lose_their_lease_midway_publish_nothing(world: World, race: Race) -> None:
    """With leases that end while the task works, the newest holder's result stands, in every round."""
    document = world.database.document(f"nx-tasks/{TASK.value}")

    def loses(number: int) -> list[str]:
        document.update({"run.lease_until": TICK})
        taken = TaskEngine().execute_task("s", TASK, lambda: [number], {"debug_logs": False})
        race.outcomes[taken.status] += 1
        return ["stale"]

    for number in race:
        tick = TICK + timedelta(days=1, minutes=number)
        save_in = ("db", "storage")[number % 2]
        outcome = delivery(tick, partial(loses, number), save_in=save_in)()
        race.outcomes[outcome.status] += 1
        assert outcome.status == "superseded"
        assert TaskEngine().get_task_data(TASK) == [number]
        assert world.status()["status"] == "completed"
    assert not any(run["state"] == "running" for run in world.history().values())
