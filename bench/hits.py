"""Cost of a hit of the instance's cache within the process, above a lock and a dict."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from bench.report import Measure, interleaved
from bench.results import LARGE, publish_large
from bench.targets import HIT_SIZES
from shared.tasks import TaskEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = dict(zip(HIT_SIZES, (1_000, 1_000_000, 10_000_000), strict=True))
CALLS, ROUNDS, WARM_UP = 200, 500, 20


def measures() -> Iterator[Measure]:
    """Measure each size."""
    for name, size in SIZES.items():
        publish_large(size)
        engine = TaskEngine()
        ways: dict[str, Callable[[], None]] = {"hit": partial(_hits, engine), "lock and dict": _lock_and_dict}
        taken = interleaved(ways, rounds=ROUNDS, warm_up=WARM_UP)
        parts = {way: milliseconds * 1000 / CALLS for way, milliseconds in taken.items()}
        above = parts["hit"] - parts["lock and dict"]
        yield Measure(
            f"cache hit, get_task_result, {name}: µs above a lock and a dict", above, parts, unit="µs"
        )


def _hits(engine: TaskEngine) -> None:
    read = engine.get_task_result
    for _ in range(CALLS):
        read(LARGE, include_metadata=False)


_lock = threading.Lock()
_kept = {LARGE: b""}


def _lock_and_dict() -> None:
    for _ in range(CALLS):
        with _lock:
            _kept.get(LARGE)
