"""Cost of a deployment without reads, and of a million reads.

Prices are list prices before any free quota, from `bench.scale.facts` and from this module, each with its
source. Assumptions are marked. The duration of a run depends on the project; `python -m deploy costs
--run-seconds` computes the costs for another one.
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
    "$0.10 per month",
    "a Cloud Scheduler job, paused or not; the first 3 of an account are free",
    "https://cloud.google.com/scheduler/pricing",
)
SECRET_PRICE = Fact(
    0.06,
    "$0.06 per month",
    "an active version of a secret; the first 6 are free",
    "https://cloud.google.com/secret-manager/pricing",
)
DELETE_PRICE = Fact(
    0.01e-5,
    "$0.01 for 100,000",
    "Firestore deletes, including those by TTL, which have no free quota",
    "a third of a read's price, as in multi-regions ($0.02 to $0.06) at https://cloud.google.com/firestore/pricing",
)
IMAGE_PRICE = Fact(
    0.10,
    "$0.10 per GB",
    "images kept for a month in Artifact Registry",
    "assumed; see https://cloud.google.com/artifact-registry/pricing",
)
ALERT_PRICE = Fact(
    1.50,
    "$1.50 per month",
    "a condition on a metric in an alert policy; no price is published for conditions on logs",
    "https://cloud.google.com/monitoring/alerts/cost-control, as announced",
)
IMAGE_GB = Fact(1.5, "1.5 GB", "images of all functions, which share most layers", "assumed")
RUN_SECONDS = Fact(5, "5 s", "a run, or a pass of the watchdog", "assumed")
RUN_WRITES = Fact(
    5,
    "5",
    "writes of a run that logs: status document and run record, at its start and its end, and its log",
    "counted: protocol, tests/engine/test_round_trips.py",
)
RUN_READS = Fact(3, "3", "reads of a run on a new instance", "the same, rounded up")
PASS_READS = Fact(
    7, "7", "reads of the watchdog per task and pass", "assumed: histories, status, schedule, due ticks"
)
PRICES = (JOB_PRICE, SECRET_PRICE, DELETE_PRICE, IMAGE_PRICE, ALERT_PRICE)
ASSUMED = (IMAGE_GB, RUN_SECONDS, RUN_WRITES, RUN_READS, PASS_READS)
#: Cores of an instance with one request at a time, by its memory in MiB.
CORES_BY_MEMORY = {128: 0.0833, 256: 0.1666, 512: 0.3333, 1024: 0.5833, 2048: 1.0}
#: Number of devices for which costs are shown.
DEVICES = 1_000
#: A fixed month, so that the page does not change with the date.
_MONTH = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What the costs of a scheduled function depend on.

    Attributes:
        name: Name of the function.
        ticks: Ticks in a month of 30 days.
        memory_mib: Memory of an instance, in MiB.
        is_task: Whether it writes a status document and run records.
    """

    name: str
    ticks: int
    memory_mib: int
    is_task: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """A row of the costs."""

    item: str
    quantity: str
    #: Dollars per month.
    dollars: float


def scheduled() -> Iterator[Scheduled]:
    """Yield the scheduled functions in main.py."""
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


def monthly_costs(run_seconds: float = RUN_SECONDS.value, names: Collection[str] | None = None) -> list[Cost]:
    """Return the costs of a month in which scheduled functions run, without reads.

    Args:
        run_seconds: Seconds that a run takes.
        names: Names of the functions to include; None for all.
    """
    functions = [one for one in scheduled() if names is None or one.name in names]
    ticks = sum(one.ticks for one in functions)
    runs = sum(one.ticks for one in functions if one.is_task)
    tasks = sum(one.is_task for one in functions)
    passes = ticks - runs
    instances = sum(one.ticks * run_seconds * _price_per_second(one.memory_mib) for one in functions)
    reads = runs * RUN_READS.value + passes * tasks * PASS_READS.value
    writes = runs * RUN_WRITES.value
    secrets = sum(setting.secret for setting in SETTINGS)
    return [
        Cost("Cloud Scheduler jobs", f"{len(functions)}", len(functions) * JOB_PRICE.value),
        Cost("deliveries", f"{ticks:,}", ticks * facts.REQUEST_PRICE.value),
        Cost("instance time", f"{amount(ticks * run_seconds / 3600)} hours", instances),
        Cost("Firestore reads", f"{reads:,.0f}", reads * facts.READ_PRICE.value),
        Cost("Firestore writes", f"{writes:,.0f}", writes * facts.WRITE_PRICE.value),
        Cost("run records and logs that expire", f"{2 * runs:,}", 2 * runs * DELETE_PRICE.value),
        Cost("secrets", f"{secrets}", secrets * SECRET_PRICE.value),
        Cost("images", IMAGE_GB.shown, IMAGE_GB.value * IMAGE_PRICE.value),
        Cost("the alert policy on a metric", "1", ALERT_PRICE.value),
    ]


def _price_per_second(memory_mib: int) -> float:
    cores = CORES_BY_MEMORY[memory_mib] * facts.CORE_PRICE.value
    return cores + memory_mib / 1024 * facts.MEMORY_PRICE.value


def devices_cost() -> float:
    """Return dollars per month for reading DEVICES devices in each run of `collect_devices_health`."""
    (health,) = (one for one in scheduled() if one.name == "collect_devices_health")
    return health.ticks * DEVICES * facts.READ_PRICE.value


def million_reads(size_bytes: int, reads_per_second: float) -> float:
    """Return dollars for a million reads.

    Args:
        size_bytes: Size of the result as JSON, in bytes.
        reads_per_second: Rate of the reads. At low rates, reads share neither an instance nor a check.
    """
    load = Load(1, reads_per_second, 5, size_bytes)
    load = Load(model.instances_needed(load), reads_per_second, 5, size_bytes)
    return sum(model.monthly_cost(load).values()) / (reads_per_second * SECONDS_IN_MONTH) * 1e6


SIZES_BYTES = (1_000, 10_000, 100_000, 1_000_000)
READS_PER_SECOND = (0.01, 1, 100)


READS = """\
Devices cost {devices:,.2f} $ per month for each {count:,}, because all are read every five minutes. A million
calls of `get_task_data` cost, in dollars, at a max-age of 5 s and with a complete, compressed answer to the
internet each:"""
PRICED = """\
List prices of the cheapest regions before any free quota, looked up on {when} in stored copies. Other prices,
and larger loads, are in [scale.md](scale.md)."""


#: The sentence with the scheduled functions that the first table includes.
_COUNTED = "Costs of a month in which {names} run on their schedules, without reads:"


def counted_in(page: str) -> list[str]:
    """Return the names of the scheduled functions that a page's costs include."""
    before, after = _COUNTED.split("{names}")
    found = re.search(f"{re.escape(before)}(.*?){re.escape(after)}", page, re.DOTALL)
    return re.findall(r"`(\w+)`", found[1]) if found else []


def tables(run_seconds: float = RUN_SECONDS.value, names: Collection[str] | None = None) -> str:
    """Return the page's part on costs.

    Args:
        run_seconds: Seconds that a run takes.
        names: Names of the scheduled functions to include; None for all.
    """
    costs = monthly_costs(run_seconds, names)
    *others, last = (f"`{one.name}`" for one in scheduled() if names is None or one.name in names)
    rows = [(cost.item, cost.quantity, f"{cost.dollars:,.2f}") for cost in costs]
    total = sum(cost.dollars for cost in costs)
    reads = [
        (size(size_bytes), *(f"{million_reads(size_bytes, rate):,.2f}" for rate in READS_PER_SECOND))
        for size_bytes in SIZES_BYTES
    ]
    prices = [(fact.meaning, fact.shown, fact.source) for fact in (*PRICES, *ASSUMED)]
    return "\n\n".join(
        (
            _COUNTED.format(names=f"{', '.join(others)} and {last}"),
            table(("item", "quantity", "$ per month"), [*rows, ("total", "", f"**{total:,.2f}**")]),
            READS.format(devices=devices_cost(), count=DEVICES),
            table(("result as JSON", *(f"{rate:g} reads per second" for rate in READS_PER_SECOND)), reads),
            PRICED.format(when=facts.LOOKED_UP),
            table(("price or assumption", "value", "source"), prices),
        )
    )
