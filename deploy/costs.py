"""Cost of a deployment without reads, and of a million reads.

List prices before any free quota, from `bench.scale.facts` and from here, each with its source. What
is assumed says so: how long a run takes is the project's own, and `python -m deploy costs` tells what
another figure makes of it.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from croniter import croniter

import main
from bench.scale import facts, model
from bench.scale.facts import SECONDS_IN_MONTH, Fact
from bench.scale.markdown import amount, size, table
from bench.scale.model import Load
from shared.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

JOB_PRICE = Fact(
    0.10,
    "$0.10 a month",
    "a job of Cloud Scheduler, paused or not; an account's first 3 are free",
    "https://cloud.google.com/scheduler/pricing",
)
SECRET_PRICE = Fact(
    0.06,
    "$0.06 a month",
    "an active version of a secret; the first 6 are free",
    "https://cloud.google.com/secret-manager/pricing",
)
DELETE_PRICE = Fact(
    0.01e-5,
    "$0.01 for 100,000",
    "deletes of Firestore, those of TTL too, which no quota makes free",
    "a third of a read's price, as the multi-regions' $0.02 to $0.06 at https://cloud.google.com/firestore/pricing",
)
IMAGE_PRICE = Fact(
    0.10,
    "$0.10 a GB",
    "images kept for a month in Artifact Registry",
    "assumed; see https://cloud.google.com/artifact-registry/pricing",
)
ALERT_PRICE = Fact(
    1.50,
    "$1.50 a month",
    "a metric's condition of an alert policy; none is said of those on logs",
    "https://cloud.google.com/monitoring/alerts/cost-control, as announced",
)
IMAGE_GB = Fact(1.5, "1.5 GB", "images of all functions, which share most layers", "assumed")
RUN_SECONDS = Fact(5, "5 s", "a run, or a pass of the watchdog", "assumed")
RUN_WRITES = Fact(
    4,
    "4",
    "writes of a run: status and history, at its start and its end",
    "counted: protocol, tests/engine/test_round_trips.py",
)
RUN_READS = Fact(3, "3", "reads of a run that finds nothing in memory", "the same, rounded up")
PASS_READS = Fact(
    7, "7", "reads of the watchdog, a task and pass", "assumed: histories, status, schedule, due ticks"
)
PRICES = (JOB_PRICE, SECRET_PRICE, DELETE_PRICE, IMAGE_PRICE, ALERT_PRICE)
ASSUMED = (IMAGE_GB, RUN_SECONDS, RUN_WRITES, RUN_READS, PASS_READS)
#: Cores of an instance that serves one request at a time, by its memory in MiB.
PARTS_OF_A_CORE = {128: 0.0833, 256: 0.1666, 512: 0.3333, 1024: 0.5833, 2048: 1.0}
#: Devices that a row is said for.
DEVICES = 1_000
#: A fixed month: the page is the same each time.
_MONTH = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A scheduled function, as far as it costs something.

    Attributes:
        name: of the function.
        ticks: in a month of 30 days.
        memory: MiB of an instance.
        is_task: whether it leaves a status and a history.
    """

    name: str
    ticks: int
    memory: int
    is_task: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """A row: what, how much of it, dollars a month."""

    what: str
    how_much: str
    dollars: float


def scheduled() -> Iterator[Scheduled]:
    """Return the scheduled functions that main.py names."""
    for name in main.__all__:
        endpoint = getattr(main, name).__firebase_endpoint__
        if endpoint.scheduleTrigger is not None:
            schedule = str(endpoint.scheduleTrigger["schedule"])
            is_task = (endpoint.labels or {}).get("nx-task") != "false"
            yield Scheduled(name, _ticks(schedule), endpoint.availableMemoryMb, is_task)


@functools.cache
def _ticks(schedule: str) -> int:
    ticks, end = (
        croniter(schedule, _MONTH - timedelta(seconds=1)),
        _MONTH + timedelta(seconds=SECONDS_IN_MONTH),
    )
    count = 0
    while ticks.get_next(datetime) < end:
        count += 1
    return count


def at_rest(run_seconds: float = RUN_SECONDS.value, of: Collection[str] | None = None) -> list[Cost]:
    """Return the cost of a month in which scheduled functions run, without reads.

    Args:
        run_seconds: how long a run takes.
        of: names of the functions that count; None: all.
    """
    functions = [one for one in scheduled() if of is None or one.name in of]
    ticks = sum(one.ticks for one in functions)
    runs = sum(one.ticks for one in functions if one.is_task)
    tasks = sum(one.is_task for one in functions)
    passes = ticks - runs
    instances = sum(one.ticks * run_seconds * _second(one.memory) for one in functions)
    reads = runs * RUN_READS.value + passes * tasks * PASS_READS.value
    writes = runs * RUN_WRITES.value
    secrets = sum(setting.secret for setting in SETTINGS)
    return [
        Cost("jobs of Cloud Scheduler", f"{len(functions)}", len(functions) * JOB_PRICE.value),
        Cost("deliveries", f"{ticks:,}", ticks * facts.REQUEST_PRICE.value),
        Cost("instances at work", f"{amount(ticks * run_seconds / 3600)} hours", instances),
        Cost("Firestore reads", f"{reads:,.0f}", reads * facts.READ_PRICE.value),
        Cost("Firestore writes", f"{writes:,.0f}", writes * facts.WRITE_PRICE.value),
        Cost("histories that expire", f"{runs:,}", runs * DELETE_PRICE.value),
        Cost("secrets", f"{secrets}", secrets * SECRET_PRICE.value),
        Cost("images", IMAGE_GB.shown, IMAGE_GB.value * IMAGE_PRICE.value),
        Cost("the alert policy on a metric", "1", ALERT_PRICE.value),
    ]


def _second(memory: int) -> float:
    cores = PARTS_OF_A_CORE[memory] * facts.CORE_PRICE.value
    return cores + memory / 1024 * facts.MEMORY_PRICE.value


def devices_cost() -> float:
    """Return dollars a month for reading DEVICES devices each time their health is judged."""
    (health,) = (one for one in scheduled() if one.name == "collect_devices_health")
    return health.ticks * DEVICES * facts.READ_PRICE.value


def million_reads(size_bytes: int, reads_a_second: float) -> float:
    """Return dollars for a million reads.

    Args:
        size_bytes: of the result, as JSON.
        reads_a_second: how fast they come; slow ones share neither instance nor version.
    """
    load = Load(1, reads_a_second, 5, size_bytes)
    load = Load(model.instances_needed(load), reads_a_second, 5, size_bytes)
    return sum(model.monthly_cost(load).values()) / (reads_a_second * SECONDS_IN_MONTH) * 1e6


SIZES = (1_000, 10_000, 100_000, 1_000_000)
RATES = (0.01, 1, 100)


READS = """\
With devices, {devices:,.2f} $ a month for each {count:,}: all are read every five minutes. A million reads
of `get_task_data`, at a max-age of 5 s, in dollars; a whole answer each, compressed and sent to the
internet:"""
PRICED = """\
List prices of the cheapest regions before any free quota, looked up on {when} in stored copies. What is not
here is in [scale.md](scale.md), with larger loads."""


#: Names the scheduled functions that the first table counts.
_COUNTED = "A month in which {names} run on their schedules, without reads:"


def counted_in(page: str) -> list[str]:
    """Return the names of the scheduled functions whose costs a page shows."""
    before, after = _COUNTED.split("{names}")
    found = re.search(f"{re.escape(before)}(.*?){re.escape(after)}", page, re.DOTALL)
    return re.findall(r"`(\w+)`", found[1]) if found else []


def tables(run_seconds: float = RUN_SECONDS.value, of: Collection[str] | None = None) -> str:
    """Return the page's part on costs.

    Args:
        run_seconds: how long a run takes.
        of: names of the scheduled functions that count; None: all.
    """
    rest = at_rest(run_seconds, of)
    *names, last = (f"`{one.name}`" for one in scheduled() if of is None or one.name in of)
    rows = [(cost.what, cost.how_much, f"{cost.dollars:,.2f}") for cost in rest]
    total = sum(cost.dollars for cost in rest)
    reads = [(size(of), *(f"{million_reads(of, rate):,.2f}" for rate in RATES)) for of in SIZES]
    prices = [(fact.meaning, fact.shown, fact.source) for fact in (*PRICES, *ASSUMED)]
    return "\n\n".join(
        (
            _COUNTED.format(names=f"{', '.join(names)} and {last}"),
            table(("what", "how much", "$"), [*rows, ("all", "", f"**{total:,.2f}**")]),
            READS.format(devices=devices_cost(), count=DEVICES),
            table(("result as JSON", *(f"{rate:g} reads a second" for rate in RATES)), reads),
            PRICED.format(when=facts.LOOKED_UP),
            table(("what", "figure", "from"), prices),
        )
    )
