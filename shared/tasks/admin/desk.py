"""What operators' tools ask of the engine: how tasks stand, what they did, and changes to that.

A public face beside `shared.tasks`, with names of its own: who only runs or reads tasks never loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks import _engine
from shared.tasks.admin import viewing
from shared.tasks.admin.viewing import HistoryPage, Position
from shared.tasks.admin.views import Refusal, RunProgress, RunRecord, Said, TaskView
from shared.tasks.cron import next_tick, recent_ticks
from shared.tasks.protocol.operator_actions import Cancelled, Requested

if TYPE_CHECKING:
    from shared.tasks.contract import TaskName

__all__ = [
    "Cancelled",
    "HistoryPage",
    "Position",
    "Refusal",
    "Requested",
    "RunProgress",
    "RunRecord",
    "Said",
    "TaskView",
    "cancel_run",
    "next_tick",
    "recent_ticks",
    "request_run",
    "view_history",
    "view_last_changed",
    "view_record",
    "view_tasks",
]

#: Seconds that a run which was asked for is waited for: a function's instance may have to start.
RUN_SECONDS = 25.0


def view_tasks(names: tuple[TaskName, ...]) -> tuple[TaskView, ...]:
    """Look at tasks as they stand, in this order, without their results. Costs one read a task at rest.

    Args:
        names: the tasks.

    Raises:
        TaskError: Firestore did not answer.
    """
    return _engine.look(viewing.view_tasks(names))


def view_last_changed(name: TaskName) -> tuple[RunRecord, ...]:
    """Look at what changed last in a task's history: another after each write. Three small reads at most."""
    return _engine.look(viewing.view_last_changed(name))


def view_history(
    name: TaskName, *, most: int, states: tuple[str, ...] = (), after: Position | None = None
) -> HistoryPage:
    """Look at a page of a task's history, newest first; errors as `view_tasks`.

    Args:
        name: the task.
        most: records of the page, at most.
        states: only those in one of these states, ten at most; all where there are none.
        after: the last page's `next`.
    """
    return _engine.look(viewing.view_history(name, most=most, states=states, after=after))


def view_record(name: TaskName, record_id: str) -> RunRecord | None:
    """Look at one document of a task's history, None where there is none; errors as `view_tasks`."""
    return _engine.look(viewing.view_record(name, record_id))


def request_run(
    task_name: TaskName | str, *, by: str, reason: str, seconds: float = RUN_SECONDS
) -> Requested:
    """Have Cloud Scheduler run a task now, and wait for the run that begins.

    Args:
        task_name: the task.
        by: who wants it.
        reason: why.
        seconds: how long is waited.

    Raises:
        UnknownTask: no task has that name.
        InvalidOptions: nobody, or no reason, is named.
        NotScheduled: nothing schedules the task.
        TaskSuspended: the task is suspended.
        SchedulerUnavailable: Cloud Scheduler did not take it, for all that is known.
        TaskError: Firestore did not answer.
    """
    return _engine.request_run(task_name, by=by, reason=reason, seconds=seconds)


def cancel_run(task_name: TaskName | str, run_id: str, *, by: str, reason: str) -> Cancelled:
    """Ask a run to end: its task is told at its next look, and nothing it returns is published.

    It ends failed, "cancelled by …", and is not begun anew. No other run is touched, nor what was
    published. Who, when and why is in the status and the history. Arguments and errors as
    `suspend_task`.

    Returns:
        Whether it will end, had failed and is not tried again now, had ended before, or never was.
    """
    return _engine.cancel_run(task_name, run_id, by=by, reason=reason)
