"""The soak: ticks of all tasks on instances that die, freeze and meet faults, while readers read."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from shared.tasks import TaskEngine, TaskName
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.options import Continuation
from tests.soak import instance, readers
from tests.soak.instance import Order
from tests.soak.legs import LEGS, LONG, UNITS, Receiver, fate
from tests.soak.process import HUNG_SECONDS, Process
from tests.soak.readers import Read

#: Seconds between two ticks of a task.
PERIOD = 2.0
#: Answered with 2xx. Cloud Scheduler delivers other answers again, after a pause that doubles.
ACKNOWLEDGED = {"completed", "waiting", "duplicate", "skipped"}
BACKOFF = (0.5, 4.0)
#: Seconds after the last tick in which all deliveries must be acknowledged.
QUIET_SECONDS = 90.0
WATCHDOG_SECONDS = 4.0
#: Seconds between two kills or freezes. A freeze outlasts the lease and the clock skew.
BLOWS = (8.0, 20.0)
FROZEN_SECONDS = 10.0
INSTANCES = 3
#: Never killed, because their memory is measured.
LONG_LIVING = {"instance 0", "legs 0", "reader"}
SAVED_IN = {
    TaskName.send_reset_sms: ("none",),
    TaskName.collect_devices_health: ("db",),
    LONG: ("storage",),
    TaskName.collect_charge_cdrs: ("db", "storage"),
}

Run = tuple[TaskName, str]


@dataclass
class Record:
    """The events of a soak.

    Attributes:
        ticks: The run of each due tick.
        answers: The answers to the deliveries of each run.
        began: The attempts of each run that reached the task's own work; of long runs, see `legs`.
        legs: The legs of each long run that reached its work, with the position at which they began.
        faults: Number of faults by kind.
        reads: All reads.
        completed_at: Unix time of the first answer that reported a run as completed, seconds.
        memory: Bytes of each long-living process, sampled every second.
        hung: Processes and watchdog passes that did not end.
        errors: Other findings, such as a process that ended by itself.
    """

    ticks: list[Run] = field(default_factory=list)
    answers: dict[Run, list[str]] = field(default_factory=dict)
    began: dict[Run, list[int]] = field(default_factory=dict)
    legs: dict[Run, list[tuple[int, int]]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    reads: list[Read] = field(default_factory=list)
    completed_at: dict[Run, float] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)
    hung: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Soak:
    """A soak on a running stack with an empty Firestore.

    Args:
        seed: Seed of all random choices.
        report: Receives lines that report progress.
        legs: Number of legs of each long run.
    """

    def __init__(self, seed: int, report: Callable[[str], None], *, legs: int = LEGS) -> None:
        self.record = Record()
        self._records = legs * UNITS
        self._seed, self._report = seed, report
        self._numbers = count()
        self._quiet, self._given_up = threading.Event(), threading.Event()
        self._instances: list[Process] = []
        #: Carry out legs; only the second one is killed.
        self._legs: list[Process] = []
        self._legs_dice = random.Random(f"{seed}/legs")
        self._legs_to = ""

    def run(self, *, seconds: float = float("inf"), ticks: float = float("inf")) -> Record:
        """Soak for these seconds or this number of ticks, and wait until all deliveries end or hang."""
        receiver = Receiver(self._deliver_leg)
        self._legs_to = receiver.url
        self._instances, self._legs = self._start("instance", INSTANCES), self._start("legs", 2)
        reader = Process("reader", lambda _: (readers.serve, {}), self.record.reads.extend)
        instances = [*self._instances, *self._legs]
        watched = [each for each in (*instances, reader) if each.name in LONG_LIVING]
        helpers = [
            threading.Thread(target=self._helped, args=each, daemon=True)
            for each in ((self._strike,), (self._watch,), (self._sample_memory, watched))
        ]
        try:
            for helper in helpers:
                helper.start()
            with ThreadPoolExecutor(256) as pool:
                try:
                    due = self._fire(pool, seconds, ticks)
                    self._quiet.set()
                    self._let_runs_end(due)
                finally:
                    self._quiet.set()
                    self._given_up.set()
                    pool.shutdown(cancel_futures=True)
        finally:
            for helper in helpers:
                helper.join(HUNG_SECONDS)
            receiver.end()
            self._end(*instances, reader)
        TaskEngine().watch_tasks()  # which repairs the contract copy
        return self.record

    def _start(self, kind: str, count: int) -> list[Process]:
        """Start instances; all but the first one are mortal."""

        def starting(number: int) -> Callable[[int], tuple[Any, Any]]:
            fixed = {"legs_to": self._legs_to, "mortal": number > 0}
            return lambda generation: (
                instance.serve,
                {"seed": f"{self._seed}/{kind}/{number}/{generation}", **fixed},
            )

        return [Process(f"{kind} {number}", starting(number), self._hear) for number in range(count)]

    def _let_runs_end(self, due: list[Future[None]]) -> None:
        """Wait until all ticks are acknowledged and the long run has ended, but not for ever."""
        ends = time.monotonic() + QUIET_SECONDS
        wait(due, QUIET_SECONDS)
        store = TaskEngine().store
        while time.monotonic() < ends and store.read_documents(LONG)[0].state in {"running", "waiting"}:
            time.sleep(0.5)

    def _end(self, *processes: Process) -> None:
        """End all processes, and record those that hung or died."""
        for process in processes:
            if not process.end():
                self.record.hung.append(f"{process.name} did not end")
            killed = [] if process.name in LONG_LIVING else [-signal.SIGKILL]
            died = [code for code in process.ended if code not in killed]
            self.record.errors += [f"{process.name} died, exit code {code}" for code in died]

    def _helped(self, help_: Callable[..., None], *arguments: Any) -> None:
        """Run a helper, and record an error that ends it."""
        try:
            help_(*arguments)
        except Exception as error:  # noqa: BLE001  (any error invalidates the soak)
            self.record.errors.append(f"{help_.__name__}: {error!r}")

    def _hear(self, event: Any) -> None:
        if event[0] == "fault":
            self.record.faults[event[1]] += 1
        elif event[0] == "leg":
            self.record.legs.setdefault((LONG, event[1]), []).append(event[2:])
        else:
            _, task, run_id, attempt = event
            self.record.began.setdefault((task, run_id), []).append(attempt)

    def _fire(self, pool: ThreadPoolExecutor, seconds: float, ticks: float) -> list[Future[None]]:
        """Deliver the ticks of each task as they become due."""
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

    def _order(self, dice: random.Random, task: TaskName, tick: datetime) -> Order:
        if task == LONG:
            return Order(-1, LONG, tick, "storage", ending=fate(dice), records=self._records)
        long = dice.random() < 0.04
        return Order(
            number=-1,
            task=task,
            tick=tick,
            save_in=dice.choice(SAVED_IN[task]),
            seconds=dice.uniform(4, 6) if long else dice.uniform(0, 0.6),  # long: its lease is extended
            ending=dice.choices(("returns", "raises", "dies"), (94, 3, 3))[0],
        )

    def _deliver(self, order: Order, seed: float) -> None:
        """Deliver a tick to random instances until it is acknowledged, as Cloud Scheduler does."""
        dice = random.Random(seed)
        run = (order.task, run_id_of(order.tick))
        answers = self.record.answers.setdefault(run, [])
        for again in count():
            instance = self._for_leg(order) if order.task == LONG else dice.choice(self._instances)
            answer = instance.deliver(replace(order, number=next(self._numbers)))
            answers.append(answer)
            # A duplicate of a long run's tick may be answered while a later leg works.
            if answer == "completed" or (answer == "duplicate" and order.task != LONG):
                self.record.completed_at.setdefault(run, time.time())
            if answer in ACKNOWLEDGED or self._given_up.wait(min(BACKOFF[0] * 2**again, BACKOFF[1])):
                return
            order = replace(order, ending="returns")

    def _for_leg(self, order: Order) -> Process:
        return self._legs[order.ending != "returns"]

    def _deliver_leg(self, leg: Continuation) -> bool:
        """Carry out a leg that Cloud Tasks delivers; return whether it is acknowledged."""
        if self._given_up.is_set():
            return True
        ending = fate(self._legs_dice)
        order = Order(
            next(self._numbers), LONG, None, "storage", 0.0, ending, continuation=leg, records=self._records
        )
        answer = self._for_leg(order).deliver(order)
        self.record.answers.setdefault((LONG, leg.run_id), []).append(answer)
        if answer == "completed":
            self.record.completed_at.setdefault((LONG, leg.run_id), time.time())
        return answer in ACKNOWLEDGED

    def _strike(self) -> None:
        """Kill a random instance at random times, or freeze it until its runs have lost their leases."""
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
        """Let the watchdog pass every few seconds, on a random instance."""
        dice = random.Random(f"{self._seed}/watchdog")
        while not self._given_up.wait(WATCHDOG_SECONDS):
            instance = dice.choice(self._instances)
            answer = instance.deliver(Order(next(self._numbers)))
            if answer == "hung":
                self.record.hung.append(f"{instance.name}, a watchdog pass")
            elif answer not in {"watched", "not watched", "killed"}:
                self.record.errors.append(f"a watchdog pass: {answer}")

    def _sample_memory(self, processes: list[Process]) -> None:
        """Sample the memory every second, and report progress."""
        began = time.monotonic()
        for second in count(1):
            if self._given_up.wait(began + second - time.monotonic()):
                return
            for process in processes:
                if (taken := process.memory()) is not None:
                    self.record.memory.setdefault(process.name, []).append(taken)
            if second % 30 == 0:
                self._report(self._line(second))

    def _line(self, second: int) -> str:
        record = self.record
        answers = Counter(answer for given in list(record.answers.values()) for answer in given)
        megabytes = ", ".join(f"{name} {samples[-1] >> 20} MB" for name, samples in record.memory.items())
        return (
            f"{second:>5} s: {len(record.ticks)} ticks, {answers['completed']} completed, "
            f"{sum(map(len, list(record.legs.values())))} legs, "
            f"{record.faults.total()} faults, {len(record.reads)} reads; {megabytes}"
        )
