"""One call of `execute_task` from start to end: take the task, work, publish.

An execution carries out the run protocol (which holds the task), the work (the task's own thread) and the
publication (its result), and turns whatever happens into an outcome.
"""

from __future__ import annotations

import random
import threading
from functools import partial
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.errors import (
    DeadlineExceeded,
    InstanceShutDown,
    RunInterrupted,
    RunLost,
    StoreError,
    WriteRejected,
)
from shared.tasks.failure import Failure
from shared.tasks.options import ExecuteTaskOptions, OutcomeStatus, TaskFunction, TaskOutcome
from shared.tasks.protocol.decisions import Busy, Skip, Standing, StartDecision, Take
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.protocol.run import RunProtocol
from shared.tasks.results.stream import Records
from shared.tasks.runtime.publication import (
    Publication,
    move_to_storage,
    prepare,
    prepare_stream,
    spread,
    with_details,
)
from shared.tasks.runtime.task_run import Progress, TaskRun
from shared.tasks.runtime.task_thread import Work, is_ordinary

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.contract import JsonMap
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.run_writes import RunIdentity
    from shared.tasks.protocol.effects import Procedure, Value
    from shared.tasks.serving.cache import CacheManager

#: Seconds within which a task is taken, or the delivery is given up.
START_SECONDS = 20.0
#: Seconds beyond the deadline in which the end of a run is still tried to be recorded.
FINISH_SECONDS = 20.0
#: Seconds beyond the deadline in which the contract copy is still written. A function's time-out is
#: `functions.scheduled_endpoint.TIMEOUT_MARGIN_SECONDS` beyond it, and the last call may take its bound.
CONTRACT_COPY_SECONDS = 40.0
#: Seconds after a failed extension until the next, at most; jittered, as all instances fail at once.
EXTEND_AGAIN_SECONDS = 2.0


class Execution:
    """One run of a task. All its times count from here, so that it ends before the platform ends it.

    Args:
        store: Firestore.
        objects: The bucket of result objects.
        cache: The results that this instance holds.
        clock: Times the run.
        run: The attempt.
        task: Does the work.
        options: The caller's choices.
    """

    def __init__(
        self,
        store: Store,
        objects: Objects,
        cache: CacheManager,
        clock: Clock,
        run: RunIdentity,
        task: TaskFunction,
        options: ExecuteTaskOptions,
    ) -> None:
        self._store = store
        self._objects = objects
        self._cache = cache
        self._clock = clock
        self._options = options
        self._outlives: Work[Publication] | None = None
        self._is_shutting_down = False
        self._held: Work[Publication] | None = None
        #: Set once the run has ended, in whatever way.
        self.ended = threading.Event()
        self._began = clock.monotonic()
        self._deadline = self._began + options.deadline_seconds
        self._protocol = RunProtocol(run, options, clock)
        self._handle = EffectHandler(run.task, clock, store)
        # One write at a time, whichever thread asks for it: an extension and the end of the run must not
        # refuse each other, and no progress may follow the end.
        self._lock = threading.Lock()
        self._seen = TaskRun(run, self._deadline, clock, self._record_progress)
        self._work: Work[Publication] = Work(task, self._seen, self._prepared, clock)

    def carry_out(self, remembered: TaskDocument | None) -> TaskOutcome:
        """Start, work, publish.

        Args:
            remembered: The status document as this instance left it, if it did.

        Raises:
            BaseException: what a task raised that is no Exception, once it is recorded.
        """
        try:
            return self._carried_out(remembered)
        finally:
            self.ended.set()

    def shut_down(self) -> None:
        """End the run as failed at once, because its process ends. Called on another thread."""
        self._is_shutting_down = True
        if self._held is not None:
            self._held.over.set()

    def _carried_out(self, remembered: TaskDocument | None) -> TaskOutcome:
        try:
            start = self._protocol.start(remembered, deadline=self._began + START_SECONDS)
            decision = self._run_procedure(start)
        except StoreError as error:
            logger.error("run not started", **self._names(), error=Failure.of(error).text)
            return self._outcome("failed", error=f"not started: {Failure.of(error).text}")
        if not isinstance(decision, Take):
            return self._not_taken(decision)
        self._seen.begin(self.run, self._protocol.number)
        self._log_start()
        try:
            made = self._done(self._work)
        except BaseException as error:
            if isinstance(error, RunLost) and self._seen.lost:  # and not just a task that says so
                logger.warning("run lost", **self._names(), error=error)
                return self._outcome("lost", str(error))
            outcome = self._failed(error)
            if is_ordinary(error):
                return outcome
            raise
        return self._publish(made)

    @property
    def is_hung(self) -> bool:
        """Whether the task is still working although the run stopped waiting for it."""
        return self._outlives is not None and self._outlives.alive

    @property
    def run(self) -> RunIdentity:
        """The run. A delivery may turn out to be that of a requested run when it starts."""
        return self._protocol.identity

    def refuse(self, reason: str) -> TaskOutcome:
        """Leave the run to a later delivery, and record that this one was refused."""
        try:
            self._run_procedure(self._protocol.refuse(reason))
        except Exception as error:  # noqa: BLE001  (the delivery is refused in any case)
            logger.warning("refused delivery not recorded", **self._names(), error=error)
        logger.warning(f"run busy: {reason}", **self._names())
        return self._outcome("busy", reason)

    def remembered(self) -> TaskDocument | None:
        """Return the status document as this run left it, for the next run on this instance."""
        return self._protocol.remembered()

    def _record_progress(self, progress: Progress) -> None:
        try:
            self._run_procedure(self._protocol.record_progress(progress.to_fields()))
        except Exception as error:  # noqa: BLE001  (for example a number that no document can hold)
            logger.warning("progress not recorded", **self._names(), error=error)
        self._meet_cancel()

    def _meet_cancel(self) -> None:
        """Tell the task that a person cancelled its run, once the attempt has found out."""
        cancel = self._protocol.cancel
        if cancel is not None and not self._seen.cancelled:
            logger.warning("run cancelled", **self._names(), by=cancel.by, reason=cancel.reason)
            self._seen.mark_cancelled(cancel.cancel_message)

    def _run_procedure(self, procedure: Procedure[Value]) -> Value:
        with self._lock:
            return run_procedure(procedure, self._handle)

    def _prepared(self, value: object) -> Publication:
        """Make the task's result ready, on its thread: an upload may take as long as a task."""
        self._seen.check()  # whoever waited for it may have gone: nothing is to be uploaded then
        seen, run, save_in, objects = self._seen, self.run, self._options.save_in, self._objects
        if isinstance(value, Records):
            return with_details(prepare_stream(value, seen, run, save_in, objects), seen, objects)
        return with_details(prepare(value, run, save_in, objects), seen, objects)

    def _done(self, work: Work[Publication]) -> Publication:
        """Have work done, and hold the task meanwhile.

        Raises:
            BaseException: what the work raised, or `_hold`.
        """
        self._held = work  # from here `shut_down` ends it; before, it only set the flag
        if self._is_shutting_down:
            work.over.set()
        else:
            work.start()
        try:
            self._hold(work)
            return work.result()
        finally:
            if work.alive:  # a hung task: this instance takes no other run of it, and ends
                self._seen.mark_lost()
                self._outlives = work

    def _hold(self, work: Work[Publication]) -> None:
        """Wait for the work to be done, extending the lease meanwhile.

        Raises:
            DeadlineExceeded: there is no time left and the task is still at work.
            InstanceShutDown: the process ends and the task is still at work.
            RunLost: another attempt holds the task; the work has ended, or its time has.
        """
        lost: RunLost | None = None
        interval = self._options.lease_seconds / 3
        while not self._clock.wait(work.over, min(interval, self._seen.remaining())):
            if self._seen.remaining() <= 0:
                still = f"the task was still at work after {self._options.deadline_seconds:g} s"
                raise lost or self._interrupted(DeadlineExceeded(still), work)
            try:
                if lost is None:
                    self._run_procedure(self._protocol.extend())
                interval = self._options.lease_seconds / 3
            except RunLost as error:
                lost = error
                self._seen.mark_lost()  # and still waited for: after the answer it would get no CPU
            except StoreError as error:
                logger.warning("lease not extended", **self._names(), error=error)
                again = random.uniform(EXTEND_AGAIN_SECONDS / 2, EXTEND_AGAIN_SECONDS)  # noqa: S311  (no secret)
                interval = min(self._options.lease_seconds / 3, again)
            self._meet_cancel()
        if lost is not None:
            raise lost
        if not work.done.is_set():
            seconds = round(work.task_seconds, 3)
            ended = InstanceShutDown(
                f"the instance received SIGTERM when the task had worked for {seconds:g} s"
            )
            raise self._interrupted(ended, work)

    @staticmethod
    def _interrupted(error: RunInterrupted, work: Work[Publication]) -> RunInterrupted:
        """Return the error of a run that ends before its task, with the place where the task stands."""
        error.stack = work.stack()
        return error

    def _publish(self, publication: Publication) -> TaskOutcome:
        try:
            try:
                stands = self._complete(publication)
            except WriteRejected as refusal:
                publication = self._moved(publication, refusal)
                stands = self._complete(publication)
        except StoreError as error:
            if not isinstance(error, WriteRejected):
                return self._not_recorded("completed", error, publication)
            return self._failed(error, publication.path)
        except Exception as error:  # noqa: BLE001  (whatever it is, the run must not stay running)
            return self._failed(error, publication.path)
        if stands is Standing.superseded:
            return self._superseded(publication.path)
        self._spread(publication)
        if self._options.debug_logs:
            logger.info(
                "task completed",
                **self._names(),
                duration_seconds=round(self._work.task_seconds, 3),
                saved_in=publication.saved_in,
                size_bytes=publication.size_bytes,
                count=publication.count,
            )
        return self._outcome("completed")

    def _moved(self, publication: Publication, refusal: WriteRejected) -> Publication:
        """Give a refused result to Storage: work as the task's own is, held and within the deadline."""
        move = partial(
            move_to_storage,
            refusal=refusal,
            objects=self._objects,
            timeout=max(self._seen.remaining(), 1.0),
        )
        return self._done(Work(lambda: publication, self._seen, move, self._clock))

    def _complete(self, publication: Publication) -> Standing:
        complete = self._protocol.complete(
            data=publication.data,
            result=publication.pointer,
            summary=self._seen.summary,
            duration=self._work.task_seconds,
            deadline=self._deadline + FINISH_SECONDS,
            progress=self._last_progress(),
        )
        return self._run_procedure(complete)

    def _last_progress(self) -> JsonMap | None:
        """Return the progress to write with the end of the run, so that it costs no write of its own."""
        last = self._seen.last_progress
        if last is None:
            return None
        if last.is_storable:
            return last.to_fields()
        logger.warning("progress not recorded", **self._names(), error="no document can hold it")
        return None

    def _spread(self, publication: Publication) -> None:
        on_servers = EffectHandler(
            self.run.task,
            self._clock,
            self._store,
            self._objects,
            deadline=self._deadline + CONTRACT_COPY_SECONDS,
        )
        spread(publication, self._cache, on_servers, is_present=self._protocol.holds_result)

    def _failed(self, error: BaseException, path: str | None = None) -> TaskOutcome:
        """Record a failure.

        Args:
            error: it.
            path: Path of the object that was uploaded to be published. It is removed once the failure is
                recorded: then the status document has a newer version, which refuses a late publication.
        """
        failure = Failure.of(error)
        told = self._protocol.told(failure)
        logger.error(
            "task failed",
            **self._names(),
            duration_seconds=round(self._work.task_seconds, 3),
            error=told.text,
            traceback=told.trace,
        )
        try:
            fail = self._protocol.fail(
                failure,
                duration=self._work.task_seconds,
                deadline=self._deadline + FINISH_SECONDS,
                progress=self._last_progress(),
            )
            stands = self._run_procedure(fail)
        except Exception as unwritten:  # noqa: BLE001  (whatever it is, it must be told)
            return self._not_recorded("failed", unwritten)
        if stands is Standing.superseded:
            return self._superseded(path)
        self._meet_cancel()
        self._remove(path)
        cancelled = self._protocol.cancel is not None
        return self._outcome("cancelled" if cancelled else "failed", self._protocol.told(failure).text)

    def _superseded(self, path: str | None) -> TaskOutcome:
        """Give way: nothing of this attempt is published, and its object goes if it surely may."""
        logger.warning("run superseded", **self._names())
        if self._protocol.object_may_go:
            self._remove(path)
        return self._outcome("superseded", "another attempt took the task")

    def _remove(self, path: str | None) -> None:
        """Remove what was uploaded, if anything was, and will never be published."""
        if path is None:
            return
        left = self._deadline + CONTRACT_COPY_SECONDS - self._clock.monotonic()
        try:
            self._objects.remove(path, timeout=max(left, 1.0))
        except Exception as error:  # noqa: BLE001  (the watchdog removes what stays)
            logger.warning("unpublished object not removed", **self._names(), error=error)

    def _not_recorded(
        self, end: str, error: Exception, publication: Publication | None = None
    ) -> TaskOutcome:
        """Say all there is to say: the log is all that tells how the run ended, and where its result is."""
        result = {} if publication is None else publication.pointer(self._clock.now()).to_fields()
        logger.error(
            "the end of a run could not be recorded",
            **self._names(),
            end=end,
            attempt=self._protocol.number,
            token=self.run.token,
            duration_seconds=round(self._work.task_seconds, 3),
            error=Failure.of(error).text,
            result=result,
            summary=self._seen.summary,
        )
        return self._outcome("failed", f"its end ({end}) could not be recorded")

    def _not_taken(self, decision: StartDecision) -> TaskOutcome:
        if isinstance(decision, Skip):
            held = f" by {decision.holder}" if decision.holder else ""
            logger.info("tick skipped", **self._names(), reason=decision.reason, holder=decision.holder)
            return self._outcome("skipped", f"{decision.reason}{held}")
        if isinstance(decision, Busy):
            return self.refuse("an attempt of this run may still be alive")
        logger.info("duplicate delivery", **self._names())
        return self._outcome("duplicate")

    def _log_start(self) -> None:
        if self._options.debug_logs:
            logger.info(
                "task started", **self._names(), attempt=self._protocol.number, source=self.run.source
            )

    def _names(self) -> dict[str, str]:
        return {"task": self.run.task.value, "run_id": self.run.run_id}

    def _outcome(self, status: OutcomeStatus, error: str | None = None) -> TaskOutcome:
        return TaskOutcome(self.run.run_id, status, self._work.task_seconds, error)
