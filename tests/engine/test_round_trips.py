"""The round trips of a run to Firestore, counted on the wire."""

from shared.tasks import TaskEngine, TaskRun
from tests.support.counting import Counter
from tests.support.world import TASK, World


def test_a_cold_run_has_three_round_trips_and_a_warm_one_two(counted: TaskEngine, counter: Counter) -> None:
    """Read, start, finish; the instance that ran the task last needs no read."""
    counted.execute_task("s", TASK, lambda: [1])
    assert counter.calls == ["BatchGetDocuments", "Commit", "Commit"]
    counter.calls.clear()
    counted.execute_task("s", TASK, lambda: [2])
    assert counter.calls == ["Commit", "Commit"]


def test_a_failed_run_has_no_additional_round_trip(counted: TaskEngine, counter: Counter) -> None:
    """Afterwards the instance is as warm as after a completed run."""

    def fails() -> None:
        raise ValueError

    counted.execute_task("s", TASK, lambda: [1])
    counter.calls.clear()
    counted.execute_task("s", TASK, fails)
    counted.execute_task("s", TASK, lambda: [1])
    assert counter.calls == ["Commit"] * 4


def test_the_log_of_a_run_is_one_more_write_of_its_last_commit(counted: TaskEngine, counter: Counter) -> None:
    """A task that logs nothing has no more writes than before."""

    def logs(run: TaskRun) -> None:
        run.log.info("read")
        run.log.info("read again")

    counted.execute_task("s", TASK, lambda: [1])
    counter.calls.clear()
    counter.writes.clear()
    counted.execute_task("s", TASK, lambda: [1])
    counted.execute_task("s", TASK, logs)
    assert counter.calls == ["Commit"] * 4
    assert counter.writes == [2, 2, 2, 3]


def test_a_log_that_is_stored_with_the_progress_is_not_written_again(
    counted: TaskEngine, counter: Counter
) -> None:
    """The task has logged nothing since."""

    def task(run: TaskRun) -> None:
        run.log.info("read")
        run.progress(1)

    counted.execute_task("s", TASK, task)
    assert counter.calls == ["BatchGetDocuments", "Commit", "Commit", "Commit"]
    assert counter.writes == [2, 2, 2]


def test_a_warm_instance_with_a_stale_state_reads_again(counted: TaskEngine, counter: Counter) -> None:
    """The stale state only causes a refused commit."""
    counted.execute_task("s", TASK, lambda: [1])
    TaskEngine().execute_task("s", TASK, lambda: [2])
    counter.calls.clear()
    assert counted.execute_task("s", TASK, lambda: [3]).status == "completed"
    assert counter.calls == ["Commit", "BatchGetDocuments", "Commit", "Commit"]


def test_a_duplicate_delivery_has_one_read(counted: TaskEngine, counter: Counter, world: World) -> None:
    """And no write."""
    from datetime import UTC, datetime  # noqa: PLC0415

    tick = {"scheduled_for": datetime(2026, 11, 24, tzinfo=UTC)}
    TaskEngine().execute_task("s", TASK, lambda: [1], tick)
    before = world.database.document(f"nx-tasks/{TASK.value}").get().update_time
    assert counted.execute_task("s", TASK, lambda: [2], tick).status == "duplicate"
    assert counter.calls == ["BatchGetDocuments"]
    assert world.database.document(f"nx-tasks/{TASK.value}").get().update_time == before


def test_a_reader_reads_the_document_once_and_then_only_the_version(
    counted: TaskEngine, counter: Counter
) -> None:
    """A cold read is one call; within max-age there is none."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert [counted.get_task_data(TASK) for _ in range(3)] == [[1]] * 3
    assert counter.calls == ["BatchGetDocuments"]
