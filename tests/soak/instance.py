"""An instance of the soak: a process that carries out deliveries while its calls meet random faults."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from shared.tasks import TaskEngine, TaskName, TaskRun
from shared.tasks.clock import Clock
from shared.tasks.options import Continuation
from tests.faults.faulty import Fault, Faulty, engine_behind
from tests.soak import legs

#: Probability of each fault per call.
CHANCES = {"fail 1": 0.02, "lose answer": 0.02, "outage": 0.003, "kill before": 0.001, "kill after": 0.001}
#: Seconds of an outage, during which every call fails.
OUTAGE = (0.5, 4.0)
#: Short, so that leases end during the soak. A dead run is taken over one clock skew later.
LEASE_SECONDS = 3.0
DEADLINE_SECONDS = 30.0
RECORDS = 20
#: What happens to the call that creates the next leg's Cloud Task, by how the leg ends.
HAND_OVER_DEATHS = {"dies handing over": "kill before", "dies handed over": "kill after"}
#: The log of all instances.
LOG = Path(__file__).resolve().parents[2] / ".stack/logs/soak.log"


@dataclass(frozen=True, slots=True)
class Order:
    """A request to an instance: run a task, or let the watchdog pass.

    Attributes:
        number: Id of the answer.
        task: The task, or None for a watchdog pass.
        tick: The delivered tick.
        save_in: Where the result is stored.
        seconds: Duration of the task's work, seconds.
        ending: How the work ends: "returns", "raises" or "dies"; for a leg also "dies handing over" and
            "dies handed over", before or after its Cloud Task is created.
        continuation: The leg of a long run.
        records: Number of records of a long run.
    """

    number: int
    task: TaskName | None = None
    tick: datetime | None = None
    save_in: str = "db"
    seconds: float = 0.0
    ending: str = "returns"
    continuation: Continuation | None = None
    records: int = 0


class Weather(Faulty):
    """Random faults.

    Args:
        dice: Random numbers.
        mortal: Whether the process may be killed.
        report: Receives each fault.

    Attributes:
        ending: How the leg at work ends, as in `Order`.
    """

    def __init__(self, dice: random.Random, report: Callable[..., None], *, mortal: bool) -> None:
        super().__init__(Fault(0))
        self.ending = "returns"
        self._dice, self._report, self._mortal = dice, report, mortal
        self._out_until = 0.0

    def _strikes(self, call: str) -> str:
        if self._mortal and call == "POST task" and self.ending in HAND_OVER_DEATHS:
            self._report("fault", f"killed: {self.ending}")
            return HAND_OVER_DEATHS[self.ending]
        with self._lock:
            kinds = ["", *CHANCES]
            weights = [1 - sum(CHANCES.values()), *CHANCES.values()]
            kind = self._dice.choices(kinds, weights)[0]
            if kind == "outage":
                self._out_until = time.monotonic() + self._dice.uniform(*OUTAGE)
            if time.monotonic() < self._out_until:
                kind = "fail (outage)"
        if not kind or (kind.startswith("kill") and not self._mortal):
            return ""
        self._report("fault", kind)
        return kind


def value(run_id: str, attempt: int, records: int = RECORDS) -> list[dict[str, Any]]:
    """Return the result of an attempt, whose records name the run and the attempt; a long run has one."""
    return [{"run": run_id, "attempt": attempt, "record": n, "of": records} for n in range(records)]


def identity(data: Any) -> tuple[str, int] | str | None:
    """Return the run and attempt of a result, None if there is none, or a text if no attempt returned it."""
    if data == []:
        return None
    try:
        run_id, attempt, records = data[0]["run"], data[0]["attempt"], data[0]["of"]
    except (LookupError, TypeError):
        return f"torn: {str(data)[:200]}"
    return (run_id, attempt) if data == value(run_id, attempt, records) else f"torn: {str(data)[:200]}"


def serve(pipe: Connection, seed: str, legs_to: str, *, mortal: bool) -> None:
    """Carry out orders until None or the end of the pipe. Cloud Tasks delivers to the URL `legs_to`."""
    sys.stdout = LOG.open("a", encoding="utf-8")
    lock = threading.Lock()

    def report(*event: Any) -> None:
        with lock:
            pipe.send(event)

    weather = Weather(random.Random(seed), report, mortal=mortal)
    engine = engine_behind(weather, Clock(), document_seconds=2.0, object_seconds=4.0, legs_to=legs_to)
    with ThreadPoolExecutor(64) as pool:
        while (order := pipe.recv()) is not None:
            if order.task == legs.LONG:
                weather.ending = order.ending
            pool.submit(carry_out, engine, order, report, mortal=mortal)


def carry_out(engine: TaskEngine, order: Order, report: Callable[..., None], *, mortal: bool) -> None:
    """Carry out an order, and send the answer."""

    def die() -> None:
        report("fault", "killed during the run")
        os.kill(os.getpid(), signal.SIGKILL)

    dies = order.ending == "dies" and mortal

    def task(run: TaskRun) -> Any:
        if order.task == legs.LONG:
            return legs.work(run, value(run.run_id, 1, order.records), report, die if dies else None)
        report("began", order.task, run.run_id, run.attempt)
        time.sleep(order.seconds)  # stands for work
        if order.ending == "raises":
            raise RuntimeError("the order asked for an error")
        if dies:
            die()
        return value(run.run_id, run.attempt)

    try:
        if order.task is None:
            answer = "watched" if engine.watch_tasks() else "not watched"
        else:
            answer = engine.execute_task("soak", order.task, task, options(order)).status
    except Exception as error:  # noqa: BLE001  (a finding, because execute_task never raises)
        answer = repr(error)
    report("answer", order.number, answer)


def options(order: Order) -> dict[str, Any]:
    is_long = order.task == legs.LONG
    return {
        "scheduled_for": order.tick,
        "save_in": order.save_in,
        "lease_seconds": LEASE_SECONDS,
        "deadline_seconds": legs.DEADLINE_SECONDS if is_long else DEADLINE_SECONDS,
        "leg_seconds": legs.LEG_SECONDS if is_long else None,
        "continuation": order.continuation,
        "debug_logs": False,
    }
