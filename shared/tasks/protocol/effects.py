"""The effects that the engine's procedures ask for.

A procedure is a generator that yields effects. `run_procedure` sends it the result of each effect, or throws
the effect's error into it. Procedures talk to no server, so that the model in the tests explores the code
that runs.

Effects are structs, like the other values here that every function loads. Making a dataclass takes
half a millisecond of an instance's start, and a struct a hundredth of that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from shared.tasks.backends.downloads import Download
from shared.tasks.backends.scheduler import JobState, JobStatus
from shared.tasks.contract import Json
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.documents.models import RunDocument, ScheduleDocument, TaskDocument
from shared.tasks.errors import WriteConflict, WriteUnknown

if TYPE_CHECKING:
    from shared.tasks.documents.write_messages import WriteMessage

Value = TypeVar("Value")


class Effect(Struct, Generic[Value], frozen=True):
    """What a procedure asks for; the type parameter is the type of its result."""


class ReadDocuments(Effect[tuple[TaskDocument, RunDocument | None]], frozen=True):
    """Read the status document, and a document of the run history, in one call.

    Attributes:
        record_id: Id of the run, skip or refusal; None to read no record.
        timeout: Longest duration of the call; None for the backend's own.
    """

    record_id: str | None = None
    timeout: float | None = None


class ReadSchedule(Effect[tuple[TaskDocument, ScheduleDocument]], frozen=True):
    """Read the status document and the task's recorded schedule in one call."""


class ReadResult(Effect[tuple[TaskDocument, Json]], frozen=True):
    """Read the whole status document: it and its decoded `data`."""


class ReadVersion(Effect[TaskDocument], frozen=True):
    """Read the fields of the status document that identify its result."""

    timeout: float | None = None


class ReadRunning(Effect[list[tuple[str, RunDocument]]], frozen=True):
    """Find the records of running runs, with their ids."""


class ReadStarted(Effect[list[tuple[str, RunDocument]]], frozen=True):
    """Find the records of runs that started since a time, oldest first, with their ids."""

    since: datetime


class ReadSteps(Effect[Saved], frozen=True):
    """Read what a run has persisted: its remembered steps, positions of cursors, and parts."""

    run_id: str


class Commit(Effect[Timestamp], frozen=True):
    """Send writes as one commit, which returns the first document's new version."""

    writes: list[WriteMessage]
    timeout: float | None = None


class Pause(Effect[None], frozen=True):
    """Wait before the next try, longer after each one."""

    tries: int


class ReadMetadata(Effect[tuple[int, str | None]], frozen=True):
    """Read an object's generation (0 if it does not exist) and the version in its metadata."""

    path: str


class ReadContent(Effect[bytes | None], frozen=True):
    """Read an object's stored bytes; None if it does not exist.

    Throws `ResultTooLarge` if the object has more than `max_bytes`.
    """

    path: str
    max_bytes: int | None = None


class OpenContent(Effect[Download | None], frozen=True):
    """Open an object as a stream; None if it does not exist."""

    path: str


class CopyObject(Effect[bool], frozen=True):
    """Copy an object if the target still has that generation; returns whether it was copied.

    Throws `ObjectGone` if the source does not exist.
    """

    source: str
    target: str
    generation: int


class ListObjects(Effect[list[tuple[str, datetime]]], frozen=True):
    """List the path and time of creation of each object below a folder."""

    folder: str


class RemoveObject(Effect[None], frozen=True):
    """Remove an object. A missing object is not an error."""

    path: str


class ReadNextCompletion(Effect[datetime | None], frozen=True):
    """Find when the first run after a time completed; None if there is none."""

    after: datetime


class ReadJob(Effect[JobStatus], frozen=True):
    """Read the task's Cloud Scheduler job."""


class SetJob(Effect[None], frozen=True):
    """Pause or resume the task's Cloud Scheduler job, if it is not in that state."""

    state: JobState


class RunJob(Effect[None], frozen=True):
    """Run the task's Cloud Scheduler job now."""


class DeliverLeg(Effect[None], frozen=True):
    """Create the Cloud Task that delivers a leg of a run. One that exists or existed is a success.

    Throws `LegQueueUnavailable` or `SchedulerUnavailable` if it may not exist.

    Attributes:
        run_id: The run.
        leg: Number of the leg.
        creation: Number of this creation in the run, part of the Cloud Task's name.
    """

    run_id: str
    leg: int
    creation: int


AnyEffect: TypeAlias = Effect[Any]
EffectResult: TypeAlias = Any
"""What an effect returns. `ask` gives it the type of its effect."""

Procedure: TypeAlias = Generator[AnyEffect, EffectResult, Value]


def ask(effect: Effect[Value]) -> Procedure[Value]:
    """Yield an effect and return its result. `yield from` of this call has the type of that result."""
    result: Value = yield effect
    return result


def try_commit(writes: list[WriteMessage]) -> Procedure[bool]:
    """Commit once; return whether the writes were applied, or may have been.

    For writes of the watchdog, whose next pass decides again. An incident may be reported twice, but not
    lost.
    """
    try:
        yield from ask(Commit(writes))
    except WriteConflict:
        return False
    except WriteUnknown:
        return True
    return True


def run_procedure(procedure: Procedure[Value], handle: Callable[[AnyEffect], EffectResult]) -> Value:
    """Carry out the effects of a procedure until it returns.

    Args:
        procedure: The procedure.
        handle: Carries out one effect. Its errors are raised in the procedure.

    Returns:
        What the procedure returns.
    """
    try:
        effect = next(procedure)
        while True:
            try:
                result = handle(effect)
            except Exception as error:  # noqa: BLE001  (the procedure decides what an error means)
                effect = procedure.throw(error)
            else:
                effect = procedure.send(result)
    except StopIteration as ended:
        value: Value = ended.value
        return value
