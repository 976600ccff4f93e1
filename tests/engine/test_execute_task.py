"""`execute_task` on the real Firestore and Storage, behaviour by behaviour of the contract."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from shared.tasks import TaskEngine, TaskOutcome, TaskRun
from tests.engine.counting import Counter
from tests.engine.world import TASK, HandClock, World, in_thread
from tests.support.values import nested
from tests.waiting import wait_for

TICK = datetime(2026, 11, 24, 12, 5, tzinfo=UTC)
MINE = {"run", "data", "source", "status", "started", "completed", "timestamp", "error"}


def fails() -> None:
    raise ValueError("boom")


def test_the_initial_status_is_written_before_the_task_works(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "Initial status": source, running, started, timestamp, an empty error."""
    seen: dict[str, Any] = {}
    before = datetime.now(UTC)
    engine.execute_task("scheduler", TASK, lambda: seen.update(world.status()))
    assert (seen["source"], seen["status"], seen["error"]) == ("scheduler", "running", "")
    assert before <= seen["started"] == seen["timestamp"] <= datetime.now(UTC)
    assert "completed" not in seen
    assert set(seen) < MINE


@pytest.mark.parametrize("options", [None, {"save_in": "db"}])
def test_a_completed_run_says_so_with_its_data(engine: TaskEngine, world: World, options: Any) -> None:
    """docs/contract.md, "Success handling": completed, completed and timestamp, `data` the object itself."""
    outcome = engine.execute_task("s", TASK, lambda: [{"id": "1", "health": "good"}], options)
    status = world.status()
    assert (outcome.status, outcome.error) == ("completed", None)
    assert (status["status"], status["error"]) == ("completed", "")
    assert status["data"] == [{"id": "1", "health": "good"}]
    assert status["started"] <= status["completed"] == status["timestamp"]
    assert set(status) == MINE


def test_a_failed_run_says_why(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "Error handling": failed, completed, timestamp, the message, in the outcome too."""
    outcome = engine.execute_task("s", TASK, fails)
    status = world.status()
    assert (outcome.status, outcome.error) == ("failed", "ValueError: boom")
    assert (status["status"], status["error"]) == ("failed", "ValueError: boom")
    assert status["started"] <= status["completed"] == status["timestamp"]


def test_none_saves_no_data(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "TaskSaveOptions": `data` says so; the instance that ran the task has the result."""
    engine.execute_task("s", TASK, lambda: {"sent": True}, {"save_in": "none"})
    assert world.status()["data"] == "no data to save"
    assert engine.get_task_data(TASK) == {"sent": True}
    assert TaskEngine().get_task_data(TASK) == []


def test_a_result_of_none_takes_the_result_away(engine: TaskEngine, world: World) -> None:
    """The one way in which readers lose a result: the task said that there is none."""
    engine.execute_task("s", TASK, lambda: [1])
    engine.execute_task("s", TASK, lambda: None)
    assert world.status()["data"] == "no data to save"
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == []


def test_storage_keeps_an_object_and_signs_it(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "TaskSaveOptions": uploaded as JSON, `data` a URL that reads it, and cached."""
    outcome = engine.execute_task("s", TASK, lambda: [{"n": 1}], {"save_in": "storage"})
    url = world.status()["data"]
    answer = requests.get(url, timeout=10)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == [{"n": 1}]
    assert outcome.run_id in url
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == [{"n": 1}]


def test_a_stored_object_is_one_gzip_member_of_bare_json(engine: TaskEngine, world: World) -> None:
    """Both objects are compressed: the run's own and the contract copy."""
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
def test_a_falsy_bare_or_url_like_result_is_read_back_warm_and_cold(
    engine: TaskEngine, world: World, value: Any, save_in: str
) -> None:
    """It replaces the one before; no path takes it for none or for a pointer (lessons 1, 2, 3, 15, 20)."""
    engine.execute_task("s", TASK, lambda: [1, 2], {"save_in": save_in})
    engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == value
    stored = world.status()["run"]["result"]["saved_in"] == "storage"
    assert stored == (save_in == "storage" and isinstance(value, list | dict))


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_result_that_reads_like_the_sentence_for_none_is_a_result(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """What `data` and `error` say in words is told from the words of a task by `run` (lesson 29)."""
    engine.execute_task("s", TASK, lambda: "no data to save", {"save_in": save_in})
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == "no data to save"
    engine.execute_task("s", TASK, lambda: ["no data to save"], {"save_in": save_in})
    assert TaskEngine().get_task_data(TASK) == ["no data to save"]

    def says_nothing() -> None:
        raise ValueError

    engine.execute_task("s", TASK, says_nothing, {"save_in": save_in})
    assert (world.status()["run"]["state"], world.status()["error"]) == ("failed", "ValueError")


def test_two_results_are_never_merged(engine: TaskEngine, world: World) -> None:
    """A map replaces a map whole, whichever run is the slower (lesson 7)."""
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


def test_the_last_result_is_there_while_the_next_run_works(engine: TaskEngine, world: World) -> None:
    """A start takes nothing away, the status of the running run aside (lesson 5)."""
    engine.execute_task("s", TASK, lambda: [1])
    seen: list[Any] = []
    engine.execute_task("s", TASK, lambda: seen.append((world.status(), TaskEngine().get_task_data(TASK))))
    status, data = seen[0]
    assert (status["status"], status["data"], data) == ("running", [1], [1])


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_failure_leaves_the_last_good_result(engine: TaskEngine, world: World, save_in: str) -> None:
    """All instances go on serving it, and its object stays (lesson 6)."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": save_in})
    before = world.objects()
    engine.execute_task("s", TASK, fails, {"save_in": save_in})
    assert world.status()["status"] == "failed"
    assert engine.get_task_data(TASK) == TaskEngine().get_task_data(TASK) == [1]
    assert world.objects() == before


def test_a_new_object_is_never_read_with_an_old_status_nor_the_reverse(
    engine: TaskEngine, world: World
) -> None:
    """Before and after each call of a run a cold reader gets one whole result (lesson 22)."""
    engine.execute_task("s", TASK, lambda: ["old"], {"save_in": "storage"})
    objects, read = engine._objects, []

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def calls(*arguments: Any, **options: Any) -> Any:
            read.append(as_others_see_it())
            answer = call(*arguments, **options)
            read.append(as_others_see_it())
            return answer

        return calls

    def as_others_see_it() -> tuple[Any, Any, Any]:
        cold = TaskEngine()
        return world.status()["status"], cold.get_task_data(TASK), cold.get_task_data_from_storage(TASK)

    for name in ("write", "copy"):
        setattr(objects, name, watched(getattr(objects, name)))
    engine.store.commit = watched(engine.store.commit)  # type: ignore[method-assign]  # commits for real
    engine.execute_task("s", TASK, lambda: ["new"], {"save_in": "storage"})
    old, new = ("running", ["old"], ["old"]), ("completed", ["new"], ["new"])
    start, upload, finish, copied = [("completed", *old[1:]), old], [old, old], [old, new], [new, new]
    assert read == [*start, *upload, *finish, *copied]


def test_a_dead_signed_url_takes_no_result_away(engine: TaskEngine, world: World) -> None:
    """After its seven days, or if it never opened anything, the result is read all the same (lesson 23)."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    dead = "https://storage.googleapis.com/gone?X-Goog-Signature=expired"
    world.database.document(f"nx-tasks/{TASK.value}").update({"data": dead})
    assert TaskEngine().get_task_data(TASK) == TaskEngine().get_task_data_from_storage(TASK) == [1]


def test_the_literal_contract_overwrites_the_whole_document(engine: TaskEngine, world: World) -> None:
    """`keep_last_result=False` is the contract's `merge: false`: no data while the run works."""
    engine.execute_task("s", TASK, lambda: [1])
    seen: list[Any] = []
    engine.execute_task("s", TASK, lambda: seen.append(world.status()), {"keep_last_result": False})
    assert "data" not in seen[0]
    assert "completed" not in seen[0]


def test_debug_logs_tell_start_and_completion_with_the_duration(
    engine: TaskEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/contract.md, "Options": on by default; off, only failures are told."""
    engine.execute_task("s", TASK, lambda: 1)
    told = capsys.readouterr().out
    assert "task started task=collect_charge_cdrs run_id=" in told
    assert "task completed" in told
    assert "duration_seconds=" in told
    engine.execute_task("s", TASK, lambda: 1, {"debug_logs": False})
    assert capsys.readouterr().out == ""
    engine.execute_task("s", TASK, fails, {"debug_logs": False})
    assert "ERROR task failed" in capsys.readouterr().out


def test_no_log_holds_data_or_a_signed_url(engine: TaskEngine, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs carry identities and figures only (lesson 23)."""
    engine.execute_task("s", TASK, lambda: ["secret-payload"], {"save_in": "storage"})
    told = capsys.readouterr().out
    assert "secret-payload" not in told
    assert "http" not in told


async def asynchronous(run: TaskRun) -> str:
    await asyncio.sleep(0)
    return run.source


def test_async_tasks_run_as_well_also_under_a_running_loop(engine: TaskEngine) -> None:
    """`async def` is a task like any other, wherever it is called from."""
    assert engine.execute_task("s", TASK, asynchronous).status == "completed"

    async def caller() -> TaskOutcome:
        return engine.execute_task("from a loop", TASK, asynchronous)

    assert asyncio.run(caller()).status == "completed"
    assert engine.get_task_data(TASK) == "from a loop"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_recorded_and_raised_again(
    engine: TaskEngine, world: World, kind: type[BaseException]
) -> None:
    """A process that is being ended leaves no run behind as running."""

    def ends() -> None:
        raise kind

    with pytest.raises(kind):
        engine.execute_task("s", TASK, ends)
    status = world.status()
    assert (status["status"], status["error"]) == ("failed", kind.__name__)


def test_history_has_each_run_with_its_figures_and_never_its_data(engine: TaskEngine, world: World) -> None:
    """A small document a run: when, how long, how it ended, how much; removed by TTL after 30 days."""
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


def test_fields_of_the_engine_live_in_one_map(engine: TaskEngine, world: World) -> None:
    """Beside the contract's fields there is `run`, and nothing else."""
    outcome = engine.execute_task("s", TASK, lambda: [1])
    status = world.status()
    assert set(status) == MINE
    run = status["run"]
    assert (run["id"], run["attempt"], run["state"]) == (outcome.run_id, 1, "completed")
    assert "lease_until" not in run
    assert run["result"]["saved_in"] == "db"
    assert run["result"]["completed"] == status["completed"]


def test_a_duplicate_delivery_does_not_run_again(engine: TaskEngine, world: World) -> None:
    """The same tick is the same run, on the same instance and on another."""
    ran: list[int] = []
    options = {"scheduled_for": TICK}
    first = engine.execute_task("s", TASK, lambda: ran.append(1), options)
    again = engine.execute_task("s", TASK, lambda: ran.append(1), options)
    elsewhere = TaskEngine().execute_task("s", TASK, lambda: ran.append(1), options)
    assert (first.status, again.status, elsewhere.status) == ("completed", "duplicate", "duplicate")
    assert ran == [1]
    assert set(world.history()) == {first.run_id}


def test_a_tick_that_meets_a_living_run_is_skipped_and_recorded(engine: TaskEngine, world: World) -> None:
    """Two runs of a task never work at the same time; the history names the holder."""
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


def test_another_delivery_of_a_run_at_work_is_busy(engine: TaskEngine, world: World) -> None:
    """Not skipped: should the attempt die, Cloud Scheduler's retry must still come."""
    options = {"scheduled_for": TICK}
    inner: list[TaskOutcome] = []
    engine.execute_task(
        "s", TASK, lambda: inner.append(TaskEngine().execute_task("s", TASK, fails, options)), options
    )
    assert inner[0].status == "busy"
    run_id = inner[0].run_id
    assert set(world.history()) == {run_id, f"{run_id}.refused"}


def test_a_failed_tick_s_retry_is_the_same_run_s_next_attempt(engine: TaskEngine, world: World) -> None:
    """Cloud Scheduler's retry carries the same tick; one document tells the run's story."""
    options = {"scheduled_for": TICK}
    assert engine.execute_task("s", TASK, fails, options).status == "failed"
    again = engine.execute_task("s", TASK, lambda: [1], options)
    assert again.status == "completed"
    run = world.history()[again.run_id]
    assert (run["attempt"], run["state"], "error" in run) == (2, "completed", False)
    assert world.status()["error"] == ""


@pytest.mark.parametrize("spelling", ["suspeneded", "suspended"])
def test_a_suspended_task_is_skipped_and_says_so(engine: TaskEngine, world: World, spelling: str) -> None:
    """Whoever suspended it, in whatever spelling: nothing runs, and the skip is history."""
    world.write({"status": spelling, "data": [1]})
    outcome = engine.execute_task("s", TASK, fails, {"scheduled_for": TICK})
    assert (outcome.status, outcome.error) == ("skipped", "suspended")
    assert world.status() == {"status": spelling, "data": [1]}
    assert world.history()[f"{outcome.run_id}.skipped"]["reason"] == "suspended"


def test_a_suspension_during_a_run_outlives_its_end(engine: TaskEngine, world: World) -> None:
    """The run finishes and publishes; the status goes on saying suspended."""
    reference = world.database.document(f"nx-tasks/{TASK.value}")

    def suspends() -> list[int]:
        reference.update({"status": "suspeneded", "run.suspended": {"by": "me", "reason": "works"}})
        return [1]

    assert engine.execute_task("s", TASK, suspends).status == "completed"
    status = world.status()
    assert (status["status"], status["run"]["state"], status["data"]) == ("suspeneded", "completed", [1])
    assert engine.execute_task("s", TASK, fails).status == "skipped"


def test_a_task_past_its_deadline_is_recorded_failed_in_time(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """A task that never ends does not hold its caller; while it lives, the instance takes no other run."""
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
    assert outcome.duration_seconds >= 100  # of what has not ended, until now
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


def test_a_run_that_was_taken_over_publishes_nothing(engine: TaskEngine, world: World) -> None:
    """Its lease over, another took the task: status, data, object and cache are not touched (lesson 7)."""
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


def test_a_lease_is_extended_while_the_task_works(engine: TaskEngine, world: World) -> None:
    """The lease in the document moves on before it runs out."""

    def waits() -> list[Any]:
        first = world.status()["run"]["lease_until"]
        later = wait_for("another lease", lambda: moved(world.status()["run"]["lease_until"], first))
        return [later > first]

    def moved(now: datetime, first: datetime) -> datetime | None:
        return now if now != first else None

    engine.execute_task("s", TASK, waits, {"lease_seconds": 1.5, "deadline_seconds": 30})
    assert world.status()["data"] == [True]


def test_a_run_that_lost_its_lease_is_told_at_its_next_look(engine: TaskEngine, world: World) -> None:
    """`run.check()` and `run.progress()` end a task that works in vain; the outcome says lost."""
    reference = world.database.document(f"nx-tasks/{TASK.value}")

    def works(run: TaskRun) -> list[str]:
        reference.update({"run.token": "another"})
        while True:
            run.check()

    outcome = engine.execute_task("s", TASK, works, {"lease_seconds": 1.5, "deadline_seconds": 30})
    assert outcome.status == "lost"
    assert "data" not in world.status()


def test_progress_is_in_the_history(engine: TaskEngine, world: World) -> None:
    """How far a run is can be read while it works; the status document is not touched for it."""
    seen: list[Any] = []

    def works(run: TaskRun) -> None:
        before = world.database.document(f"nx-tasks/{TASK.value}").get().update_time
        run.progress(3, 10, "reading")
        after = world.database.document(f"nx-tasks/{TASK.value}").get().update_time
        seen.extend([world.history()[run.run_id]["progress"], before == after])

    engine.execute_task("s", TASK, works)
    assert (seen[0]["done"], seen[0]["total"], seen[0]["message"], seen[1]) == (3, 10, "reading", True)


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
def test_the_last_progress_is_written_with_the_end(
    counted: TaskEngine, world: World, counter: Counter, *, fails: bool
) -> None:
    """Reports within the same second are not lost, and cost no write of their own."""

    def works(run: TaskRun) -> list[int]:
        for number in range(58):
            run.progress(number, 100, f"record {number}")
        if fails:
            raise ValueError("record 57")
        return [1]

    outcome = counted.execute_task("s", TASK, works)
    progress = world.history()[outcome.run_id]["progress"]
    assert (progress["done"], progress["total"], progress["message"]) == (57, 100, "record 57")
    assert counter.calls == ["BatchGetDocuments", "Commit", "Commit", "Commit"]  # start, first report, end


def test_a_reopened_run_does_not_keep_the_progress_of_its_last_attempt(
    engine: TaskEngine, world: World
) -> None:
    """A second attempt that reports nothing has no progress."""

    def stumbles(run: TaskRun) -> None:
        run.progress(57, 100)
        raise ValueError

    engine.execute_task("s", TASK, stumbles, {"scheduled_for": TICK})
    outcome = engine.execute_task("s", TASK, lambda: [1], {"scheduled_for": TICK})
    assert outcome.status == "completed"
    assert "progress" not in world.history()[outcome.run_id]


def test_what_a_task_says_beside_its_result_goes_with_it(engine: TaskEngine, world: World) -> None:
    """A summary is published with the result, in status and history, and goes with the next result."""

    def works(run: TaskRun) -> list[int]:
        run.summarise({"good": 2, "at": TICK})
        return [1, 2]

    outcome = engine.execute_task("s", TASK, works)
    said = {"good": 2, "at": "2026-11-24T12:05:00Z"}
    assert world.status()["run"]["result"]["summary"] == said
    assert world.history()[outcome.run_id]["result"]["summary"] == said
    engine.execute_task("s", TASK, lambda: [3])
    assert "summary" not in world.status()["run"]["result"]


@pytest.mark.parametrize(
    "summary", [{"x": "y" * 10_000}, {"a": [[1]]}, {"n": float("nan")}, [1, 2], nested(18)]
)
def test_a_summary_that_is_none_fails_the_run(engine: TaskEngine, world: World, summary: Any) -> None:
    """What a document can't hold, or is no summary any more for its size, is told at once."""
    outcome = engine.execute_task("s", TASK, lambda run: run.summarise(summary))
    assert outcome.status == "failed"
    assert world.status()["error"].startswith("ResultNotStorable: ")


def test_work_that_outlives_its_lost_run_is_known(engine: TaskEngine, world: World, clock: HandClock) -> None:
    """A thread that goes on after its run was lost keeps the instance from taking the task beside it."""
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


def test_a_cancelled_coroutine_is_a_failure_like_any_other(engine: TaskEngine, world: World) -> None:
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
def test_progress_that_can_t_be_written_is_dropped(
    engine: TaskEngine, world: World, odd: dict[str, Any], *, fails: bool
) -> None:
    """Telling how far one is never fails the work, nor keeps its end from being recorded."""

    def works(run: TaskRun) -> None:
        run.progress(**{"done": 1, **odd})
        if fails:
            raise ValueError

    outcome = engine.execute_task("s", TASK, works)
    state = "failed" if fails else "completed"
    assert (outcome.status, world.history()[outcome.run_id]["state"]) == (state, state)


def test_every_run_that_is_no_success_is_in_the_log(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 5xx answer says nothing, so the log must."""
    options = {"scheduled_for": TICK, "debug_logs": False}
    engine.execute_task(
        "s", TASK, lambda: TaskEngine().execute_task("s", TASK, fails, options) and None, options
    )
    assert "run busy" in capsys.readouterr().out
