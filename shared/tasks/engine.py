"""The engine of a process: what `shared.tasks` binds and offers.

It keeps what outlives a single run: the cache, each task's status document as this instance last wrote it,
and tasks that outlived their deadline. An instance that only serves results runs no task, so the first run
loads what only runs need.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from shared import firebase, logger
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.scheduler import Jobs
from shared.tasks.backends.storage import Objects
from shared.tasks.clock import Clock, SystemClock
from shared.tasks.contract import TaskName, contract_object, parse_task_name
from shared.tasks.errors import InvalidOptions, ResultNotKept, ResultNotStorable, ResultUnavailable
from shared.tasks.options import ExecuteTaskOptions, TaskOutcome
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.results.normalisation import kind_of, normalise
from shared.tasks.runtime.at_work import AtWork
from shared.tasks.runtime.dependencies import Parts
from shared.tasks.serving.cache import CacheManager
from shared.tasks.serving.reader import ReadOptions, ResultReader, TaskDetails, TaskResult
from shared.tasks.specs import TaskSpec, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.run_writes import RunIdentity
    from shared.tasks.protocol.effects import Procedure
    from shared.tasks.protocol.incidents import Incident
    from shared.tasks.protocol.operator_actions import Cancelled, Requested
    from shared.tasks.protocol.watchdog import Findings

#: Characters that `source` may have; it is a name, not a payload.
MAX_SOURCE = 500
#: Seconds that a pass of the watchdog may take, over all tasks; its function has a little more.
WATCH_SECONDS = 200.0
#: Seconds that one task may take of it, so that its trouble leaves time for the others.
WATCH_TASK_SECONDS = WATCH_SECONDS / len(TaskName)

#: Longest wait for a requested run, in seconds: an instance of the function may have to start.
REQUEST_SECONDS = 25.0


class TaskEngine:
    """Runs tasks and serves their results. Safe to share between threads.

    Args:
        store: Status documents and run history; the project's Firestore by default.
        objects: Result objects; the project's bucket by default.
        clock: The machine's clock by default.
        new_token: Makes the fencing token of an attempt.
        jobs: Scheduler jobs; the project's Cloud Scheduler by default.

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
    ) -> None:
        clock = clock or SystemClock()
        self.cache = CacheManager(clock)
        self.store = store or Store(firebase.firestore_wire)
        self._parts = Parts(
            self.store,
            objects or Objects(firebase.bucket),
            self.cache,
            clock,
        )
        self._reader = ResultReader(self.store, self._parts.objects, self.cache, clock)
        self._new_token = new_token
        self._jobs = jobs or Jobs(firebase.scheduler_wire)
        self._lock = threading.Lock()
        self._remembered: dict[TaskName, TaskDocument] = {}
        self._at_work = AtWork()

    def execute_task(
        self,
        source: str,
        task_name: TaskName | str,
        task: Callable[..., Any],
        options: ExecuteTaskOptions | Mapping[str, Any] | None = None,
    ) -> TaskOutcome:
        """Run a task, track its status and keep its result (docs/contract.md, "execute_task").

        The task runs in a thread of its own. It may take its `TaskRun`: time left, progress, logger. It
        returns JSON: text, finite numbers, booleans, None, lists and dicts of these. Tuples, enum members,
        dates, aware datetimes and UUIDs are converted. None, or `save_in="none"`, replaces the result by
        "no data to save".

        A task may also yield its records, or return a synchronous or asynchronous iterator of them. The
        records are streamed to Storage as one array and never held whole. The run is checked between two
        records, and its progress counts them.

        Args:
            source: The caller, for example a service.
            task_name: The task.
            task: Does the work, `def` or `async def`.
            options: `ExecuteTaskOptions`, or a mapping with its keys.

        Returns:
            The outcome. A failing task raises nothing: outcome, status and history show the failure, and
            the last good result stays.

        Raises:
            UnknownTask: No task has this name.
            InvalidOptions: An option is unknown, or its value is invalid.
            BaseException: What the task raised besides an Exception (KeyboardInterrupt, for example), once
                it is recorded.
        """
        from shared.tasks.runtime.execution import Execution  # noqa: PLC0415  (readers run nothing)

        name = parse_task_name(task_name)
        chosen = ExecuteTaskOptions.of(options)
        run = self._identity(_checked_source(source), name, chosen)
        execution = Execution(self._parts, run, task, chosen, partial(self._at_work.leave, name))
        if name in {hung for hung, _ in self._at_work.hung()}:
            return execution.refuse("a task whose run has ended is still at work on this instance")
        if not self._at_work.begin(execution):
            return execution.refuse("this instance is shutting down")
        try:
            with self._lock:
                remembered = self._remembered.pop(name, None)
            outcome = execution.carry_out(remembered)
        finally:
            self._at_work.end(execution)
        left = execution.remembered()
        if left is not None:
            with self._lock:
                self._remembered[name] = left
        return outcome

    def get_task_data(self, task_name: TaskName | str) -> Any:
        """Return a task's last good result (docs/contract.md, "get_task_data").

        A cached result is served while it is the present one, which is checked at most once in the task's
        `max_age_seconds`. Otherwise the result comes from Firestore or Storage. If they cannot be reached, a
        result that was the present one less than five minutes ago is served.

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

    def iter_task_data(self, task_name: TaskName | str) -> Iterator[Any]:
        """Yield the records of a task's last good result from Storage, in bounded memory.

        The iteration yields the result that is present when the first record is requested, to its end, even
        if another is published meanwhile. So a task can merge its own last result into its next one. The
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
        return self._parts.objects.signed_url(path, timedelta(seconds=expires_in_seconds))

    def get_task_data_from_storage(self, task_name: TaskName | str) -> Any:
        """Return a task's result from Storage (docs/contract.md, "get_task_data_from_storage").

        Reads the result object of the last good result, or the object at the contract's path if the result
        is not in Storage.

        Args:
            task_name: The task.

        Returns:
            The result; None if there is no object.

        Raises:
            UnknownTask: No task has this name.
            ResultUnavailable: Firestore or Storage did not answer. The contract returns null in this case.
        """
        name = parse_task_name(task_name)
        encoded = self._reader.read_stored(name)
        return None if encoded is None else _decoded(name, encoded)

    def keep_task_data_in_storage(self, task_name: TaskName | str, data: Any) -> str:
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
            raise ResultNotStorable(f"a {kind_of(data)} is kept in no object: pass a list or a dict")
        try:
            self._parts.objects.write(path, result.encoded)
        except Exception as error:
            raise ResultNotKept(f"Storage did not take the data: {type(error).__name__}: {error}") from error
        return self._parts.objects.signed_url(path)

    def save_task_data_in_cache(self, task_name: TaskName | str, data: Any) -> None:
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

    def watch_tasks(self) -> bool:
        """Repair and report on every task: dead runs, missed ticks, contract copies, Scheduler jobs.

        Each incident is logged once at ERROR with the fields `incident`, `task` and `run_id`.

        Returns:
            Whether every task could be checked; the log contains the error of a task that could not.
        """
        from shared.tasks.failure import Failure  # noqa: PLC0415  (readers run nothing)

        well = True
        for name in TaskName:
            try:
                self._watch(spec_of(name))
            except Exception as error:  # noqa: BLE001  (the other tasks are to be looked after all the same)
                well = False
                logger.error("task not looked after", task=name.value, error=Failure.of(error).text)
        return well

    def suspend_task(self, task_name: TaskName | str, *, by: str, reason: str) -> bool:
        """Suspend a task until an operator resumes it: its job is paused and its ticks are skipped.

        A running run finishes and publishes its result. Status and history show who suspended the task,
        when and why.

        Args:
            task_name: The task.
            by: Who suspends it.
            reason: Why.

        Returns:
            Whether the task was not suspended before.

        Raises:
            UnknownTask: No task has this name.
            InvalidOptions: `by` or `reason` is empty.
            SchedulerUnavailable: The task is suspended, but its Cloud Scheduler job may not be paused. Try
                again, or leave it to the watchdog.
            TaskError: Firestore did not answer; nothing or all of it is done. Try again.
        """
        from shared.tasks.protocol.operator_actions import suspend  # noqa: PLC0415  (readers steer nothing)

        return self._steer(suspend, task_name, by=by, reason=reason)

    def resume_task(self, task_name: TaskName | str, *, by: str, reason: str) -> bool:
        """Resume a task: its status is that of its last run again. Arguments and errors as `suspend_task`.

        Returns:
            Whether the task was suspended.
        """
        from shared.tasks.protocol.operator_actions import resume  # noqa: PLC0415  (readers steer nothing)

        return self._steer(resume, task_name, by=by, reason=reason)

    def _steer(
        self, change: Callable[..., Procedure[bool]], task_name: TaskName | str, *, by: str, reason: str
    ) -> bool:
        name = parse_task_name(task_name)
        has_job = spec_of(name).schedule is not None
        documents, now = self._parts.store.documents, self._now()
        steps = change(documents, name, by=by, reason=reason, now=now, has_job=has_job)
        return run_procedure(steps, self._effect_handler(name))

    def cancel_run(self, task_name: TaskName | str, run_id: str, *, by: str, reason: str) -> Cancelled:
        """Cancel a run: it stops at its next check, and its result is not published.

        The run ends as failed, "cancelled by …", and is not started again. No other run is affected. Status
        and history show who cancelled it, when and why. Arguments and errors as `suspend_task`.

        Returns:
            Whether the run will end, had failed and will not be tried again, had ended, or never existed.
        """
        from shared.tasks.protocol.operator_actions import cancel  # noqa: PLC0415  (readers steer nothing)

        name = parse_task_name(task_name)
        documents, now = self._parts.store.documents, self._now()
        steps = cancel(documents, name, run_id, by=by, reason=reason, now=now)
        return run_procedure(steps, self._effect_handler(name))

    def request_run(
        self, task_name: TaskName | str, *, by: str, reason: str, timeout_seconds: float = REQUEST_SECONDS
    ) -> Requested:
        """Run a task's Cloud Scheduler job now, and wait for the run that begins.

        Args:
            task_name: The task.
            by: Who requests the run.
            reason: Why.
            timeout_seconds: Longest wait; an instance of the function may have to start.

        Raises:
            UnknownTask: No task has this name.
            InvalidOptions: `by` or `reason` is empty.
            NotScheduled: The task has no schedule.
            TaskSuspended: The task is suspended.
            SchedulerUnavailable: Cloud Scheduler may not have accepted the request.
            TaskError: Firestore did not answer.
        """
        from shared.tasks.protocol.operator_actions import request_run  # noqa: PLC0415  (readers steer nothing)

        name, clock = parse_task_name(task_name), self._parts.clock
        documents, deadline = self._parts.store.documents, clock.monotonic() + timeout_seconds
        steps = request_run(documents, spec_of(name), clock, by=by, reason=reason, deadline=deadline)
        return run_procedure(steps, self._effect_handler(name))

    def report_hung_tasks(self) -> bool:
        """Report each task that is still working here after its run has ended, as the incident `hung_task`.

        Python cannot stop such a task, and this process takes no other run of it. The process should end.

        Returns:
            Whether there is one.
        """
        if not self._at_work.hung() or self._at_work.is_shutting_down:
            return False
        from shared.tasks.protocol.incidents import Incident  # noqa: PLC0415  (readers run nothing)

        for name, run_id in self._at_work.take_unreported():
            detail = "its task is still at work although the run has ended; the instance ends"
            _report(name, Incident("hung_task", run_id, detail))
        return True

    def shut_down(self, *, timeout_seconds: float) -> bool:
        """End all runs of this process as failed, and let no other begin.

        The next delivery of such a run takes over at once instead of waiting until the lease expires.

        Args:
            timeout_seconds: Longest wait until the ends of all runs are recorded.

        Returns:
            Whether all of them have ended.
        """
        return self._at_work.shut_down(self._parts.clock, timeout_seconds)

    def _watch(self, spec: TaskSpec) -> None:
        from shared.tasks.protocol.watchdog import Findings, watch  # noqa: PLC0415  (readers run nothing)

        documents, deadline = self._parts.store.documents, timedelta(seconds=spec.deadline_seconds)
        ends_at = self._parts.clock.monotonic() + WATCH_TASK_SECONDS
        found = Findings()
        steps = watch(documents, spec, found, now=self._now(), deadline=deadline)
        try:
            run_procedure(steps, self._effect_handler(spec.name, deadline=ends_at))
        finally:
            _tell(spec.name, found)

    def _effect_handler(self, name: TaskName, *, deadline: float = float("inf")) -> EffectHandler:
        parts = self._parts
        return EffectHandler(name, parts.clock, parts.store, parts.objects, self._jobs, deadline=deadline)

    def _now(self) -> datetime:
        return self._parts.clock.now()

    def _identity(self, source: str, name: TaskName, chosen: ExecuteTaskOptions) -> RunIdentity:
        from shared.tasks.documents.run_ids import run_id_of  # noqa: PLC0415  (readers run nothing)
        from shared.tasks.documents.run_writes import RunIdentity  # noqa: PLC0415  (readers run nothing)

        tick, delivered = (
            moment and moment.astimezone(UTC) for moment in (chosen.scheduled_for, chosen.schedule_time)
        )
        return RunIdentity(
            documents=self._parts.store.documents,
            task=name,
            run_id=uuid.uuid4().hex if tick is None else run_id_of(tick),
            token=self._new_token(),
            source=source,
            scheduled_for=tick,
            schedule_time=delivered,
        )


def _report(name: TaskName, incident: Incident) -> None:
    """Log an incident at ERROR, with the fields that the alert policy matches."""
    logger.error(incident.detail, incident=incident.kind, task=name.value, run_id=incident.run_id)


def _tell(name: TaskName, found: Findings) -> None:
    """Log what a pass of the watchdog found."""
    for incident in found.incidents:
        _report(name, incident)
    if found.superseded_runs or found.contract_copy_repaired or found.job_mended:
        logger.warning(
            "watchdog mended",
            task=name.value,
            superseded_runs=found.superseded_runs,
            contract_copy=found.contract_copy_repaired,
            job=found.job_mended,
        )
    if found.removed_objects:
        logger.info("old results removed", task=name.value, count=len(found.removed_objects))


def _checked_source(source: object) -> str:
    if not isinstance(source, str) or not source.strip() or len(source) > MAX_SOURCE:
        raise InvalidOptions(f"source is no text of 1 to {MAX_SOURCE} characters: name who asks for the run")
    if not source.isprintable():
        raise InvalidOptions("source has characters that are not printable: name who asks for the run")
    return source


def _decoded(task: TaskName, encoded: bytes) -> Any:
    try:
        return orjson.loads(encoded)
    except orjson.JSONDecodeError as error:  # others store numbers and depths that JavaScript takes
        raise ResultUnavailable(f"{task.value}: Python can't hold its stored result: {error}") from error
