"""The engine of a process: what `execute_task`, `get_task_data` and their kin work with.

It keeps what outlives a single run: the cache, what each task's document was when this
instance last wrote it, and tasks that outlived their deadline. An instance that serves results
runs no task: what only runs need is loaded with the first of them.
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
from shared.tasks.protocol.effect_handler import Performer
from shared.tasks.protocol.effects import Value, perform
from shared.tasks.results.normalisation import kind_of, normalise
from shared.tasks.runtime.at_work import AtWork
from shared.tasks.runtime.dependencies import Parts
from shared.tasks.runtime.workers import WORKERS
from shared.tasks.serving.cache import CacheManager
from shared.tasks.serving.reader import ReadOptions, ResultReader, TaskDetails, TaskResult
from shared.tasks.specs import TaskSpec, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.tasks.admin.viewing import Looks
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.writes import RunIdentity
    from shared.tasks.protocol.effects import Steps
    from shared.tasks.protocol.incidents import Incident
    from shared.tasks.protocol.operator_actions import Cancelled, Requested
    from shared.tasks.protocol.watchdog import Findings

#: Characters that `source` may have; it is a name, not a payload.
MAX_SOURCE = 500
#: Seconds that a pass of the watchdog may take, over all tasks; its function has a little more.
WATCH_SECONDS = 200.0
#: Seconds that one task may take of it, so that its trouble leaves time for the others.
WATCH_TASK_SECONDS = WATCH_SECONDS / len(TaskName)


class TaskEngine:
    """Runs tasks and serves their results. Safe to share between threads.

    Args:
        store: the status documents and the history; by default the project's Firestore.
        objects: the large results; by default the project's bucket.
        clock: the time; by default the machine's.
        new_token: draws an attempt's fence.
        jobs: what starts the tasks; by default the project's Cloud Scheduler.
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
        self._parts = Parts(
            store or Store(firebase.firestore_wire),
            objects or Objects(firebase.bucket),
            self.cache,
            clock,
            WORKERS,
        )
        self._reader = ResultReader(self._parts.store, self._parts.objects, self.cache, clock)
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
        """Run a task; `shared.tasks.execute_task` tells the rest."""
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
        """Return a task's last good result; `shared.tasks.get_task_data` tells the rest."""
        name = parse_task_name(task_name)
        return _decoded(name, self._reader.read(name, max_age=spec_of(name).max_age_seconds))

    def iter_task_data(self, task_name: TaskName | str) -> Iterator[Any]:
        """Yield the records of a result; `shared.tasks.iter_task_data` tells the rest."""
        return self._reader.records(parse_task_name(task_name))

    def get_task_result(
        self,
        task_name: TaskName | str,
        *,
        data: bool = True,
        described: bool = True,
        unless_version: str | None = None,
        most_bytes: int | None = None,
    ) -> TaskResult:
        """Return a result and what is known of it; `shared.tasks.get_task_result` tells the rest."""
        name = parse_task_name(task_name)
        options = ReadOptions(spec_of(name).max_age_seconds, data, described, unless_version, most_bytes)
        return self._reader.result(name, options)

    def get_task_details(self, task_name: TaskName | str) -> TaskDetails:
        """Return a result's details; see `shared.tasks.get_task_details`."""
        return self._reader.details(parse_task_name(task_name))

    def sign_result_url(self, path: str, *, seconds: float) -> str:
        """Sign a URL that reads an object; `shared.tasks.sign_result_url` tells the rest."""
        return self._parts.objects.signed_url(path, timedelta(seconds=seconds))

    def get_task_data_from_storage(self, task_name: TaskName | str) -> Any:
        """Return the stored result; `shared.tasks.get_task_data_from_storage` tells the rest."""
        name = parse_task_name(task_name)
        encoded = self._reader.read_stored(name)
        return None if encoded is None else _decoded(name, encoded)

    def keep_task_data_in_storage(self, task_name: TaskName | str, data: Any) -> str:
        """Store data and sign a URL; `shared.tasks.keep_task_data_in_storage` tells the rest."""
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
        """Remember data; `shared.tasks.save_task_data_in_cache` tells the rest."""
        name = parse_task_name(task_name)
        if isinstance(data, dict):
            self.cache.set_object_data(name, data)
        else:
            self.cache.set_array_data(name, data)

    def watch_tasks(self) -> bool:
        """Look after every task; `shared.tasks.watch_tasks` tells the rest."""
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
        """Suspend a task; `shared.tasks.suspend_task` tells the rest."""
        from shared.tasks.protocol.operator_actions import suspend  # noqa: PLC0415  (readers steer nothing)

        return self._steer(suspend, task_name, by=by, reason=reason)

    def resume_task(self, task_name: TaskName | str, *, by: str, reason: str) -> bool:
        """Resume a task; `shared.tasks.resume_task` tells the rest."""
        from shared.tasks.protocol.operator_actions import resume  # noqa: PLC0415  (readers steer nothing)

        return self._steer(resume, task_name, by=by, reason=reason)

    def _steer(
        self, change: Callable[..., Steps[bool]], task_name: TaskName | str, *, by: str, reason: str
    ) -> bool:
        name = parse_task_name(task_name)
        has_job = spec_of(name).schedule is not None
        documents, now = self._parts.store.documents, self._now()
        steps = change(documents, name, by=by, reason=reason, now=now, has_job=has_job)
        return perform(steps, self._performer(name))

    def cancel_run(self, task_name: TaskName | str, run_id: str, *, by: str, reason: str) -> Cancelled:
        """Cancel a run; `shared.tasks.admin.desk.cancel_run` tells the rest."""
        from shared.tasks.protocol.operator_actions import cancel  # noqa: PLC0415  (readers steer nothing)

        name = parse_task_name(task_name)
        documents, now = self._parts.store.documents, self._now()
        steps = cancel(documents, name, run_id, by=by, reason=reason, now=now)
        return perform(steps, self._performer(name))

    def request_run(self, task_name: TaskName | str, *, by: str, reason: str, seconds: float) -> Requested:
        """Have a task run now; `shared.tasks.admin.desk.request_run` tells the rest."""
        from shared.tasks.protocol.operator_actions import request_run  # noqa: PLC0415  (readers steer nothing)

        name, clock = parse_task_name(task_name), self._parts.clock
        documents, until = self._parts.store.documents, clock.monotonic() + seconds
        steps = request_run(documents, spec_of(name), clock, by=by, reason=reason, until=until)
        return perform(steps, self._performer(name))

    def report_hung_tasks(self) -> bool:
        """Report tasks that hang; see `shared.tasks.report_hung_tasks`."""
        if not self._at_work.hung() or self._at_work.is_shutting_down:
            return False
        from shared.tasks.protocol.incidents import Incident  # noqa: PLC0415  (readers run nothing)

        for name, run_id in self._at_work.take_unreported():
            detail = "its task is still at work although the run has ended; the instance ends"
            _report(name, Incident("hung_task", run_id, detail))
        return True

    def shut_down(self, *, seconds: float) -> bool:
        """End all runs at work; see `shared.tasks.shut_down`."""
        return self._at_work.shut_down(self._parts.clock, seconds)

    def look(self, looks: Looks[Value]) -> Value:
        """Look at tasks and their history, as `viewing` tells; `shared.tasks.admin.desk` tells the rest."""
        from shared.tasks.admin.viewer import Viewer  # noqa: PLC0415  (most readers look at nothing)

        return perform(looks, Viewer(self._parts.store))

    def _watch(self, spec: TaskSpec) -> None:
        from shared.tasks.protocol.watchdog import Findings, watch  # noqa: PLC0415  (readers run nothing)

        documents, deadline = self._parts.store.documents, timedelta(seconds=spec.deadline_seconds)
        until = self._parts.clock.monotonic() + WATCH_TASK_SECONDS
        found = Findings()
        steps = watch(documents, spec, found, now=self._now(), deadline=deadline)
        try:
            perform(steps, self._performer(spec.name, until=until))
        finally:
            _tell(spec.name, found)

    def _performer(self, name: TaskName, *, until: float = float("inf")) -> Performer:
        parts = self._parts
        return Performer(name, parts.clock, parts.store, parts.objects, self._jobs, until=until)

    def _now(self) -> datetime:
        return self._parts.clock.now()

    def _identity(self, source: str, name: TaskName, chosen: ExecuteTaskOptions) -> RunIdentity:
        from shared.tasks.documents.writes import RunIdentity, run_id_of  # noqa: PLC0415  (readers run nothing)

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
