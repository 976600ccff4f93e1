"""A collection in a process of its own, to see how much memory it takes.

`python -m tests.collectors.collecting MODULE URL TOKEN [KNOWN]`: collects from one operator with the limits
of production, merges that into so many CDRs that were known, counts what comes of it, and prints that with
the error, the seconds and the peak of memory as JSON. With `published` as MODULE it does so as the deployed
function does: the known CDRs are the last result in Storage, and what comes of it is the next.
"""

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from shared.collectors import charge_cdrs, charge_locations
from shared.collectors.ocpi.errors import OcpiError
from shared.collectors.ocpi.operators import Operator
from shared.tasks import TaskName, execute_task, get_task_result, iter_task_data
from tests.collectors.ocpi_samples import cdr
from tests.collectors.runs import new_run
from tests.memory import peak_bytes

#: The samples' time.
NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)


def cdrs(count: int) -> Iterator[dict[str, Any]]:
    """A last result with so many CDRs, each made when it is asked for; every fiftieth is a credit."""
    said = json.dumps(cdr(id="-", remark="x" * 200, nx_operator="one"))
    for number in range(count):
        record = json.loads(said)
        record["id"] = f"OLD{number:09}"
        if number % 50 == 7:
            record |= {"credit": True, "credit_reference_id": f"OLD{number + 1:09}"}
        yield record


def tell(count: int, error: str, began: float, summary: dict[str, Any] | None) -> None:
    """Print what came of it."""
    seconds = time.monotonic() - began
    peak = peak_bytes() / (1 << 20)
    said = {"count": count, "error": error, "seconds": seconds, "peak_mb": peak, "summary": summary}
    sys.stdout.write(f"{json.dumps(said)}\n")


def publish(operators: list[Operator], known: int) -> None:
    """Have the engine publish the known CDRs, and then what is collected beside them, and tell."""
    task, options = TaskName.collect_charge_cdrs, {"save_in": "storage", "deadline_seconds": 900}
    assert execute_task("test", task, lambda: cdrs(known), options).status == "completed"
    last = partial(iter_task_data, task)
    began = time.monotonic()
    collect = lambda run: charge_cdrs.collect(operators, last, run, now=NOW, months=13)  # noqa: E731
    outcome = execute_task("test", task, collect, options)
    result = get_task_result(task, include_data=False)
    tell(result.count or 0, outcome.error or "", began, result.summary)


def main(module: str, url: str, token: str, known: str = "0") -> None:
    """Collect, and tell."""
    operators = [Operator(name="one", url=url, token=token)]
    if module == "published":
        publish(operators, int(known))
        return
    run = new_run(TaskName(f"collect_charge_{module}"), seconds=900)
    began, count, error = time.monotonic(), 0, ""
    records: Any = charge_locations.collect(operators, list, run)
    if module == "cdrs":
        records = charge_cdrs.collect(operators, partial(cdrs, int(known)), run, now=NOW, months=13)
    try:
        for _ in records:
            count += 1
    except OcpiError as failed:
        error = str(failed)
    tell(count, error, began, run.summary)


if __name__ == "__main__":
    main(*sys.argv[1:])
