"""Yields N records over 20 legs, and prints the memory: `python -m tests.engine.leg_streamer N`."""

import hashlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from shared.tasks import TaskEngine, TaskRun
from tests.memory import peak_bytes
from tests.support.long_runs import LongRun, PassingClock
from tests.support.world import TASK

LEGS, PAGES_PER_LEG = 20, 5
PAGE_SECONDS = 10.0


def main(number: str) -> None:
    """Yield the records; print the peak of resident bytes after each leg, and after the result is read."""
    clock = PassingClock()
    page = int(number) // (LEGS * PAGES_PER_LEG)

    def task(run: TaskRun) -> Iterator[Any]:
        cursor = run.cursor("records", 0)
        while cursor.value < page * LEGS * PAGES_PER_LEG:
            first = cursor.value
            for place in range(first, first + page):
                yield {"id": place, "text": hashlib.sha256(b"%d" % place).hexdigest()}  # hard to compress
            clock.ahead += PAGE_SECONDS
            cursor.advance(first + page)

    leg_seconds = PAGE_SECONDS * (PAGES_PER_LEG + 0.9)
    long = LongRun(task, clock, save_in="storage", leg_seconds=leg_seconds, lease_seconds=600.0)
    began, outcome = time.monotonic(), long.deliver_tick(datetime.now(UTC))
    while outcome.status == "waiting":
        show(peak_bytes())
        outcome = long.deliver()
    assert outcome.status == "completed", outcome
    show(peak_bytes())
    ids = (record["id"] for record in TaskEngine().iter_task_data(TASK))
    assert all(place == found for place, found in enumerate(ids))
    show(peak_bytes())
    show(round(time.monotonic() - began))


def show(value: int) -> None:
    print(value, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
