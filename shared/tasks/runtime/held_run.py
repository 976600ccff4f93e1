"""One attempt of a run, with its task's thread and its lease, which is extended while the task works."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.errors import DeadlineExceeded, InstanceShutDown, RunLost, StoreError
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.runtime.checkpoint_limits import pause_between
from shared.tasks.runtime.checkpoints import Checkpoints
from shared.tasks.runtime.run_storage import RunStorage
from shared.tasks.runtime.task_run import Progress, RunTimes, TaskRun
from shared.tasks.specs import LEG_OVERTIME

if TYPE_CHECKING:
    from shared.tasks.documents.legs import Legs
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.options import ExecuteTaskOptions
    from shared.tasks.protocol.effects import Procedure, Value
    from shared.tasks.runtime.prepared_result import PreparedResult
    from shared.tasks.runtime.task_thread import Work
    from shared.tasks.services import Services

#: Longest pause after a failed extension, in seconds. It is jittered, because all instances fail at once.
RETRY_SECONDS = 2.0


class HeldRun:
    """The run of one attempt, from its delivery to its end.

    Attributes:
        attempt: The attempt, with its documents as it last read or wrote them.
        task_run: What the task sees of the run.
        checkpoints: The run's steps and cursors.
        began: When the attempt began, on the clock's monotonic scale.
    """

    def __init__(self, services: Services, identity: AttemptIdentity, options: ExecuteTaskOptions) -> None:
        self._clock = clock = services.clock
        self._options = options
        self._handle = services.handler(identity.task)
        # One write at a time, on any thread: an extension and the end of the run must not refuse each
        # other, and no progress may follow the end.
        self._lock = threading.Lock()
        self._is_shutting_down = False
        self._awaited: Work[PreparedResult] | None = None
        self._abandoned: Work[PreparedResult] | None = None
        self.began = clock.monotonic()
        self.attempt = Attempt(identity, options, clock)
        self._storage = RunStorage(self.attempt, services.objects, self)
        self.checkpoints = Checkpoints(self._storage, clock)
        times = self._times(None)
        record, log = self._record_progress, self.attempt.log
        self.task_run = TaskRun(identity, times, clock, record, self.checkpoints, log)

    @property
    def times(self) -> RunTimes:
        """When the run and this attempt must end."""
        return self.task_run.times

    @property
    def names(self) -> dict[str, str]:
        """The fields that identify the run in the log."""
        identity = self.attempt.identity
        return {"task": identity.task.value, "run_id": identity.run_id}

    @property
    def is_hung(self) -> bool:
        """Whether the task is still working although the run stopped waiting for it."""
        return self._abandoned is not None and self._abandoned.alive

    def begin(self) -> None:
        """Note what is known once the attempt holds its task."""
        attempt, legs, leg = self.attempt, self.attempt.legs, self.attempt.leg
        self.task_run.set_attempt(attempt.identity, attempt.number, leg, self._times(legs))
        if self._options.debug_logs:
            numbers = {"attempt": attempt.number, **({} if legs is None else {"leg": leg})}
            logger.info("task started", **self.names, **numbers, source=attempt.identity.source)

    def restore(self) -> None:
        """Continue from what earlier legs and attempts persisted. Raises what `read_saved` raises."""
        saved = self._storage.read()
        pause = pause_between(self.task_run.remaining(), parts=len(saved.parts))
        self.checkpoints.begin(saved, leg_ends=self.times.leg_ends, pause=pause)

    def shut_down(self) -> None:
        """Let the run end at its next checkpoint, or at once if its task uses none: the process ends.

        Called on another thread.
        """
        self._is_shutting_down = True
        self.checkpoints.end_leg()
        if not self.checkpoints.is_used:
            self.abandon()

    def abandon(self) -> None:
        """End the run at once, because its process ends. Called on another thread."""
        if self._awaited is not None:
            self._awaited.over.set()

    def run_procedure(self, procedure: Procedure[Value]) -> Value:
        """Carry out a procedure while no other write of this attempt is under way."""
        with self._lock:
            return run_procedure(procedure, self._handle)

    def _record_progress(self, progress: Progress) -> None:
        try:
            self.run_procedure(self.attempt.record_progress(progress.to_fields()))
        except Exception as error:  # noqa: BLE001  (for example a number that no document can hold)
            logger.warning("progress not recorded", **self.names, error=error)
        self.pass_cancel_on()

    def pass_cancel_on(self) -> None:
        """Let the task see that an operator cancelled its run, if the attempt has found out."""
        cancel = self.attempt.cancel
        if cancel is not None and not self.task_run.cancelled:
            logger.warning("run cancelled", **self.names, by=cancel.by, reason=cancel.reason)
            self.task_run.mark_cancelled(cancel.cancel_message)

    def do_work(self, work: Work[PreparedResult]) -> PreparedResult:
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
                self.task_run.mark_lost()
                self._abandoned = work

    def _extend_lease_during(self, work: Work[PreparedResult]) -> None:
        """Extend the lease until the work ends; raise if the run must end without it."""
        lost: RunLost | None = None
        longest_pause = self._options.lease_seconds / 3
        pause = longest_pause
        while not self._clock.wait(work.over, min(pause, self.task_run.leg_remaining())):
            if self.task_run.leg_remaining() <= 0:
                if lost is not None:
                    raise lost
                raise DeadlineExceeded(self._deadline_message(), work.stack())
            pause = longest_pause
            try:
                if lost is None:
                    self.run_procedure(self.attempt.extend())
            except RunLost as error:
                lost = error
                # Keep waiting: Cloud Run throttles the CPU once the response is sent.
                self.task_run.mark_lost()
            except StoreError as error:
                logger.warning("lease not extended", **self.names, error=error)
                jittered = random.uniform(RETRY_SECONDS / 2, RETRY_SECONDS)  # noqa: S311
                pause = min(longest_pause, jittered)
            self.pass_cancel_on()
        if lost is not None:
            raise lost
        if not work.done.is_set():
            duration = round(work.task_seconds, 3)
            message = f"the instance received SIGTERM when the task had worked for {duration:g} s"
            raise InstanceShutDown(message, work.stack())

    def _deadline_message(self) -> str:
        if self.task_run.remaining() <= 0:
            legs = self.attempt.legs
            if legs is not None:
                return f"the task was still at work at the run's deadline, in leg {legs.number}"
            return f"the task was still at work after {self._options.deadline_seconds:g} s"
        text = f"leg {self.task_run.leg} reached no checkpoint in time"
        if self.checkpoints.is_used:
            return f"{text}; divide the work into smaller steps, or advance its cursor more often"
        return f"{text}; a task that may take longer than a leg calls run.step or run.cursor"

    def _times(self, legs: Legs | None) -> RunTimes:
        """Return when this attempt must end; `legs` is None until it is known that the run is long."""
        options, began = self._options, self.began
        leg_seconds = options.leg_seconds
        if leg_seconds is None and legs is None:
            deadline = began + options.deadline_seconds
            return RunTimes(deadline, deadline)
        if leg_seconds is None:
            # A deployment has shortened the task's deadline, and with it the time-out of its function.
            leg_seconds = options.deadline_seconds / LEG_OVERTIME
        deadline = began + options.deadline_seconds
        if legs is not None:
            deadline = self._clock.monotonic() + (legs.deadline - self._clock.now()).total_seconds()
        ends = min(deadline, began + leg_seconds * LEG_OVERTIME)
        return RunTimes(deadline, ends, leg_ends=began + leg_seconds)
