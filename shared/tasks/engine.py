"""Wires the engine of a process together, and serves the results of tasks.

An instance that only serves results runs no task. What only runs, operators and the watchdog need is
therefore loaded at their first call.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from shared import firebase
from shared.tasks.admin.operations import Operations
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.leg_queue import LegQueue
from shared.tasks.backends.scheduler import Jobs
from shared.tasks.backends.storage import Objects
from shared.tasks.clock import Clock
from shared.tasks.contract import Json, TaskName, contract_object, parse_task_name
from shared.tasks.errors import ResultNotKept, ResultNotStorable, ResultUnavailable
from shared.tasks.results.normalisation import kind_of, normalise
from shared.tasks.runtime.runner import TaskRunner
from shared.tasks.services import Services
from shared.tasks.serving.cache import CacheManager
from shared.tasks.serving.reader import ReadOptions, ResultReader, TaskDetails
from shared.tasks.specs import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.tasks.results.task_result import TaskResult


class TaskEngine:
    """Runs tasks, serves their results, and lets operators change what they do.

    Safe to share between threads. Runs are documented in `TaskRunner`, changes in `Operations`.

    Args:
        store: Status documents and run history; the project's Firestore by default.
        objects: Result objects; the project's bucket by default.
        clock: The machine's clock by default.
        new_token: Makes the fencing token of an attempt.
        jobs: Scheduler jobs; the project's Cloud Scheduler by default.
        queue: Delivers the legs of long runs; the project's Cloud Tasks by default.

    Attributes:
        cache: The results that this instance holds (docs/contract.md, "cache_manager").
        store: Status documents and run history.
    """

    def __init__(
        self,
        store: Store | None = None,
        objects: Objects | None = None,
        clock: Clock | None = None,
        new_token: Callable[[], str] = lambda: secrets.token_hex(8),
        jobs: Jobs | None = None,
        queue: LegQueue | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self.cache = CacheManager(self._clock)
        self.store = store or Store(firebase.firestore_wire)
        self._objects = objects or Objects(firebase.bucket)
        self._reader = ResultReader(self.store, self._objects, self.cache, self._clock)

        services = Services(
            self.store,
            self._objects,
            jobs or Jobs(firebase.scheduler_wire),
            queue or LegQueue(firebase.tasks_wire),
            self.cache,
            self._clock,
            new_token,
        )
        self._runner = TaskRunner(services)
        self.execute_task = self._runner.execute_task
        self.report_hung_tasks = self._runner.report_hung_tasks
        self.shut_down = self._runner.shut_down
        self._operations = Operations(services)
        self.suspend_task = self._operations.suspend_task
        self.resume_task = self._operations.resume_task
        self.cancel_run = self._operations.cancel_run
        self.request_run = self._operations.request_run
        self.watch_task = self._operations.watch_task
        self.watch_tasks = self._operations.watch_tasks

    def get_task_data(self, task_name: TaskName | str) -> Json:
        """Return a task's last good result (docs/contract.md, "get_task_data").

        A cached result is served while it is current, which is checked at most once in the task's
        `max_age_seconds`. Otherwise the result comes from Firestore or Storage. If they cannot be reached,
        the cached result is served until five minutes after its `max_age_seconds`.

        Args:
            task_name: The task.

        Returns:
            The result, decoded for this call, so that the caller may change it; `[]` if there is none.
            `get_task_result` is cheaper for callers that need no decoded values.

        Raises:
            UnknownTask: No task has this name.
            ResultUnavailable: There may be a result, but it cannot be read now.
        """
        name = parse_task_name(task_name)
        return _decoded(name, self._reader.read(name, max_age=spec_of(name).max_age_seconds))

    def iter_task_data(self, task_name: TaskName | str) -> Iterator[Json]:
        """Yield the records of a task's last good result from Storage, in bounded memory.

        The iteration yields the result that is current when the first record is requested, to its end, even
        if another one is published meanwhile. So a task can merge its own last result into its next one. The
        cache is neither used nor changed. If there is no result, nothing is yielded.

        Args:
            task_name: The task.

        Raises:
            UnknownTask: No task has this name.
            NoRecords: The result is not an array; `get_task_data` reads it.
            ResultUnavailable: There may be a result, but it cannot be read now, or not to its end.
        """
        return self._reader.records(parse_task_name(task_name))

    def get_task_result(
        self,
        task_name: TaskName | str,
        *,
        include_data: bool = True,
        include_metadata: bool = True,
        if_version: str | None = None,
        max_bytes: int | None = None,
    ) -> TaskResult:
        """Return a task's last good result as bytes, with its metadata.

        Nothing is decoded or copied: all readers share the payload's bytes.

        Args:
            task_name: The task.
            include_data: Whether the result itself is needed; if not, it is not fetched.
            include_metadata: Whether version, times and summary are needed besides the data.
            if_version: The version that the caller already has; its data is not returned again.
            max_bytes: Largest stored object that the caller accepts, in bytes; None for no limit.

        Raises:
            UnknownTask: No task has this name.
            ResultUnavailable: There may be a result, but it cannot be read now.
            ResultTooLarge: The object has more than `max_bytes`; the error contains its path.
        """
        name = parse_task_name(task_name)
        options = ReadOptions(
            spec_of(name).max_age_seconds, include_data, include_metadata, if_version, max_bytes
        )
        return self._reader.result(name, options)

    def get_task_details(self, task_name: TaskName | str) -> TaskDetails:
        """Return the details that the task passed to `run.summarise(…, details=…)` for its last good result.

        They are published in one commit with the result and belong to its version. Each call reads them
        from Storage; they are not cached.

        Args:
            task_name: The task.

        Returns:
            The details and the version of their result; no payload if the result has none.

        Raises:
            UnknownTask: No task has this name.
            ResultUnavailable: There may be details, but they cannot be read now.
        """
        return self._reader.details(parse_task_name(task_name))

    def sign_result_url(self, path: str, *, expires_in_seconds: float) -> str:
        """Sign a URL that reads a result object without credentials. It is never stored.

        Args:
            path: The object's path, from `ResultTooLarge`.
            expires_in_seconds: Seconds until the URL expires, at most seven days. A URL signed by IAM, as on
                Cloud Run, is guaranteed for 12 hours only, because Google rotates the keys.

        Raises:
            ResultNotKept: There are no credentials, or IAM refused to sign.
        """
        return self._objects.sign_url(path, timedelta(seconds=expires_in_seconds))

    def get_task_data_from_storage(self, task_name: TaskName | str) -> Json:
        """Return a task's result from Storage (docs/contract.md, "get_task_data_from_storage").

        Reads the result object of the last good result, or the object at the contract's path if the result
        is not in Storage.

        Args:
            task_name: The task.

        Returns:
            The result; None if the object does not exist.

        Raises:
            UnknownTask: No task has this name.
            ResultUnavailable: Firestore or Storage did not answer. The contract returns null in this case.
        """
        name = parse_task_name(task_name)
        encoded = self._reader.read_stored(name)
        return None if encoded is None else _decoded(name, encoded)

    def keep_task_data_in_storage(self, task_name: TaskName | str, data: Json) -> str:
        """Store data at the contract's path (docs/contract.md, "keep_task_data_in_storage").

        Args:
            task_name: The task.
            data: A list or dict of JSON values.

        Returns:
            A signed URL that reads the data. It expires after seven days. A URL signed by IAM, as on Cloud
            Run, is guaranteed for 12 hours only, because Google rotates the keys.

        Raises:
            UnknownTask: No task has this name.
            ResultNotStorable: The data is neither list nor dict, or contains a value that JSON cannot hold.
            ResultNotKept: The upload failed.
        """
        path = contract_object(parse_task_name(task_name))
        result = normalise(data)
        if not result.is_collection:
            raise ResultNotStorable(f"data must be a list or a dict, got a {kind_of(data)}")
        try:
            self._objects.write(path, result.encoded)
        except Exception as error:
            raise ResultNotKept(f"Storage did not take the data: {type(error).__name__}: {error}") from error
        return self._objects.sign_url(path)

    def save_task_data_in_cache(self, task_name: TaskName | str, data: Json) -> None:
        """Cache data as a task's result in this instance (docs/contract.md, "save_task_data_in_cache").

        It is served until the task's `max_age_seconds` have passed, or until a reader asks for the result's
        version, which it lacks. Then Firestore's result is served again.

        Args:
            task_name: The task.
            data: A list or dict of JSON values.

        Raises:
            UnknownTask: No task has this name.
            TypeError: The data is neither list nor dict.
            ResultNotStorable: The data contains a value that JSON cannot hold.
        """
        name = parse_task_name(task_name)
        if isinstance(data, dict):
            self.cache.set_object_data(name, data)
        else:
            self.cache.set_array_data(name, data)


def _decoded(task: TaskName, encoded: bytes) -> Json:
    try:
        return orjson.loads(encoded)
    except orjson.JSONDecodeError as error:  # JavaScript reads larger numbers and deeper values
        raise ResultUnavailable(f"{task.value}: Python cannot read its stored result: {error}") from error
