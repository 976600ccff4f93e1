"""The results that an instance caches: their bytes and versions, within a limit.

Entries hold bytes, so that no reader can change what the next one gets. Results of tasks and other cached
values have separate keys. At the limit, the least recently requested payload is evicted; the version of a
task's result stays.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import orjson
from msgspec.structs import replace

from shared import settings
from shared.tasks.contract import TaskName
from shared.tasks.results.normalisation import kind_of, normalise
from shared.tasks.results.payload import Payload
from shared.tasks.results.task_result import TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tasks.clock import Clock
    from shared.tasks.contract import Json


_TASKS = frozenset(TaskName)


class CacheManager:
    """The contract's `cache_manager`, safe to share between threads.

    A key that is the name of a task has that task's result, which `get_task_data` serves. Any other key is
    the caller's own and never a result of a task.

    Args:
        clock: The time when an entry was set.
        max_bytes: Returns the bytes that all payloads together may take; called at the first use. A larger
            result is served and not cached.
    """

    def __init__(self, clock: Clock, max_bytes: Callable[[], int] = settings.cache_bytes) -> None:
        self._clock = clock
        self._find_max_bytes = max_bytes
        self._max_bytes: int | None = None
        self._lock = threading.Lock()
        #: By key, see `_entry_key`. Making a TaskName of a text would take time.
        self._entries: dict[str, TaskResult] = {}
        #: Bytes of each key's payload, the most recently requested at the end.
        self._held: OrderedDict[str, int] = OrderedDict()
        self._total = 0

    @property
    def held_bytes(self) -> int:
        """Bytes that all payloads take."""
        return self._total

    def set_array_data(self, key: TaskName | str, data: list[Json]) -> None:
        """Cache an array, which replaces the key's previous value.

        Raises:
            TypeError: The data is not a list.
            ResultNotStorable: It contains a value that JSON cannot hold.
        """
        if not isinstance(data, list | tuple):
            raise TypeError(f"set_array_data takes a list, not a {kind_of(data)}")
        self._set(key, data)

    def get_array_data(self, key: TaskName | str) -> list[Json] | None:
        """Return the key's array, decoded for this call; None if it has none."""
        value = self._get(key)
        return value if isinstance(value, list) else None

    def set_object_data(self, key: TaskName | str, data: dict[str, Json]) -> None:
        """Cache an object, which replaces the key's previous value.

        Raises:
            TypeError: The data is not a dict.
            ResultNotStorable: It contains a value that JSON cannot hold.
        """
        if not isinstance(data, dict):
            raise TypeError(f"set_object_data takes a dict, not a {kind_of(data)}")
        self._set(key, data)

    def get_object_data(self, key: TaskName | str) -> dict[str, Json] | None:
        """Return the key's object, decoded for this call; None if it has none."""
        value = self._get(key)
        return value if isinstance(value, dict) else None

    def result(self, task: TaskName) -> TaskResult | None:
        """Return the cached entry of a task."""
        return self._entries.get(task)

    def touch(self, task: TaskName) -> None:
        """Mark a task's payload as the most recently requested."""
        with self._lock:
            if task in self._held:
                self._held.move_to_end(task)

    def set_result(self, task: TaskName, payload: Payload, version: str, *, private: bool = False) -> None:
        """Cache a task's result that this instance has just published."""
        entry = TaskResult(payload, version, checked_at=self._clock.monotonic(), private=private)
        with self._lock:
            self._put(task, entry)

    def replace_result(self, task: TaskName, expected: TaskResult | None, entry: TaskResult) -> None:
        """Replace a task's entry if it is still the expected one.

        Otherwise a run on this instance has published a newer result while the reader fetched.
        """
        with self._lock:
            if self._entries.get(task) is expected:
                self._put(task, entry)

    def forget(self, task: TaskName) -> None:
        """Remove a task's result, so that the next reader asks Firestore."""
        with self._lock:
            self._entries.pop(task, None)
            self._drop(task)

    def _set(self, key: TaskName | str, data: Json) -> None:
        payload = Payload(normalise(data).encoded)
        entry = TaskResult(payload, "", checked_at=self._clock.monotonic())
        with self._lock:
            self._put(_entry_key(key), entry)

    def _get(self, key: TaskName | str) -> Json:
        key = _entry_key(key)
        entry = self._entries.get(key)
        if entry is None or entry.payload is None:
            return None
        self._update_size(key)
        return orjson.loads(entry.payload.json)

    def _update_size(self, key: str) -> None:
        """Record the size of a payload that was requested or has grown."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.payload is not None:  # it may have been evicted since
                self._record_size(key, entry.payload)

    # The methods below are called with the lock held.

    def _put(self, key: str, entry: TaskResult) -> None:
        self._entries[key] = entry
        if entry.payload is None:
            self._drop(key)
        else:
            entry.payload.on_growth = partial(self._update_size, key)
            self._record_size(key, entry.payload)

    def _record_size(self, key: str, payload: Payload) -> None:
        """Record the size of the payload that was requested last, and evict others beyond the limit."""
        if self._max_bytes is None:
            self._max_bytes = self._find_max_bytes()
        self._drop(key)
        size = payload.held_bytes
        self._held[key] = size
        self._total += size
        if size > self._max_bytes:  # evicting the others would not make enough room
            self._evict(key)
        while self._total > self._max_bytes:
            self._evict(next(iter(self._held)))

    def _evict(self, key: str) -> None:
        self._drop(key)
        entry = self._entries[key]
        if not entry.version or entry.private:  # it cannot be read again
            del self._entries[key]
        else:
            self._entries[key] = replace(entry, payload=None)

    def _drop(self, key: str) -> None:
        self._total -= self._held.pop(key, 0)


def _entry_key(key: TaskName | str) -> str:
    """Return a task's name as it is, and any other key with a prefix, so that it equals no task's name."""
    return key if key in _TASKS else f"other:{key}"
