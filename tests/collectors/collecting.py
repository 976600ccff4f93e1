"""Collects from an operator in a process of its own, to measure its memory.

`python -m tests.collectors.collecting MODULE URL TOKEN [KNOWN]` collects with the limits of
production and merges the records into KNOWN existing CDRs. It prints the number of records, the error,
the seconds and the peak memory as JSON. URLs separated by commas are collected one after the other.
With `published` as MODULE it works like the deployed function: it reads the known CDRs from the last
result in Storage and publishes the next result. With `legs` as MODULE, the CDRs are collected in legs.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from shared.collectors import charge_cdrs, charge_locations
from shared.collectors.ocpi.errors import OcpiError
from shared.collectors.ocpi.operators import Operator
from shared.tasks import TaskName, execute_task, get_task_result, iter_task_data
from shared.tasks.clock import Clock
from shared.tasks.errors import LegEnded
from shared.tasks.testing import MemoryCheckpoints, RecordedRun
from tests.collectors.ocpi_samples import cdr
from tests.memory import peak_bytes

#: The current time for the samples.
NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
#: Length of the first leg in seconds; each further one is twice as long, since it replays more records.
LEG_SECONDS = 1.0


class DiskCheckpoints(MemoryCheckpoints):
    """Keeps the parts on disk, as the deployed function keeps them in Storage."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def upload(self, content: bytes) -> str:
        path = self._folder / str(len([*self._folder.iterdir()]))
        path.write_bytes(content)
        return str(path)

    def open(self, path: str) -> Iterable[bytes]:
        with Path(path).open("rb") as file:
            yield from iter(partial(file.read, 1 << 20), b"")


def cdrs(count: int) -> Iterator[dict[str, Any]]:
    """A last result with `count` CDRs, generated lazily; every fiftieth is a credit."""
    template = json.dumps(cdr(id="-", remark="x" * 200, nx_operator="one"))
    for number in range(count):
        record = json.loads(template)
        record["id"] = f"OLD{number:09}"
        if number % 50 == 7:
            record |= {"credit": True, "credit_reference_id": f"OLD{number + 1:09}"}
        yield record


def print_report(count: int, error: str, began: float, summary: dict[str, Any] | None) -> None:
    seconds = time.monotonic() - began
    peak = peak_bytes() / (1 << 20)
    report = {"count": count, "error": error, "seconds": seconds, "peak_mb": peak, "summary": summary}
    sys.stdout.write(f"{json.dumps(report)}\n")


def publish_and_collect(operators: list[Operator], known: int) -> None:
    """Publish the known CDRs, collect with the engine, and print the report."""
    task, options = TaskName.collect_charge_cdrs, {"save_in": "storage", "deadline_seconds": 900}
    assert execute_task("test", task, lambda: cdrs(known), options).status == "completed"
    last = partial(iter_task_data, task)
    began = time.monotonic()
    collect = lambda run: charge_cdrs.collect(operators, last, run, now=NOW, months=13)  # noqa: E731
    outcome = execute_task("test", task, collect, options)
    result = get_task_result(task, include_data=False)
    print_report(result.count or 0, outcome.error or "", began, result.summary)


def main(module: str, url: str, token: str, known: str = "0") -> None:
    """Collect and print the report of each URL."""
    for one in url.split(","):
        operators = [Operator(name="one", url=one, token=token)]
        if module == "published":
            publish_and_collect(operators, int(known))
        else:
            collect(module, operators, int(known))


def collect(module: str, operators: list[Operator], known: int) -> None:
    """Collect without an engine, and print the report."""
    task = TaskName.collect_charge_locations if module == "locations" else TaskName.collect_charge_cdrs
    began, count, error = time.monotonic(), 0, ""
    with tempfile.TemporaryDirectory() as folder:
        memory = DiskCheckpoints(Path(folder))
        run = RecordedRun(task, deadline_seconds=7_200, clock=Clock(), memory=memory, checkpoint_seconds=1)
        try:
            for record in in_legs(module, operators, known, run):
                count += 1
                del record  # as the engine, which keeps no record in memory while the next one is made
        except OcpiError as failed:
            error = str(failed)
    print_report(count, error, began, run.summary)


def in_legs(module: str, operators: list[Operator], known: int, run: RecordedRun) -> Iterator[dict[str, Any]]:
    """Collect; with `legs` as module, end each leg after some seconds and continue in the next one."""
    while True:
        records: Any = charge_locations.collect(operators, list, run)
        if module != "locations":
            records = charge_cdrs.collect(operators, partial(cdrs, known), run, now=NOW, months=13)
        timer = threading.Timer(LEG_SECONDS * 2 ** (run.leg - 1), run.checkpoints.end_leg)
        if module == "legs":
            timer.start()
        try:
            yield from records
        except LegEnded:
            run.resume(next_leg=True)
        else:
            assert run.leg > 1 or module != "legs"
            return
        finally:
            timer.cancel()


if __name__ == "__main__":
    main(*sys.argv[1:])
