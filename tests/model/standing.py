"""Where a process stands: what it was answered so far, and what it asks for next.

A generator can't be copied. It is run again from its beginning with the same answers, so that a
state can be kept, and gone on from in every way there is.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks.clock import Clock
from shared.tasks.errors import ObjectGone, SchedulerUnavailable, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.effects import Commit, Pause, ask
from tests.model.memory_store import fields_of, run_document, schedule_document, task_document
from tests.model.requests import Ended

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: One step of the model's time outlives a lease and the skew of clocks.
STEP = timedelta(seconds=70)

Event = tuple[Any, ...]
History = tuple[Event, ...]
Procedure = Generator[Any, Any, Any]


class ModelClock(Clock):
    """Time of the model, set with each answer."""

    def __init__(self) -> None:
        self.step = 0

    def now(self) -> datetime:
        return at(self.step)

    def monotonic(self) -> float:
        return 0.0


def at(step: int) -> datetime:
    """The time of day at a step of the model."""
    return EPOCH + step * STEP


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """What a process does.

    Attributes:
        name: tells it apart.
        body: the process.
        kind: "delivery", "watchdog", "operator", "steerer", "original" or "reader".
        after: processes that must be over when it begins: a hand-over at a quiet moment.
        gives: where its results are kept.
    """

    name: str
    body: Callable[[ModelClock], Procedure]
    kind: str
    after: tuple[str, ...] = ()
    gives: str = "db"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a process stands. Places from which it goes on in the same way are one and the same object."""

    script: Script
    history: History
    request: Any


def begun(script: Script, step: int) -> Place:
    """Where a process stands that begins now."""
    return _place(script, ((("born",), step),))


@cache
def after(place: Place, answer: Event, step: int) -> Place:
    """Where a process stands that is answered so now."""
    return _place(place.script, (*place.history, (answer, step)))


def forget() -> None:
    """Drop what is remembered of the procedures: others are to be explored."""
    after.cache_clear()
    _places.clear()


_places: dict[tuple[Script, str], Place] = {}


def _place(script: Script, history: History) -> Place:
    """The place that this history leads to, or an earlier one's where the process stands just so.

    What a process will do depends on where its generators stand and on what they know, not on
    how they came there: this makes many states one. What they know is what has a name: a procedure
    that loops over an answer gives it one.
    """
    request, steps = _run_again(script, history)
    knows: list[Any] = [_told(request)]
    generator: Any = steps
    while generator is not None and generator.gi_frame is not None:
        frame = generator.gi_frame
        if frame.f_code is ask.__code__:  # it knows the effect alone
            break
        knows.append((frame.f_code.co_qualname, frame.f_lasti, _known(frame.f_locals)))
        generator = generator.gi_yieldfrom
    return _places.setdefault((script, repr(knows)), Place(script, history, request))


def _told(request: Any) -> Any:
    if isinstance(request, Commit):
        return [write.SerializeToString(deterministic=True) for write in request.writes]
    return request


def _known(names: dict[str, Any]) -> list[tuple[str, str]]:
    """What local names hold, where it can matter."""
    told = []
    for name, value in sorted(names.items()):
        if isinstance(value, Attempt):
            told.append((name, repr(_known({**vars(value), "clock": None, "options": None}))))
        elif not callable(value) and not isinstance(value, ModelClock):
            told.append((name, repr(value)))
    return told


def _run_again(script: Script, history: History) -> tuple[Any, Procedure]:
    clock = ModelClock()
    clock.step = history[0][1]
    steps = script.body(clock)
    try:
        request = next(steps)
        for answer, step in history[1:]:
            while isinstance(request, Pause):
                request = steps.send(None)
            clock.step = step
            request = _answered(steps, answer)
        while isinstance(request, Pause):
            request = steps.send(None)
    except StopIteration:
        return Ended(), steps
    return request, steps


_ERRORS: dict[str, Callable[[], Exception]] = {
    "refused": lambda: WriteRefused("model"),
    "unknown": lambda: WriteUnknown("model"),
    "down": lambda: StoreUnavailable("model"),
    "no answer": lambda: SchedulerUnavailable("model"),
    "gone": lambda: ObjectGone("model"),
}


def _answered(steps: Procedure, answer: Event) -> Any:
    match answer:
        case ("read", status, history):
            return steps.send((task_document(status), run_document(history)))
        case ("schedule", status, schedule):
            return steps.send((task_document(status), schedule_document(schedule)))
        case ("version", status):
            return steps.send(task_document(status))
        case ("result", status):
            return steps.send((task_document(status), fields_of(status).get("data")))
        case ("running", found):
            return steps.send([(run_id, run_document(stored)) for run_id, stored in found])
        case ("committed", version):
            return steps.send(Timestamp(seconds=version))
        case ("value", value):
            return steps.send(value)
        case (error,):
            return steps.throw(_ERRORS[error]())
    raise AssertionError(answer)
