"""One call of `execute_task` from its start to its end: start, work, publish.

It joins an attempt (which holds the task), the work (which does it) and the publication (which
is its result), and turns whatever happens into an outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import logger
from shared.tasks.attempt import Attempt
from shared.tasks.decisions import Busy, Skip, Standing, StartDecision, Take
from shared.tasks.errors import DeadlineExceeded, ResultNotKept, RunLost, StoreError, WriteRejected
from shared.tasks.failure import Failure
from shared.tasks.options import ExecuteTaskOptions, OutcomeStatus, TaskOutcome
from shared.tasks.publish import Publication, move_to_storage, prepare, spread
from shared.tasks.run import TaskRun
from shared.tasks.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tasks.cache import CacheManager
    from shared.tasks.clock import Clock
    from shared.tasks.document import TaskDocument
    from shared.tasks.objects import Objects
    from shared.tasks.store import Store
    from shared.tasks.writes import RunIdentity

#: Seconds beyond the deadline in which the end of a run is still tried to be recorded.
FINISH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs need of the world: documents, objects, this instance's cache, and time."""

    store: Store
    objects: Objects
    cache: CacheManager
    clock: Clock


class Execution:
    """One run of a task.

    Args:
        parts: the world.
        run: who it is.
        task: the task.
        options: the caller's choices.
        ran: called with the work that a deadline left behind, so that its instance knows.
    """

    def __init__(
        self,
        parts: Parts,
        run: RunIdentity,
        task: Callable[..., Any],
        options: ExecuteTaskOptions,
        left_behind: Callable[[Work[Publication]], None],
    ) -> None:
        self._parts = parts
        self._run = run
        self._task = task
        self._options = options
        self._left_behind = left_behind
        self._attempt = Attempt(run, options, parts.store, parts.clock)
        self._give_up_at = 0.0

    def carry_out(self, remembered: TaskDocument | None) -> TaskOutcome:
        """Start, work, publish.

        Args:
            remembered: S as this instance left it, if it did.

        Raises:
            BaseException: what a task raised that is no Exception, once it is recorded.
        """
        try:
            decision = self._attempt.start(remembered)
        except StoreError as error:
            return self._outcome("failed", error=f"not started: {Failure.of(error).text}")
        if not isinstance(decision, Take):
            return self._not_taken(decision)
        self._log_start()
        ends_at = self._parts.clock.monotonic() + self._options.deadline_seconds
        self._give_up_at = ends_at + FINISH_SECONDS
        work = self._work(ends_at)
        try:
            work.start()
            self._hold(work)
        except DeadlineExceeded as error:
            self._left_behind(work)
            return self._failed(error, self._options.deadline_seconds)
        except RunLost as error:
            return self._outcome("lost", work.task_seconds, str(error))
        except BaseException as error:
            outcome = self._failed(error, work.task_seconds)
            if isinstance(error, Exception):
                return outcome
            raise
        if work.error is not None:
            outcome = self._failed(work.error, work.task_seconds)
            if isinstance(work.error, Exception):
                return outcome
            raise work.error
        if work.made is None:
            raise AssertionError("the work is done, has no error and made nothing")
        return self._publish(work.made, work.task_seconds)

    def remembered(self) -> TaskDocument | None:
        """Return S as this run left it, for the next run on this instance."""
        return self._attempt.remembered()

    def _work(self, ends_at: float) -> Work[Publication]:
        run, parts = self._run, self._parts
        self._seen = TaskRun(run, self._attempt.number, ends_at, parts.clock, self._attempt.record_progress)

        def made(value: Any) -> Publication:
            self._seen.check()  # whoever waited for it has gone: nothing is to be uploaded
            return prepare(value, run, self._options.save_in, parts.objects)

        return Work(self._task, self._seen, made, parts.clock)

    def _hold(self, work: Work[Publication]) -> None:
        """Wait for the work to be done, extending the lease meanwhile.

        Raises:
            DeadlineExceeded: there is no time left and the task is still at work.
            RunLost: another attempt holds the task; the work has ended, or its time has.
        """
        lost: RunLost | None = None
        interval = self._options.lease_seconds / 3
        while not self._parts.clock.wait(work.done, min(interval, self._seen.remaining())):
            if self._seen.remaining() <= 0:
                raise lost or DeadlineExceeded(f"deadline exceeded: {self._options.deadline_seconds:g} s")
            lost = lost or self._extend()
        if lost is not None:
            raise lost

    def _extend(self) -> RunLost | None:
        try:
            self._attempt.extend()
        except RunLost as error:
            self._seen.mark_lost()  # and still waited for: after the answer it would get no CPU
            return error
        except StoreError as error:
            logger.warning("lease not extended", **self._names(), error=error)
        return None

    def _publish(self, publication: Publication, seconds: float) -> TaskOutcome:
        try:
            try:
                stands = self._complete(publication, seconds)
            except WriteRejected as refusal:
                publication = move_to_storage(publication, refusal, self._parts.objects)
                stands = self._complete(publication, seconds)
        except (WriteRejected, ResultNotKept) as error:
            return self._failed(error, seconds)
        except StoreError as error:
            return self._not_recorded("completed", error, seconds)
        if stands is Standing.superseded:
            return self._superseded(seconds, publication.path)
        spread(publication, self._parts.cache, self._parts.store, self._parts.objects)
        if self._options.debug_logs:
            logger.info(
                "task completed",
                **self._names(),
                duration_seconds=round(seconds, 3),
                saved_in=publication.saved_in,
                size_bytes=publication.size_bytes,
                count=publication.count,
            )
        return self._outcome("completed", seconds)

    def _complete(self, publication: Publication, seconds: float) -> Standing:
        return self._attempt.complete(
            data=publication.data,
            result=publication.pointer,
            summary=self._seen.summary,
            seconds=seconds,
            until=self._give_up_at,
        )

    def _failed(self, error: BaseException, seconds: float) -> TaskOutcome:
        failure = Failure.of(error)
        logger.error(
            "task failed",
            **self._names(),
            duration_seconds=round(seconds, 3),
            error=failure.text,
            traceback=failure.trace,
        )
        try:
            stands = self._attempt.fail(failure, seconds=seconds, until=self._give_up_at)
        except StoreError as unwritten:
            return self._not_recorded("failed", unwritten, seconds)
        if stands is Standing.superseded:
            return self._superseded(seconds, None)
        return self._outcome("failed", seconds, failure.text)

    def _superseded(self, seconds: float, path: str | None) -> TaskOutcome:
        """Give way: nothing of this attempt is published, and its object goes if it surely may."""
        logger.warning("run superseded", **self._names())
        if path is not None and self._attempt.object_may_go:
            try:
                self._parts.objects.remove(path)
            except Exception as error:  # noqa: BLE001  (the watchdog removes what stays)
                logger.warning("superseded object not removed", **self._names(), error=error)
        return self._outcome("superseded", seconds, "another attempt took the task")

    def _not_recorded(self, end: str, error: StoreError, seconds: float) -> TaskOutcome:
        """Say all there is to say: the log is all that tells how the run ended."""
        logger.error(
            "the end of a run could not be recorded",
            **self._names(),
            end=end,
            attempt=self._attempt.number,
            token=self._run.token,
            duration_seconds=round(seconds, 3),
            error=Failure.of(error).text,
        )
        return self._outcome("failed", seconds, f"its end ({end}) could not be recorded")

    def _not_taken(self, decision: StartDecision) -> TaskOutcome:
        if isinstance(decision, Skip):
            held = f" by {decision.holder}" if decision.holder else ""
            logger.info("tick skipped", **self._names(), reason=decision.reason, holder=decision.holder)
            return self._outcome("skipped", error=f"{decision.reason}{held}")
        if isinstance(decision, Busy):
            return self._outcome("busy", error="an attempt of this run may still be alive")
        logger.info("duplicate delivery", **self._names())
        return self._outcome("duplicate")

    def _log_start(self) -> None:
        if self._options.debug_logs:
            logger.info(
                "task started", **self._names(), attempt=self._attempt.number, source=self._run.source
            )

    def _names(self) -> dict[str, str]:
        return {"task": self._run.task.value, "run_id": self._run.run_id}

    def _outcome(self, status: OutcomeStatus, seconds: float = 0.0, error: str | None = None) -> TaskOutcome:
        return TaskOutcome(self._run.run_id, status, seconds, error)
