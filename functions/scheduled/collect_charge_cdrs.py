"""Every hour: collects the charge detail records of all operators. The result is kept in Storage."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from functions.params import OCPI_OPERATORS
from functions.scheduled_endpoint import scheduled_task
from shared import firebase, settings
from shared.tasks import TaskName, TaskSpec, get_task_details, iter_task_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks import TaskRun

SPEC = TaskSpec(
    TaskName.collect_charge_cdrs,
    schedule="37 * * * *",
    deadline_seconds=12 * 3_600,  # The first load reads many months; later runs take minutes.
    save_in="storage",
    roles=("operator",),  # Viewers must not see who charged when and where.
)


@scheduled_task(SPEC, memory=1024, secrets=[OCPI_OPERATORS])
def collect_charge_cdrs(run: TaskRun) -> Iterator[dict[str, Any]]:
    """Collect the charge detail records of all operators."""
    from shared.collectors import charge_cdrs  # noqa: PLC0415  (every function imports main.py)
    from shared.collectors.ocpi import operators  # noqa: PLC0415
    from shared.collectors.ocpi.memory import Memory  # noqa: PLC0415
    from shared.collectors.ocpi.requests import find_requests  # noqa: PLC0415

    return charge_cdrs.collect(
        operators.parse(OCPI_OPERATORS.value),
        partial(iter_task_data, SPEC.name),
        run,
        now=datetime.now(UTC),
        months=settings.cdr_months(),
        memory=Memory.of(get_task_details(SPEC.name).value),
        requests=find_requests(firebase.firestore_client()),
    )
