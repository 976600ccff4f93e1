"""Runs for collectors to work in, and how far an operator is borne with while nobody wants to wait."""

from dataclasses import replace

from shared.collectors.ocpi.transport import Limits
from shared.tasks import TaskName, TaskRun
from shared.tasks.clock import SystemClock
from shared.tasks.documents.run_writes import RunIdentity
from shared.tasks.runtime.task_run import Progress

#: Short, for peers on this machine. Silence and slowness are borne for long enough to be told apart.
FAST = Limits(
    connect_seconds=5,
    silence_seconds=5,
    call_seconds=10,
    page_bytes=4 << 20,
    attempts=4,
    backoff_seconds=0.001,
    longest_wait_seconds=0.01,
)
#: The same with little patience, for peers that try it.
IMPATIENT = replace(FAST, silence_seconds=1, call_seconds=1.5, attempts=2)


def new_run(task: TaskName, *, seconds: float = 300.0) -> TaskRun:
    """A run of a task with so many seconds to its deadline; its progress is not kept."""
    clock = SystemClock()
    identity = RunIdentity("projects/p/databases/d/documents", task, "run", "token", "test", None)
    return TaskRun(identity, clock.monotonic() + seconds, clock, _dropped)


def _dropped(_: Progress) -> None:
    pass
