"""The position of a process: the responses it has received so far, and its next request.

A generator cannot be copied. The model replays it from the beginning with the same responses, so
that it can continue from one state in every possible way.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks.clock import Clock
from shared.tasks.errors import (
    LegQueueUnavailable,
    ObjectGone,
    SchedulerUnavailable,
    StoreUnavailable,
    WriteConflict,
    WriteUnknown,
)
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.effects import Commit, Pause, ask
from tests.model.memory_store import fields_of, run_document, saved, schedule_document, task_document
from tests.model.requests import Ended

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: One step of the model's time is longer than a lease and the clock skew.
STEP = timedelta(seconds=70)

Event = tuple[Any, ...]
History = tuple[Event, ...]
Procedure = Generator[Any, Any, Any]


class ModelClock(Clock):
    """The model's time, set with each response."""

    def __init__(self) -> None:
        self.step = 0

    def now(self) -> datetime:
        return at(self.step)

    def monotonic(self) -> float:
        return 0.0


def at(step: int) -> datetime:
    """Return the time at a step of the model."""
    return EPOCH + step * STEP


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """The behaviour of a process.

    Attributes:
        name: A unique name.
        body: The procedure of the process.
        kind: "delivery", "continuation", "watchdog", "operator", "job operator", "legacy writer" or "reader".
        after: Processes that must have ended before this one begins.
        save_in: Where its results are stored.
        has_legs: Whether it delivers a long run.
    """

    name: str
    body: Callable[[ModelClock], Procedure]
    kind: str
    after: tuple[str, ...] = ()
    save_in: str = "db"
    has_legs: bool = False

    @property
    def tokens(self) -> frozenset[str]:
        """The fencing tokens of its attempts."""
        return frozenset(name.partition("/")[2] for name in self.name.split(", then "))


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """The position of a process. Positions with the same continuation are the same object."""

    script: Script
    history: History
    request: Any


def first_position(script: Script, step: int) -> Position:
    """Return the position of a process that begins now."""
    return _position(script, ((("born",), step),))


@cache
def next_position(position: Position, answer: Event, step: int) -> Position:
    """Return the position of a process after it receives a response now."""
    return _position(position.script, (*position.history, (answer, step)))


def forget() -> None:
    """Clear the caches."""
    next_position.cache_clear()
    _positions.clear()


_positions: dict[tuple[Script, str], Position] = {}


def _position(script: Script, history: History) -> Position:
    """Return the position after a history, or an equivalent position that was reached before.

    A process's future depends on the positions and the local variables of its generators, not on its
    history. Merging equivalent positions merges many states. The comparison covers named variables
    only, so a procedure that loops over a response must assign it to a variable.
    """
    request, steps = _replay(script, history)
    state: list[Any] = [_comparable(request)]
    generator: Any = steps
    while generator is not None and generator.gi_frame is not None:
        frame = generator.gi_frame
        if frame.f_code is ask.__code__:  # It has no state besides the effect.
            break
        state.append((frame.f_code.co_qualname, frame.f_lasti, _variables(frame.f_locals)))
        generator = generator.gi_yieldfrom
    return _positions.setdefault((script, repr(state)), Position(script, history, request))


def _comparable(request: Any) -> Any:
    if isinstance(request, Commit):
        return [write.SerializeToString(deterministic=True) for write in request.writes]
    return request


def _variables(names: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the local variables that can affect the future."""
    pairs = []
    for name, value in sorted(names.items()):
        if isinstance(value, Attempt):
            replaced = {"clock": None, "options": None, "log": value.log.unstored()}
            content = repr(_variables({**vars(value), **replaced}))
            assert " at 0x" not in content, "an address would keep equal positions apart"
            pairs.append((name, content))
        elif not callable(value) and not isinstance(value, ModelClock):
            pairs.append((name, repr(value)))
    return pairs


def _replay(script: Script, history: History) -> tuple[Any, Procedure]:
    clock = ModelClock()
    clock.step = history[0][1]
    steps = script.body(clock)
    try:
        request = next(steps)
        for answer, step in history[1:]:
            while isinstance(request, Pause):
                request = steps.send(None)
            clock.step = step
            request = _send(steps, answer)
        while isinstance(request, Pause):
            request = steps.send(None)
    except StopIteration:
        return Ended(), steps
    return request, steps


_ERRORS: dict[str, Callable[[], Exception]] = {
    "refused": lambda: WriteConflict("model"),
    "unknown": lambda: WriteUnknown("model"),
    "down": lambda: StoreUnavailable("model"),
    "no answer": lambda: SchedulerUnavailable("model"),
    "no leg": lambda: LegQueueUnavailable("model"),
    "gone": lambda: ObjectGone("model"),
}


def _send(steps: Procedure, answer: Event) -> Any:
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
        case ("value" | "steps" as kind, value):
            return steps.send(saved(value) if kind == "steps" else value)
        case (error,):
            return steps.throw(_ERRORS[error]())
    raise AssertionError(answer)
