"""The soak: ticks of all tasks for a while, on instances that die, freeze and meet faults, with readers."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psutil

from shared.tasks import TaskEngine, TaskName
from shared.tasks.writes import run_id_of
from tests.soak import instance, readers
from tests.soak.instance import Order
from tests.soak.readers import Seen

#: Seconds between two ticks of a task.
PERIOD = 2.0
#: What is 2xx for Cloud Scheduler. Anything else is delivered again, after a pause that doubles.
DEALT_WITH = {"completed", "duplicate", "skipped"}
BACKOFF = (0.5, 4.0)
#: Seconds in which, once no tick is due any more, all must have been dealt with.
QUIET_SECONDS = 90.0
WATCHDOG_SECONDS = 4.0
#: Seconds between two blows; a process that is frozen outlives its lease and the skew of clocks.
BLOWS = (8.0, 20.0)
FROZEN_SECONDS = 10.0
#: The first never dies: its memory is looked at.
INSTANCES = 3
SAVED_IN = {
    TaskName.send_reset_sms: ("none",),
    TaskName.collect_devices_health: ("db",),
    TaskName.collect_charge_locations: ("storage",),
    TaskName.collect_charge_cdrs: ("db", "storage"),
}

Run = tuple[TaskName, str]


@dataclass
class Record:
    """What happened.

    Attributes:
        ticks: the run of each tick that was due.
        answers: what each delivery was answered, by run.
        began: the attempts at which the task's own work began, by run.
        faults: how often each happened.
        seen: what readers read.
        memory: bytes of the long-living processes, each second.
    """

    ticks: list[Run] = field(default_factory=list)
    answers: dict[Run, list[str]] = field(default_factory=dict)
    began: dict[Run, list[int]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    seen: list[Seen] = field(default_factory=list)
    memory: dict[str, list[int]] = field(default_factory=dict)


class Process:
    """A process that is started again whenever it dies, until it is ended."""

    def __init__(self, start: Callable[[int], tuple[Any, Any]], hear: Callable[[Any], None]) -> None:
        self._start, self._hear = start, hear
        self._lock = threading.Lock()
        self._pending: dict[int, Future[str]] = {}
        self._over = False
        self._begin(0)
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _begin(self, generation: int) -> None:
        self._pipe, there = multiprocessing.Pipe()
        target, arguments = self._start(generation)
        spawn = multiprocessing.get_context("spawn")
        self.process = spawn.Process(target=target, args=(there,), kwargs=arguments, daemon=True)
        self.process.start()
        there.close()

    def _live(self) -> None:
        for generation in count(1):
            with suppress(EOFError, OSError):
                while True:
                    match self._pipe.recv():
                        case ("answer", number, answer):
                            self._pending.pop(number).set_result(answer)
                        case said:
                            self._hear(said)
            self._pipe.close()
            self.process.join()
            with self._lock:
                for waiting in self._pending.values():
                    waiting.set_result("killed")
                self._pending.clear()
                if self._over:
                    return
                self._begin(generation)

    def deliver(self, order: Order) -> str:
        """Have an order carried out; return the answer, "killed" where none came."""
        waiting: Future[str] = Future()
        with self._lock:
            self._pending[order.number] = waiting
            with suppress(OSError):  # it has died just now
                self._pipe.send(order)
        return waiting.result()

    def strike(self, blow: signal.Signals) -> None:
        with self._lock, suppress(ProcessLookupError):
            if self.process.is_alive() and self.process.pid:
                os.kill(self.process.pid, blow)

    def end(self) -> None:
        """Let it finish what it is at, and end it."""
        with self._lock:
            self._over = True
            with suppress(OSError):
                self._pipe.send(None)
        self._thread.join()

    def memory(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss


class Soak:
    """A soak on the running stack, whose Firestore is empty.

    Args:
        seed: repeats all choices.
        tell: tells a person how it goes.
    """

    def __init__(self, seed: int, tell: Callable[[str], None]) -> None:
        self.record = Record()
        self._seed, self._tell = seed, tell
        self._numbers = count()
        self._quiet, self._given_up = threading.Event(), threading.Event()
        self._instances: list[Process] = []

    def run(self, *, seconds: float = float("inf"), ticks: float = float("inf")) -> Record:
        """Soak that long, or for that many ticks a task; then wait until all is quiet."""
        self._instances = [
            Process(lambda generation, number=number: self._instance(number, generation), self._hear)
            for number in range(INSTANCES)
        ]
        reader = Process(lambda _: (readers.serve, {}), self.record.seen.extend)
        watched = {"instance": self._instances[0], "reader": reader}
        helpers = [
            threading.Thread(target=self._strike),
            threading.Thread(target=self._watch),
            threading.Thread(target=self._look, args=(watched,)),
        ]
        try:
            for helper in helpers:
                helper.start()
            with ThreadPoolExecutor(256) as pool:
                try:
                    due = self._fire(pool, seconds, ticks)
                    self._quiet.set()
                    wait(due, QUIET_SECONDS)
                finally:
                    self._quiet.set()
                    self._given_up.set()
        finally:
            for helper in helpers:
                helper.join()
            for process in (*self._instances, reader):
                process.end()
        TaskEngine().watch_tasks()  # the mirror is right by the watchdog's next pass
        return self.record

    def _instance(self, number: int, generation: int) -> tuple[Any, dict[str, Any]]:
        return instance.serve, {"seed": f"{self._seed}/{number}/{generation}", "mortal": number > 0}

    def _hear(self, said: Any) -> None:
        if said[0] == "fault":
            self.record.faults[said[1]] += 1
        else:
            _, task, run_id, attempt = said
            self.record.began.setdefault((task, run_id), []).append(attempt)

    def _fire(self, pool: ThreadPoolExecutor, seconds: float, ticks: float) -> list[Future[None]]:
        """Have each task's ticks delivered as they come due."""
        due: list[Future[None]] = []
        began, first = time.monotonic(), datetime.now(UTC)
        for number in count():
            ahead = number * PERIOD
            if ahead >= seconds or number >= ticks:
                return due
            self._quiet.wait(max(began + ahead - time.monotonic(), 0))
            for task in TaskName:
                dice = random.Random(f"{self._seed}/{task}/{number}")
                order = self._order(dice, task, first + timedelta(seconds=ahead))
                self.record.ticks.append((task, run_id_of(order.tick)))
                copies = dice.choice((1, 1, 1, 2, 3))  # at least once
                due += [pool.submit(self._deliver, order, dice.random()) for _ in range(copies)]
        raise AssertionError

    @staticmethod
    def _order(dice: random.Random, task: TaskName, tick: datetime) -> Order:
        long = dice.random() < 0.04
        return Order(
            number=-1,
            task=task,
            tick=tick,
            save_in=dice.choice(SAVED_IN[task]),
            seconds=dice.uniform(4, 6) if long else dice.uniform(0, 0.6),  # long: its lease is extended
            does=dice.choices(("returns", "raises", "dies"), (94, 3, 3))[0],
        )

    def _deliver(self, order: Order, seed: float) -> None:
        """Deliver a tick until it is dealt with, as Cloud Scheduler does, to whatever instance."""
        dice = random.Random(seed)
        answers = self.record.answers.setdefault((order.task, run_id_of(order.tick)), [])
        for again in count():
            number = next(self._numbers)
            answer = dice.choice(self._instances).deliver(replace(order, number=number))
            answers.append(answer)
            if answer in DEALT_WITH or self._given_up.wait(min(BACKOFF[0] * 2**again, BACKOFF[1])):
                return
            order = replace(order, does="returns")

    def _strike(self) -> None:
        """Kill an instance now and then, or freeze it until its runs have lost their leases."""
        dice = random.Random(f"{self._seed}/blows")
        while not self._quiet.wait(dice.uniform(*BLOWS)):
            struck = dice.choice(self._instances[1:])
            if dice.random() < 0.5:
                self.record.faults["killed at any time"] += 1
                struck.strike(signal.SIGKILL)
            else:
                self.record.faults["frozen"] += 1
                struck.strike(signal.SIGSTOP)
                self._given_up.wait(FROZEN_SECONDS)
                struck.strike(signal.SIGCONT)

    def _watch(self) -> None:
        """Have the watchdog pass every few seconds, on whatever instance."""
        dice = random.Random(f"{self._seed}/watchdog")
        while not self._given_up.wait(WATCHDOG_SECONDS):
            dice.choice(self._instances).deliver(Order(next(self._numbers)))

    def _look(self, processes: dict[str, Process]) -> None:
        """Look at the memory each second, and say how it goes."""
        began = time.monotonic()
        for second in count(1):
            if self._given_up.wait(began + second - time.monotonic()):
                return
            for name, process in processes.items():
                self.record.memory.setdefault(name, []).append(process.memory())
            if second % 30 == 0:
                self._tell(self._line(second))

    def _line(self, second: int) -> str:
        record = self.record
        answers = Counter(answer for given in list(record.answers.values()) for answer in given)
        megabytes = ", ".join(f"{name} {seen[-1] >> 20} MB" for name, seen in record.memory.items())
        return (
            f"{second:>5} s: {len(record.ticks)} ticks, {answers['completed']} completed, "
            f"{record.faults.total()} faults, {len(record.seen)} reads; {megabytes}"
        )
