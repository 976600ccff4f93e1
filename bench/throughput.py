"""Warm answers per second over several connections."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report import Measure
from bench.results import ASK_LARGE, publish_large
from bench.serving import BARE, BODY, REFERENCE, Crowd, instance, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS, SIZE = 16, 1_000_000
ROUNDS, WARM_UP, SECONDS = 9, 1, 0.5


def measures() -> Iterator[Measure]:
    """Measure clients with gzip and without, a no-op, and gunicorn alone."""
    stored = publish_large(SIZE).stored
    with ExitStack() as opened, TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(bytes(stored))
        product = opened.enter_context(instance("get_task_data")).port
        ways = {
            "no-op": (opened.enter_context(instance("noop", REFERENCE)).port, None, True),
            "gzip": (product, ASK_LARGE, True),
            "no gzip": (product, ASK_LARGE, False),
            "few": (opened.enter_context(listening(BARE)).port, None, True),
            "many": (opened.enter_context(listening(BARE, **{BODY: str(body)})).port, None, True),
        }
        counted: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(WARM_UP + ROUNDS):
            for name, (port, data, gzip) in ways.items():
                # New connections, because gunicorn closes those that have been idle for two seconds.
                with Crowd(CALLERS, port, data, gzip=gzip) as crowd:
                    rate = crowd.calls_in(SECONDS)
                if number >= WARM_UP:
                    counted[name].append(rate)
    medians = {name: statistics.median(each) for name, each in counted.items()}
    for name in ("gzip", "no gzip"):
        parts = {"answer": medians[name], "no-op": medians["no-op"]}
        if name == "gzip":
            parts |= {"gunicorn alone": medians["few"], "gunicorn alone, as many bytes": medians["many"]}
        yield Measure(
            f"answers per second, {CALLERS} connections, warm 1 MB, {name} : no-op",
            medians[name] / medians["no-op"],
            parts,
            unit="per second",
        )
