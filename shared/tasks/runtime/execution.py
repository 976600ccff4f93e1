"""One attempt of a run: one call of `execute_task` from start to end.

An execution acquires the task and extends the lease while the task works on its own thread. Then it publishes
the result. Whatever happens becomes an outcome.
"""

from __future__ import annotations

import random
import threading
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared import logger
from shared.tasks.errors import DeadlineExceeded, InstanceShutDown, RunLost, StoreError, WriteRejected
from shared.tasks.failure import Failure
from shared.tasks.options import ExecuteTaskOptions, OutcomeStatus, TaskFunction, TaskOutcome
from shared.tasks.protocol.acquisition import acquire, refuse
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.decisions import Busy, EndState, Skip, Start
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import RemoveObject, run_procedure
from shared.tasks.protocol.run_end import complete, fail
from shared.tasks.runtime.prepared_result import (
    PreparedResult,
    move_to_storage,
    prepare_result,
    update_cache,
    update_contract_copy,
)
from shared.tasks.runtime.task_run import Progress, TaskRun
from shared.tasks.runtime.task_thread import Work, is_ordinary

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.protocol.effects import Procedure, Value
    from shared.tasks.serving.cache import CacheManager

#: Longest duration of a start, in seconds; then the delivery fails.
START_SECONDS = 20.0
#: Seconds after the deadline in which the run's end may still be recorded.
FINISH_SECONDS = 20.0
#: Seconds after the deadline in which the contract copy may still be written. They are fewer than
#: `functions.scheduled_endpoint.TIMEOUT_MARGIN_SECONDS`, so that the last call ends in time.
CONTRACT_COPY_SECONDS = 40.0
#: Longest pause after a failed extension, in seconds. It is jittered, because all instances fail at once.
RETRY_SECONDS = 2.0


class Execution:
    """One attempt of a run of a task.

    All its times count from its creation, so that it ends before the platform ends the function.

    Attributes:
        attempt: Contains the run's identity. Acquiring the task may change it to that of a requested run.
        ended: Set when the run has ended, in any way.
    """

    def __init__(
        self,
        store: Store,
        objects: Objects,
        cache: CacheManager,
        clock: Clock,
        identity: AttemptIdentity,
        task: TaskFunction,
        options: ExecuteTaskOptions,
    ) -> None:
        self._objects = objects
        self._cache = cache
        self._clock = clock
        self._options = options
        self.ended = threading.Event()
        self._is_shutting_down = False
        self._began = clock.monotonic()
        self._deadline = self._began + options.deadline_seconds
        self.attempt = Attempt(identity, options, clock)
        self._handle = EffectHandler(identity.task, clock, store)
        copies_deadline = self._deadline + CONTRACT_COPY_SECONDS
        self._handle_objects = EffectHandler(identity.task, clock, store, objects, deadline=copies_deadline)
        # One write at a time, on any thread: an extension and the end of the run must not refuse each
        # other, and no progress may follow the end.
        self._lock = threading.Lock()
        self._task_run = TaskRun(identity, self._deadline, clock, self._record_progress)
        self._work: Work[PreparedResult] = Work(task, self._task_run, self._prepare, clock)
        self._awaited: Work[PreparedResult] | None = None
        self._abandoned: Work[PreparedResult] | None = None

    @property
    def is_hung(self) -> bool:
        """Whether the task is still working although the run stopped waiting for it."""
        return self._abandoned is not None and self._abandoned.alive

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
            self._run_procedure(refuse(self.attempt, reason))
        except Exception as error:  # noqa: BLE001  (the delivery is refused in any case)
            logger.warning("refused delivery not recorded", **self._names(), error=error)
        logger.warning("run busy", **self._names(), reason=reason)
        return self._outcome("busy", reason)

    def shut_down(self) -> None:
        """End the run as failed at once, because its process ends. Called on another thread."""
        self._is_shutting_down = True
        if self._awaited is not None:
            self._awaited.over.set()

    def _acquire_task(self, remembered: TaskDocument | None) -> TaskOutcome | None:
        """Acquire the task; return the outcome if that failed."""
        try:
            acquisition = acquire(self.attempt, remembered, deadline=self._began + START_SECONDS)
            decision = self._run_procedure(acquisition)
        except StoreError as error:
            logger.error("run not started", **self._names(), error=Failure.of(error).text)
            return self._outcome("failed", f"not started: {Failure.of(error).text}")
        match decision:
            case Start():
                self._task_run.set_attempt(self.attempt.identity, self.attempt.number)
                if self._options.debug_logs:
                    number, source = self.attempt.number, self.attempt.identity.source
                    logger.info("task started", **self._names(), attempt=number, source=source)
                return None
            case Skip(reason, holder):
                logger.info("tick skipped", **self._names(), reason=reason, holder=holder)
                return self._outcome("skipped", f"{reason} by {holder}" if holder else reason)
            case Busy():
                return self.refuse("an attempt of this run may still be alive")
        logger.info("duplicate delivery", **self._names())
        return self._outcome("duplicate")

    def _work_and_publish(self) -> TaskOutcome:
        try:
            prepared = self._do_work(self._work)
        except BaseException as error:
            if isinstance(error, RunLost) and self._task_run.lost:  # not merely raised by the task
                logger.warning("run lost", **self._names(), error=error)
                return self._outcome("lost", str(error))
            outcome = self._record_failure(error)
            if is_ordinary(error):
                return outcome
            raise
        return self._publish(prepared)

    def _run_procedure(self, procedure: Procedure[Value]) -> Value:
        with self._lock:
            return run_procedure(procedure, self._handle)

    def _record_progress(self, progress: Progress) -> None:
        try:
            self._run_procedure(self.attempt.record_progress(progress.to_fields()))
        except Exception as error:  # noqa: BLE001  (for example a number that no document can hold)
            logger.warning("progress not recorded", **self._names(), error=error)
        self._pass_cancel_on()

    def _pass_cancel_on(self) -> None:
        """Let the task see that an operator cancelled its run, if the attempt has found out."""
        cancel = self.attempt.cancel
        if cancel is not None and not self._task_run.cancelled:
            logger.warning("run cancelled", **self._names(), by=cancel.by, reason=cancel.reason)
            self._task_run.mark_cancelled(cancel.cancel_message)

    def _prepare(self, value: object) -> PreparedResult:
        """Prepare the task's result on its thread, because an upload may take as long as a task."""
        save_in, objects = self._options.save_in, self._objects
        return prepare_result(value, self.attempt.identity, self._task_run, save_in, objects)

    def _do_work(self, work: Work[PreparedResult]) -> PreparedResult:
        """Start work, extend the lease until it ends, and return what it prepared."""
        self._awaited = work  # before this line, `shut_down` only sets the flag
        if self._is_shutting_down:
            work.over.set()
        else:
            work.start()
        try:
            self._extend_lease_during(work)
            return work.result()
        finally:
            if work.alive:  # a hung task: this instance takes no other run of it, and ends
                self._task_run.mark_lost()
                self._abandoned = work

    def _extend_lease_during(self, work: Work[PreparedResult]) -> None:
        """Extend the lease until the work ends; raise if the run must end without it."""
        lost: RunLost | None = None
        longest_pause = self._options.lease_seconds / 3
        pause = longest_pause
        while not self._clock.wait(work.over, min(pause, self._task_run.remaining())):
            if self._task_run.remaining() <= 0:
                if lost is not None:
                    raise lost
                message = f"the task was still at work after {self._options.deadline_seconds:g} s"
                raise DeadlineExceeded(message, work.stack())
            pause = longest_pause
            try:
                if lost is None:
                    self._run_procedure(self.attempt.extend())
            except RunLost as error:
                lost = error
                # Keep waiting: Cloud Run throttles the CPU once the response is sent.
                self._task_run.mark_lost()
            except StoreError as error:
                logger.warning("lease not extended", **self._names(), error=error)
                jittered = random.uniform(RETRY_SECONDS / 2, RETRY_SECONDS)  # noqa: S311
                pause = min(longest_pause, jittered)
            self._pass_cancel_on()
        if lost is not None:
            raise lost
        if not work.done.is_set():
            duration = round(work.task_seconds, 3)
            message = f"the instance received SIGTERM when the task had worked for {duration:g} s"
            raise InstanceShutDown(message, work.stack())

    def _publish(self, prepared: PreparedResult) -> TaskOutcome:
        try:
            try:
                end_state = self._commit_result(prepared)
            except WriteRejected as refusal:
                prepared = self._upload_refused(prepared, refusal)
                end_state = self._commit_result(prepared)
        except WriteRejected as error:
            return self._record_failure(error, prepared.pointer.path)
        except StoreError as error:
            return self._report_unrecorded("completed", error, prepared)
        except Exception as error:  # noqa: BLE001  (any error must end the run, or its status stays "running")
            return self._record_failure(error, prepared.pointer.path)
        if end_state is EndState.superseded:
            return self._report_superseded(prepared.pointer.path)
        task, pointer = self.attempt.identity.task, prepared.pointer
        update_cache(prepared, task, self._cache, is_current=self.attempt.holds_result)
        update_contract_copy(prepared, task, self._handle_objects)
        if self._options.debug_logs:
            logger.info(
                "task completed",
                **self._names(),
                duration_seconds=round(self._work.task_seconds, 3),
                saved_in=pointer.saved_in,
                size_bytes=pointer.size_bytes,
                count=pointer.count,
            )
        return self._outcome("completed")

    def _commit_result(self, prepared: PreparedResult) -> EndState:
        ending = complete(
            self.attempt,
            data=prepared.data,
            result=replace(prepared.pointer, summary=self._task_run.summary),
            duration=self._work.task_seconds,
            deadline=self._deadline + FINISH_SECONDS,
            progress=self._task_run.last_progress(),
        )
        return self._run_procedure(ending)

    def _upload_refused(self, prepared: PreparedResult, refusal: WriteRejected) -> PreparedResult:
        """Upload a result that Firestore refused, as work of its own: the lease is extended meanwhile."""
        timeout = max(self._task_run.remaining(), 1.0)
        identity, objects = self.attempt.identity, self._objects
        move = partial(move_to_storage, identity=identity, refusal=refusal, objects=objects, timeout=timeout)
        return self._do_work(Work(lambda: prepared, self._task_run, move, self._clock))

    def _record_failure(self, error: BaseException, path: str | None = None) -> TaskOutcome:
        """Record a failure, and remove the object that was uploaded to `path`.

        The record comes first: the status document's new version then refuses a late publication.
        """
        failure = Failure.of(error)
        duration, shown = self._work.task_seconds, self.attempt.recorded_failure(failure)
        logger.error(
            "task failed",
            **self._names(),
            duration_seconds=round(duration, 3),
            error=shown.text,
            traceback=shown.trace,
        )
        try:
            deadline, progress = self._deadline + FINISH_SECONDS, self._task_run.last_progress()
            ending = fail(self.attempt, failure, duration=duration, deadline=deadline, progress=progress)
            end_state = self._run_procedure(ending)
        except Exception as unrecorded:  # noqa: BLE001  (any error is logged with the run's end)
            return self._report_unrecorded("failed", unrecorded)
        if end_state is EndState.superseded:
            return self._report_superseded(path)
        self._pass_cancel_on()
        self._remove(path)
        cancelled = self.attempt.cancel is not None
        error_text = self.attempt.recorded_failure(failure).text
        return self._outcome("cancelled" if cancelled else "failed", error_text)

    def _report_superseded(self, path: str | None) -> TaskOutcome:
        logger.warning("run superseded", **self._names())
        if self.attempt.is_object_unused:
            self._remove(path)
        return self._outcome("superseded", "another attempt took the task")

    def _remove(self, path: str | None) -> None:
        """Remove an uploaded object that will never be published."""
        try:
            if path is not None:
                self._handle_objects(RemoveObject(path))
        except Exception as error:  # noqa: BLE001  (the watchdog removes what stays)
            logger.warning("unpublished object not removed", **self._names(), error=error)

    def _report_unrecorded(
        self, end: str, error: Exception, prepared: PreparedResult | None = None
    ) -> TaskOutcome:
        """Log the end of the run, and where its result is, because no document contains them."""
        now = self._clock.now()
        result = {} if prepared is None else replace(prepared.pointer, completed=now).to_fields()
        logger.error(
            "the end of a run could not be recorded",
            **self._names(),
            end=end,
            attempt=self.attempt.number,
            token=self.attempt.identity.token,
            duration_seconds=round(self._work.task_seconds, 3),
            error=Failure.of(error).text,
            result=result,
            summary=self._task_run.summary,
        )
        return self._outcome("failed", f"its end ({end}) could not be recorded")

    def _names(self) -> dict[str, str]:
        identity = self.attempt.identity
        return {"task": identity.task.value, "run_id": identity.run_id}

    def _outcome(self, status: OutcomeStatus, error: str | None = None) -> TaskOutcome:
        return TaskOutcome(self.attempt.identity.run_id, status, self._work.task_seconds, error)
