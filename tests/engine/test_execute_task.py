"""`execute_task` on the real Firestore and Storage, with each behaviour of the contract."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from shared import firebase
from shared.tasks import TaskEngine, TaskOutcome, TaskRun
from shared.tasks.backends.storage import Objects
from tests.support.counting import Counter
from tests.support.values import nested
from tests.support.world import TASK, HandClock, World, in_thread
from tests.waiting import wait_for

TICK = datetime(2026, 11, 24, 12, 5, tzinfo=UTC)
MINE = {"run", "data", "source", "status", "started", "completed", "timestamp", "error"}


def fails() -> None:
    raise ValueError("boom")


def test_the_initial_status_is_written_before_the_task_starts(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "Initial status": source, running, started, timestamp, an empty error."""
    initial: dict[str, Any] = {}
    before = datetime.now(UTC)
    engine.execute_task("scheduler", TASK, lambda: initial.update(world.status()))
    assert (initial["source"], initial["status"], initial["error"]) == ("scheduler", "running", "")
    assert before <= initial["started"] == initial["timestamp"] <= datetime.now(UTC)
    assert "completed" not in initial
    assert set(initial) < MINE


@pytest.mark.parametrize("options", [None, {"save_in": "db"}])
def test_a_completed_run_writes_its_status_and_data(engine: TaskEngine, world: World, options: Any) -> None:
    """docs/contract.md, "Success handling": completed, completed and timestamp, `data` the object itself."""
    outcome = engine.execute_task("s", TASK, lambda: [{"id": "1", "health": "good"}], options)
    status = world.status()
    assert (outcome.status, outcome.error) == ("completed", None)
    assert (status["status"], status["error"]) == ("completed", "")
    assert status["data"] == [{"id": "1", "health": "good"}]
    assert status["started"] <= status["completed"] == status["timestamp"]
    assert set(status) == MINE


def test_a_failed_run_writes_its_error(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "Error handling": failed, completed, timestamp, the message, also in the outcome."""
    outcome = engine.execute_task("s", TASK, fails)
    status = world.status()
    assert (outcome.status, outcome.error) == ("failed", "ValueError: boom")
    assert (status["status"], status["error"]) == ("failed", "ValueError: boom")
    assert status["started"] <= status["completed"] == status["timestamp"]


def test_save_in_none_saves_no_data(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "TaskSaveOptions": only the instance that ran the task has the result."""
    engine.execute_task("s", TASK, lambda: {"sent": True}, {"save_in": "none"})
    assert world.status()["data"] == "no data to save"
    assert engine.get_task_data(TASK) == {"sent": True}
    assert TaskEngine().get_task_data(TASK) == []


def test_a_result_of_none_removes_the_result(engine: TaskEngine, world: World) -> None:
    """The only way in which readers lose a result."""
    engine.execute_task("s", TASK, lambda: [1])
    engine.execute_task("s", TASK, lambda: None)
    assert world.status()["data"] == "no data to save"
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == []


def test_save_in_storage_uploads_an_object_and_signs_its_url(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "TaskSaveOptions": JSON, `data` is a URL that reads it, and the result is cached."""
    outcome = engine.execute_task("s", TASK, lambda: [{"n": 1}], {"save_in": "storage"})
    url = world.status()["data"]
    answer = requests.get(url, timeout=10)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == [{"n": 1}]
    assert outcome.run_id in url
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == [{"n": 1}]


def test_a_stored_object_is_one_gzip_member_with_plain_json(engine: TaskEngine, world: World) -> None:
    """Both the result object and the contract copy."""
    engine.execute_task("s", TASK, lambda: {"a": 1}, {"save_in": "storage"})
    own = world.status()["run"]["result"]["object"]
    assert world.objects() == {own, "tasks_data/collect_charge_cdrs.json"}
    for path in world.objects():
        blob = world.bucket.get_blob(path)
        assert (blob.content_encoding, blob.content_type) == ("gzip", "application/json")
        assert blob.metadata == {"nx-version": world.status()["run"]["result"]["version"]}
        assert blob.download_as_bytes(raw_download=True).startswith(b"\x1f\x8b")


@pytest.mark.parametrize(
    "value", [7, 0, False, "", "hello", "https://example.com/not-a-pointer", 1.5, [], {}]
)
@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_falsy_scalar_or_url_like_result_is_read_back_warm_and_cold(
    engine: TaskEngine, world: World, value: Any, save_in: str
) -> None:
    """It is never read as a missing result or a pointer (lessons 1, 2, 3, 15, 20)."""
    engine.execute_task("s", TASK, lambda: [1, 2], {"save_in": save_in})
    engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == value
    stored = world.status()["run"]["result"]["saved_in"] == "storage"
    assert stored == (save_in == "storage" and isinstance(value, list | dict))


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_result_equal_to_the_text_for_no_data_is_a_result(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """`run` distinguishes the engine's texts in `data` and `error` from those of a task (lesson 29)."""
    engine.execute_task("s", TASK, lambda: "no data to save", {"save_in": save_in})
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == "no data to save"
    engine.execute_task("s", TASK, lambda: ["no data to save"], {"save_in": save_in})
    assert TaskEngine().get_task_data(TASK) == ["no data to save"]

    def says_nothing() -> None:
        raise ValueError

    engine.execute_task("s", TASK, says_nothing, {"save_in": save_in})
    assert (world.status()["run"]["state"], world.status()["error"]) == ("failed", "ValueError")


def test_two_results_are_never_merged(engine: TaskEngine, world: World) -> None:
    """A map replaces a map completely, whichever run is slower (lesson 7)."""
    engine.execute_task("s", TASK, lambda: {"old": 1, "both": {"a": 1}})
    engine.execute_task("s", TASK, lambda: {"new": 1, "both": {"b": 1}})
    assert world.status()["data"] == {"new": 1, "both": {"b": 1}}

    def is_overtaken() -> dict[str, int]:
        past = datetime.now(UTC) - timedelta(minutes=1)
        world.database.document(f"nx-tasks/{TASK.value}").update({"run.lease_until": past})
        TaskEngine().execute_task("s", TASK, lambda: {"newest": 1})
        return {"slow": 1}

    assert engine.execute_task("s", TASK, is_overtaken).status == "superseded"
    assert world.status()["data"] == {"newest": 1}


def test_the_last_result_is_served_during_the_next_run(engine: TaskEngine, world: World) -> None:
    """The start write changes only the status (lesson 5)."""
    engine.execute_task("s", TASK, lambda: [1])
    found: list[Any] = []
    engine.execute_task("s", TASK, lambda: found.append((world.status(), TaskEngine().get_task_data(TASK))))
    status, data = found[0]
    assert (status["status"], status["data"], data) == ("running", [1], [1])


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_failure_keeps_the_last_good_result(engine: TaskEngine, world: World, save_in: str) -> None:
    """All instances continue to serve it, and its object stays (lesson 6)."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": save_in})
    before = world.objects()
    engine.execute_task("s", TASK, fails, {"save_in": save_in})
    assert world.status()["status"] == "failed"
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == [1]
    assert world.objects() == before


def test_an_object_is_only_read_with_its_own_status(world: World) -> None:
    """Before and after each call of a run a cold reader gets one consistent result (lesson 22)."""
    objects, read = Objects(firebase.bucket), []
    engine = TaskEngine(objects=objects)
    engine.execute_task("s", TASK, lambda: ["old"], {"save_in": "storage"})

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def calls(*arguments: Any, **options: Any) -> Any:
            read.append(read_by_others())
            answer = call(*arguments, **options)
            read.append(read_by_others())
            return answer

        return calls

    def read_by_others() -> tuple[Any, Any, Any]:
        cold = TaskEngine()
        return world.status()["status"], cold.get_task_data(TASK), cold.get_task_data_from_storage(TASK)

    for name in ("write", "copy"):
        setattr(objects, name, watched(getattr(objects, name)))
    engine.store.commit = watched(engine.store.commit)  # type: ignore[method-assign]  # commits for real
    engine.execute_task("s", TASK, lambda: ["new"], {"save_in": "storage"})
    old, new = ("running", ["old"], ["old"]), ("completed", ["new"], ["new"])
    start, upload, finish, copied = [("completed", *old[1:]), old], [old, old], [old, new], [new, new]
    assert read == [*start, *upload, *finish, *copied]


def test_a_result_is_read_after_its_signed_url_has_expired(engine: TaskEngine, world: World) -> None:
    """After seven days, or if it never worked (lesson 23)."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    dead = "https://storage.googleapis.com/gone?X-Goog-Signature=expired"
    world.database.document(f"nx-tasks/{TASK.value}").update({"data": dead})
    assert TaskEngine().get_task_data(TASK) == TaskEngine().get_task_data_from_storage(TASK) == [1]


def test_the_literal_contract_overwrites_the_whole_document(engine: TaskEngine, world: World) -> None:
    """`keep_last_result=False` is the contract's `merge: false`: there is no data during the run."""
    engine.execute_task("s", TASK, lambda: [1])
    found: list[Any] = []
    engine.execute_task("s", TASK, lambda: found.append(world.status()), {"keep_last_result": False})
    assert "data" not in found[0]
    assert "completed" not in found[0]


def test_debug_logs_have_start_and_completion_with_the_duration(
    engine: TaskEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/contract.md, "Options": on by default; when off, only failures are logged."""
    engine.execute_task("s", TASK, lambda: 1)
    logged = capsys.readouterr().out
    assert "task started task=collect_charge_cdrs run_id=" in logged
    assert "task completed" in logged
    assert "duration_seconds=" in logged
    engine.execute_task("s", TASK, lambda: 1, {"debug_logs": False})
    assert capsys.readouterr().out == ""
    engine.execute_task("s", TASK, fails, {"debug_logs": False})
    assert "ERROR task failed" in capsys.readouterr().out


def test_logs_contain_neither_data_nor_signed_urls(
    engine: TaskEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only identities and figures (lesson 23)."""
    engine.execute_task("s", TASK, lambda: ["secret-payload"], {"save_in": "storage"})
    logged = capsys.readouterr().out
    assert "secret-payload" not in logged
    assert "http" not in logged


async def asynchronous(run: TaskRun) -> str:
    await asyncio.sleep(0)
    return run.source


def test_async_tasks_run_even_under_a_running_event_loop(engine: TaskEngine) -> None:
    assert engine.execute_task("s", TASK, asynchronous).status == "completed"

    async def caller() -> TaskOutcome:
        return engine.execute_task("from a loop", TASK, asynchronous)

    assert asyncio.run(caller()).status == "completed"
    assert engine.get_task_data(TASK) == "from a loop"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_base_exception_is_recorded_and_raised_again(
    engine: TaskEngine, world: World, kind: type[BaseException]
) -> None:
    """A process that is being ended leaves no run in the state running."""

    def ends() -> None:
        raise kind

    with pytest.raises(kind):
        engine.execute_task("s", TASK, ends)
    status = world.status()
    assert (status["status"], status["error"]) == ("failed", kind.__name__)


def test_the_history_has_the_figures_of_each_run_without_its_data(engine: TaskEngine, world: World) -> None:
    """One small document for each run, removed by TTL after 30 days."""
    done = engine.execute_task("cron", TASK, lambda: ["payload"], {"scheduled_for": TICK})
    failed = engine.execute_task("cron", TASK, fails)
    history = world.history()
    assert set(history) == {done.run_id, failed.run_id}
    first, second = history[done.run_id], history[failed.run_id]
    assert done.run_id == "2026-11-24T12:05:00.000000Z"
    assert (first["state"], first["attempt"], first["source"], first["scheduled_for"]) == (
        "completed",
        1,
        "cron",
        TICK,
    )
    assert (first["result"]["size_bytes"], first["result"]["count"]) == (len('["payload"]'), 1)
    assert first["result"]["version"] == world.status()["run"]["result"]["version"]
    assert "payload" not in str(history)
    assert (second["state"], second["error"]["type"], second["error"]["message"]) == (
        "failed",
        "ValueError",
        "boom",
    )
    assert "fails" in second["error"]["traceback"]
    for run in (first, second):
        assert run["expire_at"] - run["completed"] == timedelta(days=30)
        assert run["duration_ms"] >= 0


def test_the_engine_s_fields_are_in_one_map(engine: TaskEngine, world: World) -> None:
    """Besides the contract's fields there is only `run`."""
    outcome = engine.execute_task("s", TASK, lambda: [1])
    status = world.status()
    assert set(status) == MINE
    run = status["run"]
    assert (run["id"], run["attempt"], run["state"]) == (outcome.run_id, 1, "completed")
    assert "lease_until" not in run
    assert run["result"]["saved_in"] == "db"
    assert run["result"]["completed"] == status["completed"]


def test_a_duplicate_delivery_does_not_run_the_task(engine: TaskEngine, world: World) -> None:
    """On the same instance or another one."""
    ran: list[int] = []
    options = {"scheduled_for": TICK}
    first = engine.execute_task("s", TASK, lambda: ran.append(1), options)
    again = engine.execute_task("s", TASK, lambda: ran.append(1), options)
    elsewhere = TaskEngine().execute_task("s", TASK, lambda: ran.append(1), options)
    assert (first.status, again.status, elsewhere.status) == ("completed", "duplicate", "duplicate")
    assert ran == [1]
    assert set(world.history()) == {first.run_id}


def test_a_tick_during_another_run_is_skipped_and_recorded(engine: TaskEngine, world: World) -> None:
    """Two runs of a task never overlap; the record names the holder."""
    at_work, go_on = threading.Event(), threading.Event()

    def slow() -> list[int]:
        at_work.set()
        go_on.wait(30)
        return [1]

    thread, outcome = in_thread(lambda: engine.execute_task("s", TASK, slow))
    assert at_work.wait(30)
    skipped = TaskEngine().execute_task("s", TASK, fails, {"scheduled_for": TICK})
    go_on.set()
    thread.join(30)
    assert skipped.status == "skipped"
    record = world.history()[f"{skipped.run_id}.skipped"]
    assert (record["state"], record["reason"], record["holder"]) == ("skipped", "overlap", outcome[0].run_id)
    assert outcome[0].status == "completed"
    assert world.status()["data"] == [1]


def test_another_delivery_of_a_running_tick_is_busy(engine: TaskEngine, world: World) -> None:
    """Not skipped: if the attempt dies, Cloud Scheduler's retry must still be delivered."""
    options = {"scheduled_for": TICK}
    inner: list[TaskOutcome] = []
    engine.execute_task(
        "s", TASK, lambda: inner.append(TaskEngine().execute_task("s", TASK, fails, options)), options
    )
    assert inner[0].status == "busy"
    run_id = inner[0].run_id
    assert set(world.history()) == {run_id, f"{run_id}.refused"}


def test_the_retry_of_a_failed_tick_is_the_next_attempt_of_its_run(engine: TaskEngine, world: World) -> None:
    """Cloud Scheduler's retry has the same tick; one record has all attempts."""
    options = {"scheduled_for": TICK}
    assert engine.execute_task("s", TASK, fails, options).status == "failed"
    again = engine.execute_task("s", TASK, lambda: [1], options)
    assert again.status == "completed"
    run = world.history()[again.run_id]
    assert (run["attempt"], run["state"], "error" in run) == (2, "completed", False)
    assert world.status()["error"] == ""


@pytest.mark.parametrize("spelling", ["suspeneded", "suspended"])
def test_a_tick_of_a_suspended_task_is_skipped_and_recorded(
    engine: TaskEngine, world: World, spelling: str
) -> None:
    """In either spelling of the status."""
    world.write({"status": spelling, "data": [1]})
    outcome = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK})
    assert (outcome.status, outcome.error) == ("skipped", "suspended")
    assert world.status() == {"status": spelling, "data": [1]}
    assert world.history()[f"{outcome.run_id}.skipped"]["reason"] == "suspended"


def test_a_suspension_during_a_run_survives_its_end(engine: TaskEngine, world: World) -> None:
    """The run publishes its result; the status stays suspended."""
    reference = world.database.document(f"nx-tasks/{TASK.value}")

    def suspends() -> list[int]:
        reference.update({"status": "suspeneded", "run.suspended": {"by": "me", "reason": "works"}})
        return [1]

    assert engine.execute_task("s", TASK, suspends).status == "completed"
    status = world.status()
    assert (status["status"], status["run"]["state"], status["data"]) == ("suspeneded", "completed", [1])
    assert engine.execute_task("s", TASK, fails).status == "skipped"


def test_a_task_past_its_deadline_is_recorded_as_failed_in_time(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """A hung task does not block its caller; while it runs, its instance starts no other run."""
    go_on = threading.Event()

    def endless() -> None:
        clock.ahead += 100
        go_on.wait(30)

    outcome = engine.execute_task("s", TASK, endless, {"deadline_seconds": 50, "lease_seconds": 0.3})
    assert (outcome.status, outcome.error) == (
        "failed",
        "DeadlineExceeded: the task was still at work after 50 s",
    )
    assert world.status()["status"] == "failed"
    assert outcome.duration_seconds >= 100  # until now, because the task has not ended
    (run,) = world.history().values()
    assert run["duration_ms"] >= 100_000
    first, *_ = run["error"]["traceback"].splitlines()
    assert first.startswith("tests/engine/test_execute_task.py:")
    assert first.endswith(" in endless: go_on.wait(30)")
    assert engine.execute_task("s", TASK, lambda: 1).status == "busy"
    go_on.set()
    wait_for(
        "the thread to end", lambda: engine.execute_task("s", TASK, lambda: [2]).status != "busy" or None
    )
    assert world.status()["data"] == [2]


def test_a_run_that_was_taken_over_does_not_publish(engine: TaskEngine, world: World) -> None:
    """Its lease expired and another acquired the task; status, data, object and cache stay (lesson 7)."""
    reference = world.database.document(f"nx-tasks/{TASK.value}")
    inner: list[TaskOutcome] = []

    def loses() -> list[str]:
        reference.update({"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)})
        inner.append(TaskEngine().execute_task("s", TASK, lambda: ["new"], {"save_in": "storage"}))
        return ["old"]

    outcome = engine.execute_task("s", TASK, loses, {"save_in": "storage", "scheduled_for": TICK})
    assert (outcome.status, inner[0].status) == ("superseded", "completed")
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == ["new"]
    history = world.history()
    assert history[outcome.run_id]["state"] == "failed"
    assert history[outcome.run_id]["error"]["type"] == "LeaseExpired"
    assert history[inner[0].run_id]["state"] == "completed"
    own = world.status()["run"]["result"]["object"]
    assert world.objects() == {own, "tasks_data/collect_charge_cdrs.json"}
    contract_copy = world.bucket.blob("tasks_data/collect_charge_cdrs.json").download_as_bytes()
    assert contract_copy == b'["new"]'


def test_a_lease_is_extended_during_the_run(engine: TaskEngine, world: World) -> None:
    """Before it expires."""

    def waits() -> list[Any]:
        first = world.status()["run"]["lease_until"]
        later = wait_for("another lease", lambda: moved(world.status()["run"]["lease_until"], first))
        return [later > first]

    def moved(now: datetime, first: datetime) -> datetime | None:
        return now if now != first else None

    engine.execute_task("s", TASK, waits, {"lease_seconds": 1.5, "deadline_seconds": 30})
    assert world.status()["data"] == [True]


def test_a_run_that_lost_its_lease_is_stopped_at_its_next_check(engine: TaskEngine, world: World) -> None:
    """`run.check()` and `run.progress()` raise; the outcome is lost."""
    reference = world.database.document(f"nx-tasks/{TASK.value}")

    def works(run: TaskRun) -> list[str]:
        reference.update({"run.token": "another"})
        while True:
            run.check()

    outcome = engine.execute_task("s", TASK, works, {"lease_seconds": 1.5, "deadline_seconds": 30})
    assert outcome.status == "lost"
    assert "data" not in world.status()


def test_progress_is_in_the_run_record(engine: TaskEngine, world: World) -> None:
    """It can be read during the run; the status document does not change."""
    found: list[Any] = []

    def works(run: TaskRun) -> None:
        before = world.database.document(f"nx-tasks/{TASK.value}").get().update_time
        run.progress(3, 10, "reading")
        after = world.database.document(f"nx-tasks/{TASK.value}").get().update_time
        found.extend([world.history()[run.run_id]["progress"], before == after])

    engine.execute_task("s", TASK, works)
    assert (found[0]["done"], found[0]["total"], found[0]["message"], found[1]) == (3, 10, "reading", True)


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
def test_the_last_progress_is_written_with_the_outcome(
    counted: TaskEngine, world: World, counter: Counter, *, fails: bool
) -> None:
    """Reports within one second are not lost and need no additional write."""

    def works(run: TaskRun) -> list[int]:
        for number in range(58):
            run.progress(number, 100, f"record {number}")
        if fails:
            raise ValueError("record 57")
        return [1]

    outcome = counted.execute_task("s", TASK, works)
    progress = world.history()[outcome.run_id]["progress"]
    assert (progress["done"], progress["total"], progress["message"]) == (57, 100, "record 57")
    # Start, first report, outcome.
    assert counter.calls == ["BatchGetDocuments", "Commit", "Commit", "Commit"]


def test_a_reopened_run_does_not_keep_the_progress_of_its_last_attempt(
    engine: TaskEngine, world: World
) -> None:
    """A second attempt without reports has no progress."""

    def stumbles(run: TaskRun) -> None:
        run.progress(57, 100)
        raise ValueError

    engine.execute_task("s", TASK, stumbles, {"scheduled_for": TICK})
    outcome = engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": TICK})
    assert outcome.status == "completed"
    assert "progress" not in world.history()[outcome.run_id]


def test_a_summary_is_published_with_its_result(engine: TaskEngine, world: World) -> None:
    """In status document and run record; the next result replaces it."""

    def works(run: TaskRun) -> list[int]:
        run.summarise({"good": 2, "at": TICK})
        return [1, 2]

    outcome = engine.execute_task("s", TASK, works)
    summary = {"good": 2, "at": "2026-11-24T12:05:00Z"}
    assert world.status()["run"]["result"]["summary"] == summary
    assert world.history()[outcome.run_id]["result"]["summary"] == summary
    engine.execute_task("s", TASK, lambda: [3])
    assert "summary" not in world.status()["run"]["result"]


@pytest.mark.parametrize(
    "summary", [{"x": "y" * 10_000}, {"a": [[1]]}, {"n": float("nan")}, [1, 2], nested(18)]
)
def test_an_invalid_summary_fails_the_run(engine: TaskEngine, world: World, summary: Any) -> None:
    """One that a document cannot store, or that is too large."""
    outcome = engine.execute_task("s", TASK, lambda run: run.summarise(summary))
    assert outcome.status == "failed"
    assert world.status()["error"].startswith("ResultNotStorable: ")


def test_an_instance_refuses_runs_while_the_task_of_a_lost_run_continues(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    go_on = threading.Event()
    reference = world.database.document(f"nx-tasks/{TASK.value}")

    def endless(run: TaskRun) -> None:
        reference.update({"run.token": "another", "run.state": "failed"})
        wait_for("the run to be lost", lambda: run.lost or None)
        clock.ahead += 100
        go_on.wait(30)

    outcome = engine.execute_task("s", TASK, endless, {"deadline_seconds": 50, "lease_seconds": 0.3})
    assert outcome.status == "lost"
    assert engine.execute_task("s", TASK, lambda: 1).status == "busy"
    go_on.set()
    wait_for(
        "the thread to end", lambda: engine.execute_task("s", TASK, lambda: [2]).status != "busy" or None
    )


def test_a_cancelled_coroutine_fails_its_run(engine: TaskEngine, world: World) -> None:
    """A task that cancels itself does not end the server."""

    async def cancels() -> None:
        raise asyncio.CancelledError

    assert engine.execute_task("s", TASK, cancels).status == "failed"
    assert world.status()["error"] == "CancelledError"


@pytest.mark.parametrize(
    "odd",
    [
        {"message": "\ud800"},
        {"message": "x" * 2_000_000},
        {"message": object()},
        {"total": 2**70},
        {"done": float("inf")},
        {"done": "x"},
    ],
    ids=["surrogate", "too long", "no text", "too large", "infinite", "no number"],
)
@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
def test_progress_that_cannot_be_written_is_dropped(
    engine: TaskEngine, world: World, odd: dict[str, Any], *, fails: bool
) -> None:
    """A failed report neither fails the task nor prevents the record of its outcome."""

    def works(run: TaskRun) -> None:
        run.progress(**{"done": 1, **odd})
        if fails:
            raise ValueError

    outcome = engine.execute_task("s", TASK, works)
    state = "failed" if fails else "completed"
    assert (outcome.status, world.history()[outcome.run_id]["state"]) == (state, state)


def test_every_unsuccessful_run_is_logged(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The 5xx response does not contain the reason."""
    options = {"scheduled_for": TICK, "debug_logs": False}
    engine.execute_task(
        "s", TASK, lambda: TaskEngine().execute_task("s", TASK, fails, options) and None, options
    )
    assert "run busy" in capsys.readouterr().out
