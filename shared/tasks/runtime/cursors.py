"""The cursors of a run: positions that it remembers, with the records that belong to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING

import orjson

from shared.tasks.errors import CheckpointInvalid, ResultNotStorable
from shared.tasks.results.normalisation import encode_record, normalise
from shared.tasks.results.parts import PartContent, PartWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.tasks.contract import Json
    from shared.tasks.runtime.checkpoints import Checkpoints

#: Largest position of a cursor, in bytes of JSON.
MAX_POSITION_BYTES = 10_000
#: Characters that the name of a step or a cursor may have.
MAX_NAME = 100

_RESERVED = re.compile(r"__.*__|[^/]*/.*", re.DOTALL)


class Cursor:
    """A position in a task's work that the run remembers. Made by `TaskRun.cursor`.

    Use one cursor on one thread at a time. Work after the last checkpoint is repeated after a crash.

    Attributes:
        name: Its name, unique in the run.
    """

    def __init__(
        self,
        name: str,
        position: bytes,
        checkpoints: Checkpoints,
        check: Callable[[], None],
        *,
        has_kept: bool,
    ) -> None:
        self.name = name
        self.position = position
        self.check = check
        self.moved_at = 0.0
        self.is_dirty = False
        self._checkpoints = checkpoints
        self._has_kept = has_kept
        self._writer: PartWriter | None = None
        self._count = 0

    @property
    def value(self) -> Json:
        """The position, decoded for each access, so that a caller may change it."""
        return orjson.loads(self.position)

    def advance(self, value: Json, *, keep: Iterable[Json] = ()) -> None:
        """Move to a position once the work before it is done. The leg may end here.

        The position is persisted when a leg ends, and at most every few seconds in between. What the task
        yielded before this call is persisted in the same commit, so each record is in the result exactly
        once, however often the work is repeated.

        Args:
            value: The position, JSON of at most 10,000 bytes.
            keep: Records to persist with the position; `kept` yields them. For a task that collects first
                and computes its result later.

        Raises:
            ResultNotStorable: The position or a record is not JSON, or the position is too large.
            CheckpointInvalid: Another thread yields the task's records.
            RunLost, RunCancelled, DeadlineExceeded: The task must stop, as `TaskRun.check` describes.
            StoreUnavailable, ResultNotKept: Checkpoints fail repeatedly. The cursor has moved, and the next
                checkpoint contains what this one contained.
            LegEnded: The leg is over, and the next one continues here. Do not catch it.
        """
        self._checkpoints.advance(self, value, keep)

    def kept(self) -> Iterator[Json]:
        """Yield the records that were kept, in their order, those of earlier legs and attempts first."""
        return self._checkpoints.kept(self)

    @property
    def pending_bytes(self) -> int:
        """Stored bytes of the kept records that are not uploaded yet."""
        return 0 if self._writer is None else self._writer.stored_bytes

    def encode(self, keep: Iterable[Json]) -> list[bytes]:
        """Return records to keep as JSON."""
        if isinstance(keep, str | bytes | Mapping) or not isinstance(keep, Iterable):
            raise ResultNotStorable(
                f"keep of cursor {self.name!r} must be a list or an iterator of records, "
                f"got a {type(keep).__name__}; write keep=[record] for one"
            )
        # Unlike a comprehension's variable, map keeps no record in memory while the next one is made.
        return list(map(encode_record, keep, count(self._count)))

    def move(self, position: bytes, lines: list[bytes], now: float) -> None:
        """Move to a position, and keep encoded records. It cannot fail half-way."""
        self.position, self.moved_at, self.is_dirty = position, now, True
        if lines:  # most cursors keep nothing, and a writer takes a quarter of a megabyte
            self._writer = self._writer or PartWriter(follows=self._has_kept)
            for line in lines:
                self._writer.add(line)
        self._count += len(lines)

    def cut(self) -> PartContent | None:
        """Return the kept records that no part contains yet; None if there are none."""
        return None if self._writer is None else self._writer.cut()

    def peek(self) -> PartContent | None:
        """Return what `cut` would, and keep collecting in the same part."""
        return None if self._writer is None else self._writer.peek()


def check_name(kind: str, name: object) -> None:
    """Check the name of a step or a cursor; raise CheckpointInvalid if Firestore could not hold it."""
    valid = isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()
    if not valid or _RESERVED.fullmatch(str(name)):
        raise CheckpointInvalid(
            f"the name of a {kind} must have 1 to {MAX_NAME} printable characters without a slash, "
            f"and must not be like __this__, got {name!r}"
        )


def encode_position(name: str, value: Json) -> bytes:
    """Return the position of a cursor as JSON; raise ResultNotStorable if it is none, or too large."""
    encoded = encode_value(value, f"cursor {name!r}")
    if len(encoded) > MAX_POSITION_BYTES:
        raise ResultNotStorable(
            f"a position of cursor {name!r} must have at most {MAX_POSITION_BYTES} bytes, got {len(encoded)}"
        )
    return encoded


def encode_value(value: Json, place: str) -> bytes:
    """Return a value as JSON; raise ResultNotStorable, with the place, if it is none."""
    try:
        return normalise(value).encoded
    except ResultNotStorable as error:
        raise ResultNotStorable(f"the value of {place} is not JSON: {error}") from None
