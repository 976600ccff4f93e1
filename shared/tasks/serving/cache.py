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
        #: Keys are text, which a `TaskName` is, too. Making a TaskName of a text would take time.
        self._results: dict[str, TaskResult] = {}
        self._others: dict[str, Payload] = {}
        #: Bytes of each key's payload, the most recently requested at the end.
        self._held: OrderedDict[tuple[bool, str], int] = OrderedDict()
        self._total = 0

    @property
    def held(self) -> int:
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
        return self._results.get(task)

    def touch(self, task: TaskName) -> None:
        """Mark a task's payload as the most recently requested."""
        key = (True, task)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)

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
            if self._results.get(task) is expected:
                self._put(task, entry)

    def forget(self, task: TaskName) -> None:
        """Remove a task's result, so that the next reader asks Firestore."""
        with self._lock:
            self._results.pop(task, None)
            self._drop((True, task))

    def _set(self, key: TaskName | str, data: Json) -> None:
        payload = Payload(normalise(data).encoded)
        if key in _TASKS:
            self.set_result(TaskName(key), payload, "")
            return
        with self._lock:
            self._others[key] = payload
            self._hold((False, key), payload)

    def _get(self, key: TaskName | str) -> Json:
        held = (key in _TASKS, str(key))
        payload = self._payload(held)
        if payload is None:
            return None
        self._weigh_again(held)
        return orjson.loads(payload.json)

    def _weigh_again(self, key: tuple[bool, str]) -> None:
        """Record that a payload was requested or takes more memory than before."""
        with self._lock:
            payload = self._payload(key)
            if payload is not None:  # it may have been replaced or evicted since
                self._weigh(key, payload)

    def _payload(self, key: tuple[bool, str]) -> Payload | None:
        is_task, name = key
        if not is_task:
            return self._others.get(name)
        entry = self._results.get(name)
        return None if entry is None else entry.payload

    # The methods below are called with the lock held.

    def _put(self, task: TaskName, entry: TaskResult) -> None:
        self._results[task] = entry
        if entry.payload is None:
            self._drop((True, task))
        else:
            self._hold((True, task), entry.payload)

    def _hold(self, key: tuple[bool, str], payload: Payload) -> None:
        payload.on_growth = partial(self._weigh_again, key)
        self._weigh(key, payload)

    def _weigh(self, key: tuple[bool, str], payload: Payload) -> None:
        """Record a payload's present size as the most recently requested, and evict others."""
        if self._max_bytes is None:
            self._max_bytes = self._find_max_bytes()
        self._drop(key)
        size = payload.held
        self._held[key] = size
        self._total += size
        if size > self._max_bytes:  # evicting the others would not make enough room
            self._evict(key)
        while self._total > self._max_bytes:
            self._evict(next(iter(self._held)))

    def _evict(self, key: tuple[bool, str]) -> None:
        is_task, name = key
        self._drop(key)
        if is_task:
            entry = self._results[name]
            if not entry.version or entry.private:  # it cannot be read again
                del self._results[name]
            else:
                self._results[name] = replace(entry, payload=None)
        else:
            del self._others[name]

    def _drop(self, key: tuple[bool, str]) -> None:
        self._total -= self._held.pop(key, 0)
