"""Cost of long runs: hand-overs, remembered steps and cursors, compared with DBOS if there is one."""

from __future__ import annotations

import io
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bench.report import Measure
from shared import firebase
from shared.tasks import ExecuteTaskOptions, TaskEngine, TaskName, TaskRun
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.leg_queue import LegQueue
from shared.tasks.backends.scheduler import Jobs, JobTarget
from shared.tasks.clock import Clock
from shared.tasks.options import Continuation
from shared.tasks.runtime.checkpoint_limits import CHECKPOINT_SECONDS
from shared.tasks.testing import RecordedRun
from tests.support.cloud_tasks import receiving
from tests.support.counting import Counter
from tests.support.instances import intercepted

if TYPE_CHECKING:
    from collections.abc import Iterator

TASK = TaskName.collect_charge_cdrs
#: Hand-overs of an idle queue that are timed, and those of a busy one: how many in a run, and runs.
IDLE_ROUNDS, CHAIN, CHAINS = 24, 12, 4
#: Length of a leg, and of its first unit of work, after which too little is left for another whole leg.
LEG_SECONDS, WORK_SECONDS = 3, 0.4
#: Remembered steps of one run.
STEPS = 100
#: Runs of so many steps.
RUNS = 9
#: Moves of a cursor that are timed together, and how often.
MOVES, MOVE_ROUNDS = 10_000, 7


def measures() -> Iterator[Measure]:
    """Measure a hand-over, steps and cursors."""
    yield hand_overs("idle", 1, IDLE_ROUNDS)
    yield hand_overs("busy", CHAIN, CHAINS)
    steps, resumed, calls = _steps()
    yield Measure("remembered step: round trips", calls, {"step": steps / STEPS})
    yield Measure("cursor moved, no checkpoint due: µs", moved := _move() * 1e6, {"move": moved}, unit="µs")
    yield from _beside_dbos(steps, resumed)


class _RedirectedJobs(Jobs):
    """Reads the job as the product does, and lets Cloud Tasks deliver to the benchmark."""

    def __init__(self, target: JobTarget) -> None:
        super().__init__(firebase.scheduler_wire)
        self._target = target

    def read_target(self, task: TaskName, *, timeout: float | None = None) -> JobTarget:
        super().read_target(task, timeout=timeout)
        return self._target


def hand_overs(state: str, length: int, rounds: int) -> Measure:
    """Measure first hand-overs, for which the queue is idle, or those of legs that the queue delivered.

    The emulator polls an idle queue once per second, so the rounds begin at different parts of a second.
    While a delivery is under way, the queue is not idle.

    Args:
        state: "idle" or "busy", for the measure's name.
        length: Hand-overs that are timed in each run; 1 for an idle queue.
        rounds: Number of runs.
    """
    taken: dict[str, list[float]] = {"hand-over": [], "Cloud Task": []}
    for number in range(rounds):
        pause = number / rounds
        taken["hand-over"] += _legs(length, pause)[-length:]
        taken["Cloud Task"] += _cloud_tasks(length, pause)[-length:]
    parts = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    ratio = parts["hand-over"] / parts["Cloud Task"]
    return Measure(f"hand-over to the next leg's work, {state} queue : one Cloud Task", ratio, parts)


def _legs(hand_overs: int, pause: float) -> list[float]:
    """Return the seconds from the end of each leg of a run to the start of the next one's work.

    The run starts after a pause, in seconds.
    """
    taken: list[float] = []
    ended = threading.Event()
    ends = 0.0
    tick = datetime.now(UTC)
    legs = hand_overs + 1 if hand_overs == 1 else hand_overs + 2  # the first one finds an idle queue

    def task(run: TaskRun) -> int:
        nonlocal ends
        if run.leg > 1:
            taken.append(time.perf_counter() - ends)
        cursor = run.cursor("legs", start=1)
        while cursor.value < legs:
            time.sleep(WORK_SECONDS)
            cursor.advance(cursor.value + 1)
            ends = time.perf_counter()
            run.ensure_leg_time(LEG_SECONDS)
        return cursor.value  # type: ignore[no-any-return]

    def execute(continuation: Continuation | None) -> None:
        scheduled_for = None if continuation else tick
        options = ExecuteTaskOptions(
            debug_logs=False,
            scheduled_for=scheduled_for,
            schedule_time=scheduled_for,
            deadline_seconds=3_600,
            leg_seconds=LEG_SECONDS,
            continuation=continuation,
        )
        if engine.execute_task("bench", TASK, task, options).status != "waiting":
            ended.set()

    def receive(_: dict[str, str], body: dict[str, Any]) -> int:
        execute(Continuation(body["run_id"], body["leg"]))
        return 200

    with receiving(receive) as url:
        engine = TaskEngine(jobs=_RedirectedJobs(JobTarget(url)))
        time.sleep(pause)
        execute(None)
        if not ended.wait(120):
            raise TimeoutError("the legs were not delivered")
    if len(taken) != legs - 1:
        raise RuntimeError(f"the run had {len(taken)} hand-overs instead of {legs - 1}")
    return taken


def _cloud_tasks(number: int, pause: float) -> list[float]:
    """Return the seconds from the creation of Cloud Tasks to their delivery, each created by the last one.

    The first one is created after a pause, in seconds.
    """
    taken: list[float] = []
    ended = threading.Event()
    queue, run_id, legs = LegQueue(firebase.tasks_wire), uuid4().hex, itertools.count(2)
    created = 0.0
    number = number if number == 1 else number + 1  # the first one finds an idle queue

    def create() -> None:
        nonlocal created
        created = time.perf_counter()
        queue.deliver(TASK, run_id, next(legs), 1, JobTarget(url))

    def receive(*_: object) -> int:
        taken.append(time.perf_counter() - created)
        if len(taken) < number:
            create()
        else:
            ended.set()
        return 200

    with receiving(receive) as url:
        time.sleep(pause)
        create()
        if not ended.wait(120):
            raise TimeoutError("the Cloud Tasks were not delivered")
    return taken


def _steps() -> tuple[float, float, float]:
    """Return the milliseconds of a run's steps, those until a resumed run's last step, and calls per step."""
    steps, resumed, calls = [], [], 0.0
    for _ in range(RUNS):
        counter, tick = Counter(), datetime.now(UTC)
        engine = TaskEngine(Store(lambda counter=counter: intercepted(counter)))  # type: ignore[misc]
        began = 0.0

        def task(run: TaskRun, counter: Counter = counter) -> None:
            nonlocal began, calls
            if run.attempt > 1:
                _remember(run, STEPS)
                resumed.append((time.perf_counter() - began) * 1000)
                return
            began = time.perf_counter()
            counter.calls.clear()
            _remember(run, STEPS)
            steps.append((time.perf_counter() - began) * 1000)
            calls = len(counter.calls) / STEPS
            raise InterruptedError

        options = ExecuteTaskOptions(debug_logs=False, scheduled_for=tick, schedule_time=tick)
        with redirect_stdout(io.StringIO()):  # the failure is part of the measure
            engine.execute_task("bench", TASK, task, options)
        began = time.perf_counter()
        engine.execute_task("bench", TASK, task, options)
    return statistics.median(steps), statistics.median(resumed), calls


def _remember(run: TaskRun, number: int) -> None:
    for place in range(number):
        run.step(f"step {place}", lambda place=place: {"step": place})


def _move() -> float:
    """Return the seconds of a move of a cursor that makes no checkpoint."""
    run = RecordedRun(TASK, deadline_seconds=3_600, checkpoint_seconds=CHECKPOINT_SECONDS, clock=Clock())
    cursor, taken = run.cursor("pages"), []
    for _ in range(MOVE_ROUNDS):
        began = time.perf_counter()
        for number in range(MOVES):
            cursor.advance(number)
        taken.append((time.perf_counter() - began) / MOVES)
    return statistics.median(taken)


def _beside_dbos(steps: float, resumed: float) -> Iterator[Measure]:
    """Compare with DBOS in the Python that DBOS_PYTHON names; yield nothing without it."""
    python = os.environ.get("DBOS_PYTHON")
    if python is None:
        return
    script = str(Path(__file__).with_name("dbos_steps.py"))
    with tempfile.TemporaryDirectory() as folder:
        command = [python, script, f"{folder}/dbos.sqlite", str(STEPS)]
        printed = subprocess.run(  # noqa: S603  (this project's own module)
            command, check=True, capture_output=True, text=True
        ).stdout
    dbos = {name: statistics.median(times) for name, times in json.loads(printed).items()}
    for name, own in (("steps", steps), ("resumed", resumed)):
        shown = {"Firestore emulator": own, "DBOS, SQLite": dbos[name]}
        what = f"{STEPS} remembered steps" if name == "steps" else f"resumed at step {STEPS}"
        yield Measure(f"{what} : DBOS", own / dbos[name], shown)
