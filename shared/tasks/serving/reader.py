"""How a result is served: from the instance's cache while it is the present one, else read anew.

`reading` says how it is read. "No data" is an answer; an outage is an error, unless a result is
at hand that is not too old. Whatever many ask for at once is asked for once, inside a request
of theirs: an instance gets no time of its own after it has answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from shared import logger
from shared.settings import SettingInvalid, SettingMissing
from shared.tasks.contract import TaskName
from shared.tasks.errors import NoRecords, ResultTooLarge, ResultUnavailable, StoreError, TaskError
from shared.tasks.protocol.effect_handler import Performer
from shared.tasks.protocol.effects import ReadVersion, Steps, Value, perform
from shared.tasks.protocol.result_read import NO_RESULT, open_result, read_details, read_result, read_stored
from shared.tasks.results import gzipped
from shared.tasks.results.payload import Payload
from shared.tasks.results.records import records_of
from shared.tasks.serving.cache import CachedResult
from shared.tasks.serving.single_flight import Flights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.serving.cache import CacheManager

#: Seconds that one check of the version may take.
CHECK_SECONDS = 2.0
#: Seconds that reading a result may take, all calls together: less than the minute that a callable has.
READ_SECONDS = 45.0
#: Seconds beyond its max-age that a result is served although its version can't be checked.
STALE_SECONDS = 300.0
#: Seconds after a check that failed until the next; more, the longer it fails.
ASK_AGAIN_SECONDS = 2.0
ASK_AGAIN_MOST = 30.0

_NONE = Payload(NO_RESULT)


class Wish(Struct, frozen=True):
    """What a reader wants to know.

    Attributes:
        max_age: seconds for which a remembered result is served unasked.
        data: whether the result itself is wanted.
        described: whether more than the data is: version, times, summary.
        unless: the version that the reader has: its data is not wanted again.
        most: bytes that the stored result may have, for a reader that can't take more.
    """

    max_age: float
    data: bool = True
    described: bool = False
    unless: str | None = None
    most: int | None = None

    def is_met_by(self, entry: CachedResult) -> bool:
        """Tell whether an entry has all that is wanted, be it present or not."""
        if self.described and entry.document is None:
            return False
        if not self.data or self.has(entry):
            return True
        if entry.payload is None:
            return entry.too_large is not None and self.most is not None
        # What it can't take is read from where it lies, and only S tells where that is.
        return self.most is None or entry.payload.size <= self.most or entry.document is not None

    def has(self, entry: CachedResult) -> bool:
        """Tell whether the reader has that result already."""
        return self.unless is not None and self.unless == entry.version


class TaskResult(Struct):
    """A task's last good result, as an instance serves it.

    Attributes:
        version: unique among all results of the task.
        completed: when it was published, UTC.
        status: the contract's status of the task now.
        stale: whether it could not be found out that it is still the present one.
        saved_in: "db", "storage", "none"; "contract" or None for one that the original wrote.
        size_bytes: of the result as JSON; None where nobody counted.
        count: records of an array or entries of an object; None where nobody counted.
        summary: what the task said beside its result.
        path: of its object in the bucket; None where it has none of its own.
        payload: the result; None where it was not wanted.
    """

    version: str
    completed: datetime | None
    status: str | None
    stale: bool
    saved_in: str | None
    size_bytes: int | None
    count: int | None
    summary: dict[str, Any] | None
    path: str | None
    payload: Payload | None


class TaskDetails(Struct, frozen=True):
    """The details of a task's last good result.

    Attributes:
        version: Version of the result that they belong to.
        completed: Time when it was published, UTC.
        payload: The details; None where the result has none.
    """

    version: str
    completed: datetime | None
    payload: Payload | None

    @property
    def value(self) -> dict[str, Any]:
        """The details, decoded; empty where the result has none."""
        value: dict[str, Any] = {} if self.payload is None else orjson.loads(self.payload.json)
        return value


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
        self._flights: dict[TaskName, Flights[CachedResult]] = {task: Flights() for task in TaskName}

    def read(self, task: TaskName, *, max_age: float) -> bytes:
        """Return the last good result as JSON, for this process; `[]` where there is none.

        Args:
            task: the task.
            max_age: seconds for which a remembered result is served unasked.

        Raises:
            ResultUnavailable: there may be a result, and it can't be read now.
        """
        entry = self._entry(task, Wish(max_age))
        self._cache.used(task)
        return (entry.payload or _NONE).json

    def result(self, task: TaskName, wish: Wish) -> TaskResult:
        """Return the last good result, or what is known of it.

        Raises:
            ResultUnavailable: there may be a result, and it can't be read now.
            ResultTooLarge: the data is wanted, and has more bytes than the reader takes.
        """
        entry = self._entry(task, wish)
        payload = None
        if wish.data and not wish.has(entry):
            if entry.payload is None and entry.too_large is not None:
                raise ResultTooLarge(entry.too_large)
            payload = _NONE if entry.private or entry.payload is None else entry.payload
            self._cache.used(task)
        return _described(entry, payload)

    def records(self, task: TaskName) -> Iterator[Any]:
        """Return the records of the last good result, read as they come; none where there is no result.

        What this instance remembers is left alone: the result is never held whole.

        Raises:
            NoRecords: the result is no array.
            ResultUnavailable: there may be a result, and it can't be read now, or not to its end.
        """
        found = self._performed(task, open_result(task))
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
        """Return the details of the last good result.

        Raises:
            ResultUnavailable: they can't be read now.
        """
        found = self._performed(task, read_details(task))
        result = found.document.result
        completed = None if result is None else result.completed
        return TaskDetails(found.version, completed or found.document.completed, found.payload)

    def read_stored(self, task: TaskName) -> bytes | None:
        """Return the result that Storage holds, as JSON; None where there is none.

        Raises:
            ResultUnavailable: Firestore or Storage did not answer.
        """
        payload = self._performed(task, read_stored(task))
        return None if payload is None else payload.json

    def _entry(self, task: TaskName, wish: Wish) -> CachedResult:
        came = self._clock.monotonic()
        entry = self._cache.result(task)
        if entry is not None and wish.is_met_by(entry) and self._is_fresh(entry, wish.max_age):
            return entry
        # One asks. Whoever has something to serve meanwhile does, unless that is too old for it.
        at_hand = entry if self._may_serve_meanwhile(entry, wish) else None
        flights = self._flights[task]
        while True:
            flight, leads = flights.join(self._clock.monotonic())
            if leads:
                return flights.lead(flight, lambda: self._look(task, wish))
            if at_hand is not None:
                return at_hand
            aboard = wish.max_age > 0 or flight.began >= came
            try:
                landed = flight.wait()
            except Exception as error:
                if aboard:  # a new error for each reader: one that is raised by many threads is nobody's
                    raise type(error)(*error.args) from error
                continue
            if aboard and landed is not None and wish.is_met_by(landed):
                return landed

    def _is_fresh(self, entry: CachedResult, max_age: float) -> bool:
        """Tell whether an entry may be served unasked: young enough, or asked for in vain just now."""
        now = self._clock.monotonic()
        if entry.failed_at is not None:
            failing = entry.failed_at - (entry.failing_since or entry.failed_at)
            pause = min(max(ASK_AGAIN_SECONDS, failing / 4), ASK_AGAIN_MOST)
            if now - entry.failed_at < pause:
                return now - entry.checked_at < max_age + STALE_SECONDS
        return now - entry.checked_at < max_age

    def _may_serve_meanwhile(self, entry: CachedResult | None, wish: Wish) -> bool:
        """Tell whether an entry may be served while another asks: no older than a check makes it."""
        if entry is None or entry.version is None or wish.max_age <= 0 or not wish.is_met_by(entry):
            return False
        more = CHECK_SECONDS if entry.failed_at is None else STALE_SECONDS
        return self._clock.monotonic() - entry.checked_at < wish.max_age + more

    def _look(self, task: TaskName, wish: Wish) -> CachedResult:
        """Find out what the present result is, and read it if it is wanted and not at hand."""
        seen = self._cache.result(task)
        if seen is not None and wish.is_met_by(seen) and self._is_fresh(seen, wish.max_age):
            return seen  # another found it out between two looks
        began = self._clock.monotonic()
        until, latest = began + READ_SECONDS, seen
        try:
            entry = latest = self._found(task, wish, seen, until)
            if self._clock.monotonic() - entry.checked_at >= wish.max_age + CHECK_SECONDS:
                # A slow download: there may be another result by now.
                entry = self._found(task, wish, latest, until)
        except ResultUnavailable as error:
            entry = self._stale(wish, latest, began, error)
            logger.warning("serving a result that can't be checked", task=task.value, error=error)
        self._cache.replace_result(task, seen, entry)
        return entry

    def _found(self, task: TaskName, wish: Wish, seen: CachedResult | None, until: float) -> CachedResult:
        began = self._clock.monotonic()
        if (seen is None or seen.version is None) and wish.data and wish.unless is None:
            return self._fetched(task, wish, began, until)
        document = self._performed(task, _version(), until)
        version = document.result_version
        if seen is not None and seen.version == version:
            entry = replace(seen, checked_at=began, document=document, failed_at=None, failing_since=None)
        else:
            entry = CachedResult(None, version, began, document)
        return entry if wish.is_met_by(entry) else self._fetched(task, wish, began, until, document)

    def _stale(
        self, wish: Wish, seen: CachedResult | None, began: float, error: ResultUnavailable
    ) -> CachedResult:
        """Return what is at hand although it can't be checked: a result outlives a short outage.

        Raises:
            ResultUnavailable: there is nothing, or it is too old.
        """
        if seen is None or seen.version is None or not wish.is_met_by(seen):
            raise error
        if began - seen.checked_at >= wish.max_age + STALE_SECONDS:
            raise error
        failed = self._clock.monotonic()
        return replace(seen, failed_at=failed, failing_since=seen.failing_since or failed)

    def _fetched(
        self, task: TaskName, wish: Wish, began: float, until: float, document: TaskDocument | None = None
    ) -> CachedResult:
        found = self._performed(task, read_result(task, document, most=wish.most), until)
        return CachedResult(found.payload, found.version, began, found.document, too_large=found.too_large)

    def _performed(self, task: TaskName, steps: Steps[Value], until: float | None = None) -> Value:
        """Perform a procedure, by default for as long as one read may take."""
        until = self._clock.monotonic() + READ_SECONDS if until is None else until
        try:
            return perform(steps, Performer(task, self._clock, self._store, self._objects, until=until))
        except StoreError as error:
            raise ResultUnavailable(f"{task.value}: its result can't be read; try again later") from error
        except (TaskError, SettingMissing, SettingInvalid):
            raise  # a deployment's mistake is no outage: nobody is to try again
        except Exception as error:
            raise ResultUnavailable(
                f"{task.value}: Storage could not be read: {type(error).__name__}; try again later"
            ) from error


def _version() -> Steps[TaskDocument]:
    document: TaskDocument = yield ReadVersion(CHECK_SECONDS)
    return document


def _described(entry: CachedResult, payload: Payload | None) -> TaskResult:
    document = entry.document
    result = None if document is None else document.result
    completed = None if document is None else document.completed
    return TaskResult(
        version=entry.version or "",
        completed=completed if result is None else result.completed or completed,
        status=None if document is None else document.status,
        stale=entry.failed_at is not None,
        saved_in=None if result is None else result.saved_in,
        size_bytes=None if result is None else result.size_bytes,
        count=None if result is None else result.count,
        summary=None if result is None else result.summary,
        path=None if result is None else result.path,
        payload=payload,
    )
