"""The contract's names: tasks, statuses, save options, and the places of documents and objects.

Each name that is written to Firestore or Storage is defined once, here or in `shared.tasks.documents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias, get_args

from msgspec import Struct

from shared.tasks.errors import UnknownTask


class TaskName(StrEnum):
    """All tasks (docs/contract.md, "TaskName"). A value is also the id of the task's status document."""

    #: Sends an SMS to devices that have been silent for long, so that they reset.
    send_reset_sms = "send_reset_sms"
    #: Derives the health of every device from its last report.
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
    suspended = "suspeneded"  # documents keep the legacy spelling
    suspeneded = "suspeneded"  # the contract's name, an alias


TaskSaveOptions: TypeAlias = Literal["storage", "db", "none"]
"""Where a result is kept (docs/contract.md, "TaskSaveOptions")."""

Json: TypeAlias = Any
"""A JSON value: str, int, float, bool, None, or a list or dict of these."""

JsonMap: TypeAlias = Mapping[str, Json]
"""A mapping of names to JSON values."""

SAVE_OPTIONS: tuple[str, ...] = get_args(TaskSaveOptions)

#: The status of a suspended task in its document: the contract's spelling, or the correct one.
SUSPENDED_SPELLINGS = frozenset({TaskStatus.suspended.value, "suspended"})

#: Firestore collection of the status documents, one per task.
TASKS_COLLECTION = "nx-tasks"
#: Sub-collection of a task's run history, one document per run.
RUNS_COLLECTION = "nx-runs"
#: Sub-collection of a run record: its remembered steps, positions of cursors, and parts with records.
STEPS_COLLECTION = "nx-steps"
#: Sub-collection of a run record: the log of each attempt.
LOG_COLLECTION = "nx-log"
#: Sub-collection with one document: the task's schedule, and the time when the watchdog first read it.
SCHEDULE_COLLECTION = "nx-schedule"
#: Folder of the result objects in the bucket.
STORAGE_FOLDER = "tasks_data"
#: Suffix of the path of a result's details.
DETAILS_SUFFIX = ".details.json"
#: Suffix of the path of a part (`part_object`).
PART_SUFFIX = ".part"
#: Value of `data` if a run kept no result (docs/contract.md, "Success handling").
NO_DATA = "no data to save"


def parse_task_name(name: object) -> TaskName:
    """Return the task of that name.

    Raises:
        UnknownTask: No task has that name; the text lists all names.
    """
    try:
        return TaskName(name)  # type: ignore[arg-type]  # a caller may pass any value
    except ValueError:
        raise UnknownTask(name, [task.value for task in TaskName]) from None


def contract_object(task: TaskName) -> str:
    """Return the path of the contract copy (docs/contract.md, "Storage helpers")."""
    return f"{STORAGE_FOLDER}/{task.value}.json"


def run_object(task: TaskName, run_id: str, token: str) -> str:
    """Return the path of an attempt's result object, which is written once and never changed."""
    return f"{STORAGE_FOLDER}/{task.value}/{run_id}.{token}.json"


def details_object(task: TaskName, run_id: str, token: str) -> str:
    """Return the path of the details of an attempt's result."""
    return f"{STORAGE_FOLDER}/{task.value}/{run_id}.{token}{DETAILS_SUFFIX}"


def part_object(task: TaskName, run_id: str, token: str, number: int) -> str:
    """Return the path of an object that an attempt stores before its run ends: a part, or a step's value."""
    return f"{STORAGE_FOLDER}/{task.value}/{run_id}.{token}.{number:06d}{PART_SUFFIX}"


class DocumentNames(Struct, frozen=True):
    """The full names of a task's documents.

    Attributes:
        root: Root of the database, `projects/…/databases/…/documents`.
        task: The task.
    """

    root: str
    task: TaskName

    @property
    def status(self) -> str:
        """The status document."""
        return f"{self.root}/{TASKS_COLLECTION}/{self.task.value}"

    @property
    def schedule(self) -> str:
        """The document that contains the task's schedule."""
        return f"{self.status}/{SCHEDULE_COLLECTION}/current"

    def record(self, record_id: str) -> str:
        """Return the name of a document of the run history: a run's record, or another one."""
        return f"{self.status}/{RUNS_COLLECTION}/{record_id}"

    def log(self, run_id: str, *, attempt: int, leg: int) -> str:
        """Return the name of the document with an attempt's log, which sorts by attempt and leg."""
        return f"{self.record(run_id)}/{LOG_COLLECTION}/{attempt:04d}.{leg:05d}"

    def step(self, run_id: str, document_id: str) -> str:
        """Return the name of a document below a run record: a step, a cursor or a part."""
        return f"{self.record(run_id)}/{STEPS_COLLECTION}/{document_id}"
