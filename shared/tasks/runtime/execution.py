"""One call of `execute_task` from start to end.

An execution carries out the run protocol, which holds the task, while the task works on its own thread. It
publishes the result, and turns whatever happens into an outcome.
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
from shared.tasks.protocol.decisions import Busy, EndState, Skip, Take
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import RemoveObject, run_procedure
from shared.tasks.protocol.run_end import complete, fail
from shared.tasks.runtime.publication import Publication, move_to_storage, prepare, update_copies
from shared.tasks.runtime.task_run import Progress, TaskRun
from shared.tasks.runtime.task_thread import Work, is_ordinary

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.run_writes import AttemptIdentity
    from shared.tasks.protocol.effects import Procedure, Value
    from shared.tasks.serving.cache import CacheManager

#: Longest duration of a start, in seconds; then the delivery fails.
START_SECONDS = 20.0
#: Seconds after the deadline in which the run's end may still be recorded.
FINISH_SECONDS = 20.0
#: Seconds after the deadline in which the contract copy may still be written. The function's timeout is
#: `functions.scheduled_endpoint.TIMEOUT_MARGIN_SECONDS` after it, which leaves time for the last call.
CONTRACT_COPY_SECONDS = 40.0
#: Longest pause after a failed extension, in seconds. It is jittered, because all instances fail at once.
EXTEND_AGAIN_SECONDS = 2.0


class Execution:
    """One run of a task.

    All its times count from its creation, so that it ends before the platform ends the function.
    """

    def __init__(
        self,
        store: Store,
        objects: Objects,
        cache: CacheManager,
        clock: Clock,
        run: AttemptIdentity,
        task: TaskFunction,
        options: ExecuteTaskOptions,
    ) -> None:
        self._objects = objects
        self._cache = cache
        self._clock = clock
        self._options = options
        #: Set when the run has ended, in any way.
        self.ended = threading.Event()
        self._is_shutting_down = False
        self._began = clock.monotonic()
        self._deadline = self._began + options.deadline_seconds
        self._attempt = Attempt(run, options, clock)
        self._handle = EffectHandler(run.task, clock, store)
        copies_deadline = self._deadline + CONTRACT_COPY_SECONDS
        self._handle_objects = EffectHandler(run.task, clock, store, objects, deadline=copies_deadline)
        # One write at a time, on any thread: an extension and the end of the run must not refuse each
        # other, and no progress may follow the end.
        self._lock = threading.Lock()
        self._task_run = TaskRun(run, self._deadline, clock, self._record_progress)
        self._work: Work[Publication] = Work(task, self._task_run, self._prepare, clock)
        self._awaited: Work[Publication] | None = None
        self._abandoned: Work[Publication] | None = None

    @property
    def run(self) -> AttemptIdentity:
        """The run. A delivery may turn out to be that of a requested run when it starts."""
        return self._attempt.identity

    @property
    def is_hung(self) -> bool:
        """Whether the task is still working although the run stopped waiting for it."""
        return self._abandoned is not None and self._abandoned.alive

    def carry_out(self, remembered: TaskDocument | None) -> TaskOutcome:
        """Take the task, let it work, and publish its result.

        What the task raises besides an Exception is raised again, once it is recorded. With the status
        document as the last run on this instance left it, the start needs no read.
        """
        try:
            return self._start(remembered) or self._work_and_publish()
        finally:
            self.ended.set()

    def refuse(self, reason: str) -> TaskOutcome:
        """Leave the run to a later delivery, and record that this one was refused."""
        try:
            self._run_procedure(refuse(self._attempt, reason))
        except Exception as error:  # noqa: BLE001  (the delivery is refused in any case)
            logger.warning("refused delivery not recorded", **self._names(), error=error)
        logger.warning("run busy", **self._names(), reason=reason)
        return self._outcome("busy", reason)

    def shut_down(self) -> None:
        """End the run as failed at once, because its process ends. Called on another thread."""
        self._is_shutting_down = True
        if self._awaited is not None:
            self._awaited.over.set()

    def remembered(self) -> TaskDocument | None:
        """Return the status document as this run left it, for the next run on this instance."""
        return self._attempt.remembered()

    def _start(self, remembered: TaskDocument | None) -> TaskOutcome | None:
        """Take the task; return the outcome if it was not taken."""
        try:
            start = acquire(self._attempt, remembered, deadline=self._began + START_SECONDS)
            decision = self._run_procedure(start)
        except StoreError as error:
            logger.error("run not started", **self._names(), error=Failure.of(error).text)
            return self._outcome("failed", f"not started: {Failure.of(error).text}")
        match decision:
            case Take():
                self._task_run.begin(self.run, self._attempt.number)
                if self._options.debug_logs:
                    number, source = self._attempt.number, self.run.source
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
            publication = self._wait_for(self._work)
        except BaseException as error:
            if isinstance(error, RunLost) and self._task_run.lost:  # not merely raised by the task
                logger.warning("run lost", **self._names(), error=error)
                return self._outcome("lost", str(error))
            outcome = self._failed(error)
            if is_ordinary(error):
                return outcome
            raise
        return self._publish(publication)

    def _run_procedure(self, procedure: Procedure[Value]) -> Value:
        with self._lock:
            return run_procedure(procedure, self._handle)

    def _record_progress(self, progress: Progress) -> None:
        try:
            self._run_procedure(self._attempt.record_progress(progress.to_fields()))
        except Exception as error:  # noqa: BLE001  (for example a number that no document can hold)
            logger.warning("progress not recorded", **self._names(), error=error)
        self._pass_cancel_on()

    def _pass_cancel_on(self) -> None:
        """Let the task see that an operator cancelled its run, if the attempt has found out."""
        cancel = self._attempt.cancel
        if cancel is not None and not self._task_run.cancelled:
            logger.warning("run cancelled", **self._names(), by=cancel.by, reason=cancel.reason)
            self._task_run.mark_cancelled(cancel.cancel_message)

    def _prepare(self, value: object) -> Publication:
        """Prepare the task's result on its thread, because an upload may take as long as a task."""
        return prepare(value, self.run, self._task_run, self._options.save_in, self._objects)

    def _wait_for(self, work: Work[Publication]) -> Publication:
        """Start work, hold the task until it is done, and return what it prepared."""
        self._awaited = work  # before this line, `shut_down` only sets the flag
        if self._is_shutting_down:
            work.over.set()
        else:
            work.start()
        try:
            self._hold(work)
            return work.result()
        finally:
            if work.alive:  # a hung task: this instance takes no other run of it, and ends
                self._task_run.mark_lost()
                self._abandoned = work

    def _hold(self, work: Work[Publication]) -> None:
        """Wait for the work and extend the lease meanwhile; raise if the run must end without it."""
        lost: RunLost | None = None
        longest_pause = self._options.lease_seconds / 3
        pause = longest_pause
        while not self._clock.wait(work.over, min(pause, self._task_run.remaining())):
            if self._task_run.remaining() <= 0:
                message = f"the task was still at work after {self._options.deadline_seconds:g} s"
                raise lost or DeadlineExceeded(message, work.stack())
            pause = longest_pause
            try:
                if lost is None:
                    self._run_procedure(self._attempt.extend())
            except RunLost as error:
                lost = error
                # Keep waiting: Cloud Run throttles the CPU once the response is sent.
                self._task_run.mark_lost()
            except StoreError as error:
                logger.warning("lease not extended", **self._names(), error=error)
                jittered = random.uniform(EXTEND_AGAIN_SECONDS / 2, EXTEND_AGAIN_SECONDS)  # noqa: S311
                pause = min(longest_pause, jittered)
            self._pass_cancel_on()
        if lost is not None:
            raise lost
        if not work.done.is_set():
            duration = round(work.task_seconds, 3)
            message = f"the instance received SIGTERM when the task had worked for {duration:g} s"
            raise InstanceShutDown(message, work.stack())

    def _publish(self, publication: Publication) -> TaskOutcome:
        try:
            try:
                stands = self._complete(publication)
            except WriteRejected as refusal:
                publication = self._move_to_storage(publication, refusal)
                stands = self._complete(publication)
        except WriteRejected as error:
            return self._failed(error, publication.pointer.path)
        except StoreError as error:
            return self._not_recorded("completed", error, publication)
        except Exception as error:  # noqa: BLE001  (any error must end the run, or its status stays "running")
            return self._failed(error, publication.pointer.path)
        if stands is EndState.superseded:
            return self._superseded(publication.pointer.path)
        is_current, pointer = self._attempt.holds_result, publication.pointer
        update_copies(publication, self.run.task, self._cache, self._handle_objects, is_current=is_current)
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

    def _complete(self, publication: Publication) -> EndState:
        ending = complete(
            self._attempt,
            data=publication.data,
            result=replace(publication.pointer, summary=self._task_run.summary),
            duration=self._work.task_seconds,
            deadline=self._deadline + FINISH_SECONDS,
            progress=self._task_run.last_progress(),
        )
        return self._run_procedure(ending)

    def _move_to_storage(self, publication: Publication, refusal: WriteRejected) -> Publication:
        """Upload a refused result as the task's own work: the lease is extended, the deadline holds."""
        timeout = max(self._task_run.remaining(), 1.0)
        move = partial(move_to_storage, run=self.run, refusal=refusal, objects=self._objects, timeout=timeout)
        return self._wait_for(Work(lambda: publication, self._task_run, move, self._clock))

    def _failed(self, error: BaseException, path: str | None = None) -> TaskOutcome:
        """Record a failure.

        Args:
            error: The failure.
            path: Path of an uploaded object. It is removed once the failure is recorded: from then on the
                status document has a newer version, which refuses a late publication.
        """
        failure = Failure.of(error)
        duration, shown = self._work.task_seconds, self._attempt.recorded_failure(failure)
        logger.error(
            "task failed",
            **self._names(),
            duration_seconds=round(duration, 3),
            error=shown.text,
            traceback=shown.trace,
        )
        try:
            deadline, progress = self._deadline + FINISH_SECONDS, self._task_run.last_progress()
            ending = fail(self._attempt, failure, duration=duration, deadline=deadline, progress=progress)
            stands = self._run_procedure(ending)
        except Exception as unrecorded:  # noqa: BLE001  (any error is logged with the run's end)
            return self._not_recorded("failed", unrecorded)
        if stands is EndState.superseded:
            return self._superseded(path)
        self._pass_cancel_on()
        self._remove(path)
        cancelled = self._attempt.cancel is not None
        return self._outcome(
            "cancelled" if cancelled else "failed", self._attempt.recorded_failure(failure).text
        )

    def _superseded(self, path: str | None) -> TaskOutcome:
        logger.warning("run superseded", **self._names())
        if self._attempt.object_may_go:
            self._remove(path)
        return self._outcome("superseded", "another attempt took the task")

    def _remove(self, path: str | None) -> None:
        """Remove an uploaded object that will never be published."""
        try:
            if path is not None:
                self._handle_objects(RemoveObject(path))
        except Exception as error:  # noqa: BLE001  (the watchdog removes what stays)
            logger.warning("unpublished object not removed", **self._names(), error=error)

    def _not_recorded(
        self, end: str, error: Exception, publication: Publication | None = None
    ) -> TaskOutcome:
        """Log the end of the run, and where its result is, because no document contains them."""
        now = self._clock.now()
        result = {} if publication is None else replace(publication.pointer, completed=now).to_fields()
        logger.error(
            "the end of a run could not be recorded",
            **self._names(),
            end=end,
            attempt=self._attempt.number,
            token=self.run.token,
            duration_seconds=round(self._work.task_seconds, 3),
            error=Failure.of(error).text,
            result=result,
            summary=self._task_run.summary,
        )
        return self._outcome("failed", f"its end ({end}) could not be recorded")

    def _names(self) -> dict[str, str]:
        return {"task": self.run.task.value, "run_id": self.run.run_id}

    def _outcome(self, status: OutcomeStatus, error: str | None = None) -> TaskOutcome:
        return TaskOutcome(self.run.run_id, status, self._work.task_seconds, error)
