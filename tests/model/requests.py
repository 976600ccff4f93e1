"""Requests and reports of the model's processes, besides the engine's effects."""

from dataclasses import dataclass

from shared.tasks.protocol.cancellation import CancelOutcome
from shared.tasks.results.task_result import TaskResult
from tests.model.cloud_tasks import CloudTask


@dataclass(frozen=True, slots=True)
class Choose:
    """Let the environment choose one of several actions."""

    among: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartNext:
    """Start the next delivery of a warm instance, or the next read, at any later moment."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Store an object.

    Attributes:
        path: The object's path.
        content: The version that identifies the result.
        mark: The version in the metadata; None for an object of the legacy writer.
    """

    path: str
    content: str
    mark: str | None


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object."""

    path: str


@dataclass(frozen=True, slots=True)
class ReceiveLeg:
    """Receive the delivery of a Cloud Task; only the first request of a continuation."""


@dataclass(frozen=True, slots=True)
class ReadParts:
    """Read the content of each part; None for a missing one."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Report the HTTP response to a delivery; `cloud_task` is what a continuation delivered."""

    run_id: str
    outcome: str
    status: int
    cloud_task: CloudTask | None = None


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Report the result of a read; None if the read failed."""

    found: TaskResult | None


@dataclass(frozen=True, slots=True)
class ContractReadReport:
    """Report the result of a read by a reader that knows only the contract."""

    content: str


@dataclass(frozen=True, slots=True)
class CancelReport:
    """Report the response to an operator who cancelled a run."""

    run_id: str
    outcome: CancelOutcome


@dataclass(frozen=True, slots=True)
class Ended:
    """The process has ended."""
