"""Prices, limits and measured times that the model rests on, each with where it is from.

Prices are list prices in dollars, of the cheapest tier of regions, before any free quota or
discount for volume: real bills are lower. What no page was found for is assumed, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure.

    Attributes:
        value: the figure, in seconds, bytes, dollars, or a number.
        shown: the same for a person.
        meaning: what it is.
        source: the address of the page that says so; or who measured it, or that it is assumed.
    """

    value: float
    shown: str
    meaning: str
    source: str


#: When these pages were looked up, in stored copies.
LOOKED_UP = "2026-11-25"
SECONDS_IN_MONTH = 30 * 86_400
GIB = 1024**3

# What was measured, on 2 cores.
CPU_OF_ANSWER = Fact(0.001, "1 ms", "CPU of a warm answer", "measured: `make bench`, rounded up")
CPU_OF_BYTE = Fact(5e-11, "0.05 ms a MB", "CPU for its JSON, compressed", "the same: 1.5 ms at 10 MB")
COMPRESSED = Fact(
    0.1,
    "a tenth",
    "what compressing leaves of JSON",
    "measured: 200 demo devices 0.098, 40,000 of them 0.080",
)

# What the deployment says.
CORES = Fact(1, "1", "cores of an instance", "functions/callable_endpoint.py")
CONCURRENCY = Fact(80, "80", "requests that an instance has at once", "functions/callable_endpoint.py")
MOST_INSTANCES = Fact(
    100, "100", "instances of a callable", "MAX_INSTANCES in functions/callable_endpoint.py"
)
MEMORY = Fact(0.5, "512 MiB", "memory of an instance", "functions/callable/get_task_data.py")

# What is assumed.
CHECK_SECONDS = Fact(0.02, "20 ms", "Firestore tells the version", "assumed")
FETCH_SECONDS = Fact(0.05, "50 ms", "Storage gives a result", "assumed")
HEAD_BYTES = Fact(500, "500 B", "headers of an answer", "assumed")
CLIENT_BYTES = Fact(2.5e6, "20 Mbit/s", "what a client takes", "assumed")
INSTANCE_BYTES = Fact(75e6, "600 Mbit/s", "what an instance sends", "assumed")
BUSY = Fact(0.6, "60 %", "how busy an instance's core is to be", "assumed: Cloud Run's own aim")

_BEST_PRACTICES = "https://firebase.google.com/docs/firestore/best-practices"
READ_RATE = Fact(
    500,
    "500 a second",
    "reads of a document to begin with, then 50 % more each 5 minutes; no limit is named",
    f"{_BEST_PRACTICES}#ramping_up_traffic",
)
WRITE_RATE = Fact(
    1,
    "1 a second",
    "sustained writes of a document; once a limit, now the page says to try it out",
    f"{_BEST_PRACTICES}#updates_to_a_single_document",
)
ANSWER_BYTES = Fact(
    32 * 1024**2,
    "32 MiB",
    "an answer over HTTP/1 that is not sent in chunks",
    "https://docs.cloud.google.com/run/quotas, as others quote it",
)
INSTANCES = Fact(
    1000,
    "1,000",
    "instances of one core: a region's quota, which can be raised; the page's own example",
    "https://cloud.google.com/run/docs/configuring/max-instances-limits",
)
REDIS_CLIENTS = Fact(
    65_000,
    "65,000",
    "connections to one Redis",
    "https://docs.cloud.google.com/memorystore/docs/redis/quotas",
)

READ_PRICE = Fact(
    0.03e-5,
    "$0.03 for 100,000",
    "reads of Firestore",
    "https://airbyte.com/data-engineering-resources/google-firestore-pricing "
    "for https://cloud.google.com/firestore/pricing",
)
WRITE_PRICE = Fact(0.09e-5, "$0.09 for 100,000", "writes of Firestore", "the same")
CORE_PRICE = Fact(
    2.4e-5, "$0.000024 a second", "a core while requests are served", "https://cloud.google.com/run/pricing"
)
MEMORY_PRICE = Fact(
    2.5e-6,
    "$0.0000025 a second",
    "a GiB of memory likewise",
    "https://cloudwebschool.com/tools/cloud-run-cost-calculator/ for https://cloud.google.com/run/pricing",
)
REQUEST_PRICE = Fact(0.4e-6, "$0.40 a million", "requests", "the same")
BILLED_SECONDS = Fact(
    0.1, "100 ms", "what an instance's time is rounded up to", "https://cloud.google.com/run/pricing"
)
EGRESS_PRICE = Fact(
    0.12,
    "$0.12 a GiB",
    "sent to the internet, the first TiB of a month; then less",
    "https://cloud.google.com/vpc/network-pricing, as of 2026-09-20",
)
DOWNLOAD_PRICE = Fact(0.4e-6, "$0.40 a million", "downloads from Storage in the same region", "assumed")
STORAGE_PRICE = Fact(
    0.12,
    "$0.12 a GB",
    "sent by Storage to the internet",
    "https://firebase.google.com/pricing, as of 2026-05-05",
)
HOSTING_PRICE = Fact(0.15, "$0.15 a GB", "sent by Hosting's CDN", "the same")
REDIS_PRICE = Fact(
    0.049,
    "$0.049 an hour",
    "a GiB of Redis, Basic tier",
    "assumed; see https://cloud.google.com/memorystore/docs/redis/pricing",
)

ALL = tuple(fact for fact in list(globals().values()) if isinstance(fact, Fact))
