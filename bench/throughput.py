"""Warm answers a second, with as many connections as there are callers."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.report import Measure
from bench.results import ASK_LARGE, publish_large
from bench.serving import TARGETS, Crowd, instance

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS, SIZE = 16, 1_000_000
ROUNDS, WARM_UP, SECONDS = 9, 1, 0.5


def measures() -> Iterator[Measure]:
    """Measure clients with gzip, which the aim is for, and without."""
    publish_large(SIZE)
    counted: dict[str, list[float]] = {"no-op": [], "gzip": [], "no gzip": []}
    with instance("get_task_data") as product, instance("noop", TARGETS) as noop:
        for number in range(WARM_UP + ROUNDS):
            for name, rates in counted.items():
                port, data = (noop.port, None) if name == "no-op" else (product.port, ASK_LARGE)
                # New connections: gunicorn closes those that have been idle for two seconds.
                with Crowd(CALLERS, port, data, gzip=name != "no gzip") as crowd:
                    rate = crowd.calls_in(SECONDS)
                if number >= WARM_UP:
                    rates.append(rate)
    medians = {name: statistics.median(each) for name, each in counted.items()}
    for name, limit in (("gzip", 0.8), ("no gzip", None)):
        yield Measure(
            f"answers a second, {CALLERS} connections, warm 1 MB, {name} : no-op",
            medians[name] / medians["no-op"],
            limit,
            {"answer": medians[name], "no-op": medians["no-op"]},
            at_least=True,
            unit="a second",
        )
