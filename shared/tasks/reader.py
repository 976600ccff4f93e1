"""How a result is read: from the instance's cache while it is the present one, else from its source.

A result and its version come from one read of S, so they can't disagree. "No data" is an
answer; an outage is an error, unless a result is at hand that is not too old.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from shared import logger
from shared.tasks.cache import CachedResult
from shared.tasks.document import SAVED_BY_CONTRACT, TaskDocument
from shared.tasks.errors import ResultUnavailable, StoreUnavailable
from shared.tasks.names import TaskName, contract_object
from shared.tasks.results import normalise

if TYPE_CHECKING:
    from shared.tasks.cache import CacheManager
    from shared.tasks.clock import Clock
    from shared.tasks.objects import Objects
    from shared.tasks.store import Store

#: Seconds that one check of the version may take.
CHECK_SECONDS = 2.0
#: Seconds that a result is served although its version can't be checked.
STALE_SECONDS = 300.0
#: Seconds after a check that failed until the next.
ASK_AGAIN_SECONDS = 2.0
#: Reads of S before an object that is not there is an error: it was replaced between two reads.
FETCH_TRIES = 4

NO_RESULT = b"[]"


class ResultReader:
    """Reads results of tasks. Safe to share between threads.

    Args:
        store: the status documents.
        objects: the bucket.
        cache: what this instance remembers.
        clock: the time.
    """

    def __init__(self, store: Store, objects: Objects, cache: CacheManager, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._cache = cache
        self._clock = clock
        self._locks = {task: threading.Lock() for task in TaskName}

    def read(self, task: TaskName, *, max_age: float) -> bytes:
        """Return the last good result as JSON; `[]` where there is none.

        Args:
            task: the task.
            max_age: seconds for which a remembered result is served unasked.

        Raises:
            ResultUnavailable: there may be a result, and it can't be read now.
        """
        entry = self._cache.result(task)
        if entry is not None and self._is_fresh(entry, max_age):
            return entry.encoded
        # One asks. Whoever has something to serve meanwhile does, unless it wants no age at all.
        servable = (
            entry if entry is not None and entry.version and self._is_fresh(entry, STALE_SECONDS) else None
        )
        if not self._locks[task].acquire(blocking=servable is None or max_age <= 0):
            return NO_RESULT if servable is None else servable.encoded
        try:
            entry = self._cache.result(task)
            if entry is not None and (self._is_fresh(entry, max_age) or self._is_current(task, entry)):
                return entry.encoded
            return self._fetch(task, entry)
        finally:
            self._locks[task].release()

    def read_stored(self, task: TaskName) -> bytes | None:
        """Return the result that Storage holds, as JSON; None where there is none.

        Raises:
            ResultUnavailable: Firestore or Storage did not answer.
        """
        for _ in range(FETCH_TRIES):
            result = self._document(task).result
            if result is None or result.saved_in != "storage" or result.path is None:
                return self._at_contract_path(task)
            found = self._objects.read(result.path)
            if found is not None:
                return found
        raise ResultUnavailable(
            f"the stored result of {task.value} was replaced at each of {FETCH_TRIES} reads"
        )

    def _is_fresh(self, entry: CachedResult, max_age: float) -> bool:
        """Tell whether an entry may be served unasked: young enough, or asked for in vain just now."""
        now = self._clock.monotonic()
        if entry.failed_at is not None and now - entry.failed_at < ASK_AGAIN_SECONDS:
            return now - entry.checked_at < STALE_SECONDS
        return now - entry.checked_at < max_age

    def _is_current(self, task: TaskName, entry: CachedResult) -> bool:
        """Ask for the version alone; a remembered result outlives a short outage."""
        if entry.version is None:
            return False
        began = self._clock.monotonic()
        try:
            document = self._store.read_version(task, seconds=CHECK_SECONDS)
        except StoreUnavailable as error:
            if began - entry.checked_at >= STALE_SECONDS:
                raise ResultUnavailable(
                    f"{task.value}: its result can't be checked; try again later"
                ) from error
            logger.warning("serving a result that can't be checked", task=task.value, error=error)
            self._cache.replace_result(task, entry, replace(entry, failed_at=self._clock.monotonic()))
            return True
        if document.result_version != entry.version:
            return False
        self._cache.replace_result(task, entry, replace(entry, checked_at=began, failed_at=None))
        return True

    def _fetch(self, task: TaskName, seen: CachedResult | None) -> bytes:
        for _ in range(FETCH_TRIES):
            began = self._clock.monotonic()
            document, data = self._whole(task)
            encoded = self._value(task, document, data)
            if encoded is not None:
                entry = CachedResult(encoded, document.result_version, began)
                self._cache.replace_result(task, seen, entry)
                return encoded
        raise ResultUnavailable(
            f"{task.value}: its stored result is missing or was replaced at each of {FETCH_TRIES} reads"
        )

    def _value(self, task: TaskName, document: TaskDocument, data: Any) -> bytes | None:
        """Return the result that S holds or points to; None where S must be read again."""
        result = document.result
        if result is None or result.saved_in == SAVED_BY_CONTRACT:
            return self._contract_value(task, data)
        if result.saved_in == "storage" and result.path is not None:
            return self._objects.read(result.path)
        return orjson.dumps(data) if result.saved_in == "db" else NO_RESULT

    def _contract_value(self, task: TaskName, data: Any) -> bytes | None:
        """Read `data` as the contract says ("`get_task_data`", Firestore and Storage fallback)."""
        if isinstance(data, str) and data.startswith("http"):
            encoded = self._at_contract_path(task)
            if encoded is None:
                return NO_RESULT
            # An object with a version is this engine's mirror, not what the original means.
            return encoded if self._objects.version(contract_object(task)) is None else None
        if isinstance(data, list | dict):
            return normalise(data).encoded  # the original's may hold times
        return NO_RESULT

    def _at_contract_path(self, task: TaskName) -> bytes | None:
        """Read what anybody may have stored there; what this engine stores elsewhere needs no look."""
        encoded = self._objects.read(contract_object(task))
        if encoded is not None:
            try:
                orjson.loads(encoded)
            except orjson.JSONDecodeError as error:
                raise ResultUnavailable(f"{task.value}: its stored result is no JSON") from error
        return encoded

    def _document(self, task: TaskName) -> TaskDocument:
        try:
            return self._store.read_version(task)
        except StoreUnavailable as error:
            raise ResultUnavailable(f"{task.value}: its status can't be read; try again later") from error

    def _whole(self, task: TaskName) -> tuple[TaskDocument, Any]:
        try:
            return self._store.read_result(task)
        except StoreUnavailable as error:
            raise ResultUnavailable(f"{task.value}: its result can't be read; try again later") from error
