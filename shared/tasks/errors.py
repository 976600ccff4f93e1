"""Errors of the engine. Each text states what failed and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from traceback import StackSummary


class TaskError(Exception):
    """Base class of the engine's errors."""


class UnknownTask(TaskError, ValueError):
    """No task has that name."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        shown = repr(name) if isinstance(name, str) and len(name) <= 100 else f"a {type(name).__name__}"
        super().__init__(f"unknown task {shown}: use one of {', '.join(sorted(known))}")


class InvalidOptions(TaskError, ValueError):
    """An option is unknown, or its value is invalid; the text names the option."""


class ResultNotStorable(TaskError, ValueError):
    """A result contains a value that JSON or its readers cannot hold; the text names its place."""


class ResultUnavailable(TaskError):
    """There may be a result, but it cannot be read now. Never raised for "no data"."""


class ResultTooLarge(TaskError):
    """A result has more bytes than its reader accepts; its object can be read as a stream.

    Attributes:
        path: Path of its object in the bucket; None if it has no object of its own.
    """

    def __init__(self, path: str | None) -> None:
        super().__init__("the result is too large for this reader: read its object as a stream")
        self.path = path


class NoRecords(TaskError, TypeError):
    """A result is not an array, so it has no records; the text states how to read it."""


class StoreError(TaskError):
    """A call to Firestore failed."""


class WriteConflict(StoreError):
    """A commit's precondition failed: another writer changed the document. Nothing was written."""


class WriteUnknown(StoreError):
    """The response to a commit was lost: it may have been applied or not."""


class WriteRejected(StoreError):
    """Firestore cannot store the values of a commit. Another try fails, too."""


class WriteDenied(StoreError):
    """Firestore does not let this service account write."""


class StoreUnavailable(StoreError):
    """Firestore did not complete a call within its timeout."""


class RunLost(TaskError):
    """Another attempt holds the task. This one can publish nothing and should end."""


class RunCancelled(TaskError):
    """An operator cancelled the run. It can publish nothing and should end; the text has who and why."""


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
    """The platform ended the process that the task worked in."""


class CheckpointInvalid(TaskError, ValueError):
    """Steps or cursors are used in a way that would lose or repeat records; the text has the fix."""


class LegEnded(BaseException):
    """The leg of a long run is over, and the next one continues from what is persisted.

    Tasks must not catch it. It is not a subclass of Exception, so `except Exception` does not catch it.
    """

    def __init__(self) -> None:
        super().__init__(
            "this leg of the run is over; let LegEnded pass, so that the next one can continue from here"
        )


class ResultNotKept(TaskError):
    """A result could not be stored, for the reason in the text. The run that produced it has failed."""


class SchedulerUnavailable(TaskError):
    """A call to Cloud Scheduler failed, for the reason in the text."""


class JobMissing(SchedulerUnavailable):
    """Cloud Scheduler has no job for the task: its function was never deployed, or the job was deleted."""


class LegQueueUnavailable(TaskError):
    """Cloud Tasks did not create the task of a leg, or its response was lost; the text has the reason."""


class TaskSuspended(TaskError):
    """The task is suspended, so it would skip the requested run."""


class NotScheduled(TaskError):
    """The task has no schedule, and so no Cloud Scheduler job."""


class ObjectGone(TaskError):
    """An object does not exist any more; the text is its path."""
