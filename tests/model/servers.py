"""How Firestore and Storage answer what a process asks for, but for commits."""

from datetime import timedelta
from typing import Any

import orjson

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
    ReadVersion,
    RemoveObject,
)
from tests.model.invariants import HISTORY, SCHEDULE, STATUS, Objects, Stock, check_copy, check_removal
from tests.model.memory_store import Documents, fields_of, run_document
from tests.model.requests import Remove, Upload
from tests.model.standing import EPOCH, Event

#: Older than anything is kept: what keeps an object is not its age alone.
LONG_AGO = EPOCH - timedelta(days=365)


def read(documents: Documents, request: Any) -> Event | None:
    """Firestore's answer; None where it is not asked to read."""
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
                for key, stored in documents.stored
                if key.startswith(HISTORY) and fields_of(stored).get("state") == "running"
            )
            return "running", running
        case ReadNextCompletion(after):
            ends = [run_document(stored) for key, stored in documents.stored if key.startswith(HISTORY)]
            completed = [run.completed for run in ends if run and run.state == "completed" and run.completed]
            return "value", LONG_AGO if any(moment > after for moment in completed) else None
    return None


def on_storage(documents: Documents, objects: Objects, request: Any) -> tuple[Objects, Event]:
    """What the bucket holds then, and its answer."""
    stocks = dict(objects)
    answer: Any = None
    match request:
        case Upload(path, content, mark):
            stocks[path] = Stock(_generation(stocks, path) + 1, content, mark)
        case Remove(path) | RemoveObject(path):
            check_removal(documents, path)
            stocks.pop(path, None)
        case ListObjects(folder):
            answer = tuple((path, LONG_AGO) for path in stocks if path.startswith(folder))
        case ReadMetadata(path):
            answer = (_generation(stocks, path), stocks[path].mark if path in stocks else None)
        case ReadContent(path):
            answer = orjson.dumps([stocks[path].content]) if path in stocks else None
        case CopyObject(source, target, generation):
            if source not in stocks:
                return objects, ("gone",)
            answer = _generation(stocks, target) == generation
            if answer:
                copied = stocks[source]
                check_copy(documents, copied)
                stocks[target] = Stock(generation + 1, copied.content, copied.mark)
        case _:
            raise AssertionError(request)
    return tuple(sorted(stocks.items())), ("value", answer)


def _generation(stocks: dict[str, Stock], path: str) -> int:
    return stocks[path].generation if path in stocks else 0
