"""Recurring tasks: their runs, their results, and the reads of both.

The public API of the engine, with the contract's names (`execute_task`, `get_task_data` and others). Its
functions are methods that one `TaskEngine` binds. `store` is what the reads in `shared.tasks.admin.queries`
take. The modules below are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.contract import TaskName, TaskSaveOptions, TaskStatus
from shared.tasks.engine import TaskEngine
from shared.tasks.errors import (
    CheckpointInvalid,
    DeadlineExceeded,
    InvalidOptions,
    JobMissing,
    LegEnded,
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
from shared.tasks.results.task_result import TaskResult
from shared.tasks.runtime.task_run import TaskRun
from shared.tasks.serving.reader import TaskDetails
from shared.tasks.specs import TaskSpec, register, registered, spec_of

if TYPE_CHECKING:
    from shared.tasks.runtime.cursors import Cursor
else:

    def __getattr__(name: str) -> object:
        """Load `Cursor`, which an instance that runs no task does not need."""
        if name != "Cursor":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from shared.tasks.runtime.cursors import Cursor  # noqa: PLC0415

        return Cursor


__all__ = [
    "CheckpointInvalid",
    "Cursor",
    "DeadlineExceeded",
    "ExecuteTaskOptions",
    "InvalidOptions",
    "JobMissing",
    "LegEnded",
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
    "cancel_run",
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
    "request_run",
    "resume_task",
    "save_task_data_in_cache",
    "shut_down",
    "sign_result_url",
    "spec_of",
    "store",
    "suspend_task",
    "watch_tasks",
]

_engine = TaskEngine()  # opens no connection before it is used

cache_manager = _engine.cache
cancel_run = _engine.cancel_run
execute_task = _engine.execute_task
get_task_data = _engine.get_task_data
get_task_data_from_storage = _engine.get_task_data_from_storage
get_task_details = _engine.get_task_details
get_task_result = _engine.get_task_result
iter_task_data = _engine.iter_task_data
keep_task_data_in_storage = _engine.keep_task_data_in_storage
report_hung_tasks = _engine.report_hung_tasks
request_run = _engine.request_run
resume_task = _engine.resume_task
save_task_data_in_cache = _engine.save_task_data_in_cache
shut_down = _engine.shut_down
sign_result_url = _engine.sign_result_url
store = _engine.store
suspend_task = _engine.suspend_task
watch_tasks = _engine.watch_tasks
