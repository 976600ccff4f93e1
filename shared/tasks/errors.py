"""Errors of the engine, raised where the cause is known. Each text tells the reader what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from traceback import StackSummary


class TaskError(Exception):
    """Root of the engine's errors."""


class UnknownTask(TaskError, ValueError):
    """No task has that name."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        shown = repr(name) if isinstance(name, str) and len(name) <= 100 else f"a {type(name).__name__}"
        super().__init__(f"unknown task {shown}: use one of {', '.join(sorted(known))}")


class InvalidOptions(TaskError, ValueError):
    """Options of a run that no run can have; the text names the option."""


class ResultNotStorable(TaskError, ValueError):
    """A result holds what JSON or its readers can't; the text names the place in the result."""


class ResultUnavailable(TaskError):
    """A result exists and can't be read now. Never raised for "no data"."""


class ResultTooLarge(TaskError):
    """A result has more bytes than its reader can take: it has to be read from where it lies.

    Attributes:
        path: of its object in the bucket; None where it has none of its own.
    """

    def __init__(self, path: str | None) -> None:
        super().__init__("the result is too large for this reader: read its object as a stream")
        self.path = path


class NoRecords(TaskError, TypeError):
    """A result that is no array has no records; the text tells how to read it."""


class StoreError(TaskError):
    """Firestore did not do what it was asked."""


class WriteRefused(StoreError):
    """A commit's condition no longer held: somebody else wrote the document. Nothing was written."""


class WriteUnknown(StoreError):
    """A commit was sent and its answer lost: it may have been applied or not."""


class WriteRejected(StoreError):
    """Firestore can't store what the commit holds. Trying again won't help."""


class WriteDenied(StoreError):
    """Firestore won't let this service account write."""


class StoreUnavailable(StoreError):
    """Firestore did not do what it was asked within the time given."""


class RunLost(TaskError):
    """Another attempt holds the task: this one can publish nothing and should end."""


class RunCancelled(TaskError):
    """A person cancelled the run: it can publish nothing and should end. The text tells who, and why."""


class RunInterrupted(TaskError):
    """The engine ended a run while its task was still working.

    Attributes:
        stack: The calls that the task was in; None if the task raised the error itself.
    """

    def __init__(self, message: str = "", stack: StackSummary | None = None) -> None:
        super().__init__(message)
        self.stack = stack


class DeadlineExceeded(RunInterrupted):
    """The task ran longer than its deadline."""


class InstanceShutDown(RunInterrupted):
    """The process that the task worked in was told to end."""


class ResultNotKept(TaskError):
    """A result could not be stored; the text says why. The run that made it has failed."""


class SchedulerUnavailable(TaskError):
    """Cloud Scheduler did not do what it was asked; the text says why."""


class JobMissing(SchedulerUnavailable):
    """Cloud Scheduler has no job for the task: its function was never deployed, or the job was deleted."""


class TaskSuspended(TaskError):
    """The task is suspended, and would skip the run that was asked for."""


class NotScheduled(TaskError):
    """No schedule starts the task, and so no job of Cloud Scheduler does."""


class ObjectGone(TaskError):
    """An object is not there any more; its path."""
