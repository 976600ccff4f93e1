"""Cost and limits of a load, as pure functions.

A load is readers of one task's result who arrive at random (Poisson), evenly over all instances.
`simulation` compares the formulas with the product's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bench.scale import facts
from shared.tasks.results.payload import MIN_COMPRESSED
from shared.tasks.serving.reader import CHECK_SECONDS


@dataclass(frozen=True, slots=True)
class Load:
    """Readers of one result.

    Attributes:
        instances: warm instances of the callable.
        reads: reads per second, over all instances.
        max_age: seconds for which an instance serves a result without a check.
        size: bytes of the result as JSON.
        published_every: seconds between two results.
        check_seconds: latency of Firestore.
        fetch_seconds: latency of Storage.
    """

    instances: int
    reads: float
    max_age: float
    size: int = 1_000
    published_every: float = 300.0
    check_seconds: float = facts.CHECK_SECONDS.value
    fetch_seconds: float = facts.FETCH_SECONDS.value


# Reads of Firestore and of Storage


def round_seconds(load: Load) -> float:
    """Return the seconds from one check of an instance to its next.

    Above max-age 0, it is max-age and the time until the next reader. At 0, it is the check itself, and
    the time until the next reader if none arrived during the check.
    """
    each = load.reads / load.instances
    if load.max_age > 0:
        return load.max_age + 1 / each
    return load.check_seconds + math.exp(-each * load.check_seconds) / each


def checks(load: Load) -> float:
    """Return Firestore reads per second: each instance reads once per round."""
    return load.instances / round_seconds(load)


def most_checks(load: Load) -> float:
    """Return the upper bound: one check per read, and one per instance and max-age (or latency)."""
    return min(load.reads, load.instances / (load.max_age or load.check_seconds))


def fetches_of_version(load: Load) -> float:
    """Return downloads of one version: one per instance that checks before the next version."""
    each, left = load.reads / load.instances, load.published_every - load.max_age
    unread = math.exp(-each * left) if left > 0 else 1 - each * left
    return load.instances * (1 - unread / (1 + each * load.max_age))


def fetches(load: Load) -> float:
    """Return downloads from Storage per second."""
    return fetches_of_version(load) / load.published_every


# Waits and ages


def mean_wait(load: Load) -> float:
    """Return the mean seconds that a reader waits for Firestore and Storage.

    Above max-age 0, only the reader that triggers a check waits. At 0, every reader waits for one check,
    and some also for half of the previous one.
    """
    fetching = load.fetch_seconds * fetches(load)
    if load.max_age > 0:
        return (load.check_seconds * checks(load) + fetching) / load.reads
    busy = load.check_seconds / round_seconds(load)
    return load.check_seconds * (1 + busy / 2) + fetching / load.reads


def stale_most(load: Load) -> float:
    """Return the largest age of an answer, in seconds after a newer result was published.

    Above max-age 0, it is max-age and the deadline of a check. A result whose download took longer is
    checked again before it is served.
    """
    if load.max_age > 0:
        return load.max_age + CHECK_SECONDS
    return load.check_seconds + load.fetch_seconds


def stale_median(load: Load) -> float:
    """Return the median age of outdated answers above max-age 0, in seconds.

    A new result arrives at any moment of a round and is noticed at its end: 1 - 1/√2 of it.
    """
    return (1 - math.sqrt(0.5)) * (load.max_age + load.check_seconds / 2 + load.fetch_seconds)


# Instances and egress


def answer_bytes(load: Load) -> float:
    """Return the bytes of an answer's body, compressed unless that would save no packet."""
    return load.size if load.size < MIN_COMPRESSED else load.size * facts.COMPRESSED.value


def egress(load: Load) -> float:
    """Return the bytes sent per second: a whole answer per read."""
    return load.reads * (answer_bytes(load) + facts.HEAD_BYTES.value)


def cpu_seconds(load: Load) -> float:
    """Return the CPU time of a warm answer."""
    return facts.CPU_OF_ANSWER.value + facts.CPU_OF_BYTE.value * load.size


def answer_seconds(load: Load) -> float:
    """Return the seconds of a request on its instance: wait, CPU, and transfer to the client."""
    return mean_wait(load) + cpu_seconds(load) + answer_bytes(load) / facts.CLIENT_BYTES.value


def instances_for(load: Load) -> dict[str, float]:
    """Return the instances that each resource requires."""
    return {
        "CPU": load.reads * cpu_seconds(load) / (facts.CORES.value * facts.BUSY.value),
        "requests at once": load.reads * answer_seconds(load) / facts.CONCURRENCY.value,
        "egress": egress(load) / facts.INSTANCE_BYTES.value,
    }


def instances_needed(load: Load) -> int:
    """Return the instances that the scarcest resource requires."""
    return max(1, math.ceil(max(instances_for(load).values())))


# Cost


def monthly_cost(load: Load) -> dict[str, float]:
    """Return dollars per month at list prices.

    An instance is billed while it has a request, for at least 0.1 s. An idle instance is free.
    """
    each = load.reads / load.instances
    in_use = 1 - math.exp(-each * max(answer_seconds(load), facts.BILLED_SECONDS.value))
    second = facts.CORES.value * facts.CORE_PRICE.value + facts.MEMORY.value * facts.MEMORY_PRICE.value
    rates = {
        "Firestore": checks(load) * facts.READ_PRICE.value,
        "downloads": fetches(load) * facts.DOWNLOAD_PRICE.value,
        "instances": load.instances * in_use * second,
        "requests": load.reads * facts.REQUEST_PRICE.value,
        "egress": egress(load) / facts.GIB * facts.EGRESS_PRICE.value,
    }
    return {name: rate * facts.SECONDS_IN_MONTH for name, rate in rates.items()}


# Limits


#: More reads per second than any limit allows.
_MOST_READS = 1e9


@dataclass(frozen=True, slots=True)
class Use:
    """The used share of a limit; 1 is all of it."""

    limit: str
    share: float


def uses(load: Load) -> list[Use]:
    """Return the used share of each limit, largest first."""
    why, needed = max(instances_for(load).items(), key=lambda item: item[1])
    there = f", for {why}" if math.ceil(needed) >= load.instances else ""
    used = [
        Use("Firestore: reads of the document", checks(load) / facts.READ_RATE.value),
        Use("Firestore: writes of the document", writes(load) / facts.WRITE_RATE.value),
        Use("Cloud Run: size of an answer", answer_bytes(load) / facts.ANSWER_BYTES.value),
        Use(f"Cloud Run: instances{there}", max(needed, load.instances) / facts.INSTANCES.value),
    ]
    return sorted(used, key=lambda use: -use.share)


def writes(load: Load, *, run_seconds: float = 60.0, lease_seconds: float = 60.0) -> float:
    """Return document writes per second: start, finish, and a lease extension every third of the lease."""
    return (2 + run_seconds // (lease_seconds / 3)) / load.published_every


def first_limit(load: Load) -> tuple[float, str]:
    """Return the reads per second at which the first limit is reached, and its name.

    There are as many instances as these reads need. An answer that is too large is over its limit at 0 reads.
    """
    low, high = 0.0, _MOST_READS
    while high - low > high / 1e6 and high > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if uses(grown(load, middle))[0].share <= 1 else (low, middle)
    return low, uses(grown(load, high))[0].limit


def deployed_most(load: Load) -> float:
    """Return the reads per second that the deployed number of instances can serve."""
    low, high = 0.0, _MOST_READS
    while high - low > high / 1e6:
        middle = (low + high) / 2
        enough = grown(load, middle).instances <= facts.MOST_INSTANCES.value
        low, high = (middle, high) if enough else (low, middle)
    return low


def grown(load: Load, reads: float) -> Load:
    """Return a load with so many reads, and the instances that they need."""
    load = replace(load, reads=reads)
    for _ in range(2):  # the duration of a request depends slightly on the instances
        load = replace(load, instances=instances_needed(load))
    return load
