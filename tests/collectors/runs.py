"""Runs for collectors, and limits that keep the tests short."""

from dataclasses import replace

from shared.collectors.ocpi.transport import Limits
from shared.tasks import TaskName
from shared.tasks.clock import Clock
from shared.tasks.testing import RecordedRun

#: Short limits for peers on this machine, yet long enough to tell silence from slowness.
FAST = Limits(
    connect_seconds=5,
    read_seconds=5,
    call_seconds=10,
    page_bytes=4 << 20,
    attempts=4,
    backoff_seconds=0.001,
    max_wait_seconds=0.01,
)
#: Shorter time-outs for peers that exceed them.
IMPATIENT = replace(FAST, read_seconds=0.5, call_seconds=0.75, attempts=2)


def new_run(task: TaskName, *, deadline_seconds: float = 300.0) -> RecordedRun:
    """A run with so many seconds to its deadline, which pass as on the machine's clock."""
    return RecordedRun(task, deadline_seconds=deadline_seconds, clock=Clock())
