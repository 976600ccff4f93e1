"""What the engine's procedures ask for, and what performs them.

Procedures are generators: they yield a request, are sent its answer, or thrown its error. They
talk to no server, so that the tests' model explores exactly what runs.

Requests are structs, as are the other values here that every function loads: an instance would
take half a millisecond of its start to make a dataclass of each, and takes a hundredth.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.backends.scheduler import JobState

Value = TypeVar("Value")


class Read(Struct, frozen=True):
    """Read the status document and a run's record in one call; answered with both (None without a run)."""

    run_id: str | None = None
    seconds: float | None = None


class ReadSchedule(Struct, frozen=True):
    """Read the status document and the task's known schedule in the same call; answered with both."""


class ReadResult(Struct, frozen=True):
    """Read the whole status document; answered with it and its `data`, decoded."""


class ReadVersion(Struct, frozen=True):
    """Read of the status document what tells whether its result is another; answered with that."""

    seconds: float | None = None


class ReadRunning(Struct, frozen=True):
    """Find the run records that say running; answered with run ids and records."""


class ReadStarted(Struct, frozen=True):
    """Find what the history has started since a time, the first first; answered as `ReadRunning`."""

    since: datetime


class Commit(Struct, frozen=True):
    """Send these writes as one commit; answered with the first document's new version."""

    writes: list[Any]
    seconds: float | None = None


class Pause(Struct, frozen=True):
    """Wait a little, longer with each try."""

    tries: int


class ReadObject(Struct, frozen=True):
    """Read an object's metadata; answered with its generation (0: there is none) and its version."""

    path: str


class ReadContent(Struct, frozen=True):
    """Read an object whole; answered with its bytes as they are stored, or None where there is none.

    `ResultTooLarge` is thrown where it has more than `most`.
    """

    path: str
    most: int | None = None


class OpenContent(Struct, frozen=True):
    """Read an object as a stream; answered with a `Download`, or None where there is no object."""

    path: str


class CopyObject(Struct, frozen=True):
    """Copy an object if the target still has that generation; answered with whether it was.

    `ObjectGone` is thrown where the source is not there any more.
    """

    source: str
    target: str
    generation: int


class ListObjects(Struct, frozen=True):
    """List the objects below a folder; answered with path and time of creation of each."""

    folder: str


class RemoveObject(Struct, frozen=True):
    """Remove an object; one that is gone already is no error."""

    path: str


class ReadNextResult(Struct, frozen=True):
    """Find the first run that completed after a time; answered with when it did, or None."""

    after: datetime


class ReadJob(Struct, frozen=True):
    """Ask Cloud Scheduler for the task's job; answered with a `JobSeen`."""


class SetJob(Struct, frozen=True):
    """Pause or resume the task's job, if it is not that."""

    wanted: JobState


class RunJob(Struct, frozen=True):
    """Have the task's job run now."""


JobRequest: TypeAlias = ReadJob | SetJob | RunJob
ObjectRequest: TypeAlias = ReadObject | ReadContent | OpenContent | CopyObject | ListObjects | RemoveObject
ReadRequest: TypeAlias = (
    Read | ReadSchedule | ReadResult | ReadVersion | ReadRunning | ReadStarted | ReadNextResult
)
Request: TypeAlias = ReadRequest | Commit | Pause | ObjectRequest | JobRequest
Steps: TypeAlias = Generator[Request, Any, Value]


def perform(steps: Generator[Any, Any, Value], answer: Callable[[Any], Any]) -> Value:
    """Answer each request of a procedure until it returns.

    Args:
        steps: the procedure.
        answer: carries out a request. What it raises is raised where the request was made.
    """
    try:
        request = next(steps)
        while True:
            try:
                answered = answer(request)
            except Exception as error:  # noqa: BLE001  (the procedure knows what it means)
                request = steps.throw(error)
            else:
                request = steps.send(answered)
    except StopIteration as ended:
        value: Value = ended.value
        return value
