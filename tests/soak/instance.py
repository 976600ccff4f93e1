"""An instance of the soak: a process that carries out deliveries, its calls meeting random faults."""

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
from shared.tasks.clock import SystemClock
from tests.faults.faulty import Fault, Faulty, engine_behind

#: How often a call meets a fault.
CHANCES = {"fail 1": 0.02, "lose answer": 0.02, "outage": 0.003, "kill before": 0.001, "kill after": 0.001}
#: Seconds of an outage: every call fails.
OUTAGE = (0.5, 4.0)
#: Short, so that leases end within the soak; a dead run is taken over the skew of clocks later.
LEASE_SECONDS = 3.0
DEADLINE_SECONDS = 30.0
RECORDS = 20
#: Where instances log.
LOG = Path(__file__).resolve().parents[2] / ".stack/logs/soak.log"


@dataclass(frozen=True, slots=True)
class Order:
    """What an instance is told to do: to look after all tasks, or to run one.

    Attributes:
        number: names the answer.
        task: None for the watchdog's pass.
        tick: the tick that is delivered.
        save_in: where the result is kept.
        seconds: how long the task works.
        does: how it ends: "returns", "raises" or "dies".
    """

    number: int
    task: TaskName | None = None
    tick: datetime | None = None
    save_in: str = "db"
    seconds: float = 0.0
    does: str = "returns"


class Weather(Faulty):
    """Faults by chance.

    Args:
        dice: draws them.
        mortal: whether the process may be killed.
        tell: is told of each.
    """

    def __init__(self, dice: random.Random, tell: Callable[..., None], *, mortal: bool) -> None:
        super().__init__(Fault(0))
        self._dice, self._tell, self._mortal = dice, tell, mortal
        self._out_until = 0.0

    def _strikes(self, _: str) -> str:
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
        self._tell("fault", kind)
        return kind


def value(run_id: str, attempt: int) -> list[dict[str, Any]]:
    """What the attempt of a run returns: each record tells whose it is."""
    return [{"run": run_id, "attempt": attempt, "record": number} for number in range(RECORDS)]


def identity(data: Any) -> tuple[str, int] | str | None:
    """Tell which attempt a result is of; None for no result, words for what nobody returned."""
    if data == []:
        return None
    try:
        run_id, attempt = data[0]["run"], data[0]["attempt"]
    except (LookupError, TypeError):
        return f"torn: {str(data)[:200]}"
    return (run_id, attempt) if data == value(run_id, attempt) else f"torn: {str(data)[:200]}"


def serve(pipe: Connection, seed: str, *, mortal: bool) -> None:
    """Carry out orders until there is a None, or the end of the pipe."""
    sys.stdout = LOG.open("a", encoding="utf-8")
    lock = threading.Lock()

    def tell(*said: Any) -> None:
        with lock:
            pipe.send(said)

    weather = Weather(random.Random(seed), tell, mortal=mortal)
    engine = engine_behind(weather, SystemClock(), document_seconds=2.0, object_seconds=4.0)
    with ThreadPoolExecutor(64) as pool:
        while (order := pipe.recv()) is not None:
            pool.submit(carry_out, engine, order, tell, mortal=mortal)


def carry_out(engine: TaskEngine, order: Order, tell: Callable[..., None], *, mortal: bool) -> None:
    """Do as told, and answer."""

    def task(run: TaskRun) -> list[dict[str, Any]]:
        tell("began", order.task, run.run_id, run.attempt)
        time.sleep(order.seconds)  # this is the work
        if order.does == "raises":
            raise RuntimeError("as it was told")
        if order.does == "dies" and mortal:
            tell("fault", "killed at work")
            os.kill(os.getpid(), signal.SIGKILL)
        return value(run.run_id, run.attempt)

    try:
        if order.task is None:
            answer = "watched" if engine.watch_tasks() else "not watched"
        else:
            answer = engine.execute_task("soak", order.task, task, options(order)).status
    except Exception as error:  # noqa: BLE001  (execute_task raises nothing: this is a finding)
        answer = repr(error)
    tell("answer", order.number, answer)


def options(order: Order) -> dict[str, Any]:
    return {
        "scheduled_for": order.tick,
        "save_in": order.save_in,
        "lease_seconds": LEASE_SECONDS,
        "deadline_seconds": DEADLINE_SECONDS,
        "debug_logs": False,
    }
