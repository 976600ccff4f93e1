"""Every two hours: collects the charging locations of all operators. The result is kept in Storage."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from functions.params import OCPI_OPERATORS
from functions.scheduled_endpoint import scheduled_task
from shared.tasks import TaskName, TaskSpec, get_task_details, iter_task_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks import TaskRun

# OCPI asks parties that pull to "think in hours, not minutes", and not to send requests on the hour.
SPEC = TaskSpec(
    TaskName.collect_charge_locations,
    schedule="7 */2 * * *",
    deadline_seconds=12 * 3_600,  # A large hub takes hours; other runs take minutes.
    save_in="storage",
)


@scheduled_task(SPEC, memory=1024, secrets=[OCPI_OPERATORS])
def collect_charge_locations(run: TaskRun) -> Iterator[dict[str, Any]]:
    """Collect the locations of all operators."""
    from shared.collectors import charge_locations  # noqa: PLC0415  (every function imports main.py)
    from shared.collectors.ocpi import operators  # noqa: PLC0415
    from shared.collectors.ocpi.memory import Memory  # noqa: PLC0415

    return charge_locations.collect(
        operators.parse(OCPI_OPERATORS.value),
        partial(iter_task_data, SPEC.name),
        run,
        memory=Memory.of(get_task_details(SPEC.name).value),
    )
