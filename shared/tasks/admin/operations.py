"""What operators and the watchdog do to tasks.

Every function loads this module. The procedures are imported when they are needed, because readers
need none of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.contract import TaskName, parse_task_name
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.specs import TaskSpec, spec_of

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.protocol.cancellation import CancelOutcome
    from shared.tasks.protocol.effect_handler import EffectHandler
    from shared.tasks.protocol.requested_runs import RequestOutcome
    from shared.tasks.protocol.watchdog import Findings
    from shared.tasks.services import Services

#: Seconds that a pass of the watchdog may take, over all tasks; its function has a little more.
WATCH_SECONDS = 200.0
#: Seconds of it that one task may take, so that a failing task leaves time for the others.
WATCH_TASK_SECONDS = WATCH_SECONDS / len(TaskName)
#: Longest wait for a requested run, in seconds: an instance of the function may have to start.
REQUEST_SECONDS = 25.0


class Operations:
    """Changes what tasks do, and repairs what was interrupted. Safe to share between threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._clock = services.clock

    def suspend_task(
        self, task_name: TaskName | str, *, by: str, reason: str, until: datetime | None = None
    ) -> bool:
        """Suspend a task: its job is paused and its ticks are skipped, until it is resumed.

        A running run finishes and publishes its result. Status and history show who suspended the task,
        when and why.

        Args:
            task_name: The task.
            by: Who suspends it.
            reason: Why.
            until: When the watchdog resumes the task, at its first pass after this time; at most 366 days
                away. None if an operator resumes it.

        Returns:
            Whether anything changed: the task was not suspended before, or until another time.

        Raises:
            UnknownTask: No task has this name.
            InvalidOptions: `by` or `reason` is empty or too long, or `until` is not a future time.
            SchedulerUnavailable: The task is suspended, but its Cloud Scheduler job may not be paused. Try
                again, or leave it to the watchdog.
            TaskError: Firestore did not answer; nothing or all of it is done. Try again.
        """
        return self._change_suspension(task_name, suspend=True, by=by, reason=reason, until=until)

    def resume_task(self, task_name: TaskName | str, *, by: str, reason: str) -> bool:
        """Resume a task: its status is that of its last run again.

        The errors are those of `suspend_task`.

        Args:
            task_name: The task.
            by: Who resumes it.
            reason: Why.

        Returns:
            Whether the task was suspended.
        """
        return self._change_suspension(task_name, suspend=False, by=by, reason=reason)

    def _change_suspension(
        self,
        task_name: TaskName | str,
        *,
        suspend: bool,
        by: str,
        reason: str,
        until: datetime | None = None,
    ) -> bool:
        from shared.tasks.protocol.suspension import change_suspension  # noqa: PLC0415

        name, now = parse_task_name(task_name), self._clock.now()
        names, has_job = self._store.names(name), spec_of(name).schedule is not None
        procedure = change_suspension(
            names, suspend=suspend, by=by, reason=reason, now=now, until=until, has_job=has_job
        )
        return run_procedure(procedure, self._handler(name))

    def cancel_run(self, task_name: TaskName | str, run_id: str, *, by: str, reason: str) -> CancelOutcome:
        """Cancel a run: it stops at its next check, and its result is not published.

        The run ends as failed, "cancelled by …", and is not started again. A long run that waits for its next
        leg ends at once. No other run is affected. Status and history show who cancelled it, when and why.
        The errors are those of `suspend_task` without SchedulerUnavailable.

        Returns:
            Whether the run will end, had failed or waited and will not be tried again, had ended, or never
            existed.
        """
        from shared.tasks.protocol.cancellation import cancel  # noqa: PLC0415

        name, now = parse_task_name(task_name), self._clock.now()
        procedure = cancel(self._store.names(name), run_id, by=by, reason=reason, now=now)
        return run_procedure(procedure, self._handler(name))

    def request_run(
        self, task_name: TaskName | str, *, by: str, reason: str, timeout_seconds: float = REQUEST_SECONDS
    ) -> RequestOutcome:
        """Run a task's Cloud Scheduler job now, and wait for the run that begins.

        Args:
            task_name: The task.
            by: Who requests the run.
            reason: Why.
            timeout_seconds: Longest wait; an instance of the function may have to start.

        Raises:
            UnknownTask: No task has this name.
            InvalidOptions: `by` or `reason` is empty or too long.
            NotScheduled: The task has no schedule.
            TaskSuspended: The task is suspended.
            SchedulerUnavailable: Cloud Scheduler may not have accepted the request.
            TaskError: Firestore did not answer.
        """
        from shared.tasks.protocol.requested_runs import request_run  # noqa: PLC0415

        name, clock = parse_task_name(task_name), self._clock
        names, deadline = self._store.names(name), clock.monotonic() + timeout_seconds
        procedure = request_run(names, spec_of(name), clock, by=by, reason=reason, deadline=deadline)
        return run_procedure(procedure, self._handler(name))

    def watch_tasks(self) -> bool:
        """Repair and report on every task: dead runs, missed ticks, contract copies, Scheduler jobs.

        Each incident is logged once with the fields `incident`, `task` and `run_id`: at ERROR, or at WARNING
        if it was repaired.

        Returns:
            Whether every task could be checked; the log contains the error of a task that could not.
        """
        from shared.tasks.failure import Failure  # noqa: PLC0415

        all_checked = True
        for name in TaskName:
            spec = spec_of(name)
            try:
                _log_age(spec, self.watch_task(spec), self._clock.now())
            except Exception as error:  # noqa: BLE001  (the other tasks are still checked)
                all_checked = False
                logger.error("task not checked", task=name.value, error=Failure.of(error).text)
        return all_checked

    def watch_task(self, spec: TaskSpec) -> Findings:
        """Repair and report on one task. Raises the errors of `watch` in `protocol.watchdog`."""
        from shared.tasks.protocol.watchdog import Findings, watch  # noqa: PLC0415

        ends_at = self._clock.monotonic() + WATCH_TASK_SECONDS
        found, now, deadline = Findings(), self._clock.now(), timedelta(seconds=spec.deadline_seconds)
        names, token = self._store.names(spec.name), self._services.new_token()
        procedure = watch(names, spec, found, now=now, deadline=deadline, token=token)
        try:
            run_procedure(procedure, self._handler(spec.name, deadline=ends_at))
        finally:
            _log_findings(spec.name, found)
        return found

    def _handler(self, name: TaskName, *, deadline: float = float("inf")) -> EffectHandler:
        return self._services.handler(name, deadline=deadline)


def _log_age(spec: TaskSpec, found: Findings, now: datetime) -> None:
    """Log the age of the last good result, in seconds and in ticks, for a metric."""
    from shared.tasks.cron import recent_ticks  # noqa: PLC0415

    if found.result_completed is None:
        return
    age, ticks = now - found.result_completed, recent_ticks(spec, now, 2)
    interval = ticks[0] - ticks[1] if len(ticks) > 1 else None
    logger.info(
        "task watched",
        task=spec.name.value,
        suspended=found.is_suspended,
        result_age_seconds=round(age.total_seconds()),
        result_age_ticks=None if interval is None else round(age / interval, 2),
    )


def _log_findings(name: TaskName, found: Findings) -> None:
    for incident in found.incidents:  # with the fields that the alert policies match
        if incident.is_repaired:
            logger.warning(
                "leg lost",
                incident=incident.kind,
                task=name.value,
                run_id=incident.run_id,
                detail=incident.detail,
            )
        else:
            logger.error(incident.detail, incident=incident.kind, task=name.value, run_id=incident.run_id)
    if found.resumed is not None:
        until = found.resumed.until
        logger.info("task resumed", task=name.value, until=until, suspended_by=found.resumed.by)
    for run_id in found.cancelled_runs:
        logger.info("task cancelled", task=name.value, run_id=run_id)
    if found.superseded_runs or found.contract_copy_repaired or found.job_repaired:
        logger.warning(
            "watchdog repaired a task",
            task=name.value,
            superseded_runs=found.superseded_runs,
            contract_copy=found.contract_copy_repaired,
            job=found.job_repaired,
        )
    if found.removed_objects:
        logger.info("old results removed", task=name.value, count=len(found.removed_objects))
