"""One run with its log: what reading it costs, and when it has changed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from shared.tasks import TaskEngine, TaskRun
from shared.tasks.admin.run_logs import MAX_ATTEMPTS, NEWEST_ATTEMPTS, RunLogView
from shared.tasks.admin.run_view import RunView, view_run
from shared.tasks.backends.firestore import Store
from shared.tasks.contract import SUSPENDED_SPELLINGS
from shared.tasks.documents.run_log import MAX_LINES
from tests.faults.faulty import Down
from tests.support.counting import Answers, Counter
from tests.support.instances import intercepted
from tests.support.world import TASK, World

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUN = "2026-11-24T12:00:00.000000Z"
TICK = {"scheduled_for": NOON}


def logs_much(run: TaskRun) -> list[int]:
    for number in range(MAX_LINES):
        run.log.info("page read", page=number, text="x" * 100)
    return [1]


def put_log(world: World, attempt: int, lines: int) -> None:
    """Write the log of an attempt that wrote it last at `attempt` minutes past twelve."""
    at = NOON + timedelta(minutes=attempt)
    run = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{RUN}")
    run.collection("nx-log").document(f"{attempt:04d}.00001").set(
        {
            "attempt": attempt,
            "leg": 1,
            "at": at,
            "lost": 0,
            "lines": [{"at": at, "level": "info", "text": f"{attempt}.{line}"} for line in range(lines)],
        }
    )


def see(store: Store, **how: Any) -> RunView:
    view = view_run(store, TASK, RUN, **{"with_log": True, **how})
    assert view is not None
    return view


class Order(grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Records when calls are sent, answered and cancelled; the first `failing` calls fail.

    Attributes:
        events: The events, in order.
    """

    def __init__(self, failing: int = 0) -> None:
        self.events: list[str] = []
        self._failing = failing

    def intercept_unary_stream(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        self.events.append("sent")
        if self._failing > 0:
            self._failing -= 1
            raise Down
        sent = call(details, request)

        def answered() -> Any:
            for each in sent:
                self.events.append("answered")
                yield each

        answers = Answers(answered(), sent)
        cancel = answers.cancel

        def cancelled() -> None:
            self.events.append("cancelled")
            cancel()

        answers.cancel = cancelled
        return answers


def ordered(order: Order) -> Store:
    wire = intercepted(order)
    return Store(lambda: wire)


def test_a_run_and_its_log_are_read_in_one_round_trip(engine: TaskEngine) -> None:
    """The query of the log is sent before the record is answered."""
    engine.execute_task("s", TASK, logs_much, TICK)
    order = Order()
    view = see(ordered(order))
    assert order.events[:3] == ["sent", "sent", "answered"]
    assert order.events.count("sent") == 2
    assert view.log is not None
    assert len(view.log.lines) == MAX_LINES


def test_a_run_without_its_log_is_one_read(engine: TaskEngine, counted: TaskEngine, counter: Counter) -> None:
    engine.execute_task("s", TASK, logs_much, TICK)
    view = see(counted.store, with_log=False)
    assert (view.record.state, view.log, counter.calls) == ("completed", None, ["BatchGetDocuments"])


@pytest.mark.parametrize("lines", [MAX_LINES, MAX_LINES // 2])
def test_logs_of_earlier_attempts_are_not_read_if_they_add_no_line(
    engine: TaskEngine, world: World, counted: TaskEngine, counter: Counter, lines: int
) -> None:
    """The newest attempts leave no room for them."""
    engine.execute_task("s", TASK, lambda: [1], TICK)
    for attempt in range(1, 6):
        put_log(world, attempt, lines)
    log = see(counted.store).log
    assert log is not None
    assert len(log.lines) == MAX_LINES
    assert log.lines[-1].text == f"5.{lines - 1}"
    assert not log.lost_is_exact
    assert counter.calls == ["BatchGetDocuments", "RunQuery"]
    assert counter.documents == 2 + NEWEST_ATTEMPTS  # the status document, the record, and the logs


def test_logs_of_earlier_attempts_are_read_once_to_complete_the_lines(
    engine: TaskEngine, world: World, counted: TaskEngine, counter: Counter
) -> None:
    """Those of the newest attempts are not read again, and those beyond the last twenty never."""
    engine.execute_task("s", TASK, lambda: [1], TICK)
    for attempt in range(1, MAX_ATTEMPTS + 6):
        put_log(world, attempt, 1)
    log = see(counted.store).log
    assert log is not None
    assert [line.text for line in log.lines] == [f"{attempt}.0" for attempt in range(6, MAX_ATTEMPTS + 6)]
    assert counter.calls == ["BatchGetDocuments", "RunQuery", "RunQuery"]
    assert counter.documents == 2 + MAX_ATTEMPTS
    assert not log.lost_is_exact


def test_a_brief_view_reads_few_bytes(engine: TaskEngine, counted: TaskEngine, counter: Counter) -> None:
    """No lines, summary or result; what was written last is the same as in a whole view."""

    def task(run: TaskRun) -> list[str]:
        run.summarise({"text": "x" * 8_000})
        logs_much(run)
        return ["x" * 100_000]

    engine.execute_task("s", TASK, task, TICK)
    brief = see(counted.store, whole=False)
    assert (counter.calls, counter.documents) == (["BatchGetDocuments", "RunQuery"], 3)
    assert counter.bytes < 2_000
    whole = see(engine.store)
    assert (brief.log, brief.writes, len(brief.writes)) == (None, whole.writes, 2)
    assert brief.record.outcome == whole.record.outcome == "completed"


def test_each_write_to_a_run_or_its_log_is_seen(engine: TaskEngine, world: World) -> None:
    """Progress, new lines without progress, a further attempt, a refused delivery, and the end."""
    seen: list[object] = []

    def note() -> None:
        brief, whole = see(engine.store, whole=False), see(engine.store)
        assert brief.writes == whole.writes == see(engine.store, whole=False).writes
        seen.append(brief.writes)

    def task(run: TaskRun) -> list[int]:
        note()
        run.progress(1)
        note()
        if run.attempt == 1:
            put_log(world, 1, 1)  # as an extension of the lease writes it
            note()
            put_log(world, 1, 2)
            note()
            raise ValueError
        return [1]

    engine.execute_task("s", TASK, task, TICK)
    note()
    engine.execute_task("s", TASK, task, TICK)
    note()
    world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{RUN}.refused").set({"state": "refused"})
    note()
    assert len(set(map(str, seen))) == len(seen) == 9


def test_other_runs_do_not_change_a_run(engine: TaskEngine) -> None:
    """Although they write the status document, which is read for a suspension."""
    engine.execute_task("s", TASK, logs_much, TICK)
    before = see(engine.store)
    engine.execute_task("s", TASK, lambda: [2])
    after = see(engine.store)
    assert (after.writes, after.is_suspended) == (before.writes, False)
    engine.suspend_task(TASK, by="ops@example.com", reason="w")
    assert (see(engine.store).writes, see(engine.store).is_suspended) == (before.writes, True)


@pytest.mark.parametrize(
    ("status", "is_suspended"), [*((each, True) for each in SUSPENDED_SPELLINGS), ("completed", False)]
)
def test_a_suspension_by_another_implementation_is_seen(
    engine: TaskEngine, world: World, status: str, is_suspended: bool
) -> None:
    """It has only the contract's status, in either spelling."""
    engine.execute_task("s", TASK, lambda: [1], TICK)
    world.write({"status": status})
    assert see(engine.store).is_suspended is is_suspended


def test_a_missing_record_has_no_view(engine: TaskEngine, world: World) -> None:
    """A log without a record, which expires later, is not shown either."""
    put_log(world, 1, 1)
    assert view_run(engine.store, TASK, RUN, with_log=True) is None


@pytest.mark.parametrize("value", [None, 1, "text", {}, {"at": 1}, {"text": "no time"}, NOON, b"bytes"])
def test_a_foreign_value_in_a_log_is_skipped(engine: TaskEngine, world: World, value: object) -> None:
    """Its place in the numbers stays."""
    engine.execute_task("s", TASK, lambda: [1], TICK)
    put_log(world, 1, 1)
    log = world.database.document(f"nx-tasks/{TASK.value}/nx-runs/{RUN}/nx-log/0001.00001")
    good = {"at": NOON, "level": "info", "text": "good"}
    log.update({"lines": [value, good]})
    view = see(engine.store).log
    assert view is not None
    assert [(line.number, line.text) for line in view.lines] == [(2, "good")]
    log.update(dict.fromkeys(("lines", "lost", "attempt", "leg"), value))
    assert see(engine.store).log == RunLogView((), value if isinstance(value, int) else 0)


@pytest.mark.usefixtures("world")
def test_the_other_queries_are_cancelled_when_one_fails() -> None:
    """All of them are sent again, so that an answer to the first ones is of no use."""
    order = Order(failing=1)
    found = ordered(order).query_histories([(TASK, lambda _: None)] * 3)
    assert len(found) == 3
    sent = [event for event in order.events if event != "answered"]
    assert sent == ["sent"] * 3 + ["cancelled"] * 2 + ["sent"] * 3


def test_the_query_of_the_log_is_cancelled_when_the_read_of_the_record_fails(engine: TaskEngine) -> None:
    """And both are sent again."""
    engine.execute_task("s", TASK, logs_much, TICK)
    order = Order(failing=1)
    assert see(ordered(order)).record.state == "completed"
    sent = [event for event in order.events if event != "answered"]
    assert sent == ["sent"] * 2 + ["cancelled"] + ["sent"] * 2
