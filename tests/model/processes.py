"""The model's processes: deliveries, watchdog, operator, each running the engine's own procedures.

A process is a generator; where it stands is the history of what it was answered. It is run
again from its beginning whenever its next request is wanted, so that a state can be kept.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks import ExecuteTaskOptions, TaskName, TaskSpec
from shared.tasks.clock import SystemClock
from shared.tasks.decisions import Busy, Duplicate, Skip, Standing, Take
from shared.tasks.document import ResultPointer
from shared.tasks.errors import ObjectGone, RunLost, StoreError, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.failure import Failure
from shared.tasks.mirror import mend_mirror
from shared.tasks.names import run_object
from shared.tasks.protocol import RunProtocol
from shared.tasks.steering import resume, suspend
from shared.tasks.steps import Pause
from shared.tasks.watch import watch
from shared.tasks.writes import RunIdentity
from tests.model.memory_store import run_document, task_document

TASK = TaskName.collect_charge_cdrs
DOCUMENTS = "d"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: One step of the model's time outlives a lease and the skew of clocks.
STEP = timedelta(seconds=70)
OPTIONS = ExecuteTaskOptions(lease_seconds=60)
#: A run of the original's is believed for that many steps.
DEADLINE = 2 * STEP

Event = tuple[Any, ...]
History = tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Choose:
    """The environment decides."""

    among: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """Store a result under a path of the attempt's own."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object."""

    path: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is over; with an answer to Cloud Scheduler, if it is a delivery."""

    answer: str


class ModelClock(SystemClock):
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


Steps = Generator[Any, Any, str]


@dataclass(frozen=True)
class Script:
    """What a process does; `name` tells it apart."""

    name: str
    body: Callable[[ModelClock], Steps]
    is_delivery: bool = False
    run_id: str = ""
    token: str = ""


def delivery(tick: str, token: str, save_in: str = "db", may: tuple[str, ...] = ("complete",)) -> Script:
    """One delivery of a tick, answered as the engine answers it.

    Args:
        tick: the run.
        token: the attempt's fence, and its name.
        save_in: where its result goes.
        may: what its task may do: extend (once, first), complete, fail.
    """
    identity = RunIdentity(DOCUMENTS, TASK, tick, token, "s")

    def body(clock: ModelClock) -> Steps:
        protocol = RunProtocol(identity, OPTIONS, clock)
        try:
            decision = yield from protocol.start(None, until=1)
            if isinstance(decision, Take):
                ended = yield from _work(protocol, save_in, may)
            else:
                ended = _NOT_TAKEN[type(decision)]
        except RunLost:
            ended = "lost"
        except StoreError:
            ended = "failed"
        return ANSWERS.get(ended, ended)

    return Script(f"{tick}/{token}", body, True, tick, token)


#: What a delivery is answered, where it is not just what became of it.
ANSWERS: dict[str, str] = {}
_NOT_TAKEN = {Duplicate: "duplicate", Skip: "skipped", Busy: "busy"}


def _work(protocol: RunProtocol, save_in: str, may: tuple[str, ...]) -> Steps:
    chosen = yield Choose(may)
    if chosen == "extend":
        yield from protocol.extend()
        chosen = yield Choose(tuple(each for each in may if each != "extend"))
    if chosen == "fail":
        stands = yield from protocol.fail(Failure("E", "failed"), seconds=0, until=1)
        return "failed" if stands is Standing.done else "superseded"
    return (yield from _publish(protocol, save_in))


def _publish(protocol: RunProtocol, save_in: str) -> Steps:
    run = protocol.identity
    version, path = f"{run.run_id}.{run.token}", None
    if save_in == "storage":
        path = run_object(TASK, run.run_id, run.token)
        yield Upload(path, version)
    pointer = ResultPointer(version=version, saved_in=save_in, path=path)
    stands = yield from protocol.complete(
        data=version, result=lambda _: pointer, summary=None, seconds=0, until=1
    )
    if stands is Standing.superseded:
        if path is not None and protocol.object_may_go:
            yield Remove(path)
        return "superseded"
    if path is not None:
        with suppress(StoreError):
            yield from mend_mirror(TASK)
    return "completed"


def watchdog(name: str = "watchdog") -> Script:
    """A pass of the watchdog over the task."""

    def body(clock: ModelClock) -> Steps:
        try:
            yield from watch(DOCUMENTS, TaskSpec(TASK), now=clock.now(), deadline=DEADLINE)
        except StoreError:
            return "cut short"
        return "passed"

    return Script(name, body)


def operator(does: str) -> Script:
    """A person who suspends or resumes the task."""

    def body(clock: ModelClock) -> Steps:
        change = suspend if does == "suspend" else resume
        try:
            changed = yield from change(DOCUMENTS, TASK, by="p", reason="r", now=clock.now())
        except StoreError:
            return "gave up"
        return does if changed else "nothing to do"

    return Script(does, body)


@cache
def standing_of(script: Script, history: History) -> Any:
    """Where a process stands that was answered so: its pending request, or `Ended`."""
    return _run_again(script, history)[0]


@cache
def shortest(script: Script, history: History) -> History:
    """Another history that led the process to the very same place, the first that was seen.

    What a process will do depends on where its generators stand and on what they know, not on
    how they came there: this makes many states one.
    """
    request, steps, clock = _run_again(script, history)
    if isinstance(request, Ended):
        return history
    knows = [clock.step, script.name]
    generator: Any = steps
    while generator is not None:
        frame = generator.gi_frame
        knows.append((frame.f_code.co_qualname, frame.f_lasti, _known(frame.f_locals)))
        generator = generator.gi_yieldfrom
    return _seen.setdefault(repr(knows), history)


_seen: dict[str, History] = {}


def forget() -> None:
    """Drop what is remembered of the procedures: others are to be explored."""
    standing_of.cache_clear()
    shortest.cache_clear()
    _seen.clear()


def _known(names: dict[str, Any]) -> list[tuple[str, str]]:
    """What local names hold, where it can matter."""
    told = []
    for name, value in sorted(names.items()):
        if isinstance(value, RunProtocol):
            told.append((name, repr(_known({**vars(value), "_clock": None, "_options": None}))))
        elif not callable(value) and not isinstance(value, ModelClock):
            told.append((name, repr(value)))
    return told


def _run_again(script: Script, history: History) -> tuple[Any, Steps, ModelClock]:
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
    except StopIteration as ended:
        return Ended(ended.value), steps, clock
    return request, steps, clock


_ERRORS: dict[str, Callable[[], Exception]] = {
    "refused": lambda: WriteRefused("model"),
    "unknown": lambda: WriteUnknown("model"),
    "down": lambda: StoreUnavailable("model"),
    "gone": lambda: ObjectGone("model"),
}


def _answered(steps: Steps, answer: Event) -> Any:
    match answer:
        case ("read", status, history):
            return steps.send((task_document(status), run_document(history)))
        case ("running", found):
            return steps.send([(run_id, run_document(stored)) for run_id, stored in found])
        case ("version", version):
            return steps.send(Timestamp(seconds=version))
        case ("value", value):
            return steps.send(value)
        case (error,):
            return steps.throw(_ERRORS[error]())
    raise AssertionError(answer)
