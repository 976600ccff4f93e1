"""Prices, limits and measured times of the model, each with its source.

Prices are list prices in dollars for the cheapest tier of regions, before any free quota or volume
discount. Real bills are lower. A figure without a published source is marked as assumed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure.

    Attributes:
        value: the figure in seconds, bytes or dollars, or a number.
        shown: the figure with its unit, for the page.
        meaning: what the figure describes.
        source: URL of the source, or "measured" or "assumed".
    """

    value: float
    shown: str
    meaning: str
    source: str


#: The day on which stored copies of these pages were read.
LOOKED_UP = "2026-11-25"
SECONDS_IN_MONTH = 30 * 86_400
GIB = 1024**3

# Measured on 2 cores.
CPU_OF_ANSWER = Fact(0.001, "1 ms", "CPU of a warm answer", "measured: `make bench`, rounded up")
CPU_OF_BYTE = Fact(5e-11, "0.05 ms per MB", "CPU for its JSON, compressed", "the same: 1.5 ms at 10 MB")
COMPRESSED = Fact(
    0.1,
    "a tenth",
    "compressed size of JSON",
    "measured: 200 demo devices 0.098, 40,000 of them 0.080",
)

# Set by the deployment.
CORES = Fact(1, "1", "cores of an instance", "functions/callable_endpoint.py")
CONCURRENCY = Fact(80, "80", "concurrent requests of an instance", "functions/callable_endpoint.py")
MOST_INSTANCES = Fact(
    100, "100", "instances of a callable", "MAX_INSTANCES in functions/callable_endpoint.py"
)
MEMORY = Fact(0.5, "512 MiB", "memory of an instance", "functions/callable/get_task_data.py")

# Assumed.
CHECK_SECONDS = Fact(0.02, "20 ms", "latency of Firestore", "assumed")
FETCH_SECONDS = Fact(0.05, "50 ms", "latency of Storage", "assumed")
HEAD_BYTES = Fact(500, "500 B", "headers of an answer", "assumed")
CLIENT_BYTES = Fact(2.5e6, "20 Mbit/s", "bandwidth of a client", "assumed")
INSTANCE_BYTES = Fact(75e6, "600 Mbit/s", "bandwidth of an instance", "assumed")
BUSY = Fact(0.6, "60 %", "utilisation of an instance's core", "assumed: the target of Cloud Run")

_BEST_PRACTICES = "https://firebase.google.com/docs/firestore/best-practices"
READ_RATE = Fact(
    500,
    "500 per second",
    "initial reads of a document, then 50 % more every 5 minutes; no limit is documented",
    f"{_BEST_PRACTICES}#ramping_up_traffic",
)
WRITE_RATE = Fact(
    1,
    "1 per second",
    "sustained writes of a document; formerly a limit, now the page recommends a test",
    f"{_BEST_PRACTICES}#updates_to_a_single_document",
)
ANSWER_BYTES = Fact(
    32 * 1024**2,
    "32 MiB",
    "an answer over HTTP/1 without chunked encoding",
    "https://docs.cloud.google.com/run/quotas, quoted by third parties",
)
INSTANCES = Fact(
    1000,
    "1,000",
    "instances of one core: the quota of a region, which can be raised; the page's own example",
    "https://cloud.google.com/run/docs/configuring/max-instances-limits",
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
    2.4e-5, "$0.000024 per second", "a core while requests are served", "https://cloud.google.com/run/pricing"
)
MEMORY_PRICE = Fact(
    2.5e-6,
    "$0.0000025 per second",
    "a GiB of memory while requests are served",
    "https://cloudwebschool.com/tools/cloud-run-cost-calculator/ for https://cloud.google.com/run/pricing",
)
REQUEST_PRICE = Fact(0.4e-6, "$0.40 a million", "requests", "the same")
BILLED_SECONDS = Fact(
    0.1, "100 ms", "billing granularity of an instance", "https://cloud.google.com/run/pricing"
)
EGRESS_PRICE = Fact(
    0.12,
    "$0.12 a GiB",
    "sent to the internet, the first TiB of a month; then less",
    "https://cloud.google.com/vpc/network-pricing, as of 2026-09-20",
)
DOWNLOAD_PRICE = Fact(0.4e-6, "$0.40 a million", "downloads from Storage in the same region", "assumed")

ALL = tuple(fact for fact in list(globals().values()) if isinstance(fact, Fact))
