"""An in-memory Firestore with the features of the run protocol: documents, masks, preconditions.

It applies the writes that `shared.tasks.documents` builds. Documents are immutable, and equal ones
are the same object, so that the model can store and compare many states quickly. A document's
update time is a counter.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks.contract import STEPS_COLLECTION
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.documents.codec import decode_fields
from shared.tasks.documents.models import RunDocument, ScheduleDocument, TaskDocument

Frozen = tuple[tuple[str, Any], ...]
_BELOW = f"/{STEPS_COLLECTION}/"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A document: its version, and its fields as nested sorted pairs. Only `_stored` creates it."""

    version: int
    fields: Frozen


@dataclass(frozen=True, slots=True, eq=False)
class Documents:
    """All documents by name. Only `documents_of` creates it.

    Attributes:
        stored: The documents.
        floor: The highest version of a removed document; a new document gets a higher one.
    """

    stored: tuple[tuple[str, Stored], ...]
    floor: int

    def get(self, name: str) -> Stored | None:
        """Return a document, or None if it does not exist."""
        for key, stored in self.stored:
            if key == name:
                return stored
        return None

    def records(self, history: str) -> Iterator[tuple[str, Stored]]:
        """Yield the documents of a run history, without the steps, cursors and parts below them."""
        for key, stored in self.stored:
            if key.startswith(history) and _BELOW not in key:
                yield key, stored

    def below(self, record: str) -> tuple[tuple[str, Stored], ...]:
        """Return the steps, cursors and parts of a run, by id."""
        folder = f"{record}{_BELOW}"
        return tuple((key[len(folder) :], stored) for key, stored in self.stored if key.startswith(folder))

    def without(self, name: str) -> "Documents":
        """Return the documents without one that TTL has removed."""
        left = tuple(item for item in self.stored if item[0] != name)
        return documents_of(
            left, max(self.floor, *(each.version for key, each in self.stored if key == name))
        )

    def commit(self, writes: Iterable[Any]) -> "Documents | None":
        """Return the documents after these writes; None if a precondition fails."""
        stored, changed = dict(self.stored), {}
        for write in writes:
            name = write.update.name
            present = stored.get(name)
            if not _holds(write, present):
                return None
            fields = _applied(write, present)
            # As in Firestore, a write without a change keeps the update time.
            if present is None or present.fields != fields:
                changed[name] = fields
        # As in Firestore, all documents that a commit changes get one update time, later than any before.
        version = max([self.floor, *(stored[name].version for name in changed if name in stored)]) + 1
        stored |= {name: _stored(version, fields) for name, fields in changed.items()}
        return documents_of(tuple(sorted(stored.items(), key=lambda item: item[0])), self.floor)


def with_equal_versions(documents: Documents) -> Documents:
    """Return the same documents with one version for all: no process remembers a version any more."""
    return documents_of(tuple((key, _stored(1, stored.fields)) for key, stored in documents.stored))


@cache
def documents_of(stored: tuple[tuple[str, Stored], ...] = (), floor: int = 0) -> Documents:
    """Return the unique object for these documents."""
    return Documents(stored, floor)


@cache
def _stored(version: int, fields: Frozen) -> Stored:
    return Stored(version, fields)


def forget() -> None:
    """Clear the caches."""
    for each in (documents_of, _stored, fields_of, task_document, run_document, schedule_document, _saved):
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
    """Convert a value to nested sorted pairs, which are hashable."""
    if isinstance(value, dict):
        return ("map", tuple(sorted((key, freeze(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(map(freeze, value)))
    return value


def thaw(value: Any) -> Any:
    """Reverse `freeze`."""
    if isinstance(value, tuple):
        kind, items = value
        return {key: thaw(item) for key, item in items} if kind == "map" else [thaw(item) for item in items]
    return value


@cache
def fields_of(stored: Stored | None) -> dict[str, Any]:
    """Return the fields of a document, which the caller must not change."""
    return thaw(stored.fields) if stored else {}


@cache
def task_document(stored: Stored | None) -> TaskDocument:
    """Return the status document as the engine reads it."""
    if stored is None:
        return TaskDocument()
    return TaskDocument.parse(fields_of(stored), Timestamp(seconds=stored.version))


@cache
def run_document(stored: Stored | None) -> RunDocument | None:
    """Return the run record as the engine reads it."""
    if stored is None:
        return None
    return RunDocument.parse(fields_of(stored), Timestamp(seconds=stored.version))


@cache
def schedule_document(stored: Stored | None) -> ScheduleDocument:
    """Return the known schedule as the engine reads it."""
    if stored is None:
        return ScheduleDocument()
    return ScheduleDocument.parse(fields_of(stored), Timestamp(seconds=stored.version))


@cache
def _saved(documents: tuple[tuple[str, Stored], ...]) -> Saved:
    return Saved.parse((document_id, fields_of(stored)) for document_id, stored in documents)


def saved(documents: tuple[tuple[str, Stored], ...]) -> Saved:
    """Return the steps, cursors and parts as the engine reads them, which the caller may change."""
    found = _saved(documents)
    return Saved(dict(found.steps), dict(found.cursors), list(found.parts))
