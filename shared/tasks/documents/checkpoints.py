"""What a run has persisted: remembered steps, positions of cursors, and parts with records.

The documents are `nx-tasks/{task}/nx-runs/{run_id}/nx-steps/{kind}.{name}`. One commit writes those of a
checkpoint and the run record, whose map `checkpoint` counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from shared.tasks.documents.codec import as_int, as_text

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

#: Longest text of a position in the run record, where people read it.
MAX_SHOWN_POSITION = 100
#: Position of a cursor whose work is complete, as JSON: later legs need not ask for it.
AT_END = "null"
#: Cursors whose positions the run record shows.
MAX_SHOWN_CURSORS = 20


class SavedStep(Struct, frozen=True):
    """A remembered step: its value as JSON, or the path of the object that contains it."""

    name: str
    value: str | None = None
    path: str | None = None


class SavedCursor(Struct, frozen=True):
    """The position of a cursor, as JSON."""

    name: str
    value: str


class Part(Struct, frozen=True):
    """A part in Storage.

    Attributes:
        path: Path of its object.
        crc: CRC-32 of the lines.
        size: Bytes of the lines.
        stored_bytes: Bytes of the object.
        count: Number of records.
    """

    path: str
    crc: int
    size: int
    stored_bytes: int
    count: int


class SavedPart(Part, frozen=True, kw_only=True):
    """A part that a cursor's checkpoint made one of the run.

    Attributes:
        cursor: Name of the cursor that moved past these records.
        kept: Whether the cursor keeps them; otherwise they belong to the result.
    """

    cursor: str
    kept: bool


class Saved(Struct):
    """All that a run has persisted.

    Attributes:
        steps, cursors: By name.
        parts: In the order of their checkpoints.
    """

    steps: dict[str, SavedStep] = field(default_factory=dict)
    cursors: dict[str, SavedCursor] = field(default_factory=dict)
    parts: list[SavedPart] = field(default_factory=list)

    @property
    def result_parts(self) -> list[SavedPart]:
        """The parts of the result."""
        return [each for each in self.parts if not each.kept]

    def unused_cursors(self, asked: Container[str]) -> list[str]:
        """Return the cursors with parts that a task did not ask for, except those that are at their end."""
        names = sorted({each.cursor for each in self.parts})
        at_end = {name for name, one in self.cursors.items() if one.value == AT_END}
        return [name for name in names if name not in asked and name not in at_end]

    def add(self, changes: Changes) -> None:
        """Add what a checkpoint has persisted."""
        self.steps.update((one.name, one) for one in changes.steps)
        self.cursors.update((one.name, one) for one in changes.cursors)
        self.parts += changes.parts

    @classmethod
    def parse(cls, documents: Iterable[tuple[str, dict[str, Any]]]) -> Saved:
        """Return what documents contain, given by id and decoded fields, ordered by id."""
        saved = cls()
        for document_id, values in documents:
            kind, _, name = document_id.partition(".")
            value, path = as_text(values.get("value")), as_text(values.get("object"))
            if kind == "step":
                saved.steps[name] = SavedStep(name, value, path)
            elif kind == "cursor" and value is not None:
                saved.cursors[name] = SavedCursor(name, value)
            elif kind == "part" and path is not None:
                numbers = {
                    key: as_int(values.get(key)) or 0 for key in ("crc", "size", "stored_bytes", "count")
                }
                cursor = as_text(values.get("cursor")) or ""
                kept = values.get("kept") is True
                saved.parts.append(SavedPart(path, **numbers, cursor=cursor, kept=kept))
        return saved


class Checkpoint(Struct, frozen=True):
    """The map `checkpoint` of a run record: what the last checkpoint left.

    Attributes:
        commit: The attempt's token and the number of the checkpoint in it, which identify the commit.
        steps, cursors, parts: How many documents of each kind there are.
        positions: Positions of cursors, shortened, for people.
    """

    commit: str
    steps: int = 0
    cursors: int = 0
    parts: int = 0
    positions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object) -> Checkpoint | None:
        """Return what the map contains; None if the run has no checkpoint."""
        if not isinstance(value, dict) or not (commit := as_text(value.get("commit"))):
            return None
        counts = {key: as_int(value.get(key)) or 0 for key in ("steps", "cursors", "parts")}
        positions = value.get("positions")
        shown = positions.items() if isinstance(positions, dict) else ()
        texts = {name: text for name, text in shown if isinstance(text, str)}
        return cls(commit, **counts, positions=texts)

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def is_of(self, token: str | None) -> bool:
        """Return whether the attempt with this token wrote it."""
        return token is not None and self.commit.startswith(f"{token}.")

    def is_of_all(self, saved: Saved) -> bool:
        """Return whether these are all documents that the run record counts."""
        found = len(saved.steps), len(saved.cursors), len(saved.parts)
        return found == (self.steps, self.cursors, self.parts)


class Changes(Struct, frozen=True):
    """What one checkpoint adds: new steps and parts, and cursors that moved."""

    steps: tuple[SavedStep, ...] = ()
    cursors: tuple[SavedCursor, ...] = ()
    parts: tuple[SavedPart, ...] = ()

    def followed_by(self, later: Changes) -> Changes:
        """Return these changes with later ones, which may contain the same parts again."""
        return Changes(
            steps=tuple({one.name: one for one in (*self.steps, *later.steps)}.values()),
            cursors=tuple({one.name: one for one in (*self.cursors, *later.cursors)}.values()),
            parts=tuple({one.path: one for one in (*self.parts, *later.parts)}.values()),
        )


def next_checkpoint(last: Checkpoint | None, saved: Saved, changes: Changes, commit: str) -> Checkpoint:
    """Return the counts and positions after `changes`, given what was `saved` before."""
    last = last or Checkpoint("")
    moved = {one.name: one.value[:MAX_SHOWN_POSITION] for one in changes.cursors}
    positions = dict([*{**last.positions, **moved}.items()][:MAX_SHOWN_CURSORS])
    return Checkpoint(
        commit,
        steps=last.steps + len(changes.steps),
        cursors=len({*saved.cursors, *moved}),
        parts=last.parts + len(changes.parts),
        positions=positions,
    )
