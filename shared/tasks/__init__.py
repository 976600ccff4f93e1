"""Recurring tasks: run exactly as often as they should, their results kept and served.

The public face of the engine, under the names of the contract
(`execute_task`, `get_task_data` and their kin). Modules below are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.tasks.contract import TaskName, TaskSaveOptions, TaskStatus
from shared.tasks.engine import TaskEngine
from shared.tasks.errors import (
    DeadlineExceeded,
    InvalidOptions,
    JobMissing,
    NoRecords,
    NotScheduled,
    ResultNotKept,
    ResultNotStorable,
    ResultTooLarge,
    ResultUnavailable,
    RunCancelled,
    RunLost,
    SchedulerUnavailable,
    StoreUnavailable,
    TaskError,
    TaskSuspended,
    UnknownTask,
)
from shared.tasks.options import ExecuteTaskOptions, TaskOutcome
from shared.tasks.results.payload import Payload
from shared.tasks.runtime.task_run import TaskRun
from shared.tasks.serving.reader import TaskDetails, TaskResult
from shared.tasks.specs import TaskSpec, register, registered, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "DeadlineExceeded",
    "ExecuteTaskOptions",
    "InvalidOptions",
    "JobMissing",
    "NoRecords",
    "NotScheduled",
    "Payload",
    "ResultNotKept",
    "ResultNotStorable",
    "ResultTooLarge",
    "ResultUnavailable",
    "RunCancelled",
    "RunLost",
    "SchedulerUnavailable",
    "StoreUnavailable",
    "TaskDetails",
    "TaskEngine",
    "TaskError",
    "TaskName",
    "TaskOutcome",
    "TaskResult",
    "TaskRun",
    "TaskSaveOptions",
    "TaskSpec",
    "TaskStatus",
    "TaskSuspended",
    "UnknownTask",
    "cache_manager",
    "execute_task",
    "get_task_data",
    "get_task_data_from_storage",
    "get_task_details",
    "get_task_result",
    "iter_task_data",
    "keep_task_data_in_storage",
    "register",
    "registered",
    "report_hung_tasks",
    "resume_task",
    "save_task_data_in_cache",
    "shut_down",
    "sign_result_url",
    "spec_of",
    "suspend_task",
    "watch_tasks",
]

_engine = TaskEngine()  # opens no connection before it is used

cache_manager = _engine.cache
"""What this instance remembers (docs/contract.md, "cache_manager")."""


def execute_task(
    source: str,
    task_name: TaskName | str,
    task: Callable[..., Any],
    options: ExecuteTaskOptions | Mapping[str, Any] | None = None,
) -> TaskOutcome:
    """Run a task with its status tracked and its result kept (docs/contract.md, "execute_task").

    The task runs in a thread of its own. It may take one argument, its `TaskRun` (time left,
    progress, logger). What it returns must be JSON: text, finite numbers, booleans, None,
    lists and dicts of these; tuples, enum members, dates, aware datetimes and UUIDs are turned
    into it. None, and `save_in="none"`, replace the result by "no data to save".

    A task may also yield its records, or return an iterator of them, synchronous or not: they are
    written to Storage as they come, as one array, and never held whole, be they millions. The
    run is checked between two records, and its progress tells how many there were.

    Args:
        source: who asks for the run, a service or scheduler, say.
        task_name: the task.
        task: does the work, `def` or `async def`.
        options: `ExecuteTaskOptions`, or a mapping with its keys.

    Returns:
        What became of it. A task that fails raises nothing here: its outcome says so, and so
        do its status and its history. Its last good result stays.

    Raises:
        UnknownTask: no task has that name.
        InvalidOptions: an unknown option, or a value that no run can have.
        BaseException: what the task raised that is no Exception (KeyboardInterrupt, say), once
            it is recorded.
    """
    return _engine.execute_task(source, task_name, task, options)


def get_task_data(task_name: TaskName | str) -> Any:
    """Return a task's last good result (docs/contract.md, "get_task_data").

    From this instance's memory while it is the present one, asked at most once in the task's
    `max_age_seconds`; else from Firestore or Storage. Where that can't be asked, what was the
    present one less than five minutes ago.

    Args:
        task_name: the task.

    Returns:
        The result; `[]` where there is none. It is decoded for this call, from bytes that all
        readers share and nobody changes: all of it is the caller's own and may be changed.
        Whoever needs no values, or the same ones often, is better served by `get_task_result`.

    Raises:
        UnknownTask: no task has that name.
        ResultUnavailable: there may be a result, and it can't be read now.
    """
    return _engine.get_task_data(task_name)


def iter_task_data(task_name: TaskName | str) -> Iterator[Any]:
    """Yield the records of a task's last good result as they come from Storage, in bounded memory.

    It is the result that stands when the first record is asked for, to its end, whatever is
    published meanwhile; so a task can merge its own last result into its next. What this instance
    remembers is neither asked nor changed. A result is whole only if the iteration ends.
    If there is no result, nothing is yielded.

    Args:
        task_name: the task.

    Raises:
        UnknownTask: no task has that name.
        NoRecords: the result is no array: an object, say; `get_task_data` reads it.
        ResultUnavailable: there may be a result, and it can't be read now, or not to its end.
    """
    return _engine.iter_task_data(task_name)


def get_task_result(
    task_name: TaskName | str,
    *,
    data: bool = True,
    described: bool = True,
    unless_version: str | None = None,
    most_bytes: int | None = None,
) -> TaskResult:
    """Return a task's last good result as this instance keeps it, and what is known of it.

    Nothing is decoded or copied: the payload's bytes are shared by all who read it.

    Args:
        task_name: the task.
        data: whether the result itself is wanted; without it, none is fetched.
        described: whether more than the data is: version, times, summary.
        unless_version: the version that the caller has: its data is not wanted again.
        most_bytes: of the stored object that the caller can take.

    Raises:
        UnknownTask: no task has that name.
        ResultUnavailable: there may be a result, and it can't be read now.
        ResultTooLarge: the object has more bytes; it names the object's path.
    """
    return _engine.get_task_result(
        task_name, data=data, described=described, unless_version=unless_version, most_bytes=most_bytes
    )


def get_task_details(task_name: TaskName | str) -> TaskDetails:
    """Return the details of a task's last good result: what the task gave to `run.summarise(…, details=…)`.

    They are published in the same commit as the result and belong to its version. They are read from
    Storage at each call, not cached.

    Args:
        task_name: The task.

    Returns:
        The details with the version of their result; without a payload where the result has none.

    Raises:
        UnknownTask: No task has that name.
        ResultUnavailable: There may be details, and they cannot be read now.
    """
    return _engine.get_task_details(task_name)


def sign_result_url(path: str, *, seconds: float) -> str:
    """Sign a URL that reads a result's object without credentials, for a short while. It is never stored.

    Args:
        path: the object's path, from `ResultTooLarge`.
        seconds: seconds until it expires, at most seven days. A URL that IAM signed (as on Cloud Run)
            is guaranteed for 12 hours only, because Google rotates the keys.

    Raises:
        ResultNotKept: no credentials, or IAM refused to sign.
    """
    return _engine.sign_result_url(path, seconds=seconds)


def get_task_data_from_storage(task_name: TaskName | str) -> Any:
    """Return what Storage holds of a task (docs/contract.md, "get_task_data_from_storage").

    The object of the last good result if Storage keeps that, else the contract's path.

    Args:
        task_name: the task.

    Returns:
        The result; None where there is no object.

    Raises:
        UnknownTask: no task has that name.
        ResultUnavailable: Firestore or Storage did not answer. (The contract returns null then,
            too; here an outage is no "no data".)
    """
    return _engine.get_task_data_from_storage(task_name)


def keep_task_data_in_storage(task_name: TaskName | str, data: list[Any] | dict[str, Any]) -> str:
    """Store data at the contract's path (docs/contract.md, "keep_task_data_in_storage").

    Args:
        task_name: the task.
        data: a list or a dict of what JSON can hold.

    Returns:
        A signed URL that reads it. It expires after seven days; a URL that IAM signed (as on Cloud
        Run) is guaranteed for 12 hours only, because Google rotates the keys.

    Raises:
        UnknownTask: no task has that name.
        ResultNotStorable: the data is neither list nor dict, or holds what JSON can't.
        ResultNotKept: the upload failed.
    """
    return _engine.keep_task_data_in_storage(task_name, data)


def save_task_data_in_cache(task_name: TaskName | str, data: list[Any] | dict[str, Any]) -> None:
    """Remember data as a task's result in this instance (docs/contract.md, "save_task_data_in_cache").

    It is served until max-age has passed, or somebody here asks for the result's version, which it
    lacks; then what Firestore has is.

    Args:
        task_name: the task.
        data: a list or a dict of what JSON can hold.

    Raises:
        UnknownTask: no task has that name.
        TypeError: the data is neither list nor dict.
        ResultNotStorable: it holds what JSON can't.
    """
    _engine.save_task_data_in_cache(task_name, data)


def watch_tasks() -> bool:
    """Look after every task: fail runs whose process died, close lost histories, repair contract copies.

    Incidents (a dead run, a tick that nobody started, a run of the original's that never ends)
    are logged at ERROR, each once, with the fields `incident`, `task` and `run_id`.

    Returns:
        Whether every task could be looked after; where not, the log says why.
    """
    return _engine.watch_tasks()


def report_hung_tasks() -> bool:
    """Log an incident, `hung_task`, for each task that is still at work here although its run has ended.

    Python cannot stop such a task, and this process takes no other run of it: the process should end.

    Returns:
        Whether there is one.
    """
    return _engine.report_hung_tasks()


def shut_down(*, seconds: float) -> bool:
    """End all runs of this process as failed, because it was told to end, and let no other begin.

    The next delivery of such a run takes over at once, instead of waiting until its lease expires.

    Args:
        seconds: Longest wait until the ends of all runs are recorded.

    Returns:
        Whether all of them have ended.
    """
    return _engine.shut_down(seconds=seconds)


def suspend_task(task_name: TaskName | str, *, by: str, reason: str) -> bool:
    """Suspend a task: its job is paused, its ticks are skipped, and say so, until somebody resumes it.

    A run at work finishes and publishes. Who, when and why is in the status and the history.

    Args:
        task_name: the task.
        by: who suspends it.
        reason: why.

    Returns:
        Whether it was not suspended before.

    Raises:
        UnknownTask: no task has that name.
        InvalidOptions: nobody, or no reason, is named.
        SchedulerUnavailable: the task is suspended, and its Cloud Scheduler job not paused for all that
            is known: try again, or leave it to the watchdog.
        TaskError: Firestore did not answer; nothing, or all of it, is done: try again.
    """
    return _engine.suspend_task(task_name, by=by, reason=reason)


def resume_task(task_name: TaskName | str, *, by: str, reason: str) -> bool:
    """Resume a task: its status is that of its last run again. Arguments and errors as `suspend_task`.

    Returns:
        Whether it was suspended.
    """
    return _engine.resume_task(task_name, by=by, reason=reason)
