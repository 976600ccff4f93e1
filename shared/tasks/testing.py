"""Tests tasks without a server: a run that records what its task does, and that can be interrupted.

    run = RecordedRun(TaskName.my_task)
    with interrupted(run, at=3):
        run.execute(my_task)
    assert run.execute(my_task) == [...]

docs/api.md ("Test a task") has a complete example.
"""

from __future__ import annotations

import copy
import gzip
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct

from shared.tasks.clock import Clock
from shared.tasks.contract import DocumentNames
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.documents.run_log import RunLog
from shared.tasks.errors import LegEnded
from shared.tasks.results.normalisation import normalise
from shared.tasks.results.stream import Records
from shared.tasks.runtime.checkpoints import Checkpoints
from shared.tasks.runtime.cursors import encode_position
from shared.tasks.runtime.prepared_result import open_stream
from shared.tasks.runtime.run_logger import RunLogger
from shared.tasks.runtime.task_run import Progress, RunTimes, TaskRun
from shared.tasks.runtime.task_thread import Work
from shared.tasks.specs import LEG_OVERTIME, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shared.tasks.contract import Json, TaskName
    from shared.tasks.documents.checkpoints import Changes
    from shared.tasks.options import TaskFunction
    from shared.tasks.runtime.cursors import Cursor

#: Stands for a position that was not given, because None is a position.
_NO_POSITION = object()
#: Bytes of a result that are read at once.
_PIECE_BYTES = 1 << 20


class HandMovedClock(Clock):
    """A clock that moves only when a test moves it. It starts at midnight (UTC) on 1 January 2026."""

    def __init__(self) -> None:
        self._passed = 0.0

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._passed

    def sleep(self, duration: float) -> None:
        """Move the clock by a number of seconds."""
        self._passed += max(duration, 0.0)


class LogEntry(Struct, frozen=True):
    """An entry that a task has logged: its level (such as "info"), its event, and its fields."""

    level: str
    event: str
    fields: dict[str, object]


class RecordedRun(TaskRun):
    """A run without a server, for tests. Use it as a task uses its run, or let `execute` call the task.

    Its checkpoints are kept in memory.

    Args:
        task_name: The task.
        deadline_seconds: Seconds until the deadline of the run. By default that of the task's `TaskSpec`,
            or the default of `TaskSpec` if no module that declares the task was imported.
        leg_seconds: Seconds until a leg ends at its next checkpoint; None for a run without legs.
        checkpoint_seconds: Shortest time between two checkpoints of cursors. With 0, each move of a cursor is
            persisted, so that a kill repeats one unit of work; in production it may repeat a few seconds.
        scheduled_for: The tick, UTC; None for a run without one.
        clock: Measures the time; by default a clock that only `clock.sleep(seconds)` moves.
        memory: Keeps the checkpoints.

    Attributes:
        clock: The clock.
        memory: What keeps the checkpoints of this attempt.
        reports: All progress reports of the task.
        written: Those that the engine would write to the run record, at most one per second.
        logged: What the task logged with `run.log`.
    """

    def __init__(
        self,
        task_name: TaskName,
        *,
        deadline_seconds: float | None = None,
        leg_seconds: float | None = None,
        checkpoint_seconds: float = 0.0,
        scheduled_for: datetime | None = None,
        clock: Clock | None = None,
        memory: MemoryCheckpoints | None = None,
    ) -> None:
        self.clock = clock or HandMovedClock()
        self.memory = memory or MemoryCheckpoints()
        self.reports: list[Progress] = []
        self.written: list[Progress] = []
        self.logged: list[LogEntry] = []
        names = DocumentNames("projects/test/databases/test/documents", task_name)
        self._identity = AttemptIdentity(names, "test-run", "test-token", "test", scheduled_for)
        if deadline_seconds is None:
            deadline_seconds = spec_of(task_name).deadline_seconds
        self._deadline = self.clock.monotonic() + deadline_seconds
        self._leg_seconds = leg_seconds
        self._pause = checkpoint_seconds
        self._is_used = False
        self._begin(attempt=1, leg=1)

    def execute(self, task: TaskFunction) -> Json:
        """Call a task for one attempt, and return its result as `get_task_data` would return it.

        Each further call is the next attempt: it continues from the checkpoints of those before. The result
        of a task that yields its records has the records of all attempts and legs.

        Raises:
            BaseException: What the task raised; or what fails the run, such as ResultNotStorable.
        """
        if self._is_used:
            self.resume()
        self._is_used = True
        work: Work[Json] = Work(task, self, self._result_of, self.clock)
        work.start()
        work.done.wait()
        return work.result()

    def resume(self, *, next_leg: bool = False) -> None:
        """Begin the next attempt, or the next leg, with nothing but what the last checkpoint contains."""
        self.memory = self.memory.handed_on()
        self._begin(self.attempt + (not next_leg), self.leg + next_leg)

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Record a progress report. Raises the errors of `check`."""
        self.reports.append(Progress(done, total, message, self.clock.now()))
        super().progress(done, total, message)

    def interrupt(self, *, after: str | None, at: object, kill: bool) -> None:
        """Plan an interruption of this attempt, as `interrupted` and `leg_ending` describe."""
        position = None if at is _NO_POSITION else encode_position("at", at)
        if (after is None) == (position is None):
            raise ValueError("pass either after= (the name of a step) or at= (the position of a cursor)")
        if self._is_used:
            self.resume()
        plan = _Interruption(after, position, self.memory.kill if kill else self.checkpoints.end_leg)
        self.checkpoints.interruption = plan

    def _begin(self, attempt: int, leg: int) -> None:
        now, length = self.clock.monotonic(), self._leg_seconds or float("inf")
        ends = min(self._deadline, now + length * LEG_OVERTIME)
        times = RunTimes(self._deadline, ends, leg_ends=now + length)
        checkpoints = _Checkpoints(self.memory, self.clock)
        checkpoints.begin(self.memory.copy_of_saved(), leg_ends=times.leg_ends, pause=self._pause)
        # Nothing else of an attempt reaches the next one, such as a summary.
        log = RunLog(self.clock)
        super().__init__(self._identity, times, self.clock, self.written.append, checkpoints, log)
        self.checkpoints: _Checkpoints = checkpoints
        self.log = _Log(self._identity, log, self.logged)
        self.attempt, self.leg = attempt, leg
        self._is_used = False

    def _result_of(self, value: object) -> Json:
        self.memory.raise_if_dead()
        self.check()
        if not isinstance(value, Records):
            self.checkpoints.check_returned()
            return [] if value is None else normalise(value).value
        stream = open_stream(value, self, self.memory.open)
        stored = b"".join(iter(partial(stream.read, _PIECE_BYTES), b""))
        self.memory.raise_if_dead()
        self.checkpoints.raise_if_ended()
        return orjson.loads(gzip.decompress(stored))


@contextmanager
def interrupted(run: RecordedRun, *, after: str | None = None, at: object = _NO_POSITION) -> Iterator[None]:
    """Kill the process of a run, as a crash or lack of memory does, while the block works with it.

    What was done since the last checkpoint is lost, and the next attempt repeats it.

    Args:
        run: The run. After the block it is the next attempt.
        after: The name of a step. The process dies when its value has been remembered.
        at: A position. The process dies when a cursor moves there, before this position is persisted.

    Raises:
        AssertionError: The block ended before that step or position.
    """
    run.interrupt(after=after, at=at, kill=True)
    with _expected(Killed, f"the process was not killed {_place(after, at)}"):
        yield
    run.resume()


@contextmanager
def leg_ending(run: RecordedRun, *, after: str | None = None, at: object = _NO_POSITION) -> Iterator[None]:
    """End a leg of a run in time, as the engine does for a long run, while the block works with it.

    All that was done is persisted, and the next leg repeats nothing.

    Args:
        run: The run. After the block it is the next leg.
        after: The name of a step. The leg ends at the next step, or when a cursor moves.
        at: A position. The leg ends when a cursor moves there.

    Raises:
        AssertionError: The block ended before that step or position, or the task did not let LegEnded pass.
    """
    run.interrupt(after=after, at=at, kill=False)
    with _expected(LegEnded, f"the leg did not end {_place(after, at)}"):
        yield
    run.resume(next_leg=True)


class MemoryCheckpoints:
    """Keeps the checkpoints of one attempt in memory. It implements `CheckpointBackend`.

    Attributes:
        saved: What is persisted.
        objects: The stored objects by path.
    """

    def __init__(self) -> None:
        self.saved = Saved()
        self.objects: dict[str, bytes] = {}
        self._is_dead = False

    def copy_of_saved(self) -> Saved:
        """Return what was saved, for an attempt that adds to it."""
        saved = self.saved
        return Saved(dict(saved.steps), dict(saved.cursors), list(saved.parts))

    def handed_on(self) -> MemoryCheckpoints:
        """Return the same for the next attempt. This one can save nothing more."""
        heir = copy.copy(self)
        heir.saved, heir._is_dead = self.copy_of_saved(), False  # noqa: SLF001  (an object of this class)
        self._is_dead = True
        return heir

    def kill(self) -> None:
        """Let this and each later call fail, as if the process had died."""
        self._is_dead = True
        raise Killed

    def save(self, changes: Changes) -> None:
        """Keep changes."""
        self.raise_if_dead()
        self.saved.add(changes)

    def upload(self, content: bytes) -> str:
        """Keep an object; return its path."""
        self.raise_if_dead()
        path = f"memory/{len(self.objects)}"
        self.objects[path] = content
        return path

    def open(self, path: str) -> Iterable[bytes] | None:
        """Return an object's bytes; None if it does not exist."""
        self.raise_if_dead()
        content = self.objects.get(path)
        return None if content is None else [content]

    def raise_if_dead(self) -> None:
        """Raise Killed if the process has died."""
        if self._is_dead:
            raise Killed


class _Interruption(Struct, frozen=True):
    after: str | None
    position: bytes | None
    interrupt: Callable[[], None]


class _Checkpoints(Checkpoints):
    """Checkpoints that a test interrupts."""

    interruption: _Interruption | None = None

    def step(
        self, name: str, function: Callable[..., Json], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Json:
        value = super().step(name, function, args, kwargs)
        if self.interruption is not None and self.interruption.after == name:
            self.interruption.interrupt()
        return value

    def advance(self, cursor: Cursor, value: Json, keep: Iterable[Json]) -> None:
        if self.interruption is not None and self.interruption.position == encode_position("at", value):
            self.interruption.interrupt()
        super().advance(cursor, value, keep)


class _Log(RunLogger):
    """Records what it logs."""

    def __init__(self, identity: AttemptIdentity, log: RunLog, entries: list[LogEntry]) -> None:
        super().__init__(identity, log)
        self._entries = entries

    def info(self, event: str, **fields: object) -> None:
        self._entries.append(LogEntry("info", event, fields))
        super().info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        self._entries.append(LogEntry("warning", event, fields))
        super().warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._entries.append(LogEntry("error", event, fields))
        super().error(event, **fields)


class Killed(BaseException):
    """Ends a task as the death of its process does. Nothing is persisted after it."""

    def __init__(self) -> None:
        super().__init__("the test has killed the process of this run; the task must let Killed pass")


@contextmanager
def _expected(kind: type[BaseException], otherwise: str) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(otherwise)


def _place(after: str | None, at: object) -> str:
    return f"after step {after!r}" if at is _NO_POSITION else f"at position {at!r}"
