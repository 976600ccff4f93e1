"""What a warm instance remembers: results as JSON, with the version they are.

Entries hold bytes, so that nobody who was handed a result can change what the next one gets.
Results of tasks and other cached things have key spaces of their own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from shared.tasks.names import TaskName
from shared.tasks.results import kind_of, normalise

if TYPE_CHECKING:
    from shared.tasks.clock import Clock


_TASKS = frozenset(TaskName)


@dataclass(frozen=True, slots=True)
class CachedResult:
    """A result as it is remembered.

    Attributes:
        encoded: the result as JSON, UTF-8.
        version: which result of the task it is; None where only this process knows it.
        checked_at: when the check began that found this version the present one, on the
            clock's monotonic scale.
        failed_at: when a check last failed since, on the same scale.
    """

    encoded: bytes
    version: str | None
    checked_at: float
    failed_at: float | None = None


class CacheManager:
    """The contract's `cache_manager`, safe to share between threads.

    A key that names a task is that task's result, the one that `get_task_data` serves. Any
    other key is a thing of the caller's own, and no task's result ever.

    Args:
        clock: says when an entry was set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._results: dict[TaskName, CachedResult] = {}
        self._others: dict[str, bytes] = {}

    def set_array_data(self, key: TaskName | str, data: list[Any]) -> None:
        """Remember an array; it replaces whatever the key held.

        Raises:
            TypeError: the data is no list.
            ResultNotStorable: it holds what JSON can't.
        """
        if not isinstance(data, list | tuple):
            raise TypeError(f"set_array_data takes a list, not a {kind_of(data)}")
        self._set(key, data)

    def get_array_data(self, key: TaskName | str) -> list[Any] | None:
        """Return the array the key holds, the caller's own copy; None where it holds none."""
        value = self._get(key)
        return value if isinstance(value, list) else None

    def set_object_data(self, key: TaskName | str, data: dict[str, Any]) -> None:
        """Remember an object; it replaces whatever the key held.

        Raises:
            TypeError: the data is no dict.
            ResultNotStorable: it holds what JSON can't.
        """
        if not isinstance(data, dict):
            raise TypeError(f"set_object_data takes a dict, not a {kind_of(data)}")
        self._set(key, data)

    def get_object_data(self, key: TaskName | str) -> dict[str, Any] | None:
        """Return the object the key holds, the caller's own copy; None where it holds none."""
        value = self._get(key)
        return value if isinstance(value, dict) else None

    def result(self, task: TaskName) -> CachedResult | None:
        """Return what is remembered of a task's result."""
        return self._results.get(task)

    def set_result(self, task: TaskName, encoded: bytes, version: str | None) -> None:
        """Remember a task's result, which has just become the present one."""
        entry = CachedResult(encoded, version, self._clock.monotonic())
        with self._lock:
            self._results[task] = entry

    def replace_result(self, task: TaskName, seen: CachedResult | None, entry: CachedResult) -> None:
        """Put an entry in the place of the one that was seen, unless that has changed meanwhile.

        A reader was busy for a while: what a run on this instance published since is newer.
        """
        with self._lock:
            if self._results.get(task) is seen:
                self._results[task] = entry

    def forget(self, task: TaskName) -> None:
        """Drop a task's result: the next reader asks Firestore."""
        with self._lock:
            self._results.pop(task, None)

    def _set(self, key: TaskName | str, data: Any) -> None:
        encoded = normalise(data).encoded
        if key in _TASKS:
            self.set_result(TaskName(key), encoded, None)
        else:
            with self._lock:
                self._others[key] = encoded

    def _get(self, key: TaskName | str) -> Any:
        if key in _TASKS:
            entry = self._results.get(TaskName(key))
            encoded = None if entry is None else entry.encoded
        else:
            encoded = self._others.get(key)
        return None if encoded is None else orjson.loads(encoded)
