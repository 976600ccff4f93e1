"""The records of many tasks in a time range, on the real Firestore, and the calls that they need."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import SERVER_TIMESTAMP

from shared.tasks import TaskEngine, TaskName
from shared.tasks.admin import timeline
from shared.tasks.admin.timeline import MAX_EARLIER, TIMELINE_MASK, view_changes, view_range
from tests.support.counting import Counter
from tests.support.world import TASK, World

ALL = tuple(sorted(TaskName))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LARGE = ["x" * 100_000]


def put(world: World, record_id: str, started: datetime, task: TaskName = TASK, **fields: Any) -> None:
    """Write a record of a run that took a minute."""
    record = {"state": "completed", "started": started, "completed": started + HOUR / 60, **fields}
    record["changed"] = SERVER_TIMESTAMP
    world.database.document(f"nx-tasks/{task.value}/nx-runs/{record_id}").set(record)


def ids(engine: TaskEngine, since: datetime, until: datetime) -> list[str]:
    """The ids of the task's records in a range."""
    part = view_range(engine.store, {TASK: None}, since=since, until=until)[TASK]
    assert part.next is None
    return [record.id for record in part.records]


def test_all_tasks_are_read_with_concurrent_queries_without_results(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """Two small queries per task: the records of the range, and the run that worked when it began."""
    since = datetime.now(UTC) - HOUR
    for name in ALL:
        engine.execute_task("s", name, lambda: LARGE)
    parts = view_range(counted.store, dict.fromkeys(ALL), since=since, until=since + 2 * HOUR)
    assert [[record.state for record in parts[name].records] for name in ALL] == [["completed"]] * len(ALL)
    assert counter.calls == ["RunQuery"] * 2 * len(ALL)
    assert {tuple(mask) for mask in counter.masks} == {TIMELINE_MASK}
    assert (counter.documents, counter.bytes < len(ALL) * 2_000) == (len(ALL), True)


def test_queries_are_sent_before_an_answer_has_arrived(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """Thirty tasks take as long as one: no query waits for another."""
    engine.execute_task("s", TASK, lambda: [1])
    order: list[str] = []
    counter.calls = Recorded(order, "call")  # type: ignore[assignment]
    answers = counter._counted

    def answered(received: Any) -> Any:
        for each in answers(received):
            order.append("answer")
            yield each

    counter._counted = answered  # type: ignore[method-assign]
    view_changes(counted.store, ALL, since=NOON)
    assert order[: len(ALL)] == ["call"] * len(ALL)
    assert "answer" in order


class Recorded(list[str]):
    """A list that records in another list that something was added."""

    def __init__(self, order: list[str], name: str) -> None:
        super().__init__()
        self._order, self._name = order, name

    def append(self, item: str) -> None:
        super().append(item)
        self._order.append(self._name)


def test_a_range_contains_the_runs_that_work_in_it(engine: TaskEngine, world: World) -> None:
    """Also those that started before it: one that ended in it, and one that still works."""
    put(world, "long before", NOON - 9 * HOUR)
    put(world, "ended before", NOON - HOUR)
    put(world, "across", NOON - HOUR / 2, completed=NOON + HOUR / 2)
    put(world, "skip before", NOON - HOUR / 3, state="skipped", completed=NOON - HOUR / 3)
    put(world, "first", NOON)
    put(world, "skip", NOON + HOUR / 4, state="skipped", completed=NOON + HOUR / 4)
    put(world, "last", NOON + HOUR - timedelta(microseconds=1))
    put(world, "after", NOON + HOUR)
    assert ids(engine, NOON, NOON + HOUR) == ["last", "skip", "first", "across"]
    put(world, "waits", NOON - HOUR / 5, state="waiting", completed=None)
    (*_, across) = view_range(engine.store, {TASK: None}, since=NOON, until=NOON + HOUR)[TASK].records
    assert ids(engine, NOON, NOON + HOUR)[-2:] == ["waits", "across"]
    assert (across.id, across.state) == ("across", "completed")


def test_each_task_is_read_in_its_own_pages(
    engine: TaskEngine, world: World, counted: TaskEngine, counter: Counter
) -> None:
    """Every record once; a call reads as many documents as the limit allows, and no finished task again."""
    busy, quiet = ALL[0], ALL[1]
    for number in range(25):
        put(world, f"r{number:02}", NOON + timedelta(minutes=number // 2), busy)  # two have the same time
    put(world, "only", NOON, quiet)
    pages: dict[TaskName, Any] = {busy: None, quiet: None}
    read: list[str] = []
    counts = []
    while pages:
        before = counter.documents
        parts = view_range(counted.store, pages, since=NOON, until=NOON + HOUR, limit=10)
        counts.append(counter.documents - before)
        read += [record.id for part in parts.values() for record in part.records]
        pages = {name: part.next for name, part in parts.items() if part.next is not None}
    assert sorted(read) == ["only", *(f"r{number:02}" for number in range(25))]
    assert counts == [11 + 1, 11, 5]
    assert counter.calls == ["RunQuery"] * (4 + 1 + 1)


def test_one_call_reads_a_bounded_number_of_records(
    engine: TaskEngine, world: World, counter: Counter, counted: TaskEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tasks there are."""
    monkeypatch.setattr(timeline, "MAX_RECORDS", 10 * len(ALL))
    for name in ALL:
        for number in range(14):
            put(world, f"r{number}", NOON + timedelta(minutes=number), name)
        for number in range(5):
            put(world, f"b{number}", NOON - timedelta(minutes=number + 1), name)
    parts = view_range(counted.store, dict.fromkeys(ALL), since=NOON, until=NOON + HOUR)
    assert {len(part.records) for part in parts.values()} == {11}  # ten, and the run that ended at noon
    assert counter.documents == len(ALL) * (11 + MAX_EARLIER)


def test_only_changed_records_are_read_again(
    engine: TaskEngine, world: World, counted: TaskEngine, counter: Counter
) -> None:
    """A new run, one that went on and an incident of long ago, and nothing if there was no change."""
    for number in range(5):
        put(world, f"r{number}", NOON + timedelta(minutes=number))
    put(world, "works", NOON + HOUR, state="running", completed=None)
    known = latest(world)
    put(world, "works", NOON + HOUR)
    put(world, "new", NOON + 2 * HOUR, ALL[1])
    put(world, "incident", NOON - 900 * HOUR, state="missed_tick")
    changes = view_changes(counted.store, ALL, since=known + timedelta(microseconds=1))
    assert {name: [each.id for each in records] for name, records in changes.records.items()} == {
        TASK: ["works", "incident"],
        ALL[1]: ["new"],
    }
    assert changes.known_until is None
    assert (counter.calls, counter.documents) == (["RunQuery"] * len(ALL), 3)
    counter.documents = 0
    changes = view_changes(counted.store, ALL, since=latest(world) + timedelta(microseconds=1))
    assert (changes.records, changes.known_until, counter.documents) == ({}, None, 0)


def latest(world: World) -> datetime:
    """The time of the last write to the history of any task."""
    return max(
        record["changed"] for name in ALL for record in world.history(name).values() if "changed" in record
    )


def test_many_changes_are_read_in_parts(engine: TaskEngine, world: World) -> None:
    """Each part ends at the time up to which all changes are known; none is left out."""
    for number in range(35):
        put(world, f"r{number:02}", NOON)
    read, since, parts = set(), NOON, 0
    while True:
        changes = view_changes(engine.store, ALL, since=since, limit=10)
        read |= {record.id for record in changes.records.get(TASK, ())}
        parts += 1
        if changes.known_until is None:
            break
        assert changes.known_until > since
        since = changes.known_until
    assert (len(read), parts >= 4) == (35, True)
