"""What a task persists while it works: remembered steps, cursors, and the parts of its result.

A checkpoint is one commit with all that has changed. It is made for each step, and for cursors every few
seconds and when a leg ends. The next leg or attempt of the run continues from the last checkpoint.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, NoReturn, Protocol

from shared import logger
from shared.tasks.documents.checkpoints import Changes, Part, Saved, SavedCursor, SavedStep
from shared.tasks.errors import CheckpointInvalid, LegEnded, ResultNotKept, StoreUnavailable
from shared.tasks.results.parts import PartContent, records_in
from shared.tasks.runtime.checkpoint_limits import CHECKPOINT_SECONDS, MAX_PARTS, MAX_STEPS
from shared.tasks.runtime.cursors import Cursor, check_name, encode_position
from shared.tasks.runtime.leg_time import LegTime
from shared.tasks.runtime.record_parts import PART_BYTES, RecordParts, UnnamedParts
from shared.tasks.runtime.steps import StepCall, call_step, step_with, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shared.tasks.clock import Clock
    from shared.tasks.contract import Json

#: Failures in a row after which a checkpoint that could not be persisted fails the attempt.
MAX_FAILURES = 3


class CheckpointBackend(Protocol):
    """Where checkpoints are kept: Firestore and Storage, or memory in the tests of a task."""

    def save(self, changes: Changes) -> None:
        """Persist changes in one commit. Raises RunLost, or StoreError if they may not be persisted."""

    def upload(self, content: bytes) -> str:
        """Store an object that a later commit will name; return its path."""

    def open(self, path: str) -> Iterable[bytes] | None:
        """Return an object's bytes in pieces; None if it does not exist."""


class Checkpoints:
    """The checkpoints of one attempt. Steps and cursors may be used on several threads at once.

    Args:
        backend: Where they are kept.
        clock: Measures the time.

    Attributes:
        cursors: The cursors that the task asked for, by name.
        resumed: Whether an earlier leg or attempt left a checkpoint.
        progressed: Whether this attempt has made a checkpoint.
    """

    def __init__(self, backend: CheckpointBackend, clock: Clock) -> None:
        self.cursors: dict[str, Cursor] = {}
        self.resumed = False
        self.progressed = False
        self._backend = backend
        self._clock = clock
        self._time = LegTime(clock)
        self._pause = CHECKPOINT_SECONDS
        self._due = clock.monotonic() + CHECKPOINT_SECONDS
        self._thread = threading.local()  # `has_ended`: whether LegEnded was raised in the thread
        self._ended = False
        self._is_closed = False
        self._lock = threading.RLock()
        self._saved = Saved()
        #: Changes that Firestore may have, or may not have. The next commit contains them again.
        self._in_doubt = Changes()
        self._unnamed = UnnamedParts(backend)
        self._failures = 0
        self._stream: RecordParts | None = None
        self._refuses_cursors = False
        #: What this attempt called its steps with, by name.
        self._step_calls: dict[str, StepCall] = {}

    def begin(self, saved: Saved, *, leg_ends: float, pause: float) -> None:
        """Continue from what earlier legs and attempts persisted.

        Args:
            saved: What they persisted.
            leg_ends: When the leg should end, on the clock's monotonic scale; infinite without legs.
            pause: Shortest time between two checkpoints of cursors, in seconds.
        """
        self._saved = saved
        self.resumed = bool(saved.steps or saved.cursors or saved.parts)
        self._time.begin(leg_ends)
        self._pause = pause
        self._due = self._clock.monotonic() + pause

    def close(self) -> None:
        """Persist nothing more: what the task yielded could not be taken."""
        with self._lock:
            self._is_closed = True

    def end_leg(self) -> None:
        """Let the leg end at its next checkpoint. Called on another thread."""
        self._time.must_end = True

    @property
    def ended(self) -> bool:
        """Whether the leg has ended, so that what the task returns or raises no longer counts."""
        return self._ended

    @property
    def is_used(self) -> bool:
        """Whether the task has used a step or a cursor, so that it can end early and continue later."""
        return self.progressed or bool(self.cursors)

    @property
    def joins_parts(self) -> bool:
        """Whether a result that the task yields is joined from parts."""
        return bool(self.cursors or self._saved.result_parts)

    @property
    def part_count(self) -> int:
        """Number of parts that a result is joined from."""
        return len(self._saved.result_parts)

    def raise_if_ended(self) -> None:
        """Raise LegEnded if the leg has ended."""
        if self._ended:
            self._thread.has_ended = True
            raise LegEnded

    def step(
        self, name: str, function: Callable[..., Json], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Json:
        """Return a step's remembered value, or call its function and remember what it returns."""
        check_name("step", name)
        self.raise_if_ended()
        call = StepCall.of(function, args, kwargs)
        known = self._saved.steps.get(name)
        if known is None:
            known = self._new_step(name, lambda: call_step(name, function, args, kwargs))
        if not self._step_calls.setdefault(name, call).is_same(call):
            raise CheckpointInvalid(
                f"step {name!r} already has the value of another function or object, or of other arguments; "
                "give each call a name of its own, such as f'page {number}'"
            )
        return value_of(known, self._backend.open)

    def _new_step(self, name: str, function: Callable[[], Json]) -> SavedStep:
        if len(self._saved.steps) >= MAX_STEPS:
            raise CheckpointInvalid(
                f"a run may have at most {MAX_STEPS} steps, and {name!r} is one more; "
                "use run.cursor for work that is repeated"
            )
        if self._should_end():
            with self._lock:
                self._end()
        began = self._clock.monotonic()
        step = step_with(name, function(), self._backend.upload)
        with self._lock:
            self._time.count_unit(began)
            if name not in self._saved.steps:  # another thread may have remembered it meanwhile
                self._commit(Changes(steps=(step,)))
            return self._saved.steps[name]

    def cursor(self, name: str, start: Json, check: Callable[[], None]) -> Cursor:
        """Return a cursor at its persisted position, or at `start`. It calls `check` before it moves."""
        check_name("cursor", name)
        self.raise_if_ended()
        with self._lock:
            if name in self.cursors:
                return self.cursors[name]
            if self._refuses_cursors or (self._stream is not None and self._stream.pending):
                raise CheckpointInvalid(
                    f"cursor {name!r} was asked for after records were yielded; "
                    "ask for it first, and yield its records in its loop"
                )
            saved = self._saved.cursors.get(name)
            position = encode_position(name, start) if saved is None else saved.value.encode()
            has_kept = any(each.kept and each.cursor == name for each in self._saved.parts)
            cursor = Cursor(name, position, self, check, has_kept=has_kept)
            cursor.moved_at = self._clock.monotonic()
            self.cursors[name] = cursor
            return cursor

    def ensure(self, seconds: float) -> None:
        """End the leg if less time is left of it, and if it has done any work."""
        self.raise_if_ended()
        with self._lock:
            if self._should_end(seconds):
                self._end()

    def advance(self, cursor: Cursor, value: Json, keep: Iterable[Json]) -> None:
        """Move a cursor, make a checkpoint if one is due, and end the leg if its time is over."""
        position = encode_position(cursor.name, value)
        lines = cursor.encode(keep)
        # If another thread has ended the leg, what this one has done until now still counts.
        if not self._ended or self._is_cleaning_up():
            cursor.check()
        with self._lock:
            self._raise_if_closed()
            stream = self._stream
            if stream is not None and not stream.is_mine:
                self.raise_if_ended()
                raise CheckpointInvalid(
                    f"cursor {cursor.name!r} was moved on another thread than the one that yields "
                    "the records; move it where its records are yielded"
                )
            self._time.count_unit(cursor.moved_at)
            now = self._clock.monotonic()
            cursor.move(position, lines, now)
            if stream is not None:
                stream.pending = False
            if self._ended or self._should_end():
                self._end()
            if now >= self._due or cursor.pending_bytes >= PART_BYTES:
                self._save_if_possible()

    def kept(self, cursor: Cursor) -> Iterator[Json]:
        """Yield the records that a cursor keeps."""
        self.raise_if_ended()
        with self._lock:
            saved = [each for each in self._saved.parts if each.kept and each.cursor == cursor.name]
            pending = cursor.peek()  # cut here, each call would make a part, of which a run has few
            parts = [*saved, *self._unnamed.kept_by(cursor.name), *([] if pending is None else [pending])]
        return records_in(parts, self._backend.open)

    def stream(self, progress: Callable[[int, int], None]) -> RecordParts:
        """Return what takes the records that the task yields, on this thread."""
        with self._lock:
            self._check_cursors()  # now, because all work would be repeated before `result_parts` notices
            self._stream = RecordParts(self._saved.result_parts, self._unnamed.store, progress)
            return self._stream

    def refuse_cursors(self) -> None:
        """Refuse cursors from now on: what the task yields is uploaded as one object, without parts."""
        self._refuses_cursors = True

    def check_returned(self) -> None:
        """Refuse a result that the task returned although an earlier leg or attempt yielded records of it.

        Raises:
            CheckpointInvalid: Those records would be missing.
        """
        if self._saved.result_parts:
            raise CheckpointInvalid(
                "earlier legs yielded records, and this code returns its result; "
                "deploy code that yields them, or let the next run start"
            )

    def _check_cursors(self) -> None:
        """Refuse to continue if a cursor with parts was not asked for: its work would be repeated."""
        unused = self._saved.unused_cursors(self.cursors)
        if unused:
            raise CheckpointInvalid(
                f"the run has records of the cursor {unused[0]!r}, which this code does not use; "
                "deploy code that asks for it, or cancel the run"
            )

    def result_parts(self) -> list[Part | PartContent]:
        """Return the parts of the result; the last ones are not persisted.

        Raises:
            CheckpointInvalid: A cursor with parts was not asked for, so records would be lost.
        """
        with self._lock:
            self._check_cursors()
            stream = self._stream
            return [
                *self._saved.result_parts,
                *self._unnamed.of_result,
                *([] if stream is None else stream.take_parts()),
            ]

    def _is_cleaning_up(self) -> bool:
        """Return whether the calling thread has noticed the end of the leg, perhaps from another thread."""
        error = sys.exception()
        is_unwinding = error is not None and not isinstance(error, Exception)
        return is_unwinding or getattr(self._thread, "has_ended", False)

    def _end(self) -> NoReturn:
        """Persist what has changed, and end the leg. There is time to try again, unless the process ends."""
        tries = 0
        while True:
            try:
                self._save()
                break
            except (StoreUnavailable, ResultNotKept) as error:
                tries += 1
                if self._time.must_end or tries >= MAX_FAILURES:
                    raise
                logger.warning("checkpoint not persisted", error=error)
                self._clock.sleep(tries)
        self._ended = self._thread.has_ended = True
        raise LegEnded

    def _save_if_possible(self) -> None:
        """Persist what has changed; if that fails a few times in a row, raise the error."""
        try:
            self._save()
        except (StoreUnavailable, ResultNotKept) as error:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise
            logger.warning("checkpoint not persisted", error=error)
            self._due = self._clock.monotonic() + self._pause

    def _save(self) -> None:
        """Persist what has changed. If that fails, nothing is lost, and the next checkpoint persists it."""
        stream = self._stream
        if stream is not None and not stream.is_mine:
            return  # the thread that yields may have yielded more than the cursors have moved past
        moved = [one for one in self.cursors.values() if one.is_dirty]
        for cursor in moved:
            self._unnamed.add(cursor.cut(), cursor.name, kept=True)
        if stream is not None and moved:
            last = max(moved, key=lambda one: one.moved_at)
            for part in stream.take_parts():
                self._unnamed.add(part, last.name, kept=False)
        parts = self._unnamed.upload()
        positions = [SavedCursor(one.name, one.position.decode()) for one in moved]
        if moved or parts:
            self._commit(Changes(cursors=tuple(positions), parts=tuple(parts)))
        for cursor in moved:
            cursor.is_dirty = False
        self._failures = 0
        # Several cursors that keep records make several parts at once.
        self._due = self._clock.monotonic() + self._pause * max(len(parts), 1)

    def _commit(self, changes: Changes) -> None:
        self._raise_if_closed()
        changes = self._in_doubt.followed_by(changes)
        if len(self._saved.parts) + len(changes.parts) > MAX_PARTS:
            raise CheckpointInvalid(f"a run may have at most {MAX_PARTS} parts; yield or keep fewer records")
        try:
            self._backend.save(changes)
        except StoreUnavailable:
            self._in_doubt = changes
            raise
        self._in_doubt = Changes()
        self._saved.add(changes)
        self._unnamed.remove(changes.parts)
        self.progressed = True

    def _raise_if_closed(self) -> None:
        if self._is_closed:
            raise CheckpointInvalid("the attempt has failed, and persists nothing more")

    def _should_end(self, seconds: float | None = None) -> bool:
        """Return whether the leg is over. It does not end between records and the move past them."""
        stream = self._stream
        if stream is not None and stream.pending and stream.is_mine:
            return False  # they would be in the result twice
        return self._time.is_over(seconds)
