"""Views of tasks and their run history on the real Firestore, and the calls that they need."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from shared.tasks import TaskEngine, TaskName, TaskRun
from shared.tasks.admin.queries import view_history, view_last_changed, view_record, view_tasks
from shared.tasks.admin.views import TaskView
from shared.tasks.documents import operator_writes, run_writes, watchdog_writes
from shared.tasks.documents.actions import Action
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.documents.write_messages import record_change
from shared.tasks.protocol.decisions import Skip
from tests.support.counting import Counter
from tests.support.paged_run import DEADLINE, PagedRun
from tests.support.world import TASK, World, in_thread
from tests.waiting import wait_for

ALL = tuple(sorted(TaskName))
#: A result that is large enough to be noticed if it is read.
LARGE = ["x" * 100_000]
#: Largest size of a small document in bytes.
SMALL = 1_000


def see(engine: TaskEngine, name: TaskName = TASK) -> TaskView:
    """The view of a task."""
    (task,) = view_tasks(engine.store, (name,))
    return task


def test_all_idle_tasks_are_read_with_one_call_without_results(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """One small document each; the mask contains neither `data` nor the whole document."""
    for name in ALL:
        engine.execute_task("s", name, lambda: LARGE)
    assert [task.state for task in view_tasks(counted.store, ALL)] == ["completed"] * len(ALL)
    assert (counter.calls, counter.documents) == (["BatchGetDocuments"], len(ALL))
    assert counter.bytes < len(ALL) * SMALL
    (mask,) = counter.masks
    assert mask
    assert "data" not in mask


def test_a_running_task_needs_one_more_call(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """For its progress, which is in the run record."""
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        run.progress(1, 2, "half")
        assert goes_on.wait(60)

    thread, _ = in_thread(lambda: engine.execute_task("s", TASK, task))
    try:
        wait_for("progress", lambda: see(counted).progress)
        counter.calls.clear()
        assert see(counted).progress is not None
        assert counter.calls == ["BatchGetDocuments"] * 2
    finally:
        goes_on.set()
        thread.join()


def test_a_change_of_the_history_is_found_with_one_call(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """It reads only the time of the change of three documents, however long the history is."""
    run_ids = [engine.execute_task("s", TASK, lambda: LARGE).run_id for _ in range(5)]
    assert [record.id for record in view_last_changed(counted.store, TASK)] == run_ids[:1:-1]
    assert (counter.calls, counter.masks, counter.documents) == (["RunQuery"], [["changed"]], 3)
    assert counter.bytes < 3 * SMALL


@pytest.mark.parametrize("what", ["close", "incident", "cancel", "progress", "skip", "change", "refuse"])
def test_every_change_of_the_history_is_found(engine: TaskEngine, world: World, what: str) -> None:
    """Also in an older run, or of a record with an earlier time."""
    early = datetime(2026, 1, 1, tzinfo=UTC)
    names = engine.store.names(TASK)
    run = AttemptIdentity(names, "old", "t", "s")
    history = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/old")
    history.set({"state": "running", "started": early, "token": "t"})
    for _ in range(4):
        engine.execute_task("s", TASK, lambda: [1])
    before = view_last_changed(engine.store, TASK)
    status, record = engine.store.read_documents(TASK, "old")
    assert record is not None
    commits: dict[str, list[Any]] = {
        "close": run_writes.close_superseded(run.record_name, record, now=early),
        "incident": watchdog_writes.incident(names, "i", now=early, fields={"state": "missed_tick"}),
        "cancel": operator_writes.cancel(
            names, replace(status, run_id="old"), Action("o", "r", early), now=early
        ),
        "progress": run_writes.progress(run, True, {"done": 1, "total": 2, "message": "", "at": early}),
        "skip": run_writes.skip(run, Skip("suspended"), now=early),
        "change": [record_change(names, "requested", Action("ops", "why", early), now=early)],
        "refuse": run_writes.refuse(run, "busy", now=early),
    }
    engine.store.commit(commits[what])
    after = view_last_changed(engine.store, TASK)
    assert after[0].id.startswith(("old", "i", "2026-01-01"))
    assert after != before
    assert after[-1] in before


def test_records_with_the_same_time_are_on_exactly_one_page(engine: TaskEngine, world: World) -> None:
    """Pages continue after a record, not after its time."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    runs = world.database.collection(f"nx-tasks/{TASK.value}/nx-runs")
    for number in range(5):
        runs.document(f"r{number}").set({"state": "completed", "started": moment})
    pages, after = [], None
    while True:
        page = view_history(engine.store, TASK, limit=2, after=after)
        pages.append([record.id for record in page.records])
        after = page.next
        if after is None:
            break
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]


@pytest.mark.usefixtures("world")
def test_a_run_that_waits_for_its_next_leg_is_shown_as_running() -> None:
    """With its leg, its deadline, its positions and the progress of all legs; a filter finds it."""
    run = PagedRun.waiting(TASK, leg=3)
    store, waits_since = run.engine.store, run.clock.now()
    task = see(run.engine)
    assert (task.state, task.status, task.is_running) == ("running", "running", True)
    assert (task.document.started, task.waiting_since) == (run.tick, waits_since)
    (listed,) = view_history(store, TASK, limit=5, states=("running",)).records
    record = view_record(store, TASK, run.run_id)
    assert record is not None
    for shown in (task, record):
        assert shown.progress is not None
        assert (shown.progress.done, shown.progress.total) == (10, 12)
        assert shown.checkpoint is not None
        assert (shown.checkpoint.steps, shown.checkpoint.positions) == (1, {"pages of north": "10"})
    for each in (listed, record):
        assert each.legs is not None
        assert (each.state, each.legs.number, each.legs.worked_ms) == ("running", 3, 3_000_000)
        assert each.legs.deadline == run.tick + DEADLINE
        assert each.waiting_since is not None
        assert listed.started == run.tick
    assert run.deliver(3).status == "completed"
    ended = view_record(store, TASK, run.run_id)
    assert ended is not None
    assert (ended.state, ended.waiting_since, ended.duration_seconds) == ("completed", None, 3600)
    assert view_history(store, TASK, limit=5, states=("running",)).records == ()


@pytest.mark.usefixtures("world")
def test_the_failure_of_a_leg_that_is_tried_again_is_not_that_of_the_run() -> None:
    run = PagedRun.waiting(TASK)
    run.fails = ValueError("no answer")
    assert run.deliver(2).status == "failed"
    task, record = see(run.engine), view_record(run.engine.store, TASK, run.run_id)
    assert record is not None
    failure = {"type": "ValueError", "message": "no answer"}
    assert (record.state, record.error, task.error) == ("running", None, None)
    assert task.last_failure == failure
    assert (record.last_failure or {}).items() > failure.items()
    assert record.waiting_since is not None


@pytest.mark.usefixtures("world")
def test_a_run_that_is_cancelled_between_two_legs_has_ended() -> None:
    """With the duration of its legs; it has no retries, as any run that failed after its first leg."""
    run = PagedRun.waiting(TASK)
    assert run.engine.cancel_run(TASK, run.run_id, by="ops", reason="why").value == "cancelled"
    task, record = see(run.engine), view_record(run.engine.store, TASK, run.run_id)
    assert record is not None
    assert (record.state, record.duration_seconds, record.waiting_since) == ("failed", 1500, None)
    assert (record.error or {})["type"] == "RunCancelled"
    assert (task.state, task.is_running, task.waiting_since, task.retries_end) == (
        "failed",
        False,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("status", "state"),
    [("running", "running"), ("completed", "completed"), ("failed", "failed"), ("suspeneded", None)],
)
def test_a_legacy_document_is_shown(engine: TaskEngine, world: World, status: str, state: str | None) -> None:
    """Without a run and a history; its suspension has no person."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    world.write({"status": status, "source": "ts", "data": [1], "completed": moment, "timestamp": moment})
    task = see(engine)
    assert (task.state, task.is_running, task.source) == (state, False, "ts")
    assert (task.status == "suspended") == (task.suspended is not None) == (status == "suspeneded")
    assert (task.result is not None) == (status == "completed")


@pytest.mark.parametrize("wrong", [5, "x", [1], {"a": 1}, None])
def test_fields_of_another_type_are_none(engine: TaskEngine, world: World, wrong: Any) -> None:
    """The other fields are shown."""
    fields = (
        "source",
        "error",
        "attempt",
        "duration_ms",
        "progress",
        "result",
        "by",
        "started",
        "scheduled_for",
    )
    record = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/r")
    record.set({"state": "failed", **dict.fromkeys(fields, wrong)})
    world.write(dict.fromkeys(("status", "source", "started", "error", "run"), wrong))
    found = view_record(engine.store, TASK, "r")
    assert found is not None
    assert (found.state, found.started, found.result, found.progress) == ("failed", None, None, None)
    assert see(engine).result is None
