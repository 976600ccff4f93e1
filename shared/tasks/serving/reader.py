"""Serves results from the instance's cache while they are current, and reads them otherwise.

"No data" is a response; an outage is an error, unless the cache holds a result that is not too old.
Concurrent requests share one read, which one of them makes: Cloud Run throttles an instance's CPU
once its responses are sent.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, cast

import orjson
from msgspec import Struct
from msgspec.structs import replace

from shared import logger
from shared.settings import SettingInvalid, SettingMissing
from shared.tasks.contract import TaskName
from shared.tasks.errors import NoRecords, ResultTooLarge, ResultUnavailable, StoreError, TaskError
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import Procedure, ReadVersion, Value, ask, run_procedure
from shared.tasks.protocol.result_read import NO_RESULT, open_result, read_details, read_result, read_stored
from shared.tasks.results import gzipped
from shared.tasks.results.payload import Payload
from shared.tasks.results.records import records_of
from shared.tasks.results.task_result import TaskResult
from shared.tasks.serving.read_counts import ReadCounts
from shared.tasks.serving.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.contract import Json
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.serving.cache import CacheManager

#: Seconds that one check of the version may take at most.
CHECK_SECONDS = 2.0
#: Seconds that reading a result may take, all calls together: less than the minute of a callable.
READ_SECONDS = 45.0
#: Seconds beyond its max-age that a result is served although its version cannot be checked.
STALE_SECONDS = 300.0
#: Seconds from a failed check to the next one: at first, and after a long outage.
RETRY_SECONDS = 2.0
MAX_RETRY_SECONDS = 30.0

_NONE = Payload(NO_RESULT)


class ReadOptions(Struct, frozen=True):
    """What a reader asks for.

    Attributes:
        max_age: Seconds for which a cached result is served without checking its version.
        include_data: Whether the result itself is needed.
        include_metadata: Whether version, times and summary are needed besides the data.
        if_version: The version that the reader already has; its data is not sent again.
        max_bytes: Largest stored object that the reader accepts, in bytes; None for no limit.
    """

    max_age: float
    include_data: bool = True
    include_metadata: bool = False
    if_version: str | None = None
    max_bytes: int | None = None

    def are_met_by(self, entry: TaskResult) -> bool:
        """Return whether an entry has everything that is asked for, whether or not it is fresh."""
        if self.include_metadata and entry.document is None:
            return False
        if not self.include_data or self.has_version_of(entry):
            return True
        if entry.payload is None:
            return entry.too_large is not None and self.max_bytes is not None
        # A result that is too large is handed over by its path, which only the status document has.
        fits = self.max_bytes is None or entry.payload.size <= self.max_bytes
        return fits or entry.document is not None

    def has_version_of(self, entry: TaskResult) -> bool:
        """Return whether the reader already has the entry's result."""
        return self.if_version is not None and self.if_version == entry.version


class TaskDetails(Struct, frozen=True):
    """The details of a task's last good result.

    Attributes:
        version: Version of the result that they belong to.
        completed: Time when it was published, UTC.
        payload: The details; None if the result has none.
    """

    version: str
    completed: datetime | None
    payload: Payload | None

    @property
    def value(self) -> dict[str, Json]:
        """The details, decoded; empty if the result has none."""
        return {} if self.payload is None else cast("dict[str, Json]", orjson.loads(self.payload.json))


class ResultReader:
    """Serves the results of tasks. Safe to share between threads.

    Args:
        store: Reads status documents.
        objects: Reads result objects.
        cache: Results that this instance holds.
        clock: The monotonic time of checks.
    """

    def __init__(self, store: Store, objects: Objects, cache: CacheManager, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._cache = cache
        self._clock = clock
        self._counts = ReadCounts(clock)
        self._calls: dict[TaskName, SingleFlight[TaskResult]] = {task: SingleFlight() for task in TaskName}

    def read(self, task: TaskName, *, max_age: float) -> bytes:
        """Return the last good result as JSON; `[]` if there is none.

        Args:
            task: The task.
            max_age: Seconds for which a cached result is served without checking its version.

        Raises:
            ResultUnavailable: There may be a result, but it cannot be read now.
        """
        entry = self._entry(task, ReadOptions(max_age))
        self._cache.touch(task)
        return (entry.payload or _NONE).json

    def result(self, task: TaskName, options: ReadOptions) -> TaskResult:
        """Return the last good result, with what the options ask for.

        Args:
            task: The task.
            options: What the reader asks for.

        Raises:
            ResultUnavailable: There may be a result, but it cannot be read now.
            ResultTooLarge: The requested data is larger than the reader accepts.
        """
        entry = self._entry(task, options)
        if not options.include_data or options.has_version_of(entry):
            return replace(entry, payload=None)
        if entry.payload is None and entry.too_large is not None:
            raise ResultTooLarge(entry.too_large)
        self._cache.touch(task)
        return replace(entry, payload=_NONE) if entry.private else entry

    def records(self, task: TaskName) -> Iterator[Json]:
        """Yield the records of the last good result as they arrive; none if there is no result.

        The result is never held whole, and the cache is neither read nor changed.

        Raises:
            NoRecords: The result is not an array.
            ResultUnavailable: There may be a result, but it cannot be read now, or not to its end.
        """
        found = self._run(task, open_result(task))
        stored = iter((found.plain,)) if found.download is None else iter(found.download)
        try:
            yield from records_of(gzipped.plain_pieces(stored), ours=found.ours)
        except NoRecords as error:
            raise NoRecords(f"{task.value}: {error}") from None
        except Exception as error:
            raise ResultUnavailable(
                f"{task.value}: its result could not be read to its end: {type(error).__name__}: {error}"
            ) from error
        finally:
            if found.download is not None:
                found.download.close()

    def details(self, task: TaskName) -> TaskDetails:
        """Return the details of the last good result; raises ResultUnavailable if they cannot be read."""
        found = self._run(task, read_details(task))
        return TaskDetails(found.version, found.completed, found.payload)

    def read_stored(self, task: TaskName) -> bytes | None:
        """Return the stored result as JSON, None if there is none; raises ResultUnavailable in an outage."""
        payload = self._run(task, read_stored(task))
        return None if payload is None else payload.json

    def _entry(self, task: TaskName, options: ReadOptions) -> TaskResult:
        requested_at = self._clock.monotonic()
        entry = self._cache.result(task)
        if entry is not None and options.are_met_by(entry) and self._may_serve(entry, options.max_age):
            self._counts.hits += 1
            return entry
        cached = entry if self._may_serve_meanwhile(entry, options) else None
        calls = self._calls[task]
        while True:
            call, is_leader = calls.join(self._clock.monotonic())
            if is_leader:
                self._counts.add_miss()
                return calls.run(call, lambda: self._refresh(task, options))
            if cached is not None:
                self._counts.hits += 1
                return cached  # serve the cached result while the leader refreshes it
            # With max_age 0 a reader may only use a check that started after its own request.
            may_share = options.max_age > 0 or call.started_at >= requested_at
            try:
                shared = call.wait()
            except Exception as error:
                if may_share:  # several threads must not raise one exception object
                    raise copy(error) from error
                continue
            if may_share and shared is not None and options.are_met_by(shared):
                self._counts.add_miss()
                return shared

    def _may_serve(self, entry: TaskResult, max_age: float) -> bool:
        """Return whether to serve an entry without a check: it is fresh, or a check failed just now."""
        now = self._clock.monotonic()
        if entry.failed_at is not None:
            failing = entry.failed_at - (entry.failing_since or entry.failed_at)
            pause = min(max(RETRY_SECONDS, failing / 4), MAX_RETRY_SECONDS)
            if now - entry.failed_at < pause:
                return now - entry.checked_at < max_age + STALE_SECONDS
        return now - entry.checked_at < max_age

    def _may_serve_meanwhile(self, entry: TaskResult | None, options: ReadOptions) -> bool:
        """Return whether an entry may be served while another request checks it."""
        if entry is None or not entry.version or options.max_age <= 0 or not options.are_met_by(entry):
            return False
        tolerated = CHECK_SECONDS if entry.failed_at is None else STALE_SECONDS
        return self._clock.monotonic() - entry.checked_at < options.max_age + tolerated

    def _refresh(self, task: TaskName, options: ReadOptions) -> TaskResult:
        """Check the version, and read the result if it is needed and not cached."""
        cached = self._cache.result(task)
        if cached is not None and options.are_met_by(cached) and self._may_serve(cached, options.max_age):
            return cached  # another request refreshed it before this one became the leader
        started_at = self._clock.monotonic()
        deadline, latest = started_at + READ_SECONDS, cached
        try:
            entry = latest = self._check(task, options, cached, deadline)
            if self._clock.monotonic() - entry.checked_at >= options.max_age + CHECK_SECONDS:
                # The download was slow enough for a newer result to exist.
                entry = self._check(task, options, latest, deadline)
        except ResultUnavailable as error:
            entry = self._serve_stale(options, latest, started_at, error)
            age = round(started_at - entry.checked_at, 1)
            logger.warning("serving stale result", task=task.value, age_seconds=age, error=error)
        self._cache.replace_result(task, cached, entry)
        self._counts.log_if_due()
        return entry

    def _check(
        self, task: TaskName, options: ReadOptions, cached: TaskResult | None, deadline: float
    ) -> TaskResult:
        """Check the version now, and read the result if the entry lacks what is asked for."""
        started_at = self._clock.monotonic()
        if (cached is None or not cached.version) and options.include_data and options.if_version is None:
            return self._fetch(task, options, started_at, deadline)
        document = self._run(task, ask(ReadVersion(CHECK_SECONDS)), deadline)
        version = document.result_version
        if cached is not None and cached.version == version:
            entry = replace(
                cached, checked_at=started_at, document=document, failed_at=None, failing_since=None
            )
        else:
            entry = TaskResult(None, version, document, started_at)
        if options.are_met_by(entry):
            return entry
        return self._fetch(task, options, started_at, deadline, document)

    def _serve_stale(
        self, options: ReadOptions, cached: TaskResult | None, started_at: float, error: ResultUnavailable
    ) -> TaskResult:
        """Return the cached result although its version could not be checked: it outlives a short outage.

        Raises:
            ResultUnavailable: Nothing is cached, or it is too old.
        """
        if cached is None or not cached.version or not options.are_met_by(cached):
            raise error
        if started_at - cached.checked_at >= options.max_age + STALE_SECONDS:
            raise error
        failed = self._clock.monotonic()
        return replace(cached, failed_at=failed, failing_since=cached.failing_since or failed)

    def _fetch(
        self,
        task: TaskName,
        options: ReadOptions,
        started_at: float,
        deadline: float,
        document: TaskDocument | None = None,
    ) -> TaskResult:
        found = self._run(task, read_result(task, document, max_bytes=options.max_bytes), deadline)
        self._counts.add_fetch(0 if found.payload is None else found.payload.size)
        return replace(found, checked_at=started_at)

    def _run(self, task: TaskName, steps: Procedure[Value], deadline: float | None = None) -> Value:
        """Carry out a procedure; the default deadline allows for one read."""
        deadline = self._clock.monotonic() + READ_SECONDS if deadline is None else deadline
        handler = EffectHandler(task, self._clock, self._store, self._objects, deadline=deadline)
        try:
            return run_procedure(steps, handler)
        except StoreError as error:
            raise ResultUnavailable(
                f"{task.value}: its result cannot be read now; try again later"
            ) from error
        except (TaskError, SettingMissing, SettingInvalid):
            raise  # a mistake of the deployment is not an outage, and a retry would not help
        except Exception as error:
            raise ResultUnavailable(
                f"{task.value}: Storage could not be read: {type(error).__name__}; try again later"
            ) from error
