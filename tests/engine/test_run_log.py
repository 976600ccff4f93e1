"""The log of a run: what its task logs is kept with the run, however the run ends."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import firebase
from shared.tasks import TaskEngine, TaskRun
from shared.tasks.admin.run_logs import MAX_ATTEMPTS, LoggedLine, RunLogView, view_log
from shared.tasks.backends.firestore import Store
from shared.tasks.clock import Clock
from shared.tasks.contract import DocumentNames
from shared.tasks.documents.codec import decode_fields
from shared.tasks.documents.log_writes import write_log
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.documents.run_log import MAX_BYTES, MAX_CHARACTERS, MAX_LINES, KeptLines, RunLog
from shared.tasks.documents.write_messages import WritePb
from shared.tasks.errors import WriteUnknown
from shared.tasks.protocol.cancellation import CancelOutcome
from shared.tasks.results.normalisation import MAX_DOCUMENT_BYTES
from tests.support.long_runs import TWO_UNITS, UNIT_SECONDS, LongRun, PassingClock
from tests.support.world import TASK, HandClock, World, in_thread
from tests.waiting import wait_for

TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: A lease that is extended every second.
LEASE_SECONDS = 3.0
#: The largest result that a document holds.
LARGEST = ["x" * (MAX_DOCUMENT_BYTES - 100)]


def log_of(run_id: str) -> RunLogView:
    return view_log(TaskEngine().store, TASK, run_id)


def texts_of(run_id: str) -> list[str]:
    return [line.text for line in log_of(run_id).lines]


def places(lines: Iterable[LoggedLine]) -> list[tuple[int, int, int, str]]:
    """Attempt, leg, number and text of each line."""
    return [(line.attempt, line.leg, line.number, line.text) for line in lines]


@pytest.fixture
def log() -> RunLog:
    return RunLog(Clock())


def kept(log: RunLog) -> KeptLines:
    found = log.unstored()
    assert found is not None
    return found


# What is kept, without a server


def test_a_line_has_its_event_and_its_fields(log: RunLog) -> None:
    before = datetime.now(UTC)
    log.add("info", "operator read", {"operator": "north", "records": 3, "error": None})
    log.add("error", "operator failed", {})
    first, second = kept(log).lines
    assert (first.level, first.text) == ("info", "operator read operator=north records=3 error=None")
    assert (second.level, second.text) == ("error", "operator failed")
    assert before <= first.at <= second.at <= datetime.now(UTC)


def test_the_last_lines_are_kept_and_the_others_counted(log: RunLog) -> None:
    for number in range(MAX_LINES + 50):
        log.add("info", f"line {number}", {})
    assert [kept(log).lines[0].text, kept(log).lines[-1].text] == ["line 50", f"line {MAX_LINES + 49}"]
    assert (len(kept(log).lines), kept(log).lost, kept(log).count) == (MAX_LINES, 50, MAX_LINES + 50)


def test_all_lines_fit_into_the_size_limit(log: RunLog) -> None:
    """Characters that need four bytes count as four."""
    for _ in range(MAX_LINES):
        log.add("info", "😀" * MAX_CHARACTERS, {})
    assert sum(line.size_bytes for line in kept(log).lines) <= MAX_BYTES
    assert len(kept(log).lines) == MAX_BYTES // (4 * MAX_CHARACTERS)
    assert kept(log).count == MAX_LINES


def test_a_long_line_is_shortened(log: RunLog) -> None:
    log.add("info", "read", {"page": "x" * 10_000_000})
    (line,) = kept(log).lines
    assert (len(line.text), line.text[:8], line.text[-2:]) == (MAX_CHARACTERS, "read pag", "x…")


@pytest.mark.parametrize("filler", ["", "x" * (MAX_CHARACTERS - 30), "x" * (4 * MAX_CHARACTERS - 30)])
@pytest.mark.parametrize(
    "secret",
    [
        "https://north.example/cdrs?token=s3cret&x=1",
        "https://user:s3cret@north.example/cdrs",
        "Bearer s3cret",
        "Token s3cret",
        "Basic s3cret",
        "Authorization: Digest s3cret, s3cret",
        "X-Api-Key: s3cret",
        "{'password': 's3cret s3cret'}",
        '{"client_secret":"s3cret","page":3}',
        "signature=s3cret",
    ],
)
def test_no_line_contains_a_secret(log: RunLog, secret: str, filler: str) -> None:
    """Neither in its event nor in a field, wherever the line is cut."""
    log.add("info", f"{filler} asked {secret}", {})
    log.add(
        "info", "asked", {"filler": filler, "headers": {"Authorization": secret}, "error": ValueError(secret)}
    )
    log.add("info", "asked", {"filler": filler, "error": secret})
    assert "s3c" not in " ".join(line.text for line in kept(log).lines)


def test_the_value_of_a_secret_s_field_is_not_kept(log: RunLog) -> None:
    """Whatever its type and its text."""
    log.add("warning", "sign-in refused", {"token": "s3cret s3cret", "db_password": ["s3cret"], "page": 3})
    log.add("warning", "sign-in refused", {"X-Api-Key": b"s3cret", "credentials": {"user": "s3cret"}})
    assert [line.text for line in kept(log).lines] == [
        "sign-in refused token=… db_password=… page=3",
        "sign-in refused X-Api-Key=… credentials=…",
    ]


class Unprintable:
    """A value without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_value_without_a_text_is_replaced_by_its_type(log: RunLog) -> None:
    log.add("info", "read", {"value": Unprintable(), "page": 1})
    log.add("info", Unprintable(), {})
    assert [line.text for line in kept(log).lines] == ["read value=<Unprintable> page=1", "<Unprintable>"]


@given(
    st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.binary() | st.floats(), max_size=3)
)
def test_a_document_can_hold_each_line(event: str, fields: dict[str, Any]) -> None:
    """Whatever a task logs, also half a surrogate pair."""
    log = RunLog(Clock())
    log.add("info", event + "\ud83d\0", {**fields, "\ud83d": "\ud83d"})
    identity = AttemptIdentity(DocumentNames("root", TASK), "r", "t", "s")
    write = write_log(identity, kept(log), attempt=1, leg=1, now=TICK)
    read = WritePb.FromString(write.SerializeToString())
    assert decode_fields(read.update.fields)["lines"][0]["text"] == kept(log).lines[0].text


def test_only_new_lines_are_written(log: RunLog) -> None:
    """A line that is logged during a write is not taken for stored."""
    assert log.unstored() is None
    log.add("info", "first", {})
    during = kept(log)
    log.add("info", "second", {})
    log.mark_stored(during)
    assert [line.text for line in kept(log).lines] == ["first", "second"]
    log.mark_stored(kept(log))
    assert log.unstored() is None


def test_after_an_unanswered_write_the_log_is_written_with_each_commit(log: RunLog) -> None:
    """Unless there is nothing to write."""
    log.mark_uncertain()
    assert log.unstored() is None
    log.add("info", "first", {})
    for _ in range(2):
        log.mark_stored(kept(log))
        assert [line.text for line in kept(log).lines] == ["first"]


def test_threads_may_log_at_the_same_time(log: RunLog) -> None:
    calls = [in_thread(lambda: [log.add("info", "line", {}) for _ in range(500)]) for _ in range(4)]
    for thread, _ in calls:
        thread.join(60)
    assert kept(log).count == 2000
    times = [line.at for line in kept(log).lines]
    assert times == sorted(times)


def document(attempt: int, leg: int, texts: list[str], lost: int = 0) -> dict[str, Any]:
    lines = [{"at": TICK, "level": "info", "text": text} for text in texts]
    return {"attempt": attempt, "leg": leg, "lines": lines, "lost": lost}


def test_the_lines_of_all_attempts_are_joined_in_order() -> None:
    """Numbers count the lost lines of their leg."""
    view = RunLogView.parse(
        [document(2, 3, ["d"]), document(2, 1, ["c"], lost=7), document(1, 1, ["a", "b"])]
    )
    assert places(view.lines) == [(1, 1, 1, "a"), (1, 1, 2, "b"), (2, 1, 8, "c"), (2, 3, 1, "d")]
    assert view.lost == 7


def test_joined_lines_have_the_limits_of_one_log() -> None:
    """The others count as lost."""
    many = [document(attempt, 1, [f"{attempt}"] * 150, lost=attempt) for attempt in (1, 2)]
    view = RunLogView.parse(many)
    assert (len(view.lines), view.lost) == (MAX_LINES, 100 + 3)
    assert places(view.lines[-1:]) == [(2, 1, 152, "2")]
    long = [document(attempt, 1, ["x" * MAX_CHARACTERS] * 64) for attempt in (1, 2)]
    view = RunLogView.parse(long)
    assert (len(view.lines), view.lost) == (64, 64)


# Runs on the real Firestore


def test_a_completed_run_has_its_log(engine: TaskEngine, world: World) -> None:
    """In a document of its own, below the run record and not in it."""

    def task(run: TaskRun) -> list[int]:
        run.log.info("operator read", operator="north", records=3)
        run.log.warning("page repeated", page=2)
        run.log.error("operator failed", error=ValueError("no answer"))
        return [1]

    run_id = engine.execute_task("s", TASK, task).run_id
    log = log_of(run_id)
    assert [(line.level, line.text) for line in log.lines] == [
        ("info", "operator read operator=north records=3"),
        ("warning", "page repeated page=2"),
        ("error", "operator failed error=no answer"),
    ]
    assert log.lost == 0
    assert not {"lines", "log"} & world.history()[run_id].keys()
    (stored,) = world.database.collection(f"nx-tasks/{TASK.value}/nx-runs/{run_id}/nx-log").stream()
    assert stored.id == "0001.00001"
    # Firestore may remove the log only after the run record.
    assert stored.get("expire_at") >= world.history()[run_id]["expire_at"]


def test_a_run_that_logs_nothing_has_no_log(engine: TaskEngine, world: World) -> None:
    run_id = engine.execute_task("s", TASK, lambda: [1]).run_id
    assert log_of(run_id) == RunLogView((), 0)
    assert not list(world.database.collection_group("nx-log").stream())


def test_a_run_keeps_its_log_however_it_fails(engine: TaskEngine, world: World, clock: HandClock) -> None:
    """By an error, by a result that cannot be stored, by a cancel, and at its deadline."""
    goes_on = threading.Event()

    def fails(run: TaskRun) -> None:
        run.log.info("before the error")
        raise ValueError

    def returns_a_set(run: TaskRun) -> Any:
        run.log.info("before the result")
        return {1}

    def is_cancelled(run: TaskRun) -> None:
        run.log.info("before the cancel")
        assert TaskEngine().cancel_run(TASK, run.run_id, by="ops", reason="w") is CancelOutcome.cancelling
        run.progress(1)

    def hangs(run: TaskRun) -> None:
        run.log.info("before the deadline")
        clock.ahead += 1_000
        goes_on.wait(60)

    try:
        for task, state in (
            (fails, "failed"),
            (returns_a_set, "failed"),
            (is_cancelled, "cancelled"),
            (hangs, "failed"),
        ):
            outcome = engine.execute_task("s", TASK, task, {"lease_seconds": LEASE_SECONDS})
            assert (outcome.status, len(texts_of(outcome.run_id))) == (state, 1)
            assert texts_of(outcome.run_id)[0].startswith("before the ")
    finally:
        goes_on.set()


@pytest.mark.usefixtures("world")
def test_a_run_that_ends_with_its_instance_keeps_its_log(engine: TaskEngine) -> None:
    """SIGTERM ends it at once, because its task uses no checkpoints."""
    works, goes_on = threading.Event(), threading.Event()

    def task(run: TaskRun) -> None:
        run.log.info("before SIGTERM")
        works.set()
        goes_on.wait(60)

    thread, result = in_thread(lambda: engine.execute_task("s", TASK, task))
    try:
        assert works.wait(60)
        engine.shut_down(timeout_seconds=30)
        thread.join(60)
        assert texts_of(result[0].run_id) == ["before SIGTERM"]
    finally:
        goes_on.set()


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("by", ["progress", "lease"])
def test_the_log_can_be_read_while_the_task_works(engine: TaskEngine, by: str) -> None:
    """It is written with the progress, and with each extension of the lease."""
    goes_on = threading.Event()

    def task(run: TaskRun) -> None:
        run.log.info("first")
        if by == "progress":
            run.progress(1)
        assert goes_on.wait(60)
        run.log.info("last")

    thread, result = in_thread(
        lambda: engine.execute_task("s", TASK, task, {"scheduled_for": TICK, "lease_seconds": LEASE_SECONDS})
    )
    run_id = "2026-11-24T12:00:00.000000Z"
    try:
        assert wait_for("the first line", lambda: texts_of(run_id)) == ["first"]
        assert not result
    finally:
        goes_on.set()
        thread.join(60)
    assert texts_of(run_id) == ["first", "last"]


def test_each_attempt_adds_its_lines(engine: TaskEngine, world: World) -> None:
    """Those of an attempt that failed stay, and so do those that a dead one had stored."""
    dies = threading.Event()

    def task(run: TaskRun) -> list[int]:
        run.log.info("started", attempt=run.attempt)
        if run.attempt == 1:
            raise ValueError
        if run.attempt == 2:
            run.progress(1)
            run.log.info("not stored")
            assert dies.wait(60)
        return [1]

    options = {"scheduled_for": TICK}
    run_id = engine.execute_task("s", TASK, task, options).run_id
    thread, result = in_thread(lambda: TaskEngine().execute_task("s", TASK, task, options))
    try:
        wait_for("the second attempt", lambda: len(texts_of(run_id)) == 2)
        expired = {"run.lease_until": datetime.now(UTC) - timedelta(minutes=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(expired)
        assert TaskEngine().execute_task("s", TASK, task, options).status == "completed"
    finally:
        dies.set()
        thread.join(60)
    assert result[0].status in {"lost", "superseded"}
    assert places(log_of(run_id).lines) == [
        (attempt, 1, 1, f"started attempt={attempt}") for attempt in (1, 2, 3)
    ]


def test_each_leg_adds_its_lines(world: World) -> None:
    """Those of a leg that handed over, and those of one that failed and was tried again."""
    clock = PassingClock()
    failed: list[int] = []

    def task(run: TaskRun) -> list[int]:
        cursor = run.cursor("pages", 0)
        while cursor.value < 5:
            run.log.info("page", number=cursor.value)
            if cursor.value == 2 and not failed:
                failed.append(1)
                raise ValueError
            clock.ahead += UNIT_SECONDS
            cursor.advance(cursor.value + 1)
        return [1]

    long = LongRun(task, clock, leg_seconds=TWO_UNITS)
    long.deliver_tick()
    while world.history()[(run_id := next(iter(world.history())))]["state"] == "waiting":
        long.deliver()
    assert world.history()[run_id]["state"] == "completed"
    lines = places(log_of(run_id).lines)
    assert [text for *_, text in lines] == [f"page number={number}" for number in (0, 1, 2, 2, 3, 4)]
    assert [place[:2] for place in lines] == [(1, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 3)]


def test_the_newest_attempts_of_a_run_are_shown(engine: TaskEngine, world: World) -> None:
    """A log of many attempts stays cheap to read."""
    run = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/r")
    for attempt in range(1, MAX_ATTEMPTS + 6):
        at = TICK + timedelta(seconds=attempt)
        run.collection("nx-log").document(f"{attempt:04d}.00001").set(
            {**document(attempt, 1, [f"line {attempt}"]), "at": at}
        )
    assert texts_of("r") == [f"line {attempt}" for attempt in range(6, MAX_ATTEMPTS + 6)]


@pytest.mark.usefixtures("world")
def test_logging_never_fails_a_run(engine: TaskEngine) -> None:
    """Not by a value that cannot be written, not by its size, and not from other threads."""

    def task(run: TaskRun) -> list[int]:
        run.log.info("half a pair \ud83d", value="\udc80", name=b"\xff", number=2**200)
        run.log.info("no text", value=Unprintable())
        run.log.info("large", value=["x" * 1_000] * 2_000)
        thread, _ = in_thread(lambda: run.log.warning("from a thread"))
        thread.join(60)
        return [1]

    outcome = engine.execute_task("s", TASK, task)
    assert (outcome.status, len(texts_of(outcome.run_id))) == ("completed", 4)
    assert texts_of(outcome.run_id)[0].startswith("half a pair ? value=?")
    assert texts_of(outcome.run_id)[3] == "from a thread"


@pytest.mark.usefixtures("world")
def test_a_line_after_the_end_of_a_run_is_not_stored(engine: TaskEngine) -> None:
    """It fails nothing."""
    runs: list[TaskRun] = []

    def task(run: TaskRun) -> None:
        run.log.info("before")
        runs.append(run)

    run_id = engine.execute_task("s", TASK, task).run_id
    runs[0].log.info("after")
    assert texts_of(run_id) == ["before"]


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_full_log_fits_into_the_commit_of_the_largest_result(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    def task(run: TaskRun) -> list[str]:
        for _ in range(MAX_LINES):
            run.log.info("é" * MAX_CHARACTERS)
            run.log.info("y" * (MAX_BYTES // MAX_LINES))
        run.summarise({"text": "s" * 9_000})
        return LARGEST

    outcome = engine.execute_task("s", TASK, task, {"save_in": save_in})
    assert outcome.status == "completed"
    assert world.history()[outcome.run_id]["result"]["saved_in"] == save_in
    assert TaskEngine().get_task_data(TASK) == LARGEST
    assert len(texts_of(outcome.run_id)) > 30


@pytest.mark.usefixtures("world")
def test_a_log_whose_write_is_not_answered_is_written_again() -> None:
    """The first write of the progress and the first one of the end get no response."""
    unanswered: list[str] = []

    class Unreliable(Store):
        """It applies no first write of a log, and does not answer it."""

        def commit(self, writes: Iterable[Any], *, timeout: float | None = None) -> Any:
            writes = list(writes)
            if "/nx-log/" in writes[-1].update.name and len(unanswered) < 2:
                unanswered.append(writes[0].update.name)
                raise WriteUnknown("injected")
            return super().commit(writes, timeout=timeout)

    def task(run: TaskRun) -> list[int]:
        run.log.info("first")
        run.progress(1)
        return [1]

    engine = TaskEngine(Unreliable(firebase.firestore_wire))
    outcome = engine.execute_task("s", TASK, task)
    assert (outcome.status, len(unanswered)) == ("completed", 2)
    assert texts_of(outcome.run_id) == ["first"]


@pytest.mark.usefixtures("world")
def test_a_late_write_of_an_older_log_loses_no_line() -> None:
    """A progress commit is applied after the extension that followed it; the end stores all lines again."""
    events: list[str] = []

    class Late(Store):
        """It applies the first commit with a log, which is that of the progress, after the next one."""

        def __init__(self) -> None:
            super().__init__(firebase.firestore_wire)
            self._delayed: list[Any] = []

        def commit(self, writes: Iterable[Any], *, timeout: float | None = None) -> Any:
            writes = list(writes)
            if "/nx-log/" not in writes[-1].update.name:
                return super().commit(writes, timeout=timeout)
            if not events:
                events.append("not answered")
                self._delayed = writes
                raise WriteUnknown("injected")
            update_time = super().commit(writes, timeout=timeout)
            if self._delayed:
                super().commit(self._delayed)
                self._delayed = []
                events.append("applied late")
            return update_time

    def task(run: TaskRun) -> list[int]:
        run.log.info("first")
        run.progress(1)
        assert events == ["not answered"]
        run.log.info("second")
        wait_for("the extension", lambda: events == ["not answered", "applied late"])
        return [1]

    outcome = TaskEngine(Late()).execute_task("s", TASK, task, {"lease_seconds": LEASE_SECONDS})
    assert (outcome.status, events) == ("completed", ["not answered", "applied late"])
    assert texts_of(outcome.run_id) == ["first", "second"]
