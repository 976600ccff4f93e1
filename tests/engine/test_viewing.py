"""Looking at tasks and their history, on the real Firestore: what it tells, and what it costs."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from shared.tasks import TaskEngine, TaskName, TaskRun
from shared.tasks.admin.queries import view_history, view_last_changed, view_record, view_tasks
from shared.tasks.admin.views import TaskView
from shared.tasks.documents import operator_writes, run_writes, watchdog_writes
from shared.tasks.documents.models import Action
from shared.tasks.documents.run_writes import RunIdentity
from shared.tasks.documents.write_messages import record_change
from shared.tasks.protocol.decisions import Skip
from tests.engine.counting import Counter
from tests.engine.world import TASK, World, in_thread
from tests.waiting import wait_for

ALL = tuple(sorted(TaskName))
#: A result that is noticed where it is fetched.
LARGE = ["x" * 100_000]
#: Bytes of a small document at most.
SMALL = 1_000


def see(engine: TaskEngine, name: TaskName = TASK) -> TaskView:
    """A task as it stands."""
    (task,) = view_tasks(engine.store, (name,))
    return task


def test_all_tasks_at_rest_cost_one_call_that_fetches_no_result(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """One small document each; the mask has neither `data` nor all there is."""
    for name in ALL:
        engine.execute_task("s", name, lambda: LARGE)
    assert [task.state for task in view_tasks(counted.store, ALL)] == ["completed"] * len(ALL)
    assert (counter.calls, counter.documents) == (["BatchGetDocuments"], len(ALL))
    assert counter.bytes < len(ALL) * SMALL
    (mask,) = counter.masks
    assert mask
    assert "data" not in mask


def test_a_task_at_work_costs_one_more(engine: TaskEngine, counted: TaskEngine, counter: Counter) -> None:
    """For its progress, which is in its history."""
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


def test_whether_a_history_changed_costs_one_call(
    engine: TaskEngine, counted: TaskEngine, counter: Counter
) -> None:
    """Three small documents, however long it is, and of each no more than when it changed."""
    run_ids = [engine.execute_task("s", TASK, lambda: LARGE).run_id for _ in range(5)]
    assert [record.id for record in view_last_changed(counted.store, TASK)] == run_ids[:1:-1]
    assert (counter.calls, counter.masks, counter.documents) == (["RunQuery"], [["changed"]], 3)
    assert counter.bytes < 3 * SMALL


@pytest.mark.parametrize("what", ["close", "incident", "cancel", "progress", "skip", "change", "refuse"])
def test_whatever_changes_in_a_history_is_seen(engine: TaskEngine, world: World, what: str) -> None:
    """Also in a run that began before others, and what is recorded as of earlier than those."""
    early = datetime(2026, 1, 1, tzinfo=UTC)
    documents = engine.store.documents
    run = RunIdentity(documents, TASK, "old", "t", "s")
    history = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/old")
    history.set({"state": "running", "started": early, "token": "t"})
    for _ in range(4):
        engine.execute_task("s", TASK, lambda: [1])
    before = view_last_changed(engine.store, TASK)
    status, record = engine.store.read_for_decision(TASK, "old")
    assert record is not None
    commits: dict[str, list[Any]] = {
        "close": run_writes.close_superseded(run.history_name, record, now=early),
        "incident": watchdog_writes.incident(
            documents, TASK, "i", now=early, fields={"state": "missed_tick"}
        ),
        "cancel": operator_writes.cancel(
            documents, TASK, replace(status, run_id="old"), Action("o", "r", early), now=early
        ),
        "progress": run_writes.progress(run, None, {"done": 1, "total": 2, "message": "", "at": early}),
        "skip": run_writes.skip(run, Skip("suspended"), now=early),
        "change": [record_change(documents, TASK, "requested", Action("ops", "why", early), now=early)],
        "refuse": run_writes.refuse(run, "busy", now=early),
    }
    engine.store.commit(commits[what])
    after = view_last_changed(engine.store, TASK)
    assert after[0].id.startswith(("old", "i", "2026-01-01"))
    assert after != before
    assert after[-1] in before


def test_records_of_one_moment_are_each_on_one_page(engine: TaskEngine, world: World) -> None:
    """Pages go on from a record, not from its time."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    runs = world.database.collection(f"nx-tasks/{TASK.value}/nx-runs")
    for number in range(5):
        runs.document(f"r{number}").set({"state": "completed", "started": moment})
    seen, after = [], None
    while True:
        page = view_history(engine.store, TASK, limit=2, after=after)
        seen.append([record.id for record in page.records])
        after = page.next
        if after is None:
            break
    assert seen == [["r4", "r3"], ["r2", "r1"], ["r0"]]


@pytest.mark.parametrize(
    ("status", "seen"),
    [("running", "running"), ("completed", "completed"), ("failed", "failed"), ("suspeneded", None)],
)
def test_a_document_of_the_originals_is_seen(
    engine: TaskEngine, world: World, status: str, seen: str | None
) -> None:
    """It tells no run and no history; its suspension nobody answers for."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    world.write({"status": status, "source": "ts", "data": [1], "completed": moment, "timestamp": moment})
    task = see(engine)
    assert (task.state, task.is_running, task.source) == (seen, False, "ts")
    assert (task.status == "suspended") == (task.suspended is not None) == (status == "suspeneded")
    assert (task.result is not None) == (status == "completed")


@pytest.mark.parametrize("wrong", [5, "x", [1], {"a": 1}, None])
def test_fields_of_another_kind_are_none(engine: TaskEngine, world: World, wrong: Any) -> None:
    """Whatever somebody wrote there, whoever looks is shown the rest."""
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
