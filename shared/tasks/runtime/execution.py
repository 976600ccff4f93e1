"""One attempt of a run: one call of `execute_task` from start to end.

An execution acquires the task and extends the lease while the task works on its own thread. Then it publishes
the result. Whatever happens becomes an outcome.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared import logger
from shared.tasks.documents.legs import MAX_TRIES
from shared.tasks.errors import (
    InstanceShutDown,
    LegEnded,
    LegQueueUnavailable,
    RunCancelled,
    RunLost,
    SchedulerUnavailable,
    StoreError,
    WriteRejected,
)
from shared.tasks.failure import Failure
from shared.tasks.options import ExecuteTaskOptions, OutcomeStatus, TaskFunction, TaskOutcome
from shared.tasks.protocol.acquisition import acquire, refuse
from shared.tasks.protocol.decisions import Busy, EndState, Skip, Start, TakeLeg
from shared.tasks.protocol.effects import RemoveObject
from shared.tasks.protocol.legs import deliver, hand_over
from shared.tasks.protocol.run_end import complete, fail
from shared.tasks.runtime.held_run import HeldRun
from shared.tasks.runtime.prepared_result import (
    PreparedResult,
    move_to_storage,
    prepare_result,
    update_cache,
    update_contract_copy,
)
from shared.tasks.runtime.task_thread import Work, is_ordinary

if TYPE_CHECKING:
    from shared.tasks.contract import JsonMap
    from shared.tasks.documents.legs import Legs
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.services import Services

#: Longest duration of a start, in seconds; then the delivery fails.
START_SECONDS = 20.0
#: Seconds after the deadline in which the run's end may still be recorded.
FINISH_SECONDS = 20.0
#: Longest time to create the Cloud Task of the next leg, in seconds; then the watchdog creates it.
DELIVER_SECONDS = 60.0
#: Seconds after the deadline in which the contract copy may still be written. They are fewer than
#: `shared.tasks.specs.TIMEOUT_MARGIN_SECONDS`, so that the last call ends in time.
CONTRACT_COPY_SECONDS = 40.0


class Execution:
    """One attempt of a run of a task.

    All its times count from its creation, so that it ends before the platform ends the function.

    Attributes:
        attempt: Contains the run's identity. Acquiring the task may change it to that of a requested run.
        ended: Set when the run has ended, in any way.
        held: The run while its task works.
    """

    def __init__(
        self, services: Services, identity: AttemptIdentity, task: TaskFunction, options: ExecuteTaskOptions
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._options = options
        self.ended = threading.Event()
        self.held = HeldRun(services, identity, options)
        self.attempt = self.held.attempt
        copies_deadline = self.held.times.attempt_ends + CONTRACT_COPY_SECONDS
        self._handle_objects = services.handler(identity.task, deadline=copies_deadline)
        self._work: Work[PreparedResult] = Work(task, self.held.task_run, self._prepare, self._clock)

    def carry_out(self, remembered: TaskDocument | None) -> TaskOutcome:
        """Acquire the task, let it work, and publish its result; raise what `execute_task` raises.

        `remembered`, the status document as the last run on this instance left it, saves a read.
        """
        try:
            outcome = self._acquire_task(remembered)
            return self._work_and_publish() if outcome is None else outcome
        finally:
            self.ended.set()

    def refuse(self, reason: str) -> TaskOutcome:
        """Record the delivery as refused and return the outcome `busy`: a later delivery takes the run."""
        try:
            self.held.run_procedure(refuse(self.attempt, reason))
        except Exception as error:  # noqa: BLE001  (the delivery is refused in any case)
            logger.warning("refused delivery not recorded", **self.held.names, error=error)
        logger.warning("run busy", **self.held.names, reason=reason)
        return self._outcome("busy", reason)

    def _acquire_task(self, remembered: TaskDocument | None) -> TaskOutcome | None:
        """Acquire the task; return the outcome if that failed."""
        try:
            acquisition = acquire(self.attempt, remembered, deadline=self.held.began + START_SECONDS)
            decision = self.held.run_procedure(acquisition)
        except (StoreError, SchedulerUnavailable, LegQueueUnavailable) as error:
            logger.error("run not started", **self.held.names, error=Failure.of(error).text)
            return self._outcome("failed", f"not started: {Failure.of(error).text}")
        match decision:
            case Start() | TakeLeg():
                self.held.begin()
                return None
            case Skip(reason, holder):
                logger.info("tick skipped", **self.held.names, reason=reason, holder=holder)
                return self._outcome("skipped", f"{reason} by {holder}" if holder else reason)
            case Busy():
                return self.refuse("an attempt of this run may still be alive")
        logger.info("duplicate delivery", **self.held.names)
        return self._outcome("duplicate")

    def _work_and_publish(self) -> TaskOutcome:
        try:
            self.held.restore()
            prepared = self.held.do_work(self._work)
        except BaseException as error:
            if isinstance(error, RunLost) and self.held.task_run.lost:  # not merely raised by the task
                logger.warning("run lost", **self.held.names, error=error)
                return self._outcome("lost", str(error))
            outcome = self._end_without_result(error)
            if is_ordinary(error) or self.held.checkpoints.ended:
                return outcome
            raise
        return self._publish(prepared)

    def _end_without_result(self, error: BaseException, path: str | None = None) -> TaskOutcome:
        """Hand the run over to its next leg, or to the next attempt of this one, or record its failure.

        `path` is that of an object which was uploaded, if there is one.
        """
        legs = self.attempt.legs
        if self.held.checkpoints.ended:
            if not _is_end_of_leg(error):
                logger.warning("error after the end of a leg", **self.held.names, error=error)
            if legs is not None:
                return self._hand_over(legs.number + 1)
            error = InstanceShutDown("the instance received SIGTERM; the next attempt continues")
        elif legs is not None and self._may_try_again(error, legs):
            return self._wait_for_retry(legs.number, Failure.of(error))
        return self._record_failure(error, path)

    def _may_try_again(self, error: BaseException, legs: Legs) -> bool:
        """Return whether the run may wait until its failed leg is delivered again.

        A first leg that has persisted nothing fails as any run does, and Cloud Scheduler tries it again.
        """
        is_delivered = legs.number > 1 or self.attempt.identity.leg is not None
        waits = is_delivered or self.attempt.checkpoint is not None
        is_final = isinstance(error, RunCancelled) or self.held.task_run.remaining() <= 0
        tries_left = self.held.checkpoints.progressed or legs.tries < MAX_TRIES
        return waits and tries_left and not is_final

    def _hand_over(self, number: int) -> TaskOutcome:
        """Let the run wait for its next leg, and create the Cloud Task that delivers it."""
        duration = self._work.task_seconds
        try:
            legs = self._wait(number, {})
            if legs is None:
                return self._report_superseded(None)
            gives_up = self._clock.monotonic() + DELIVER_SECONDS
            run_id = self.attempt.identity.run_id
            self.held.run_procedure(deliver(run_id, legs, self._clock, gives_up))
        except RunCancelled as cancelled:
            return self._record_failure(cancelled)
        except Exception as error:  # noqa: BLE001  (a later delivery, or the watchdog, repeats what is missing)
            return self._report_incomplete(number, error)
        if self._options.debug_logs:
            logger.info("leg ended", **self.held.names, next_leg=number, duration_seconds=round(duration, 3))
        return self._outcome("waiting", f"leg {number} will be delivered")

    def _wait_for_retry(self, number: int, failure: Failure) -> TaskOutcome:
        """Let the run wait until Cloud Tasks delivers the failed leg again."""
        logger.warning(
            "leg failed", **self.held.names, leg=number, error=failure.text, traceback=failure.trace
        )
        try:
            legs = self._wait(number, {"error": failure.to_fields()})
        except RunCancelled as cancelled:
            return self._record_failure(cancelled)
        except Exception as error:  # noqa: BLE001  (the next delivery takes the leg once its lease has expired)
            return self._report_incomplete(number, error)
        return self._report_superseded(None) if legs is None else self._outcome("failed", failure.text)

    def _wait(self, number: int, record: JsonMap) -> Legs | None:
        """Make the run wait for a leg; return None if another attempt took the task."""
        progress = self.held.task_run.last_progress()
        waiting = hand_over(
            self.attempt,
            number=number,
            token=self._services.new_token(),
            duration=self._work.task_seconds,
            record={**record, **({} if progress is None else {"progress": progress})},
            deadline=self.held.times.attempt_ends + FINISH_SECONDS,
        )
        return self.held.run_procedure(waiting)

    def _report_incomplete(self, number: int, error: Exception) -> TaskOutcome:
        logger.error("hand-over not completed", **self.held.names, leg=number, error=Failure.of(error).text)
        return self._outcome("busy", f"the hand-over to leg {number} could not be completed")

    def _prepare(self, value: object) -> PreparedResult:
        """Prepare the task's result on its thread, because an upload may take as long as a task."""
        save_in, objects = self._options.save_in, self._services.objects
        return prepare_result(value, self.attempt.identity, self.held.task_run, save_in, objects)

    def _publish(self, prepared: PreparedResult) -> TaskOutcome:
        try:
            try:
                end_state = self._commit_result(prepared)
            except WriteRejected as refusal:
                prepared = self._upload_refused(prepared, refusal)
                end_state = self._commit_result(prepared)
        except WriteRejected as error:
            return self._end_without_result(error, prepared.pointer.path)
        except StoreError as error:
            return self._report_unrecorded("completed", error, prepared)
        except Exception as error:  # noqa: BLE001  (any error must end the run, or its status stays "running")
            return self._end_without_result(error, prepared.pointer.path)
        if end_state is EndState.superseded:
            return self._report_superseded(prepared.pointer.path)
        task, pointer = self.attempt.identity.task, prepared.pointer
        update_cache(prepared, task, self._services.cache, is_current=self.attempt.holds_result)
        update_contract_copy(prepared, task, self._handle_objects)
        if self._options.debug_logs:
            logger.info(
                "task completed",
                **self.held.names,
                duration_seconds=self._run_seconds(),
                saved_in=pointer.saved_in,
                size_bytes=pointer.size_bytes,
                count=pointer.count,
            )
        return self._outcome("completed")

    def _commit_result(self, prepared: PreparedResult) -> EndState:
        ending = complete(
            self.attempt,
            data=prepared.data,
            result=replace(prepared.pointer, summary=self.held.task_run.summary),
            duration=self._work.task_seconds,
            deadline=self.held.times.attempt_ends + FINISH_SECONDS,
            progress=self.held.task_run.last_progress(),
        )
        return self.held.run_procedure(ending)

    def _upload_refused(self, prepared: PreparedResult, refusal: WriteRejected) -> PreparedResult:
        """Upload a result that Firestore refused, as work of its own: the lease is extended meanwhile."""
        timeout = max(self.held.task_run.leg_remaining(), 1.0)
        identity, objects = self.attempt.identity, self._services.objects
        move = partial(move_to_storage, identity=identity, refusal=refusal, objects=objects, timeout=timeout)
        return self.held.do_work(Work(lambda: prepared, self.held.task_run, move, self._clock))

    def _record_failure(self, error: BaseException, path: str | None = None) -> TaskOutcome:
        """Record a failure, and remove the object that was uploaded to `path`.

        The record comes first: the status document's new version then refuses a late publication.
        """
        failure, duration = Failure.of(error), self._work.task_seconds
        if not isinstance(error, RunCancelled):
            # Recording it may take long, and the process may die meanwhile.
            logger.warning("task raised", **self.held.names, error=failure.text, traceback=failure.trace)
        try:
            deadline = self.held.times.attempt_ends + FINISH_SECONDS
            progress = self.held.task_run.last_progress()
            ending = fail(self.attempt, failure, duration=duration, deadline=deadline, progress=progress)
            end_state = self.held.run_procedure(ending)
        except Exception as unrecorded:  # noqa: BLE001  (any error is logged with the run's end)
            return self._report_unrecorded("failed", unrecorded)
        if end_state is EndState.superseded:
            return self._report_superseded(path)
        self.held.pass_cancel_on()
        self._remove(path)
        return self._report_failure(failure)

    def _report_failure(self, failure: Failure) -> TaskOutcome:
        """Log the recorded end of the run. It may have been the first to find an operator's cancel."""
        shown, seconds = self.attempt.recorded_failure(failure), self._run_seconds()
        if self.attempt.cancel is None:
            logger.error(
                "task failed",
                **self.held.names,
                duration_seconds=seconds,
                error=shown.text,
                traceback=shown.trace,
            )
            return self._outcome("failed", shown.text)
        # An operator's decision, which no alert policy reports.
        logger.info("task cancelled", **self.held.names, duration_seconds=seconds, error=shown.text)
        return self._outcome("cancelled", shown.text)

    def _run_seconds(self) -> float:
        """Return how long the task has worked, in this attempt and in those after which a long run waited."""
        legs = self.attempt.legs
        return round(self._work.task_seconds + (0 if legs is None else legs.worked_ms / 1000), 3)

    def _report_superseded(self, path: str | None) -> TaskOutcome:
        logger.warning("run superseded", **self.held.names)
        if self.attempt.is_object_unused:
            self._remove(path)
        return self._outcome("superseded", "another attempt took the task")

    def _remove(self, path: str | None) -> None:
        """Remove an uploaded object that will never be published."""
        try:
            if path is not None:
                self._handle_objects(RemoveObject(path))
        except Exception as error:  # noqa: BLE001  (the watchdog removes what stays)
            logger.warning("unpublished object not removed", **self.held.names, error=error)

    def _report_unrecorded(
        self, end: str, error: Exception, prepared: PreparedResult | None = None
    ) -> TaskOutcome:
        """Log the end of the run, and where its result is, because no document contains them."""
        now = self._clock.now()
        result = {} if prepared is None else replace(prepared.pointer, completed=now).to_fields()
        logger.error(
            "the end of a run could not be recorded",
            **self.held.names,
            end=end,
            attempt=self.attempt.number,
            token=self.attempt.identity.token,
            duration_seconds=self._run_seconds(),
            error=Failure.of(error).text,
            result=result,
            summary=self.held.task_run.summary,
        )
        return self._outcome("failed", f"its end ({end}) could not be recorded")

    def _outcome(self, status: OutcomeStatus, error: str | None = None) -> TaskOutcome:
        return TaskOutcome(self.attempt.identity.run_id, status, self._work.task_seconds, error)


def _is_end_of_leg(error: BaseException) -> bool:
    """Return whether an error only says that the leg has ended, perhaps in several coroutines."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(LegEnded)[1] is None
    return isinstance(error, LegEnded)
