"""Streams and reads results of N records each and prints the memory: `python -m tests.engine.streamer N…`."""

import sys
from collections.abc import Iterator
from typing import Any

from shared.tasks import TaskEngine
from tests.memory import peak_bytes
from tests.support.world import TASK


def records(number: int) -> Iterator[dict[str, Any]]:
    """Records of about a kilobyte."""
    for place in range(number):
        yield {"id": place, "text": f"{place:x}" * 150, "parts": [{"n": part, "x": 0.5} for part in range(8)]}


def main(*numbers: str) -> None:
    """Stream each number of records and print the peak of resident bytes after each."""
    engine = TaskEngine()
    for number in map(int, numbers):
        options = {"save_in": "storage", "debug_logs": False}
        assert engine.execute_task("s", TASK, lambda number=number: records(number), options).error is None
        assert sum(1 for _ in engine.iter_task_data(TASK)) == number
        print(peak_bytes())  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
