"""Runs over several legs, on the real Firestore and Storage: the test delivers each leg."""

import gzip
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulators.environment import Addresses
from functions.scheduled_endpoint import HTTP_STATUSES
from shared import firebase
from shared.tasks import TaskEngine, TaskOutcome, TaskRun, TaskSpec, specs
from shared.tasks.backends.firestore import Store
from shared.tasks.documents.codec import decode_fields
from shared.tasks.documents.legs import MAX_TRIES
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.errors import WriteUnknown
from shared.tasks.protocol.cancellation import CancelOutcome
from shared.tasks.runtime.checkpoint_limits import MAX_STEP_BYTES
from tests.support.long_runs import ONE_UNIT, TICK, TWO_UNITS, UNIT_SECONDS, LongRun, PassingClock
from tests.support.world import TASK, World

ROOT = Path(__file__).resolve().parents[2]
RUN_ID = run_id_of(TICK)
PAGES = [[{"page": page, "n": n, "text": f"ü{page}" * 20} for n in range(30)] for page in range(6)]
RECORDS = [record for page in PAGES for record in page]
WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "wrong prices"}

Task = Callable[[TaskRun], Any]


@pytest.fixture
def clock(world: World) -> PassingClock:
    return PassingClock()


def yields(clock: PassingClock) -> Task:
    """A task that yields the records of all pages."""

    def task(run: TaskRun) -> Iterator[Any]:
        cursor = run.cursor("pages", 0)
        while cursor.value < len(PAGES):
            yield from PAGES[cursor.value]
            clock.ahead += UNIT_SECONDS
            cursor.advance(cursor.value + 1)

    return task


def adds(clock: PassingClock, *, fails_at: int | None = None) -> Task:
    """A task that returns each page's number, and the leg in which it was read.

    Args:
        clock: Put forward by each page.
        fails_at: Page at which it fails.
    """

    def task(run: TaskRun) -> list[dict[str, int]]:
        cursor = run.cursor("pages", [])
        while len(cursor.value) < len(PAGES):
            if len(cursor.value) == fails_at:
                raise ValueError("no prices")
            clock.ahead += UNIT_SECONDS
            cursor.advance([*cursor.value, {"page": len(cursor.value), "leg": run.leg}])
        result: list[dict[str, int]] = cursor.value
        return result

    return task


def plain(world: World) -> bytes:
    """The uncompressed bytes of the published object."""
    path = world.status()["run"]["result"]["object"]
    return gzip.decompress(world.bucket.blob(path).download_as_bytes(raw_download=True))


def pages_read() -> list[int]:
    """The pages in the published result of `adds`."""
    return [each["page"] for each in TaskEngine().get_task_data(TASK)]


def change(world: World, fields: dict[str, Any]) -> None:
    world.database.document(f"nx-tasks/{TASK.value}").update(fields)


def let_lease_expire(world: World) -> None:
    change(world, {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)})


def status_of(outcome: TaskOutcome) -> int:
    """The HTTP status with which a delivery is answered."""
    return HTTP_STATUSES.get(outcome.status, 500)


# Results


@pytest.mark.parametrize(("leg_seconds", "legs"), [(ONE_UNIT, 7), (TWO_UNITS, 4)])
def test_a_task_that_yields_has_each_record_once(
    world: World, clock: PassingClock, leg_seconds: float, legs: int
) -> None:
    """The result equals that of a run with one leg, and of a task without a cursor."""
    long = LongRun(yields(clock), clock, save_in="storage", leg_seconds=leg_seconds)
    assert long.deliver_tick().status == "waiting"
    assert long.deliver_all() == ["waiting"] * (legs - 2) + ["completed"]
    over_legs = plain(world)
    result = world.status()["run"]["result"]
    assert (result["count"], result["size_bytes"]) == (len(RECORDS), len(over_legs))
    assert TaskEngine().get_task_data(TASK) == RECORDS == list(TaskEngine().iter_task_data(TASK))
    record = world.history()[RUN_ID]
    assert (record["state"], record["attempt"], record["legs"]["number"]) == ("completed", 1, legs)
    assert record["duration_ms"] >= 0
    for task in (yields(clock), lambda: iter(RECORDS)):
        assert TaskEngine().execute_task("s", TASK, task, {"save_in": "storage"}).status == "completed"
        assert plain(world) == over_legs


def test_the_log_has_the_duration_of_all_legs(
    world: World, clock: PassingClock, capsys: pytest.CaptureFixture[str]
) -> None:
    long = LongRun(adds(clock), clock, debug_logs=True)
    long.deliver_tick()
    long.deliver_all()
    (seconds,) = re.findall(r"task completed .*duration_seconds=([\d.]+)", capsys.readouterr().out)
    assert float(seconds) >= len(PAGES) * UNIT_SECONDS


@pytest.mark.parametrize("save_in", ["db", "storage", "none"])
def test_a_task_that_returns_its_result_has_legs(world: World, clock: PassingClock, save_in: str) -> None:
    """Each page is read once, in a leg of its own; the position persists what was read."""
    long = LongRun(adds(clock), clock, save_in=save_in)
    assert [long.deliver_tick().status, *long.deliver_all()] == ["waiting"] * 6 + ["completed"]
    assert long.queue.legs == [2, 3, 4, 5, 6, 7]
    expected = [] if save_in == "none" else [{"page": page, "leg": page + 1} for page in range(6)]
    assert TaskEngine().get_task_data(TASK) == expected
    assert world.status()["run"]["result"]["saved_in"] == save_in
    assert list(world.history()) == [RUN_ID]


@pytest.mark.parametrize("size", [10, 2 * MAX_STEP_BYTES])
def test_a_step_is_called_once_in_all_legs(world: World, clock: PassingClock, size: int) -> None:
    """Its value is the same in each leg, also a large one, which is stored in Storage."""
    called: list[int] = []
    values: list[Any] = []

    def makes(letter: str, *, times: int) -> Any:
        called.append(1)
        return {"text": letter * times, "call": len(called)}

    def task(run: TaskRun) -> Any:
        values.append(run.step("prices", makes, "ü", times=size))
        values[-1]["text"] += "changed by the task"
        return adds(clock)(run)

    long = LongRun(task, clock)
    long.deliver_tick()
    assert long.deliver_all()[-1] == "completed"
    assert (len(called), len(values)) == (1, 7)
    assert {json.dumps(value) for value in values} == {json.dumps(values[0])}
    assert any(name.endswith(".part") for name in world.objects()) is (size > MAX_STEP_BYTES)


def test_steps_end_legs(world: World, clock: PassingClock) -> None:
    """A task without a cursor ends its leg before a step."""
    called: list[int] = []

    def unit(number: int) -> int:
        called.append(number)
        clock.ahead += UNIT_SECONDS
        return number

    long = LongRun(lambda run: [run.step(f"unit {i}", unit, i) for i in range(4)], clock)
    assert [long.deliver_tick().status, *long.deliver_all()] == ["waiting"] * 3 + ["completed"]
    assert called == [0, 1, 2, 3]
    assert TaskEngine().get_task_data(TASK) == [0, 1, 2, 3]


def test_kept_records_are_there_in_the_last_leg(world: World, clock: PassingClock) -> None:
    """The task collects first, and sorts in the end; kept records are not in the result by themselves."""

    def task(run: TaskRun) -> list[Any]:
        cursor = run.cursor("pages", 0)
        while cursor.value < len(PAGES):
            clock.ahead += UNIT_SECONDS
            cursor.advance(cursor.value + 1, keep=PAGES[cursor.value])
        kept = list(cursor.kept())
        assert kept == RECORDS
        return sorted(kept, key=lambda record: (record["n"], record["page"]))

    long = LongRun(task, clock, save_in="storage")
    long.deliver_tick()
    assert long.deliver_all()[-1] == "completed"
    assert TaskEngine().get_task_data(TASK) == sorted(RECORDS, key=lambda each: (each["n"], each["page"]))


def test_a_task_that_does_not_let_the_end_of_its_leg_pass_continues(
    world: World, clock: PassingClock
) -> None:
    """What it returns after the end of a leg is ignored, and what it raises."""
    endings = iter([lambda: ["incomplete"], lambda: 1 / 0])

    def task(run: TaskRun) -> Any:
        try:
            return adds(clock)(run)
        except BaseException:
            ending = next(endings, None)
            if ending is None:
                raise
            return ending()

    long = LongRun(task, clock)
    assert [long.deliver_tick().status, *long.deliver_all()] == ["waiting"] * 6 + ["completed"]
    assert pages_read() == list(range(6))


# Other deliveries while a run waits or works


def test_a_duplicate_of_the_tick_creates_the_waiting_leg_again(world: World, clock: PassingClock) -> None:
    """It is answered 2xx, with the name that may exist."""
    long = LongRun(adds(clock), clock)
    long.deliver_tick()
    before = world.status()
    assert status_of(long.deliver_tick()) == 200
    assert (long.queue.created, long.queue.repeated) == ([(RUN_ID, 2, 1)], [(RUN_ID, 2, 1)])
    assert world.status() == before
    long.deliver()
    assert status_of(long.deliver(2)) == 200  # a duplicate of the leg that handed over
    assert long.queue.repeated[1:] == [(RUN_ID, 3, 2)]
    assert long.deliver_all()[-1] == "completed"
    assert {status_of(long.deliver_tick()), status_of(long.deliver(3))} == {200}
    assert list(world.history()) == [RUN_ID]


def test_deliveries_while_a_later_leg_works(world: World, clock: PassingClock) -> None:
    """The tick and earlier legs are duplicates, the same leg is busy, another tick is skipped."""
    answers: dict[str, TaskOutcome] = {}

    def task(run: TaskRun) -> Any:
        if run.leg == 3 and not answers:
            answers["tick"] = long.deliver_tick()
            answers["earlier"] = long.deliver(2)
            answers["same"] = long.deliver(3)
            answers["later"] = long.deliver(4)
            answers["other"] = long.deliver_tick(TICK + timedelta(hours=1))
        return adds(clock)(run)

    long = LongRun(task, clock)
    long.deliver_tick()
    assert long.deliver_all()[-1] == "completed"
    assert {name: each.status for name, each in answers.items()} == {
        "tick": "duplicate",
        "earlier": "duplicate",
        "same": "busy",
        "later": "duplicate",
        "other": "skipped",
    }
    assert pages_read() == list(range(6))


def test_another_tick_is_skipped_and_recorded(world: World, clock: PassingClock) -> None:
    """Also when nothing has delivered the waiting leg for long."""
    long = LongRun(adds(clock), clock)
    long.deliver_tick()
    let_lease_expire(world)
    other = TICK + timedelta(hours=1)
    assert long.deliver_tick(other).status == "skipped"
    skipped = world.history()[f"{run_id_of(other)}.skipped"]
    assert (skipped["reason"], skipped["holder"]) == ("overlap", RUN_ID)
    assert long.deliver_all()[-1] == "completed"
    assert long.deliver_tick(other).status == "waiting"


def test_a_suspended_task_ends_the_run_that_waits(world: World, clock: PassingClock) -> None:
    """It stays suspended, and the result is published."""
    long = LongRun(adds(clock), clock)
    long.deliver_tick()
    long.engine().suspend_task(TASK, **WHO)
    assert long.deliver_all()[-1] == "completed"
    status = world.status()
    assert (status["status"], status["run"]["state"]) == ("suspeneded", "completed")
    assert long.deliver_tick(TICK + timedelta(hours=1)).status == "skipped"
    long.engine().resume_task(TASK, **WHO)
    assert TaskEngine().get_task_data(TASK)[-1] == {"page": 5, "leg": 6}


def test_a_task_resumed_while_its_run_waits_is_running(world: World, clock: PassingClock) -> None:
    """The contract's status has no `waiting`."""
    long = LongRun(adds(clock), clock)
    long.deliver_tick()
    assert (world.status()["status"], world.status()["run"]["state"]) == ("running", "waiting")
    long.engine().suspend_task(TASK, **WHO)
    assert world.status()["status"] == "suspeneded"
    long.engine().resume_task(TASK, **WHO)
    assert (world.status()["status"], world.status()["run"]["state"]) == ("running", "waiting")
    assert long.deliver_all()[-1] == "completed"


def test_a_cancelled_waiting_run_ends_at_once(world: World, clock: PassingClock) -> None:
    """Its continuation is acknowledged and does nothing; the last result stays."""
    TaskEngine().execute_task("s", TASK, lambda: ["before"])
    long = LongRun(adds(clock), clock)
    long.deliver_tick()
    assert long.engine().cancel_run(TASK, RUN_ID, **WHO) == CancelOutcome.cancelled
    record = world.history()[RUN_ID]
    assert (record["state"], record["error"]["type"]) == ("failed", "RunCancelled")
    assert (world.status()["status"], world.status()["run"]["state"]) == ("failed", "failed")
    assert [long.deliver().status, long.deliver_tick().status] == ["duplicate", "duplicate"]
    assert world.history()[RUN_ID] == record
    assert TaskEngine().get_task_data(TASK) == ["before"]


def test_a_run_cancelled_while_a_leg_works_is_not_handed_over(world: World, clock: PassingClock) -> None:
    """The commit of the hand-over finds the cancel."""

    def task(run: TaskRun) -> Any:
        if run.leg == 2:
            assert long.engine().cancel_run(TASK, RUN_ID, **WHO) == CancelOutcome.cancelling
        return adds(clock)(run)

    long = LongRun(task, clock)
    long.deliver_tick()
    assert long.deliver().status == "cancelled"
    assert long.queue.legs == [2]
    assert world.history()[RUN_ID]["error"]["type"] == "RunCancelled"
    assert long.deliver().status == "duplicate"


@pytest.mark.parametrize("finder", ["leg", "tick", "watchdog"])
def test_a_run_whose_deadline_passes_while_it_waits_fails(
    world: World, clock: PassingClock, finder: str
) -> None:
    """Whatever finds it: the delivery is acknowledged, and nothing reopens the run."""
    long = LongRun(adds(clock), clock)
    long.deliver_tick()
    past = datetime.now(UTC) - timedelta(seconds=10)
    change(world, {"run.legs.deadline": past, "run.lease_until": past})
    if finder == "watchdog":
        long.watch()
    elif finder == "leg":
        assert status_of(long.deliver()) == 200
    else:
        other = long.deliver_tick(TICK + timedelta(hours=1))
        assert other.status == "waiting"  # the run of the next tick takes the task
    record = world.history()[RUN_ID]
    assert record["state"] == "failed"
    assert status_of(long.deliver(2, RUN_ID)) == 200
    assert world.history()[RUN_ID] == record
    if finder != "tick":
        assert record["error"]["type"] == "DeadlineExceeded"
        assert "the deadline passed in leg 2" in record["error"]["message"]


# Failures


def hangs_in(leg: int, clock: PassingClock, over: threading.Event, *, calls: bool) -> Task:
    """A task that makes no more progress in a leg, and there may have used a cursor."""

    def task(run: TaskRun) -> Any:
        if run.leg == leg and not over.is_set():
            if calls:
                run.cursor("pages", [])
            over.wait(60)
        return adds(clock)(run)

    return task


def test_a_leg_without_a_checkpoint_names_step_and_cursor(world: World, clock: PassingClock) -> None:
    """It fails at the hard end of its leg, although the run has time left."""
    over = threading.Event()
    long = LongRun(hangs_in(1, clock, over, calls=False), clock, leg_seconds=0.5)
    try:
        outcome = long.deliver_tick()
    finally:
        over.set()
    assert outcome.status == "failed"
    assert (outcome.error or "").startswith("DeadlineExceeded")
    assert "run.step or run.cursor" in (outcome.error or "")


def test_a_leg_that_hangs_is_tried_again_from_its_position(world: World, clock: PassingClock) -> None:
    """The advice is another one for a task that uses a cursor."""
    over = threading.Event()
    long = LongRun(hangs_in(2, clock, over, calls=True), clock)
    long.deliver_tick()
    long.options["leg_seconds"] = 0.5
    try:
        outcome = long.deliver()
    finally:
        over.set()
    assert outcome.status == "failed"
    assert "divide the work into smaller steps" in (outcome.error or "")
    status = world.status()
    assert (status["status"], status["run"]["state"]) == ("running", "waiting")
    assert "divide the work" in world.history()[RUN_ID]["error"]["message"]
    long.options["leg_seconds"] = ONE_UNIT
    assert [long.deliver(2).status, *long.deliver_all()] == ["waiting"] * 5 + ["completed"]
    assert TaskEngine().get_task_data(TASK) == [{"page": page, "leg": page + 1} for page in range(6)]
    assert "error" not in world.history()[RUN_ID]


def test_attempts_without_a_checkpoint_fail_the_run(world: World, clock: PassingClock) -> None:
    """In a row. The failure is final, also for the tick."""
    long = LongRun(adds(clock, fails_at=1), clock)
    long.deliver_tick()
    for tries in range(1, MAX_TRIES + 1):
        assert long.deliver().status == "failed"
        record = world.history()[RUN_ID]
        assert record["state"] == ("waiting" if tries < MAX_TRIES else "failed")
        assert record["error"]["message"] == "no prices"
        assert record["legs"]["tries"] == tries
    assert world.status()["status"] == "failed"
    assert [long.deliver().status, long.deliver_tick().status] == ["duplicate"] * 2
    assert long.deliver_tick(TICK + timedelta(hours=1)).status == "waiting"


def test_a_checkpoint_resets_the_tries(world: World, clock: PassingClock) -> None:
    """A leg that progresses in each attempt may fail more often."""
    failures = iter(range(MAX_TRIES + 3))

    def task(run: TaskRun) -> Any:
        units = run.cursor("units", 0)
        clock.ahead += UNIT_SECONDS
        units.advance(units.value + 1)
        if next(failures, None) is not None:
            raise ValueError("again")
        return units.value

    long = LongRun(task, clock, leg_seconds=1_000.0)
    long.deliver_tick()
    change(world, {"run.state": "waiting", "run.legs.number": 2, "run.token": "other"})
    world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{RUN_ID}").update({"state": "waiting"})
    long.queue.created.append((RUN_ID, 2, 1))
    outcomes = [long.deliver().status for _ in range(MAX_TRIES + 3)]
    assert outcomes == ["failed"] * (MAX_TRIES + 2) + ["completed"]


def test_a_first_leg_without_a_checkpoint_fails_as_any_run(world: World, clock: PassingClock) -> None:
    """Nothing is lost with it, and the next tick need not wait."""
    long = LongRun(adds(clock, fails_at=0), clock)
    assert long.deliver_tick().status == "failed"
    assert (world.status()["status"], world.history()[RUN_ID]["state"]) == ("failed", "failed")
    assert long.deliver_tick(TICK + timedelta(hours=1)).status == "failed"
    assert len(world.history()) == 2


def test_a_failed_first_leg_continues_at_its_redelivery(world: World, clock: PassingClock) -> None:
    """It has a checkpoint, so that the run waits for it, and fails no sooner than in a later leg."""
    called: list[int] = []
    fails = [True]

    def task(run: TaskRun) -> Any:
        assert run.resumed is bool(called)
        run.step("prices", lambda: called.append(1))
        return adds(clock, fails_at=1 if fails else None)(run)

    long = LongRun(task, clock, leg_seconds=TWO_UNITS)
    assert long.deliver_tick().status == "failed"
    assert (world.status()["status"], world.history()[RUN_ID]["state"]) == ("running", "waiting")
    deadline = world.history()[RUN_ID]["legs"]["deadline"]
    fails.clear()
    assert long.deliver_tick().status == "waiting"
    assert long.deliver_all()[-1] == "completed"
    assert called == [1]
    record = world.history()[RUN_ID]
    assert (record["attempt"], record["legs"]["deadline"]) == (2, deadline)
    assert pages_read() == list(range(6))


@pytest.mark.parametrize("finder", ["tick", "watchdog"])
def test_a_lost_hand_over_is_repaired(
    world: World, clock: PassingClock, finder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cloud Tasks refused the next leg: the delivery of the earlier one is refused, and creates it again."""
    long = LongRun(adds(clock), clock)
    long.queue.is_down = True
    assert status_of(long.deliver_tick()) == 503
    assert (world.status()["run"]["state"], long.queue.created) == ("waiting", [])
    long.watch()
    assert long.queue.created == []  # its grace is not over
    if finder == "watchdog":
        let_lease_expire(world)
        with pytest.raises(Exception, match="injected"):
            long.watch()
    elif finder == "tick":
        assert status_of(long.deliver_tick()) == 500
    long.queue.is_down = False
    if finder == "watchdog":
        let_lease_expire(world)
        long.watch()
        assert "incident=lost_leg" in capsys.readouterr().out
        assert long.queue.created == [(RUN_ID, 2, 3)]
    else:
        assert status_of(long.deliver_tick()) == 200
        assert long.queue.created == [(RUN_ID, 2, 1)]
    assert long.deliver_all()[-1] == "completed"
    assert pages_read() == list(range(6))


def test_a_checkpoint_that_is_applied_late_repeats_no_record(world: World, clock: PassingClock) -> None:
    """The attempt took it for lost, and persists its records again with the next ones."""
    late: list[Any] = []

    class Late(Store):
        """Its first checkpoint is not answered, and is applied before the next commit."""

        def commit(self, writes: Iterable[Any], *, timeout: float | None = None) -> Any:
            writes = list(writes)
            fields = decode_fields(writes[0].update.fields)
            if fields.get("checkpoint", {}).get("commit", "").endswith(".1"):
                late.append(writes)
                raise WriteUnknown("injected")
            if late:
                super().commit(late[0], timeout=timeout)
                late.clear()
            return super().commit(writes, timeout=timeout)

    long = LongRun(yields(clock), clock, leg_seconds=1_000.0)
    engine = TaskEngine(Late(firebase.firestore_wire), clock=clock, queue=long.queue)
    options = {**long.options, "scheduled_for": TICK, "save_in": "storage"}
    assert engine.execute_task("s", TASK, long.task, options).status == "completed"
    assert late == []
    assert TaskEngine().get_task_data(TASK) == RECORDS


@pytest.mark.parametrize("kind", ["document", "object"])
def test_a_missing_part_fails_the_run(world: World, clock: PassingClock, kind: str) -> None:
    """With that reason, instead of a result without its records."""
    long = LongRun(yields(clock), clock, save_in="storage")
    long.deliver_tick()
    steps = f"nx-tasks/{TASK.value}/nx-runs/{RUN_ID}/nx-steps"
    if kind == "document":
        world.database.document(f"{steps}/part.000001").delete()
        reason = "the run has 0 steps, 1 cursors and 0 parts, but its record counts 0, 1 and 1"
    else:
        world.bucket.blob(next(name for name in world.objects() if name.endswith(".part"))).delete()
        reason = "is missing: this run cannot be completed"
    while world.history()[RUN_ID]["state"] == "waiting":
        long.deliver()
    record = world.history()[RUN_ID]
    assert (record["state"], record["error"]["type"]) == ("failed", "ResultNotKept")
    assert reason in record["error"]["message"]
    assert TaskEngine().get_task_data(TASK) == []


def test_parts_of_a_cursor_that_the_code_no_longer_uses_fail_the_run(
    world: World, clock: PassingClock
) -> None:
    """A deployment renamed it between two legs; its records would be lost."""
    long = LongRun(yields(clock), clock, save_in="storage")
    long.deliver_tick()

    def renamed(run: TaskRun) -> Iterator[Any]:
        run.cursor("renamed", 0)
        yield from PAGES[0]

    long.task = renamed
    while world.history()[RUN_ID]["state"] == "waiting":
        assert long.deliver().status == "failed"
    record = world.history()[RUN_ID]
    assert record["error"]["type"] == "CheckpointInvalid"
    assert "records of the cursor 'pages', which this code does not use" in record["error"]["message"]


def test_a_continuation_of_an_unknown_run_does_nothing(world: World, clock: PassingClock) -> None:
    """It creates no run record, and is acknowledged."""
    long = LongRun(adds(clock), clock)
    long.queue.created.append(("unknown", 2, 1))
    assert status_of(long.deliver()) == 200
    assert (world.status(), world.history()) == ({}, {})


# Runs without legs, and requested runs


def test_a_run_without_legs_continues_at_its_next_attempt(world: World, clock: PassingClock) -> None:
    """Steps and cursors work for short runs, too."""
    options = {"leg_seconds": None, "deadline_seconds": 540.0}
    long = LongRun(adds(clock, fails_at=3), clock, **options)
    assert long.deliver_tick().status == "failed"
    assert "legs" not in world.history()[RUN_ID]
    long.task = adds(clock)
    assert long.deliver_tick().status == "completed"
    assert pages_read() == list(range(6))
    assert world.history()[RUN_ID]["checkpoint"]["commit"].endswith(".3")


def test_a_requested_run_has_legs(world: World, clock: PassingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its legs keep the person who requested it, and a further forced delivery is its duplicate."""
    monkeypatch.setitem(specs.REGISTERED, TASK, TaskSpec(TASK, schedule="0 0 1 1 *"))
    long = LongRun(adds(clock), clock)
    run_id = long.engine().request_run(TASK, **WHO, timeout_seconds=0).run_id
    assert run_id is not None
    forced = {"scheduled_for": None, "schedule_time": datetime.now(UTC) + timedelta(minutes=5)}
    first = long.deliver_tick(**forced)
    assert (first.run_id, first.status) == (run_id, "waiting")
    assert long.deliver_tick(**forced).status == "duplicate"
    assert long.deliver_all()[-1] == "completed"
    record = world.history()[run_id]
    assert (record["state"], record["legs"]["number"]) == ("completed", 7)
    assert record["requested"].items() >= WHO.items()
    assert len([run for run in world.history().values() if "run_id" in run]) == 1


# Memory


@pytest.mark.parametrize("records", [600_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_memory_does_not_grow_with_the_legs(
    world: World, stack: Addresses, records: int, record_property: Callable[[str, object], None]
) -> None:
    """20 legs and the join of their parts need hardly more memory than the first leg."""
    if stack.storage_server != "fake-gcs":
        pytest.skip("the official Storage emulator takes a result in one request only")
    command = [sys.executable, "-m", "tests.engine.leg_streamer", str(records)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert ran.returncode == 0, ran.stderr
    *peaks, seconds = map(int, ran.stdout.split())
    record_property("streamed", f"{records} records in {seconds} s, {peaks[0]} to {peaks[-1]} bytes")
    assert len(peaks) == 22  # 20 legs, one that joins, and the reader
    assert peaks[-1] - peaks[0] < 32 << 20, peaks
    assert world.status()["run"]["result"]["count"] == records
