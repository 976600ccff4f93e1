"""The states of an exploration, and its bounds."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeAlias

from tests.model.cloud_tasks import Queue
from tests.model.invariants import Facts, Objects
from tests.model.memory_store import Documents, Stored
from tests.model.positions import Position, Script

OVER = "over"


class State(NamedTuple):
    """The state of the whole system.

    Attributes:
        documents: Firestore.
        objects: Storage.
        at: Each process's position: None before it begins, `OVER` after it ended or died.
        known: The facts that were true at some moment since each process began.
        in_flight: Requests whose senders no longer wait for the responses.
        succeeded: Runs that an attempt reported as completed.
        job: The state of the Cloud Scheduler job; None if no process uses the job.
        queue: The Cloud Tasks.
        step: The time.
        faults, deaths, removals, torn, given_up, repeats: The numbers of each that may still happen.
    """

    documents: Documents
    objects: Objects
    at: tuple[Any, ...]
    known: tuple[Facts, ...]
    in_flight: tuple[Position, ...]
    succeeded: tuple[str, ...]
    job: str | None
    queue: Queue
    step: int
    faults: int
    deaths: int
    removals: int
    torn: int
    given_up: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of an exploration.

    Attributes:
        steps: Steps of time, each longer than a lease.
        faults: Commits whose response is lost, and calls that fail.
        deaths: Processes that die.
        removals: Run records that TTL removes.
        torn: Reads whose two documents come from different moments, which BatchGetDocuments allows.
        given_up: Cloud Tasks whose retries are used up, also before the first delivery.
        repeats: Cloud Tasks that are delivered again although a delivery is at work or was answered.
    """

    steps: int = 1
    faults: int = 0
    deaths: int = 0
    removals: int = 0
    torn: int = 0
    given_up: int = 0
    repeats: int = 0

    def __str__(self) -> str:
        """The bounds in words."""
        bounds = {field.name: getattr(self, field.name) for field in fields(self)}
        optional = ("given_up", "repeats")
        shown = {name: value for name, value in bounds.items() if value or name not in optional}
        return ", ".join(f"{name}: {value}" for name, value in shown.items())


Configuration: TypeAlias = tuple[tuple[Script, ...], Bounds]


class PartialRead(NamedTuple):
    """The position of a process that has received one of two documents that it reads."""

    position: Position
    run_first: bool
    stored: Stored | None


NOTHING_YET: Facts = frozenset()


def trace_of(came_from: dict[State, tuple[State, str] | None], state: State) -> str:
    steps = []
    while (before := came_from[state]) is not None:
        state, what = before
        steps.append(what)
    return "\n".join(f"  {number}. {what}" for number, what in enumerate(reversed(steps), 1))
