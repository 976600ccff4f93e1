"""Carries out the effects of procedures on Firestore, Storage, Cloud Scheduler and Cloud Tasks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from google.api_core import exceptions as google_errors

from shared.tasks.errors import ObjectGone
from shared.tasks.protocol.effects import (
    Commit,
    CopyObject,
    DeliverLeg,
    ListObjects,
    OpenContent,
    Pause,
    ReadContent,
    ReadDocuments,
    ReadJob,
    ReadMetadata,
    ReadNextCompletion,
    ReadResult,
    ReadRunning,
    ReadSchedule,
    ReadStarted,
    ReadSteps,
    ReadVersion,
    RemoveObject,
    RunJob,
    SetJob,
)

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.leg_queue import LegQueue
    from shared.tasks.backends.scheduler import Jobs
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.contract import TaskName
    from shared.tasks.protocol.effects import AnyEffect, EffectResult

#: Seconds of the first pause before a decision is made again. It doubles with each try, with jitter.
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 2.0
MAX_DOUBLINGS = 10


class EffectHandler:
    """Carries out the effects of one task's procedures.

    Args:
        task: The task.
        clock: Times pauses and the deadline.
        store: Firestore.
        objects: The bucket; None if the procedures ask for no objects.
        jobs: Cloud Scheduler; None if the procedures ask for no jobs and no legs.
        queue: Cloud Tasks; None if the procedures ask for no legs.
        deadline: Time on the clock's monotonic scale at which every effect must have ended.
    """

    def __init__(
        self,
        task: TaskName,
        clock: Clock,
        store: Store,
        objects: Objects | None = None,
        jobs: Jobs | None = None,
        queue: LegQueue | None = None,
        *,
        deadline: float = float("inf"),
    ) -> None:
        self._task = task
        self._clock = clock
        self._store = store
        self._objects = objects
        self._jobs = jobs
        self._queue = queue
        self._deadline = deadline

    def __call__(self, effect: AnyEffect) -> EffectResult:
        """Carry out an effect and return its result.

        Raises:
            StoreError: Firestore refused or failed.
            GoogleAPIError: Storage refused or failed.
            ObjectGone: The object to be copied does not exist.
            ResultUnavailable: An object's content could not be read.
            LegQueueUnavailable: Cloud Tasks refused or failed.
            SchedulerUnavailable: Cloud Scheduler refused or failed.
            TimeoutError: The deadline has passed.
        """
        store, task = self._store, self._task
        match effect:
            case Commit(writes, timeout):
                return store.commit(writes, timeout=self._timeout(effect, timeout))
            case Pause(tries):
                longest = min(FIRST_PAUSE_SECONDS * 2 ** min(tries, MAX_DOUBLINGS), LONGEST_PAUSE_SECONDS)
                return self._clock.sleep(random.uniform(longest / 2, longest))  # noqa: S311  (jitter)
            case ReadDocuments(record_id, timeout):
                timeout = self._timeout(effect, timeout)
                return store.read_documents(task, record_id, timeout=timeout)
            case ReadVersion(timeout):
                return store.read_version(task, timeout=self._timeout(effect, timeout))
            case (
                ReadSchedule()
                | ReadResult()
                | ReadRunning()
                | ReadStarted()
                | ReadNextCompletion()
                | ReadSteps()
            ):
                return self._handle_read(effect)
            case ReadJob() | SetJob() | RunJob() | DeliverLeg():
                return self._handle_job(effect)
            case _:
                return self._handle_object(effect)

    def _handle_read(
        self,
        effect: ReadSchedule | ReadResult | ReadRunning | ReadStarted | ReadNextCompletion | ReadSteps,
    ) -> EffectResult:
        store, task, timeout = self._store, self._task, self._timeout(effect)
        match effect:
            case ReadSchedule():
                return store.read_schedule(task, timeout=timeout)
            case ReadResult():
                return store.read_result(task, timeout=timeout)
            case ReadRunning():
                return store.read_running(task, timeout=timeout)
            case ReadStarted(since):
                return store.read_started_since(task, since, timeout=timeout)
            case ReadNextCompletion(after):
                return store.read_next_completion(task, after, timeout=timeout)
            case ReadSteps(run_id):
                return store.read_steps(task, run_id, timeout=timeout)

    def _timeout(self, effect: AnyEffect, timeout: float | None = None) -> float:
        """Return the longest duration of an effect in seconds, within the time left."""
        remaining = self._deadline - self._clock.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"no time left for {type(effect).__name__}")
        return remaining if timeout is None else min(timeout, remaining)

    def _handle_job(self, effect: ReadJob | SetJob | RunJob | DeliverLeg) -> EffectResult:
        jobs = self._jobs
        if jobs is None:
            raise TypeError(f"{effect} needs an effect handler with jobs")
        timeout = self._timeout(effect)
        match effect:
            case ReadJob():
                return jobs.read(self._task, timeout=timeout)
            case SetJob(state):
                return jobs.set_state(self._task, state, timeout=timeout)
            case RunJob():
                return jobs.run(self._task, timeout=timeout)
            case DeliverLeg(run_id, leg, creation):
                if self._queue is None:
                    raise TypeError(f"{effect} needs an effect handler with a queue")
                target = jobs.read_target(self._task, timeout=timeout)
                timeout = self._timeout(effect)
                return self._queue.deliver(self._task, run_id, leg, creation, target, timeout=timeout)

    def _handle_object(self, effect: AnyEffect) -> EffectResult:
        objects = self._objects
        if objects is None:
            raise TypeError(f"{effect} needs an effect handler with a bucket")
        timeout = self._timeout(effect)
        match effect:
            case ReadMetadata(path):
                return objects.read_metadata(path, timeout=timeout)
            case ReadContent(path, max_bytes):
                return objects.read(path, max_bytes=max_bytes, timeout=timeout)
            case OpenContent(path):
                return objects.open(path, timeout=timeout)
            case ListObjects(folder):
                return objects.list_folder(folder, timeout=timeout)
            case RemoveObject(path):
                return objects.remove(path, timeout=timeout)
            case CopyObject(source, target, generation):
                try:
                    return objects.copy(source, target, generation=generation, timeout=timeout)
                except google_errors.NotFound as error:
                    raise ObjectGone(source) from error
            case _:
                raise TypeError(f"no handler for the effect {effect}")
