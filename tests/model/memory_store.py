"""Firestore as far as the run protocol needs it: documents, masks, conditions, one commit at a time.

Applies the very writes that `shared.tasks.documents` builds. Immutable, and equal ones are one and
the same object, so that a model can keep every state it has seen and tell it quickly; times are
kept, versions are counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks.documents.codec import decode_fields
from shared.tasks.documents.models import RunDocument, ScheduleDocument, TaskDocument

Frozen = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A document: its version, and its fields as nested sorted pairs. Made by `_stored` alone."""

    version: int
    fields: Frozen


@dataclass(frozen=True, slots=True, eq=False)
class Documents:
    """All documents, by name. Made by `documents_of` alone.

    Attributes:
        stored: the documents.
        floor: the highest version that a removed document had: a new one is newer.
    """

    stored: tuple[tuple[str, Stored], ...]
    floor: int

    def get(self, name: str) -> Stored | None:
        """The document of that name."""
        for key, stored in self.stored:
            if key == name:
                return stored
        return None

    def without(self, name: str) -> "Documents":
        """The documents but for one, which TTL has removed."""
        left = tuple(item for item in self.stored if item[0] != name)
        return documents_of(
            left, max(self.floor, *(each.version for key, each in self.stored if key == name))
        )

    def commit(self, writes: Iterable[Any]) -> "Documents | None":
        """The documents after these writes; None where a condition does not hold."""
        stored = dict(self.stored)
        for write in writes:
            present = stored.get(write.update.name)
            if not _holds(write, present):
                return None
            fields = _applied(write, present)
            if present is None or present.fields != fields:  # a write that changes nothing moves no version
                stored[write.update.name] = _stored((present.version if present else self.floor) + 1, fields)
        return documents_of(tuple(sorted(stored.items(), key=lambda item: item[0])), self.floor)


@cache
def documents_of(stored: tuple[tuple[str, Stored], ...] = (), floor: int = 0) -> Documents:
    """These documents: the same object for the same ones."""
    return Documents(stored, floor)


@cache
def _stored(version: int, fields: Frozen) -> Stored:
    return Stored(version, fields)


def forget() -> None:
    """Drop all documents that there were."""
    for each in (documents_of, _stored, fields_of, task_document, run_document, schedule_document):
        each.cache_clear()


def _holds(write: Any, present: Stored | None) -> bool:
    condition = write.current_document
    kind = condition.WhichOneof("condition_type")
    if kind == "exists":
        return bool(condition.exists) == (present is not None)
    if kind == "update_time":
        return present is not None and condition.update_time.seconds == present.version
    return True


def _applied(write: Any, present: Stored | None) -> Frozen:
    new = decode_fields(write.update.fields)
    if not write.HasField("update_mask"):
        return freeze(new)
    fields = thaw(present.fields) if present else {}
    for path in write.update_mask.field_paths:
        _put(fields, new, path.split("."))
    return freeze(fields)


def _put(fields: dict[str, Any], new: dict[str, Any], path: list[str]) -> None:
    *parents, last = path
    for name in parents:
        inner = fields.get(name)
        fields[name] = inner if isinstance(inner, dict) else {}
        fields = fields[name]
        new = new.get(name) or {}
    if last in new:
        fields[last] = new[last]
    else:
        fields.pop(last, None)


def freeze(value: Any) -> Any:
    """The value as nested sorted pairs, to be hashed."""
    if isinstance(value, dict):
        return ("map", tuple(sorted((key, freeze(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(map(freeze, value)))
    return value


def thaw(value: Any) -> Any:
    """What freeze made of it, undone."""
    if isinstance(value, tuple):
        kind, items = value
        return {key: thaw(item) for key, item in items} if kind == "map" else [thaw(item) for item in items]
    return value


@cache
def fields_of(stored: Stored | None) -> dict[str, Any]:
    """The fields of a document; not to be changed."""
    return thaw(stored.fields) if stored else {}


@cache
def task_document(stored: Stored | None) -> TaskDocument:
    """The status document as the engine reads it."""
    if stored is None:
        return TaskDocument()
    return TaskDocument.parse(fields_of(stored), Timestamp(seconds=stored.version))


@cache
def run_document(stored: Stored | None) -> RunDocument | None:
    """The run record as the engine reads it."""
    if stored is None:
        return None
    return RunDocument.parse(fields_of(stored), Timestamp(seconds=stored.version))


@cache
def schedule_document(stored: Stored | None) -> ScheduleDocument:
    """The known schedule as the engine reads it."""
    if stored is None:
        return ScheduleDocument()
    return ScheduleDocument.parse(fields_of(stored), Timestamp(seconds=stored.version))
