"""How a result is served: from the instance's cache while it is the present one, else read anew.

`reading` says how. "No data" is an answer; an outage is an error, unless a result is at hand
that is not too old.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.cache import CachedResult
from shared.tasks.errors import ResultUnavailable, StoreError, StoreUnavailable, TaskError
from shared.tasks.names import TaskName
from shared.tasks.performer import Performer
from shared.tasks.reading import NO_RESULT, is_present, read_result, read_stored
from shared.tasks.steps import Steps, Value, perform

if TYPE_CHECKING:
    from shared.tasks.cache import CacheManager
    from shared.tasks.clock import Clock
    from shared.tasks.objects import Objects
    from shared.tasks.store import Store

#: Seconds that one check of the version may take.
CHECK_SECONDS = 2.0
#: Seconds that reading a result may take, all calls together: less than the minute that a callable has.
READ_SECONDS = 45.0
#: Seconds that a result is served although its version can't be checked.
STALE_SECONDS = 300.0
#: Seconds after a check that failed until the next.
ASK_AGAIN_SECONDS = 2.0


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
        #: When a read last failed, on the clock's monotonic scale, what it said, and why.
        self._failures: dict[TaskName, tuple[float, str, BaseException | None]] = {}

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
        came = self._clock.monotonic()
        if not self._locks[task].acquire(blocking=servable is None or max_age <= 0):
            return NO_RESULT if servable is None else servable.encoded
        try:
            return self._ask(task, max_age, came)
        finally:
            self._locks[task].release()

    def _ask(self, task: TaskName, max_age: float, came: float) -> bytes:
        """Return what is remembered, if it is the present result, else read that; one reader at a time.

        Whoever waited for a read that failed shares its failure: one after the other would wait
        for the same outage, and the last of them for all.
        """
        entry = self._cache.result(task)
        if entry is not None and self._is_fresh(entry, max_age):
            return entry.encoded
        failed_at, said, cause = self._failures.get(task, (came, "", None))
        if failed_at > came:
            raise ResultUnavailable(said) from cause
        try:
            if entry is not None and self._is_current(task, entry):
                return entry.encoded
            return self._fetch(task, entry)
        except ResultUnavailable as error:
            self._failures[task] = (self._clock.monotonic(), str(error), error.__cause__)
            raise

    def read_stored(self, task: TaskName) -> bytes | None:
        """Return the result that Storage holds, as JSON; None where there is none.

        Raises:
            ResultUnavailable: Firestore or Storage did not answer.
        """
        return self._performed(task, read_stored(task))

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
            current = perform(is_present(entry.version, seconds=CHECK_SECONDS), self._on(task))
        except StoreUnavailable as error:
            if began - entry.checked_at >= STALE_SECONDS:
                raise ResultUnavailable(
                    f"{task.value}: its result can't be checked; try again later"
                ) from error
            logger.warning("serving a result that can't be checked", task=task.value, error=error)
            self._cache.replace_result(task, entry, replace(entry, failed_at=self._clock.monotonic()))
            return True
        if current:
            self._cache.replace_result(task, entry, replace(entry, checked_at=began, failed_at=None))
        return current

    def _fetch(self, task: TaskName, seen: CachedResult | None) -> bytes:
        began = self._clock.monotonic()
        found = self._performed(task, read_result(task))
        self._cache.replace_result(task, seen, CachedResult(found.encoded, found.version, began))
        return found.encoded

    def _performed(self, task: TaskName, steps: Steps[Value]) -> Value:
        try:
            return perform(steps, self._on(task))
        except StoreError as error:
            raise ResultUnavailable(f"{task.value}: its result can't be read; try again later") from error
        except TaskError:
            raise
        except Exception as error:
            raise ResultUnavailable(
                f"{task.value}: Storage could not be read: {type(error).__name__}; try again later"
            ) from error

    def _on(self, task: TaskName) -> Performer:
        until = self._clock.monotonic() + READ_SECONDS
        return Performer(task, self._clock, self._store, self._objects, until=until)
