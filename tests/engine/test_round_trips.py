"""What a run costs in round trips to Firestore, counted on the wire."""

from shared.tasks import TaskEngine
from tests.engine.counting import Counter
from tests.engine.world import TASK, World


def test_a_cold_run_costs_three_and_a_warm_one_two(counted: TaskEngine, counter: Counter) -> None:
    """Read, start, finish; the instance that ran the task last needs no read."""
    counted.execute_task("s", TASK, lambda: [1])
    assert counter.calls == ["BatchGetDocuments", "Commit", "Commit"]
    counter.calls.clear()
    counted.execute_task("s", TASK, lambda: [2])
    assert counter.calls == ["Commit", "Commit"]


def test_a_failed_run_costs_no_more(counted: TaskEngine, counter: Counter) -> None:
    """And leaves the instance as warm as a good one."""

    def fails() -> None:
        raise ValueError

    counted.execute_task("s", TASK, lambda: [1])
    counter.calls.clear()
    counted.execute_task("s", TASK, fails)
    counted.execute_task("s", TASK, lambda: [1])
    assert counter.calls == ["Commit"] * 4


def test_a_warm_instance_that_another_overtook_reads_again(counted: TaskEngine, counter: Counter) -> None:
    """What it remembers leads to a commit that is refused, and to nothing else."""
    counted.execute_task("s", TASK, lambda: [1])
    TaskEngine().execute_task("s", TASK, lambda: [2])
    counter.calls.clear()
    assert counted.execute_task("s", TASK, lambda: [3]).status == "completed"
    assert counter.calls == ["Commit", "BatchGetDocuments", "Commit", "Commit"]


def test_a_duplicate_delivery_costs_one_read(counted: TaskEngine, counter: Counter, world: World) -> None:
    """It is told from a read alone, and writes nothing."""
    from datetime import UTC, datetime  # noqa: PLC0415

    tick = {"scheduled_for": datetime(2026, 11, 24, tzinfo=UTC)}
    TaskEngine().execute_task("s", TASK, lambda: [1], tick)
    before = world.database.document(f"nx-tasks/{TASK.value}").get().update_time
    assert counted.execute_task("s", TASK, lambda: [2], tick).status == "duplicate"
    assert counter.calls == ["BatchGetDocuments"]
    assert world.database.document(f"nx-tasks/{TASK.value}").get().update_time == before


def test_a_reader_asks_once_and_then_for_the_version_alone(counted: TaskEngine, counter: Counter) -> None:
    """A cold read is one call; within max-age there is none."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert [counted.get_task_data(TASK) for _ in range(3)] == [[1]] * 3
    assert counter.calls == ["BatchGetDocuments"]
