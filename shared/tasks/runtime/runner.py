"""Runs the tasks of one instance, and reports those that outlive their run.

Python cannot stop a thread. A run ends at its deadline, or when the process is shut down, even if
its task does not.
"""

from __future__ import annotations

import threading
import uuid
from datetime import UTC
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.contract import parse_task_name
from shared.tasks.errors import InvalidOptions
from shared.tasks.options import ExecuteTaskOptions, TaskFunction, TaskOutcome

if TYPE_CHECKING:
    from shared.tasks.contract import JsonMap, TaskName
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.runtime.execution import Execution
    from shared.tasks.services import Services

#: Characters that `source` may have; it is a name, not a payload.
MAX_SOURCE = 500


class TaskRunner:
    """Executes tasks, and knows the runs of this instance. Safe to share between threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._clock = services.clock
        self._lock = threading.Lock()
        #: Those that have not ended, and ended ones with a task that is still working.
        self._executions: list[Execution] = []
        self._reported: set[Execution] = set()
        #: Each task's status document as the last run on this instance left it: saves the next run a read.
        self._remembered: dict[TaskName, TaskDocument] = {}
        self._is_shutting_down = False

    def execute_task(
        self,
        source: str,
        task_name: TaskName | str,
        task: TaskFunction,
        options: ExecuteTaskOptions | JsonMap | None = None,
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

        name, chosen = parse_task_name(task_name), ExecuteTaskOptions.of(options)
        identity = self._identity(_checked_source(source), name, chosen)
        execution = Execution(self._services, identity, task, chosen)
        refusal = self._admit(execution)
        if refusal is not None:
            return execution.refuse(refusal)
        try:
            outcome = execution.carry_out(self._remembered.pop(name, None))
        finally:
            with self._lock:
                self._executions = [
                    one for one in self._executions if not one.ended.is_set() or one.held.is_hung
                ]
        remembered = execution.attempt.remembered()
        if remembered is not None:
            self._remembered[name] = remembered
        return outcome

    def report_hung_tasks(self) -> bool:
        """Report each task that is still working here after its run has ended, as the incident `hung_task`.

        Python cannot stop such a task, and this process takes no other run of it. The process should end.

        Returns:
            Whether there is one.
        """
        with self._lock:
            hung = {execution for execution in self._executions if execution.held.is_hung}
            if not hung or self._is_shutting_down:
                return False
            unreported, self._reported = hung - self._reported, hung
        for execution in unreported:
            logger.error(  # with the fields that the alert policy matches
                "its task is still at work although the run has ended; the instance ends",
                incident="hung_task",
                task=execution.attempt.identity.task.value,
                run_id=execution.attempt.identity.run_id,
            )
        return True

    def shut_down(self, *, timeout_seconds: float) -> bool:
        """End all runs of this process, and let no other begin.

        A run whose task uses steps or cursors gets half of the time to reach its next checkpoint, from which
        it continues elsewhere. Any other run fails at once. The next delivery of such a run takes over at
        once instead of waiting until the lease expires.

        Args:
            timeout_seconds: Longest wait until the ends of all runs are recorded.

        Returns:
            Whether all of them have ended.
        """
        with self._lock:
            self._is_shutting_down = True
            executions = list(self._executions)
        for execution in executions:
            execution.held.shut_down()
        now = self._clock.monotonic()
        if self._wait(executions, now + timeout_seconds / 2):
            return True
        for execution in executions:
            execution.held.abandon()
        return self._wait(executions, now + timeout_seconds)

    def _wait(self, executions: list[Execution], ends_at: float) -> bool:
        """Wait until runs have ended, or until a time; return whether all have."""
        clock = self._clock
        return all(clock.wait(one.ended, max(ends_at - clock.monotonic(), 0.0)) for one in executions)

    def _admit(self, execution: Execution) -> str | None:
        """Add an execution, or return why this instance refuses it."""
        with self._lock:
            task = execution.attempt.identity.task
            if any(one.held.is_hung and one.attempt.identity.task == task for one in self._executions):
                return "a task whose run has ended is still at work on this instance"
            if self._is_shutting_down:
                return "this instance is shutting down"
            self._executions.append(execution)
        return None

    def _identity(self, source: str, name: TaskName, options: ExecuteTaskOptions) -> AttemptIdentity:
        from shared.tasks.documents.run_ids import AttemptIdentity, run_id_of  # noqa: PLC0415  (readers run nothing)

        tick, delivered = (
            moment and moment.astimezone(UTC) for moment in (options.scheduled_for, options.schedule_time)
        )
        continuation = options.continuation
        if continuation is not None:
            run_id = continuation.run_id
        else:
            run_id = uuid.uuid4().hex if tick is None else run_id_of(tick)
        return AttemptIdentity(
            self._services.store.names(name),
            run_id=run_id,
            token=self._services.new_token(),
            source=source,
            scheduled_for=tick,
            schedule_time=delivered,
            leg=None if continuation is None else continuation.leg,
        )


def _checked_source(source: object) -> str:
    if not isinstance(source, str) or not source.strip() or len(source) > MAX_SOURCE:
        raise InvalidOptions(f"source must be a str of 1 to {MAX_SOURCE} characters that names the caller")
    if not source.isprintable():
        raise InvalidOptions(f"source must have printable characters only, got {source!r}")
    return source
