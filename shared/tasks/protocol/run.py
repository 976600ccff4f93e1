"""The run protocol, step by step: what one attempt reads and writes, and what it makes of the answers.

`decisions` says what to do, `writes` what is written; this joins them into procedures, which
`attempt` performs on the real store.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from shared import logger
from shared.tasks.contract import TaskStatus
from shared.tasks.documents import run_writes
from shared.tasks.documents.models import TaskDocument
from shared.tasks.documents.run_ids import refusal_id
from shared.tasks.documents.run_writes import RunEnd, RunIdentity
from shared.tasks.errors import (
    RunCancelled,
    RunLost,
    StoreError,
    StoreUnavailable,
    WriteDenied,
    WriteRefused,
    WriteRejected,
    WriteUnknown,
)
from shared.tasks.protocol.decisions import (
    Skip,
    Standing,
    StartDecision,
    Take,
    answers_request,
    decide_start,
    is_forced,
    is_own,
    is_own_record,
    standing,
)
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadRun, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.clock import Clock
    from shared.tasks.documents.models import Action, ResultPointer, RunDocument
    from shared.tasks.failure import Failure
    from shared.tasks.options import ExecuteTaskOptions

#: How far the clocks of two instances may be apart.
CLOCK_SKEW = timedelta(seconds=5)
#: Tries of one extension; then the lease runs on as it was, until the next.
EXTENSION_TRIES = 2
#: Tries of one record of progress; then it is dropped.
PROGRESS_TRIES = 2


class RunProtocol:
    """What one attempt knows, and its ways to take, hold and end its task.

    Args:
        identity: who it is.
        options: lease, deadline, and how the status document is written at the start.
        clock: the time.

    Attributes:
        identity: who it is; that of a requested run, once the delivery is recognised as one of it.
        number: the attempt's number, once it has the task.
        started: when it took it, UTC.
        ended: whether it may write nothing more.
        object_may_go: whether a superseded attempt's own object is surely nobody's result.
    """

    def __init__(self, identity: RunIdentity, options: ExecuteTaskOptions, clock: Clock) -> None:
        self.identity = identity
        self.number = 0
        self.started: datetime = clock.now()
        self.ended = False
        self.object_may_go = False
        self._options = options
        self._lease = timedelta(seconds=options.lease_seconds)
        #: Bound on a call while the lease runs: several fit before it is over.
        self._seconds = options.lease_seconds / 6
        self._clock = clock
        #: The status document as this attempt last wrote or read it while it was its own.
        self._task = TaskDocument()
        #: The run record's version as this attempt last wrote it. If it is None, the record is read before
        #: it is written.
        self._run_version: Timestamp | None = None

    @property
    def cancel(self) -> Action | None:
        """Who wants the run to end, when and why, as far as this attempt knows; None where nobody does."""
        return self._task.cancel

    def told(self, failure: Failure) -> Failure:
        """Return how a failure is told: that of a run which is cancelled as such."""
        return failure if self.cancel is None else failure.cancelled(self.cancel.cancel_message)

    def start(self, remembered: TaskDocument | None, *, deadline: float) -> Procedure[StartDecision]:
        """Take the task, or find out why not (docs/protocol.md, "Start").

        Args:
            remembered: The status document as this instance left it. It may only lead to a commit; anything
                else, and a commit that it makes fail, is decided on a fresh read.
            deadline: when to give up, on the clock's monotonic scale.

        Returns:
            Take where the task is this attempt's now; else what was decided, a skip recorded.

        Raises:
            StoreError: Firestore did not answer, or can't take the writes.
        """
        if remembered is not None and self._may_be_requested(remembered):
            remembered = None
        fresh = remembered is None
        task, run = (yield from ask(self._both(deadline))) if remembered is None else (remembered, None)
        tries = 0
        while True:
            if fresh:
                task, run = yield from self._recognised(task, run, deadline)
            decision = self._decide(task, run)
            if isinstance(decision, Take):
                if (yield from self._take(decision, task)):
                    return decision
                if fresh:
                    yield from ask(Pause(tries))
            elif fresh:
                yield from self._record_skip(decision, deadline)
                return decision
            if self._clock.monotonic() >= deadline:
                raise StoreUnavailable("the task could not be taken in time: answers lost, or other writers")
            task, run = yield from ask(self._both(deadline))
            fresh = True
            tries += 1
            if is_own(task, self.identity.token):  # only the answer was lost
                self._task = task
                self._adopt(run)
                self.number = task.attempt
                self.started = task.started or self.started
                return Take(task.attempt)

    def refuse(self, reason: str) -> Procedure[None]:
        """Record that this delivery is answered 503, and why: Cloud Scheduler delivers it again.

        Of many at one time one is recorded. The condition keeps the others from waiting for it.

        Raises:
            StoreError: Firestore did not answer; the record is a help, and the answer does not depend on it.
        """
        own = self.identity
        if own.scheduled_for is None and own.schedule_time is None:
            return  # a call by code: nothing delivers it again
        if own.request is None and own.scheduled_for is None and own.schedule_time is not None:
            task, run = yield from ask(ReadRun(self.identity.run_id, self._seconds))
            yield from self._recognised(task, run, self._clock.monotonic() + self._seconds)
        _, refused = yield from ask(ReadRun(refusal_id(self.identity.run_id), self._seconds))
        version, now = refused.update_time if refused else None, self._clock.now()
        with suppress(WriteRefused):
            yield from ask(
                Commit(run_writes.refuse(self.identity, reason, now=now, version=version), self._seconds)
            )

    def extend(self) -> Procedure[None]:
        """Extend the lease (docs/protocol.md, "While it works").

        Raises:
            RunLost: the task is another's, or was failed by the watchdog.
            StoreError: Firestore did not answer; the lease runs on as it was.
        """
        for tries in range(EXTENSION_TRIES):
            lease_until = self._clock.now() + self._lease
            extension = run_writes.extend(self.identity, self._version(), lease_until=lease_until)
            try:
                version = yield from ask(Commit(extension, self._seconds))
            except (WriteRefused, WriteUnknown):
                task, _ = yield from ask(ReadRun(self.identity.run_id, self._seconds))
                if not is_own(task, self.identity.token):
                    self._end_here()
                    raise RunLost(f"{self.identity.run_id} lost its lease") from None
                self._task = task
                if task.lease_until is not None and task.lease_until >= lease_until:
                    return
                yield from ask(Pause(tries))
            else:
                self._task = replace(self._task, update_time=version, lease_until=lease_until)
                return
        raise StoreUnavailable("the lease could not be extended: answers lost, or other writers")

    def record_progress(self, progress: Mapping[str, Any]) -> Procedure[None]:
        """Write progress to the run record, unless the attempt has ended.

        If the record has another version than this attempt last wrote, both documents are read, which
        also finds a cancel. Progress is dropped if the record is not this attempt's any more; the next
        extension finds out whether the run is lost.

        Args:
            progress: The record's field `progress`.
        """
        for _ in range(PROGRESS_TRIES):
            if self.ended:
                return
            on = self._run_version
            if on is not None:
                try:
                    record = run_writes.progress(self.identity, on, progress)
                    self._run_version = yield from ask(Commit(record, self._seconds))
                except WriteRefused:
                    pass
                else:
                    return
            task, run = yield from ask(ReadRun(self.identity.run_id, self._seconds))
            if not is_own(task, self.identity.token):
                return
            self._task = task
            if not self._adopt(run):
                return

    def complete(
        self,
        *,
        data: Any,
        result: Callable[[datetime], ResultPointer],
        summary: Any,
        duration: float,
        deadline: float,
        progress: Mapping[str, Any] | None = None,
    ) -> Procedure[Standing]:
        """Publish a result (docs/protocol.md, "Finish").

        Args:
            data: the contract's `data`.
            result: describes it, given when it completed.
            summary: what the task says beside it.
            duration: that the task's work took.
            deadline: when to give up, on the clock's monotonic scale.
            progress: The task's last progress report, written in the same commit; None if it made none.

        Returns:
            done where it is published, superseded where another attempt holds the task.

        Raises:
            RunCancelled: a person cancelled the run: nothing is published.
            WriteRejected: Firestore can't hold this result.
            StoreError: Firestore did not answer until then.
        """
        end = self._end(duration, progress)
        pointer = result(end.completed)

        def build(on: Timestamp, suspended: bool) -> list[Any]:
            return run_writes.complete(
                self.identity, on, end, data=data, result=pointer, summary=summary, suspended=suspended
            )

        return (yield from self._write_end(TaskStatus.completed, build, deadline, pointer))

    def fail(
        self,
        failure: Failure,
        *,
        duration: float,
        deadline: float,
        progress: Mapping[str, Any] | None = None,
    ) -> Procedure[Standing]:
        """Record a failure; the last good result stays. Arguments and errors as `complete`."""
        end = self._end(duration, progress)

        def build(on: Timestamp, suspended: bool) -> list[Any]:
            told = self.told(failure)  # anew with each try: a cancel may be what was in its way
            return run_writes.fail(
                self.identity, on, end, message=told.text, error=told.to_fields(), suspended=suspended
            )

        return (yield from self._write_end(TaskStatus.failed, build, deadline, self._task.result))

    def remembered(self) -> TaskDocument | None:
        """Return the status document as this attempt left it, or None where it can't be known."""
        task = self._task
        return task if self.ended and task.exists and not task.is_suspended else None

    @property
    def holds_result(self) -> bool:
        """Whether the status document, as last known here, has this attempt's result and no later one."""
        return self._task.token == self.identity.token and self._task.state == TaskStatus.completed

    def _decide(self, task: TaskDocument, run: RunDocument | None) -> StartDecision:
        return decide_start(
            task,
            run,
            run_id=self.identity.run_id,
            now=self._clock.now(),
            skew=CLOCK_SKEW,
            deadline=timedelta(seconds=self._options.deadline_seconds),
        )

    def _may_be_requested(self, task: TaskDocument) -> bool:
        """Return whether the delivery may be one of the requested run, and of no tick."""
        request, own = task.request, self.identity
        if request is None or own.schedule_time is None or own.request is not None:
            return False
        now, after = self._clock.now(), own.schedule_time >= request.since - CLOCK_SKEW
        return after and is_forced(own.scheduled_for, own.schedule_time, now=now, skew=CLOCK_SKEW)

    def _recognised(
        self, task: TaskDocument, run: RunDocument | None, deadline: float
    ) -> Procedure[tuple[TaskDocument, RunDocument | None]]:
        """Become an attempt of the requested run if this delivery is one of that (`answers_request`).

        Returns:
            The status document and the record of the run that this is an attempt of.
        """
        while True:
            request, own = task.request, self.identity
            is_done = run is not None and run.state == TaskStatus.completed
            if request is None or own.schedule_time is None or own.request is not None:
                return task, run
            if not (is_done or self._may_be_requested(task)):
                return task, run
            latest, asked = yield from ask(ReadRun(request.id, max(deadline - self._clock.monotonic(), 1.0)))
            if latest.request == request or self._clock.monotonic() >= deadline:
                break
            task, run = yield from ask(self._both(deadline))
        answers = answers_request(
            request,
            asked,
            tick=own.scheduled_for,
            is_done=is_done,
            schedule_time=own.schedule_time,
            now=self._clock.now(),
            skew=CLOCK_SKEW,
        )
        if not answers:
            return task, run
        self.identity = dataclasses.replace(own, run_id=request.id, scheduled_for=None, request=request)
        return latest, asked

    def _take(self, take: Take, task: TaskDocument) -> Procedure[bool]:
        """Write the start; return whether it was applied for certain."""
        now = self._clock.now()
        lease_until = now + self._lease
        keep = self._options.keep_last_result
        start = run_writes.start(
            self.identity, take, task, now=now, lease_until=lease_until, keep_last_result=keep
        )
        try:
            version = yield from ask(Commit(start, self._seconds))
        except (WriteRefused, WriteUnknown):
            return False
        self.number = take.attempt
        self.started = now
        # What one commit writes gets one time. Where it did not, the first progress is refused, and reads.
        self._run_version = version
        self._task = replace(
            task,
            update_time=version,
            status=TaskStatus.running.value,
            run_id=self.identity.run_id,
            attempt=take.attempt,
            token=self.identity.token,
            state=TaskStatus.running.value,
            lease_until=lease_until,
            cancel=None,
            result=task.result if keep else None,
        )
        return True

    def _adopt(self, run: RunDocument | None) -> bool:
        """Take over the version of a run record that was read, if the record is this attempt's own."""
        if not is_own_record(run, self.identity.token):
            self._run_version = None
            return False
        self._run_version = run.update_time
        return True

    def _record_skip(self, decision: StartDecision, deadline: float) -> Procedure[None]:
        """Record a skip; everything else that is not taken leaves no trace."""
        if not isinstance(decision, Skip):
            return
        tries = 0
        while True:
            try:
                yield from ask(
                    Commit(run_writes.skip(self.identity, decision, now=self._clock.now()), self._seconds)
                )
            except (WriteRefused, WriteUnknown):  # written over itself, it does no harm twice
                if self._clock.monotonic() >= deadline:
                    raise
                yield from ask(Pause(tries))
                tries += 1
            else:
                return

    def _write_end(
        self,
        goal: TaskStatus,
        build: Callable[[Timestamp, bool], list[Any]],
        deadline: float,
        result: ResultPointer | None,
    ) -> Procedure[Standing]:
        """Commit the attempt's end, deciding again whenever it is not known to be applied."""
        tries = 0
        while True:
            if goal is TaskStatus.completed and self.cancel is not None:
                raise RunCancelled(self.cancel.cancel_message)
            try:
                version = yield from ask(
                    Commit(build(self._version(), self._task.is_suspended), self._seconds)
                )
            except (WriteRejected, WriteDenied):
                raise
            except StoreError as error:
                found = yield from self._settle(goal, error, deadline)
            else:
                status = self._task.status if self._task.is_suspended else goal.value
                left = replace(self._task, update_time=version, status=status, state=goal.value)
                self._end_here(replace(left, lease_until=None, result=result))
                return Standing.done
            if found is Standing.done or found is Standing.superseded:
                return found
            if self._clock.monotonic() >= deadline:
                raise StoreUnavailable("the end of the run could not be recorded in time")
            yield from ask(Pause(tries))
            tries += 1

    def _settle(self, goal: TaskStatus, error: StoreError, deadline: float) -> Procedure[Standing | None]:
        """Find out how the attempt stands after a refused or lost write; None where that failed."""
        try:
            task, run = yield from ask(self._both(deadline))
            stands = standing(task, run, token=self.identity.token, goal=goal)
            if stands is Standing.superseded:
                yield from self._close_superseded(run)
        except StoreError as again:
            logger.warning(
                "the end of a run is not recorded yet", run_id=self.identity.run_id, error=error, again=again
            )
            return None
        if stands is Standing.own:
            self._task = task
        else:
            self._end_here(task if task.token == self.identity.token else None)
        return stands

    def _close_superseded(self, run: RunDocument | None) -> Procedure[None]:
        """Close the history if it is still this attempt's; only then may its object go.

        A failure is superseded, too, by a completion of the same attempt that landed after all:
        its object is the result.

        Raises:
            StoreError: the history has changed, or Firestore did not answer: read again.
        """
        if run is None:  # nothing says whose it is now: the watchdog will find the object
            return
        own = run.token == self.identity.token
        if own and run.state == TaskStatus.completed:
            return
        if own and run.state == TaskStatus.running:
            history, now = self.identity.history_name, self._clock.now()
            yield from ask(Commit(run_writes.close_superseded(history, run, now=now)))
        self.object_may_go = True

    def _both(self, deadline: float) -> ReadRun:
        """Ask for the status document and this run's record, within the time left."""
        return ReadRun(self.identity.run_id, max(deadline - self._clock.monotonic(), 1.0))

    def _end_here(self, left: TaskDocument | None = None) -> None:
        """Write nothing more. `left` is the status document as left here; None if that is unknown."""
        self.ended = True
        self._task = left or TaskDocument()

    def _end(self, duration: float, progress: Mapping[str, Any] | None) -> RunEnd:
        return RunEnd(self.number, self.started, self._clock.now(), round(duration * 1000), progress)

    def _version(self) -> Timestamp:
        version = self._task.update_time
        if version is None:
            raise RunLost(f"{self.identity.run_id} does not hold its task")
        return version
