"""One attempt of a run, as the run protocol has it: take the task, hold it, end it.

`decisions` says what to do, `writes` builds what is written, `store` sends it. This module
joins the three and knows the one thing that they don't: which version of S is this attempt's
own. It never runs a task and never touches Storage.
"""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared import logger
from shared.tasks import writes
from shared.tasks.decisions import Skip, Standing, StartDecision, Take, decide_start, is_own, standing
from shared.tasks.document import ResultPointer, TaskDocument
from shared.tasks.errors import (
    RunLost,
    StoreError,
    StoreUnavailable,
    WriteRefused,
    WriteRejected,
    WriteUnknown,
)
from shared.tasks.names import TaskStatus
from shared.tasks.writes import RunEnd, RunIdentity

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.clock import Clock
    from shared.tasks.document import RunDocument
    from shared.tasks.failure import Failure
    from shared.tasks.options import ExecuteTaskOptions
    from shared.tasks.run import Progress
    from shared.tasks.store import Store

#: How far the clocks of two instances may be apart.
CLOCK_SKEW = timedelta(seconds=5)
#: Decisions made anew before a start gives up.
START_TRIES = 8
#: Seconds of the first pause before deciding anew; doubled each time, jittered.
FIRST_PAUSE = 0.02
#: Seconds of the longest pause.
LONGEST_PAUSE = 2.0


class Attempt:
    """Takes, holds and ends a task for one attempt of a run.

    Args:
        identity: who it is.
        options: lease, deadline, and how S is written at the start.
        store: where the documents are.
        clock: the time.
    """

    def __init__(
        self, identity: RunIdentity, options: ExecuteTaskOptions, store: Store, clock: Clock
    ) -> None:
        self.identity = identity
        self._options = options
        self._lease = timedelta(seconds=options.lease_seconds)
        self._store = store
        self._clock = clock
        # One lock for all writes of a run: an extension and the end must not refuse each other,
        # and no progress may follow the end.
        self._lock = threading.Lock()
        self._ended = False
        self._task = TaskDocument()
        self.number = 0
        self.started: datetime = clock.now()
        self.object_may_go = False

    def start(self, remembered: TaskDocument | None) -> StartDecision:
        """Take the task, or find out why not (protocol, "Start").

        Args:
            remembered: S as this instance left it. It may only lead to a commit; whatever else
                it would lead to, or a commit that it makes fail, is decided on a fresh read.

        Returns:
            Take where the task is this attempt's now; else what was decided, a skip recorded.

        Raises:
            StoreError: Firestore did not answer, or can't take the writes.
        """
        fresh = remembered is None
        task, run = self._read() if remembered is None else (remembered, None)
        for tries in range(START_TRIES):
            decision = self._decide(task, run)
            if not isinstance(decision, Take):
                if fresh:
                    return self._without_taking(decision)
            elif self._take(decision, task):
                return decision
            if fresh:
                self._pause(tries)
            task, run = self._read()
            fresh = True
            if is_own(task, self.identity.token):  # only the answer was lost
                self._task = task
                self.number = task.attempt
                self.started = task.started or self.started
                return Take(task.attempt)
        raise StoreUnavailable(f"{START_TRIES} tries to take the task met another writer each time")

    def extend(self) -> None:
        """Extend the lease.

        Raises:
            RunLost: the task is another's, or was failed by the watchdog.
            StoreError: Firestore did not answer; the lease runs on as it was.
        """
        seconds = self._options.lease_seconds / 6
        with self._lock:
            for _ in range(2):
                until = self._clock.now() + self._lease
                extension = writes.extend(self.identity, self._version(), lease_until=until)
                try:
                    self._task = replace(
                        self._task, update_time=self._store.commit(extension, seconds=seconds)
                    )
                except (WriteRefused, WriteUnknown):
                    task, _ = self._read(seconds)
                    if not is_own(task, self.identity.token):
                        self._ended = True
                        self._task = TaskDocument()
                        raise RunLost(f"{self.identity.run_id} lost its lease") from None
                    self._task = task
                    if task.lease_until is not None and task.lease_until >= until:
                        return
                else:
                    return

    def record_progress(self, progress: Progress) -> None:
        """Write progress to the history, unless the attempt has ended. A failure is logged, no more."""
        with self._lock:
            if self._ended:
                return
            written = writes.progress(
                self.identity,
                done=progress.done,
                total=progress.total,
                message=progress.message,
                now=self._clock.now(),
            )
            try:
                self._store.commit(written, seconds=self._options.lease_seconds / 6)
            except StoreError as error:
                logger.warning("progress not recorded", run_id=self.identity.run_id, error=error)

    def complete(
        self,
        *,
        data: Any,
        result: Callable[[datetime], ResultPointer],
        summary: Any,
        duration: float,
        until: float,
    ) -> Standing:
        """Publish a result (protocol, "Finish").

        Args:
            data: the contract's `data`.
            result: describes it, given when it completed.
            summary: what the task says beside it.
            duration: of the task's work, seconds.
            until: when to give up, on the clock's monotonic scale.

        Returns:
            done where it is published, superseded where another attempt holds the task.

        Raises:
            WriteRejected: Firestore can't hold this result.
            StoreError: Firestore did not answer until then.
        """
        end = self._end(duration)
        pointer = result(end.completed)

        def build(on: Timestamp, suspended: bool) -> list[Any]:
            return writes.complete(
                self.identity, on, end, data=data, result=pointer, summary=summary, suspended=suspended
            )

        return self._write_end(TaskStatus.completed, build, until, result=pointer)

    def fail(self, failure: Failure, *, duration: float, until: float) -> Standing:
        """Record a failure; the last good result stays. Arguments and errors as `complete`."""
        end = self._end(duration)

        def build(on: Timestamp, suspended: bool) -> list[Any]:
            return writes.fail(
                self.identity, on, end, message=failure.text, error=failure.to_fields(), suspended=suspended
            )

        return self._write_end(TaskStatus.failed, build, until, result=self._task.result)

    def remembered(self) -> TaskDocument | None:
        """Return S as this attempt left it, or None where it can't be known."""
        task = self._task
        return task if self._ended and task.exists and not task.is_suspended else None

    def _decide(self, task: TaskDocument, run: RunDocument | None) -> StartDecision:
        return decide_start(
            task,
            run,
            run_id=self.identity.run_id,
            now=self._clock.now(),
            skew=CLOCK_SKEW,
            deadline=timedelta(seconds=self._options.deadline_seconds),
        )

    def _take(self, take: Take, task: TaskDocument) -> bool:
        """Write the start; return whether it was applied for certain."""
        now = self._clock.now()
        keep = self._options.keep_last_result
        commit = writes.start(
            self.identity, take, task, now=now, lease_until=now + self._lease, keep_last_result=keep
        )
        try:
            version = self._store.commit(commit, seconds=self._options.lease_seconds / 6)
        except (WriteRefused, WriteUnknown):
            return False
        self.number = take.attempt
        self.started = now
        self._task = replace(
            task,
            update_time=version,
            status=TaskStatus.running.value,
            run_id=self.identity.run_id,
            attempt=take.attempt,
            token=self.identity.token,
            state=TaskStatus.running.value,
            result=task.result if keep else None,
        )
        return True

    def _without_taking(self, decision: StartDecision) -> StartDecision:
        """Record a skip; everything else leaves no trace."""
        if isinstance(decision, Skip):
            for tries in range(START_TRIES):
                try:
                    self._store.commit(writes.skip(self.identity, decision, now=self._clock.now()))
                except (WriteRefused, WriteUnknown):  # written over itself, it does no harm twice
                    self._pause(tries)
                else:
                    return decision
            raise StoreUnavailable("the skip could not be recorded")
        return decision

    def _write_end(
        self,
        goal: TaskStatus,
        build: Callable[[Timestamp, bool], list[Any]],
        until: float,
        *,
        result: ResultPointer | None,
    ) -> Standing:
        """Commit the attempt's end, deciding again whenever it is not known to be applied."""
        with self._lock:
            tries = 0
            while True:
                try:
                    version = self._store.commit(build(self._version(), self._task.is_suspended))
                except WriteRejected:
                    raise
                except StoreError as error:
                    found = self._settle(goal, error, until)
                else:
                    self._ended_as(goal, replace(self._task, update_time=version, result=result))
                    return Standing.done
                if found is not None and found is not Standing.own:
                    self._ended = True
                    self._task = TaskDocument()
                    return found
                if self._clock.monotonic() >= until:
                    raise StoreUnavailable("the end of the run could not be recorded in time")
                self._pause(tries)
                tries += 1

    def _settle(self, goal: TaskStatus, error: StoreError, until: float) -> Standing | None:
        """Find out how the attempt stands after a refused or lost write; None where that failed."""
        left = until - self._clock.monotonic()
        try:
            task, run = self._read(min(max(left, 1.0), self._store.read_seconds))
            stands = standing(task, run, token=self.identity.token, goal=goal)
            if stands is Standing.superseded:
                self._close_superseded(run)
        except StoreError as again:
            logger.warning(
                "the end of a run is not recorded yet", run_id=self.identity.run_id, error=error, again=again
            )
            return None
        if stands is Standing.own:
            self._task = task
        return stands

    def _close_superseded(self, run: RunDocument | None) -> None:
        """Close the history if it is still this attempt's; only then may its object go.

        Raises:
            StoreError: the history has changed, or Firestore did not answer: read again.
        """
        if run is None:  # nothing says whose it is now: the watchdog will find the object
            return
        if run.token == self.identity.token and run.state == TaskStatus.running:
            self._store.commit(writes.close_superseded(self.identity, run.update_time, now=self._clock.now()))
        self.object_may_go = True

    def _ended_as(self, goal: TaskStatus, task: TaskDocument) -> None:
        self._ended = True
        status = task.status if task.is_suspended else goal.value
        self._task = replace(task, state=goal.value, status=status, lease_until=None)

    def _end(self, duration: float) -> RunEnd:
        return RunEnd(self.number, self.started, self._clock.now(), round(duration * 1000))

    def _read(self, seconds: float | None = None) -> tuple[TaskDocument, RunDocument | None]:
        return self._store.read_for_decision(self.identity.task, self.identity.run_id, seconds=seconds)

    def _version(self) -> Timestamp:
        version = self._task.update_time
        if version is None:
            raise RunLost(f"{self.identity.run_id} does not hold its task")
        return version

    def _pause(self, tries: int) -> None:
        longest = min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE)
        self._clock.sleep(random.uniform(longest / 2, longest))  # noqa: S311  (jitter is no secret)
