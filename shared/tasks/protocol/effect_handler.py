"""Carries out what the procedures ask for, on the real store and the real bucket."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, assert_never

from google.api_core import exceptions as google_errors

from shared.tasks.errors import ObjectGone
from shared.tasks.protocol.effects import (
    Commit,
    CopyObject,
    JobRequest,
    ListObjects,
    ObjectRequest,
    OpenContent,
    Pause,
    Read,
    ReadContent,
    ReadJob,
    ReadNextResult,
    ReadObject,
    ReadRequest,
    ReadResult,
    ReadRunning,
    ReadSchedule,
    ReadStarted,
    ReadVersion,
    RemoveObject,
    Request,
    RunJob,
    SetJob,
)

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.scheduler import Jobs
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.contract import TaskName

#: Seconds of the first pause before deciding anew; doubled each time, jittered.
FIRST_PAUSE = 0.02
#: Seconds of the longest pause.
LONGEST_PAUSE = 2.0
MOST_DOUBLINGS = 10


class Performer:
    """Answers the requests of one task's procedures.

    Args:
        task: the task.
        clock: pauses are taken on it.
        store: the documents.
        objects: the bucket; a procedure that asks for no objects needs none.
        jobs: of Cloud Scheduler, the same.
        until: when everything that is asked for must have ended, on the clock's monotonic scale.
    """

    def __init__(
        self,
        task: TaskName,
        clock: Clock,
        store: Store,
        objects: Objects | None = None,
        jobs: Jobs | None = None,
        *,
        until: float = float("inf"),
    ) -> None:
        self._task = task
        self._clock = clock
        self._store = store
        self._objects = objects
        self._jobs = jobs
        self._until = until

    def __call__(self, request: Request) -> Any:
        """Carry out a request and return its answer.

        Raises:
            StoreError: Firestore did not do what was asked.
            GoogleAPIError: Storage did not.
            ObjectGone: the object to be copied is not there.
            ResultUnavailable: an object's content could not be read.
            SchedulerUnavailable: Cloud Scheduler did not do what was asked.
            TimeoutError: no time is left for it.
        """
        match request:
            case Commit(writes, seconds):
                return self._store.commit(writes, seconds=self._bound(request, seconds))
            case Pause(tries):
                longest = min(FIRST_PAUSE * 2 ** min(tries, MOST_DOUBLINGS), LONGEST_PAUSE)
                self._clock.sleep(random.uniform(longest / 2, longest))  # noqa: S311  (jitter is no secret)
                return None
            case ReadJob() | SetJob() | RunJob():
                return self._on_job(request)
            case ReadObject() | ReadContent() | OpenContent() | CopyObject() | ListObjects() | RemoveObject():
                return self._on_object(request)
            case _:
                return self._read(request)

    def _read(self, request: ReadRequest) -> Any:
        store = self._store
        match request:
            case Read(run_id, seconds):
                return store.read_for_decision(self._task, run_id, seconds=self._bound(request, seconds))
            case ReadSchedule():
                return store.read_schedule(self._task, seconds=self._bound(request))
            case ReadResult():
                return store.read_result(self._task, seconds=self._bound(request))
            case ReadVersion(seconds):
                return store.read_version(self._task, seconds=self._bound(request, seconds))
            case ReadRunning():
                return store.running_histories(self._task, seconds=self._bound(request))
            case ReadStarted(since):
                return store.started_since(self._task, since, seconds=self._bound(request))
            case ReadNextResult(after):
                return store.next_result(self._task, after, seconds=self._bound(request))
            case _:
                assert_never(request)

    def _bound(self, request: Request, seconds: float | None = None) -> float:
        """Return the seconds that a request may take, of those that are left."""
        left = self._until - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError(f"no time left for {type(request).__name__}")
        return left if seconds is None else min(seconds, left)

    def _on_job(self, request: JobRequest) -> Any:
        jobs = self._jobs
        if jobs is None:
            raise TypeError(f"{request} asked of a performer without jobs")
        seconds = self._bound(request)
        match request:
            case ReadJob():
                return jobs.look(self._task, seconds=seconds)
            case SetJob(wanted):
                return jobs.set_state(self._task, wanted, seconds=seconds)
            case RunJob():
                return jobs.run(self._task, seconds=seconds)
            case _:
                assert_never(request)

    def _on_object(self, request: ObjectRequest) -> Any:
        objects = self._objects
        if objects is None:
            raise TypeError(f"{request} asked of a performer without a bucket")
        seconds = self._bound(request)
        match request:
            case ReadObject(path):
                return objects.metadata(path, seconds=seconds)
            case ReadContent(path, most):
                return objects.read(path, most=most, seconds=seconds)
            case OpenContent(path):
                return objects.open(path, seconds=seconds)
            case ListObjects(folder):
                return objects.listed(folder, seconds=seconds)
            case RemoveObject(path):
                return objects.remove(path, seconds=seconds)
            case CopyObject(source, target, generation):
                try:
                    return objects.copy(source, target, generation=generation, seconds=seconds)
                except google_errors.NotFound as error:
                    raise ObjectGone(source) from error
