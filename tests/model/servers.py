"""Firestore and Storage as the model's processes see them, except for commits."""

from datetime import timedelta
from typing import Any

import orjson

from shared.tasks.documents.legs import WAITING
from shared.tasks.protocol.effects import (
    CopyObject,
    ListObjects,
    ReadContent,
    ReadDocuments,
    ReadMetadata,
    ReadNextCompletion,
    ReadResult,
    ReadRunning,
    ReadSchedule,
    ReadSteps,
    ReadVersion,
    RemoveObject,
)
from tests.model.invariants import HISTORY, SCHEDULE, STATUS, Objects, StoredObject, check_copy, check_removal
from tests.model.memory_store import Documents, fields_of, run_document
from tests.model.positions import EPOCH, Event
from tests.model.requests import ReadParts, Remove, Upload

#: So old that an object's age never prevents its removal.
LONG_AGO = EPOCH - timedelta(days=365)


def read(documents: Documents, request: Any) -> Event | None:
    """Return Firestore's response; None if the request does not read documents."""
    status = documents.get(STATUS)
    match request:
        case ReadDocuments(run_id):
            return "read", status, documents.get(f"{HISTORY}{run_id}") if run_id else None
        case ReadSchedule():
            return "schedule", status, documents.get(SCHEDULE)
        case ReadVersion():
            return "version", status
        case ReadResult():
            return "result", status
        case ReadRunning():
            running = tuple(
                (key.rpartition("/")[2], stored)
                for key, stored in documents.records(HISTORY)
                if fields_of(stored).get("state") in {"running", WAITING}
            )
            return "running", running
        case ReadSteps(run_id):
            return "steps", documents.below(f"{HISTORY}{run_id}")
        case ReadNextCompletion(after):
            ends = [run_document(stored) for _, stored in documents.records(HISTORY)]
            completed = [run.completed for run in ends if run and run.state == "completed" and run.completed]
            return "value", LONG_AGO if any(moment > after for moment in completed) else None
    return None


def on_storage(documents: Documents, objects: Objects, request: Any) -> tuple[Objects, Event]:
    """Return the bucket's new contents and Storage's response."""
    bucket = dict(objects)
    answer: Any = None
    match request:
        case Upload(path, content, mark):
            bucket[path] = StoredObject(_generation(bucket, path) + 1, content, mark)
        case Remove(path) | RemoveObject(path):
            check_removal(documents, path)
            bucket.pop(path, None)
        case ReadParts(paths):
            answer = tuple(bucket[path].content if path in bucket else None for path in paths)
        case ListObjects(folder):
            answer = tuple((path, LONG_AGO) for path in bucket if path.startswith(folder))
        case ReadMetadata(path):
            answer = (_generation(bucket, path), bucket[path].mark if path in bucket else None)
        case ReadContent(path):
            answer = orjson.dumps([bucket[path].content]) if path in bucket else None
        case CopyObject(source, target, generation):
            if source not in bucket:
                return objects, ("gone",)
            answer = _generation(bucket, target) == generation
            if answer:
                copied = bucket[source]
                check_copy(documents, copied)
                bucket[target] = StoredObject(generation + 1, copied.content, copied.mark)
        case _:
            raise AssertionError(request)
    return tuple(sorted(bucket.items())), ("value", answer)


def _generation(bucket: dict[str, StoredObject], path: str) -> int:
    return bucket[path].generation if path in bucket else 0
