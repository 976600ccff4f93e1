"""The contract's names: tasks, statuses, save options, and where documents and objects live.

Every name that is written to Firestore or Storage stands here or in `document`, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias, get_args

from shared.tasks.errors import UnknownTask


class TaskName(StrEnum):
    """The tasks there are (docs/contract.md, "TaskName"). A value is also a document's id."""

    #: Wakes devices that have been silent for long.
    send_reset_sms = "send_reset_sms"
    #: Judges every device by what it last reported.
    collect_devices_health = "collect_devices_health"
    #: Charging sites of all operators.
    collect_charge_locations = "collect_charge_locations"
    #: Charge detail records of all operators.
    collect_charge_cdrs = "collect_charge_cdrs"


class TaskStatus(StrEnum):
    """A task's status in its document (docs/contract.md, "TaskStatus")."""

    running = "running"
    completed = "completed"
    failed = "failed"
    suspended = "suspeneded"  # the wire keeps the original's spelling
    suspeneded = "suspeneded"  # an alias under the contract's own name


TaskSaveOptions: TypeAlias = Literal["storage", "db", "none"]
"""Where a result is kept (docs/contract.md, "TaskSaveOptions")."""

Json: TypeAlias = Any
"""A JSON value: str, int, float, bool, None, or a list or dict of these."""

JsonMap: TypeAlias = Mapping[str, Json]
"""A mapping of names to JSON values."""

SAVE_OPTIONS: tuple[str, ...] = get_args(TaskSaveOptions)

#: What a suspended document may say: the contract's spelling, or the right one.
SUSPENDED_SPELLINGS = frozenset({TaskStatus.suspended.value, "suspended"})

#: Firestore collection of the status documents, one a task.
TASKS_COLLECTION = "nx-tasks"
#: Sub-collection of a task's history, one document a run.
RUNS_COLLECTION = "nx-runs"
#: Sub-collection with one document: the task's schedule, and since when the watchdog knows it.
SCHEDULE_COLLECTION = "nx-schedule"
#: Folder of the results in the bucket.
STORAGE_FOLDER = "tasks_data"
#: End of the path of a result's details.
DETAILS_SUFFIX = ".details.json"
#: What `data` says when a task kept no result (docs/contract.md, "Success handling").
NO_DATA = "no data to save"


def parse_task_name(name: object) -> TaskName:
    """Return the task of that name.

    Raises:
        UnknownTask: there is none; the text lists the names there are.
    """
    try:
        return TaskName(name)  # type: ignore[arg-type]  # any value may be asked for
    except ValueError:
        raise UnknownTask(name, [task.value for task in TaskName]) from None


def contract_object(task: TaskName) -> str:
    """Return the object path that readers of the contract know (docs/contract.md, "Storage helpers")."""
    return f"{STORAGE_FOLDER}/{task.value}.json"


def run_object(task: TaskName, run_id: str, token: str) -> str:
    """Return the path of one attempt's own result, which is written once and never changed."""
    return f"{STORAGE_FOLDER}/{task.value}/{run_id}.{token}.json"


def details_object(task: TaskName, run_id: str, token: str) -> str:
    """Return the path of the details that belong to one attempt's result."""
    return f"{STORAGE_FOLDER}/{task.value}/{run_id}.{token}{DETAILS_SUFFIX}"


def status_name(documents: str, task: TaskName) -> str:
    """Return the full name of a task's status document."""
    return f"{documents}/{TASKS_COLLECTION}/{task.value}"


def history_name(documents: str, task: TaskName, run_id: str) -> str:
    """Return the full name of one run's history document."""
    return f"{documents}/{TASKS_COLLECTION}/{task.value}/{RUNS_COLLECTION}/{run_id}"


def schedule_name(documents: str, task: TaskName) -> str:
    """Return the full name of the document that holds a task's schedule."""
    return f"{documents}/{TASKS_COLLECTION}/{task.value}/{SCHEDULE_COLLECTION}/current"
