"""What a load costs and how far it may grow: pure functions, a line of explanation each.

A load is readers who come by chance (Poisson) and evenly to all instances, to one task's result.
What several tasks cost adds up. `simulation` shows that the product's cache does what these say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bench.scale import facts
from shared.tasks.results.payload import MIN_COMPRESSED
from shared.tasks.serving.reader import CHECK_SECONDS


@dataclass(frozen=True, slots=True)
class Load:
    """Who reads what.

    Attributes:
        instances: warm instances of the callable.
        reads: reads a second, of all instances together.
        max_age: seconds for which an instance serves a result unasked.
        size: bytes of the result as JSON.
        published_every: seconds from one result to the next.
        check_seconds: how long Firestore takes to tell the version.
        fetch_seconds: how long Storage takes to give the result.
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
    """Return seconds from one check of an instance to its next.

    Max-age, then until the next reader comes. At 0 the check itself, then, if nobody came in
    that time, until somebody does.
    """
    each = load.reads / load.instances
    if load.max_age > 0:
        return load.max_age + 1 / each
    return load.check_seconds + math.exp(-each * load.check_seconds) / each


def checks(load: Load) -> float:
    """Return Firestore's reads a second: each instance asks once a round, whoever else reads there."""
    return load.instances / round_seconds(load)


def most_checks(load: Load) -> float:
    """Return what no load exceeds: a check a read, and a check an instance and max-age (or latency)."""
    return min(load.reads, load.instances / (load.max_age or load.check_seconds))


def fetches_of_version(load: Load) -> float:
    """Return downloads of one version: one on each instance that checks before the next version comes."""
    each, left = load.reads / load.instances, load.published_every - load.max_age
    nobody = math.exp(-each * left) if left > 0 else 1 - each * left
    return load.instances * (1 - nobody / (1 + each * load.max_age))


def fetches(load: Load) -> float:
    """Return downloads from Storage a second."""
    return fetches_of_version(load) / load.published_every


# What readers see


def mean_wait(load: Load) -> float:
    """Return the mean seconds that a reader waits for Firestore and Storage.

    Above 0 only who asks waits. At 0 all do: for one check, or half of another and then one.
    """
    fetching = load.fetch_seconds * fetches(load)
    if load.max_age > 0:
        return (load.check_seconds * checks(load) + fetching) / load.reads
    busy = load.check_seconds / round_seconds(load)
    return load.check_seconds * (1 + busy / 2) + fetching / load.reads


def stale_most(load: Load) -> float:
    """Return the most seconds by which an answer is older than the present result.

    Above 0: max-age and the deadline of a check, older ones are not served; what took longer to
    download is checked again first. At 0: since it was read.
    """
    if load.max_age > 0:
        return load.max_age + CHECK_SECONDS
    return load.check_seconds + load.fetch_seconds


def stale_median(load: Load) -> float:
    """Return the median of these seconds over the answers that are not the present result, above max-age 0.

    A new result comes at any moment of a round, and is seen at its end: 1 - 1/√2 of it.
    """
    return (1 - math.sqrt(0.5)) * (load.max_age + load.check_seconds / 2 + load.fetch_seconds)


# Instances, and what they send


def answer_bytes(load: Load) -> float:
    """Return the bytes of an answer's body: compressed, unless that would save no packet."""
    return load.size if load.size < MIN_COMPRESSED else load.size * facts.COMPRESSED.value


def egress(load: Load) -> float:
    """Return the bytes a second that are sent: a whole answer a read."""
    return load.reads * (answer_bytes(load) + facts.HEAD_BYTES.value)


def cpu_seconds(load: Load) -> float:
    """Return the CPU time of a warm answer."""
    return facts.CPU_OF_ANSWER.value + facts.CPU_OF_BYTE.value * load.size


def answer_seconds(load: Load) -> float:
    """Return how long a request is with its instance: the wait, the CPU, and until the client has it all."""
    return mean_wait(load) + cpu_seconds(load) + answer_bytes(load) / facts.CLIENT_BYTES.value


def instances_for(load: Load) -> dict[str, float]:
    """Return the instances that each of their means makes necessary."""
    return {
        "CPU": load.reads * cpu_seconds(load) / (facts.CORES.value * facts.BUSY.value),
        "requests at once": load.reads * answer_seconds(load) / facts.CONCURRENCY.value,
        "egress": egress(load) / facts.INSTANCE_BYTES.value,
    }


def instances_needed(load: Load) -> int:
    """Return the instances that it takes: the most that any of their means asks for."""
    return max(1, math.ceil(max(instances_for(load).values())))


# Cost


def monthly_cost(load: Load) -> dict[str, float]:
    """Return dollars a month, at list prices.

    An instance is paid for while it has a request, 0.1 s at least; an idle one is not.
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


#: More reads a second than any limit lets be.
_MOST_READS = 1e9


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit a load uses; 1 is all of it."""

    limit: str
    share: float


def uses(load: Load) -> list[Use]:
    """Return how much of each limit is used, the most used first."""
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
    """Return writes of the document a second: start, finish, and a lease extended at each third of it."""
    return (2 + run_seconds // (lease_seconds / 3)) / load.published_every


def first_limit(load: Load) -> tuple[float, str]:
    """Return the reads a second at which the first limit is met, and which it is.

    There are as many instances as these reads need. What no answer holds is at its limit at 0 reads.
    """
    low, high = 0.0, _MOST_READS
    while high - low > high / 1e6 and high > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if uses(grown(load, middle))[0].share <= 1 else (low, middle)
    return low, uses(grown(load, high))[0].limit


def deployed_most(load: Load) -> float:
    """Return the reads a second for which the instances suffice that the deployment allows."""
    low, high = 0.0, _MOST_READS
    while high - low > high / 1e6:
        middle = (low + high) / 2
        enough = grown(load, middle).instances <= facts.MOST_INSTANCES.value
        low, high = (middle, high) if enough else (low, middle)
    return low


def grown(load: Load, reads: float) -> Load:
    """Return a load with so many reads, and the instances that they need."""
    load = replace(load, reads=reads)
    for _ in range(2):  # how long a request takes depends on the instances a little
        load = replace(load, instances=instances_needed(load))
    return load


# What to change there


def ramp_minutes(reads: float) -> float:
    """Return the minutes in which Firestore is to be led up to so many reads of a document a second."""
    return max(0.0, 5 * math.log(reads / facts.READ_RATE.value) / math.log(1.5))


def shards_needed(load: Load) -> int:
    """Return the copies of the pointer, an instance reading one of them, that keep each within the rate."""
    return math.ceil(checks(load) / facts.READ_RATE.value)


def shards_cost(load: Load) -> float:
    """Return dollars a month for the copies: each new result writes all of them."""
    more = shards_needed(load) - 1
    return more * facts.SECONDS_IN_MONTH / load.published_every * facts.WRITE_PRICE.value


def redis_cost() -> float:
    """Return dollars a month for the smallest Redis, which takes the checks instead of Firestore."""
    return facts.REDIS_PRICE.value * facts.SECONDS_IN_MONTH / 3600


def redis_pays_from() -> float:
    """Return the checks a second from which that Redis is cheaper than asking Firestore."""
    return redis_cost() / (facts.READ_PRICE.value * facts.SECONDS_IN_MONTH)


def hosting_cost(load: Load) -> float:
    """Return dollars a month where Hosting's CDN sends all answers: what is public needs no instance."""
    return egress(load) / 1e9 * facts.HOSTING_PRICE.value * facts.SECONDS_IN_MONTH


def storage_cost(load: Load) -> float:
    """Return dollars a month where Storage sends the data, and the callable only a signed URL."""
    a_read = answer_bytes(load) / 1e9 * facts.STORAGE_PRICE.value + facts.DOWNLOAD_PRICE.value
    return load.reads * a_read * facts.SECONDS_IN_MONTH


def unchanged_share(load: Load, *, polled_every: float) -> float:
    """Return the share of answers that `if_version` makes a few bytes: a poll sees a new version or not."""
    return max(0.0, 1 - polled_every / load.published_every)
