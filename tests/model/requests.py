"""What the model's processes ask for and tell, beside the engine's own requests."""

from dataclasses import dataclass

from shared.tasks.protocol.cancellation import Cancelled
from shared.tasks.results.task_result import TaskResult


@dataclass(frozen=True, slots=True)
class Choose:
    """The environment decides."""

    among: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """Begin again at any later moment: the next delivery on a warm instance, or the next read."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Store an object.

    Attributes:
        path: where.
        content: whose result it is.
        mark: the version in its metadata; the original's objects carry none.
    """

    path: str
    content: str
    mark: str | None


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object."""

    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell what Cloud Scheduler is answered for a delivery."""

    run_id: str
    outcome: str
    status: int


@dataclass(frozen=True, slots=True)
class Got:
    """Report what a reader got; None if the result could not be read."""

    found: TaskResult | None


@dataclass(frozen=True, slots=True)
class GotByContract:
    """Tell what a reader got that knows only the contract."""

    content: str


@dataclass(frozen=True, slots=True)
class CancelTold:
    """Report the response to an operator who cancelled a run."""

    run_id: str
    became: Cancelled


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is over."""
