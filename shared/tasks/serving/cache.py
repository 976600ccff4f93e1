"""What a warm instance remembers: results' bytes, with the version they are, within a bound.

Entries hold bytes, so that nobody who was handed a result can change what the next one gets.
Results of tasks and other cached things have key spaces of their own. Where the bound is met,
what was not asked for longest goes first; that a task's version was seen is never forgotten.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

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


_TASKS = frozenset(TaskName)


class CacheManager:
    """The contract's `cache_manager`, safe to share between threads.

    A key that names a task is that task's result, the one that `get_task_data` serves. Any
    other key is a thing of the caller's own, and no task's result ever.

    Args:
        clock: says when an entry was set.
        bound: bytes that all results together may take; asked at the first use. A single result
            of more is served and does not stay.
    """

    def __init__(self, clock: Clock, bound: Callable[[], int] = settings.cache_bytes) -> None:
        self._clock = clock
        self._find_bound = bound
        self._bound: int | None = None
        self._lock = threading.Lock()
        #: By a task's name as text, which a `TaskName` is: to make one of a text takes its time.
        self._results: dict[str, TaskResult] = {}
        self._others: dict[str, Payload] = {}
        #: Bytes that each key's payload takes, the one asked for last at the end.
        self._held: OrderedDict[tuple[bool, str], int] = OrderedDict()
        self._total = 0

    @property
    def held(self) -> int:
        """Bytes that all results take."""
        return self._total

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

    def result(self, task: TaskName) -> TaskResult | None:
        """Return what is remembered of a task's result."""
        return self._results.get(task)

    def used(self, task: TaskName) -> None:
        """Say that a task's result was served: it stays longest."""
        key = (True, task)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)

    def set_result(self, task: TaskName, payload: Payload, version: str, *, private: bool = False) -> None:
        """Remember a task's result, which has just become the present one."""
        entry = TaskResult(payload, version, checked_at=self._clock.monotonic(), private=private)
        with self._lock:
            self._put(task, entry)

    def replace_result(self, task: TaskName, seen: TaskResult | None, entry: TaskResult) -> None:
        """Put an entry in the place of the one that was seen, unless that has changed meanwhile.

        A reader was busy for a while: what a run on this instance published since is newer.
        """
        with self._lock:
            if self._results.get(task) is seen:
                self._put(task, entry)

    def forget(self, task: TaskName) -> None:
        """Drop a task's result: the next reader asks Firestore."""
        with self._lock:
            self._results.pop(task, None)
            self._drop((True, task))

    def _set(self, key: TaskName | str, data: Any) -> None:
        payload = Payload(normalise(data).encoded)
        if key in _TASKS:
            self.set_result(TaskName(key), payload, "")
            return
        with self._lock:
            self._others[key] = payload
            self._hold((False, key), payload)

    def _get(self, key: TaskName | str) -> Any:
        held = (key in _TASKS, str(key))
        payload = self._payload(held)
        if payload is None:
            return None
        self._weigh_again(held)
        return orjson.loads(payload.json)

    def _weigh_again(self, key: tuple[bool, str]) -> None:
        """Note that a payload was asked for, or takes more than before."""
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

    # All below: with the lock held.

    def _put(self, task: TaskName, entry: TaskResult) -> None:
        self._results[task] = entry
        if entry.payload is None:
            self._drop((True, task))
        else:
            self._hold((True, task), entry.payload)

    def _hold(self, key: tuple[bool, str], payload: Payload) -> None:
        payload.grew = partial(self._weigh_again, key)
        self._weigh(key, payload)

    def _weigh(self, key: tuple[bool, str], payload: Payload) -> None:
        """Note what a payload takes now, as the one asked for last, and make room."""
        if self._bound is None:
            self._bound = self._find_bound()
        self._drop(key)
        weight = payload.held
        self._held[key] = weight
        self._total += weight
        if weight > self._bound:  # whatever made room for it would have gone in vain
            self._evict(key)
        while self._total > self._bound:
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
