"""Decides when to send: ticks, retries, deadlines, forced runs and pauses. Makes no calls, never waits.

The main loop calls `advance` repeatedly. Clients' requests and the ends of attempts arrive on other threads;
a lock makes them sequential. As the service's reference says, a job has one execution at a time, and a tick
that is due meanwhile starts afterwards. Retries stop at the next tick. A forced run is sent at once.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from emulators.scheduler.clock import Clock
from emulators.scheduler.dispatch import (
    DEADLINE_EXCEEDED,
    OK,
    UNAVAILABLE,
    Attempt,
    Dispatcher,
    Outcome,
    zulu,
)
from emulators.scheduler.errors import RequestError
from emulators.scheduler.job import Job
from emulators.scheduler.schedule import Schedule, parse_schedule

#: Largest number of unfinished forced runs per job.
MAX_FORCED_RUNS = 20

State = Literal["ENABLED", "PAUSED"]


@dataclass(slots=True)
class Execution:
    """One tick or forced run, with its retries."""

    schedule_time: datetime
    #: Whether a client requested it (jobs.run).
    forced: bool
    first_started: datetime | None = None
    attempts: int = 0
    #: The current attempt.
    attempt: Attempt | None = None
    abort: Callable[[], None] | None = None
    #: Time of the next attempt; None during an attempt.
    retry_at: datetime | None = None


@dataclass(slots=True)
class Entry:
    """A job and its state."""

    job: Job
    schedule: Schedule
    #: Time at which the job was created, or last changed by a client or the manifest.
    updated: datetime
    next_tick: datetime
    state: State = "ENABLED"
    last_attempt: datetime | None = None
    outcome: Outcome | None = None
    #: The last tick that was logged as waiting.
    late_tick: datetime | None = None
    executions: list[Execution] = field(default_factory=list)

    @property
    def next_time(self) -> datetime | None:
        """Time of the next tick or retry; None while the job is paused."""
        times = [execution.retry_at for execution in self.executions if execution.retry_at]
        if self.state == "ENABLED":
            times.append(self.next_tick)
        return min(times, default=None)


class Scheduler:
    """All jobs of a project.

    Args:
        clock: Source of the time.
        dispatcher: Sends attempts.
        log: Writes a line of the log.
        paused: Whether jobs run only on request. Their states do not show it. A forced run then has the
            time of a tick that is later than all its retries.
    """

    def __init__(
        self, clock: Clock, dispatcher: Dispatcher, log: Callable[[str], None], *, paused: bool = False
    ) -> None:
        self._clock = clock
        self._dispatcher = dispatcher
        self._log = log
        self._paused = paused
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}

    def load(self, jobs: Iterable[Job]) -> None:
        """Replace the jobs. A job that exists keeps its state, and an unchanged one its next tick.

        Raises:
            ScheduleError: A schedule is not valid; no job has changed.
        """
        with self._lock:
            now = self._clock.now()
            schedules = [(job, parse_schedule(job.schedule, job.time_zone, now)) for job in jobs]
            present, self._entries = self._entries, {}
            for job, schedule in schedules:
                entry = present.get(job.name) or Entry(job, schedule, now, schedule.next_after(now))
                if entry.job != job:
                    entry.job, entry.schedule, entry.updated = job, schedule, now
                    entry.next_tick = schedule.next_after(now)
                self._entries[job.name] = entry

    def jobs(self) -> list[Entry]:
        """Return all jobs with their current states, by name."""
        with self._lock:
            return [_snapshot(self._entries[name]) for name in sorted(self._entries)]

    def get(self, name: str) -> Entry:
        """Return a job with its current state.

        Raises:
            RequestError: No job has this resource name (NOT_FOUND).
        """
        with self._lock:
            return _snapshot(self._entry(name))

    def pause(self, name: str) -> Entry:
        """Stop a job's ticks and pending retries. A current attempt continues.

        Raises:
            RequestError: No such job, or it is not ENABLED (FAILED_PRECONDITION).
        """
        with self._lock:
            entry = self._switch(name, "ENABLED", "PAUSED")
            entry.executions[:] = [execution for execution in entry.executions if execution.attempt]
            return _snapshot(entry)

    def resume(self, name: str) -> Entry:
        """Start a job's ticks again. Missed ticks are not sent.

        Raises:
            RequestError: No such job, or it is not PAUSED (FAILED_PRECONDITION).
        """
        with self._lock:
            entry = self._switch(name, "PAUSED", "ENABLED")
            entry.schedule = parse_schedule(entry.job.schedule, entry.job.time_zone, entry.updated)
            entry.next_tick = entry.schedule.next_after(entry.updated)
            return _snapshot(entry)

    def run(self, name: str) -> Entry:
        """Send a job now, even if it is paused or has an execution.

        Raises:
            RequestError: No such job, or too many unfinished forced runs of it (RESOURCE_EXHAUSTED).
        """
        with self._lock:
            entry = self._entry(name)
            if sum(execution.forced for execution in entry.executions) >= MAX_FORCED_RUNS:
                raise RequestError(
                    429,
                    "RESOURCE_EXHAUSTED",
                    f"{MAX_FORCED_RUNS} forced runs of {name} are unfinished; wait until one ends.",
                )
            # Recordings of the service show the time of the next tick, not the current time. A retry that
            # arrives after this tick looks like the tick itself. In the service the tick's own delivery
            # resolves this; without ticks none follows, so the tick must be later than the last retry.
            job = entry.job
            over = job.retry.longest_execution(job.attempt_deadline) if self._paused else timedelta()
            tick = entry.schedule.next_after(self._clock.now() + over)
            self._start(entry, Execution(tick, forced=True))
            return _snapshot(entry)

    def advance(self) -> None:
        """Start what is due: ticks, retries and the ends of overdue attempts."""
        with self._lock:
            now = self._clock.now()
            for entry in self._entries.values():
                self._end_overdue(entry, now)
                self._tick(entry, now)
                for execution in list(entry.executions):
                    if execution.retry_at and execution.retry_at <= now:
                        self._attempt(entry, execution)

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise RequestError(404, "NOT_FOUND", f"Job not found: {name}.")
        return self._entries[name]

    def _switch(self, name: str, before: State, after: State) -> Entry:
        entry = self._entry(name)
        if entry.state != before:
            raise RequestError(400, "FAILED_PRECONDITION", f"{name} must be {before}, but is {entry.state}.")
        entry.state, entry.updated = after, self._clock.now()
        return entry

    def _end_overdue(self, entry: Entry, now: datetime) -> None:
        for execution in list(entry.executions):
            attempt = execution.attempt
            if attempt and now >= attempt.started + attempt.job.attempt_deadline and execution.abort:
                execution.abort()
                overdue = Outcome(DEADLINE_EXCEEDED, "no answer within the attempt deadline")
                self._settle(entry, execution, attempt, overdue)

    def _tick(self, entry: Entry, now: datetime) -> None:
        if entry.state != "ENABLED" or entry.next_tick > now:
            return
        if self._paused:
            entry.next_tick = entry.schedule.next_after(now)
        elif any(execution.attempt for execution in entry.executions):
            if entry.late_tick != entry.next_tick:
                entry.late_tick = entry.next_tick
                self._report(entry, f"tick {zulu(entry.next_tick)} waits for the current execution")
        else:
            entry.executions.clear()  # retries continue "until the next scheduled execution time"
            tick, entry.next_tick = entry.next_tick, entry.schedule.next_after(now)
            self._start(entry, Execution(tick, forced=False))

    def _start(self, entry: Entry, execution: Execution) -> None:
        entry.executions.append(execution)
        self._attempt(entry, execution)

    def _attempt(self, entry: Entry, execution: Execution) -> None:
        now = self._clock.now()
        execution.attempts += 1
        execution.retry_at = None
        execution.first_started = execution.first_started or now
        attempt = Attempt(entry.job, execution.schedule_time, execution.attempts, now)
        execution.attempt, entry.last_attempt = attempt, now

        def done(outcome: Outcome) -> None:
            with self._lock:
                self._settle(entry, execution, attempt, outcome)
                self.advance()  # a tick may be waiting for this end

        try:
            execution.abort = self._dispatcher.send(attempt, done)
        except RuntimeError as error:  # no thread can be started
            self._settle(entry, execution, attempt, Outcome(UNAVAILABLE, f"not sent: {error}"))

    def _settle(self, entry: Entry, execution: Execution, attempt: Attempt, outcome: Outcome) -> None:
        if execution.attempt is not attempt:
            return  # it was aborted before
        now = self._clock.now()
        execution.attempt = None
        entry.outcome = outcome
        execution.retry_at = self._retry_time(entry, execution, outcome, now)
        if execution.retry_at is None and execution in entry.executions:
            entry.executions.remove(execution)
        what = f"{'forced run' if execution.forced else 'tick'} {zulu(attempt.schedule_time)}"
        ended = f"{outcome.message} after {(now - attempt.started).total_seconds():.2f} s"
        self._report(
            entry, f"{what}, attempt {attempt.number}: {ended}; {self._follows(entry, execution, now)}"
        )

    def _retry_time(
        self, entry: Entry, execution: Execution, outcome: Outcome, now: datetime
    ) -> datetime | None:
        if outcome.code == OK or (entry.state == "PAUSED" and not execution.forced):
            return None
        if not entry.job.retry.allows(execution.attempts, now - (execution.first_started or now)):
            return None
        retry_at = now + entry.job.retry.backoff(execution.attempts)
        return None if self._ticks(entry) and entry.next_tick <= retry_at else retry_at

    def _follows(self, entry: Entry, execution: Execution, now: datetime) -> str:
        if execution.retry_at:
            return f"retry in {(execution.retry_at - now).total_seconds():g} s"
        return f"next tick {zulu(entry.next_tick)}" if self._ticks(entry) else "no next tick"

    def _ticks(self, entry: Entry) -> bool:
        return entry.state == "ENABLED" and not self._paused

    def _report(self, entry: Entry, what: str) -> None:
        self._log(f"{zulu(self._clock.now().replace(microsecond=0))} {entry.job.id}: {what}")


def _snapshot(entry: Entry) -> Entry:
    return replace(entry, executions=[replace(execution) for execution in entry.executions])
