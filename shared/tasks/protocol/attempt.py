"""One attempt of a run: what it knows of its documents, and how it holds its task.

`acquisition` makes an attempt the holder of its task, and `run_end` ends it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared.tasks.contract import TaskStatus
from shared.tasks.documents import run_writes
from shared.tasks.documents.models import TaskDocument
from shared.tasks.errors import RunLost, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.protocol.decisions import is_own, is_own_record
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.clock import Clock
    from shared.tasks.contract import JsonMap
    from shared.tasks.documents.models import Action, RunDocument
    from shared.tasks.documents.run_writes import AttemptIdentity
    from shared.tasks.failure import Failure
    from shared.tasks.options import ExecuteTaskOptions

#: Tries of one extension. If all fail, the lease keeps its end until the next extension.
EXTENSION_TRIES = 2
#: Tries of one progress record; then it is dropped.
PROGRESS_TRIES = 2


class Attempt:
    """What one attempt knows, and how it holds its task.

    Args:
        identity: The attempt.
        options: Lease, deadline, and how the status document is written at the start.
        clock: The time.

    Attributes:
        identity: The attempt; of a requested run once its delivery is recognised as an answer to the request.
        number: Number of the attempt, once it has the task.
        started: Time when it took the task, UTC.
        ended: Whether it may write nothing more.
        object_may_go: Whether the object of a superseded attempt is certainly not a result.
        task: The status document as this attempt last wrote it, or read it while it held the task.
        run_version: Version of the run record as this attempt last wrote it. If it is None, the record is
            read before it is written.
        call_seconds: Longest duration of a call while the lease runs; several fit into one lease.
    """

    def __init__(self, identity: AttemptIdentity, options: ExecuteTaskOptions, clock: Clock) -> None:
        self.identity = identity
        self.options = options
        self.clock = clock
        self.number = 0
        self.started: datetime = clock.now()
        self.ended = False
        self.object_may_go = False
        self.task = TaskDocument()
        self.run_version: Timestamp | None = None
        self.lease = timedelta(seconds=options.lease_seconds)
        self.call_seconds = options.lease_seconds / 6

    @property
    def cancel(self) -> Action | None:
        """Who cancelled the run, when and why, as far as this attempt knows."""
        return self.task.cancel

    @property
    def holds_result(self) -> bool:
        """Whether the status document, as last known here, has this attempt's result and no later one."""
        return self.task.token == self.identity.token and self.task.state == TaskStatus.completed

    @property
    def version(self) -> Timestamp:
        """Version of the status document as this attempt last wrote it.

        Raises:
            RunLost: The attempt does not hold the task.
        """
        if self.task.update_time is None:
            raise RunLost(f"run {self.identity.run_id} does not hold its task")
        return self.task.update_time

    def recorded_failure(self, failure: Failure) -> Failure:
        """Return the failure to record: if the run was cancelled, that is the cause."""
        return failure if self.cancel is None else failure.cancelled(self.cancel.cancel_message)

    def remembered(self) -> TaskDocument | None:
        """Return the status document as this attempt left it, or None if that is not known."""
        return self.task if self.ended and self.task.exists and not self.task.is_suspended else None

    def read_run(self, deadline: float) -> ReadDocuments:
        """Return the effect that reads the status document and this run's record, within the time left."""
        return ReadDocuments(self.identity.run_id, max(deadline - self.clock.monotonic(), 1.0))

    def adopt_record(self, run: RunDocument | None) -> bool:
        """Take over the version of a run record that was read, if the record is this attempt's own."""
        if not is_own_record(run, self.identity.token):
            self.run_version = None
            return False
        self.run_version = run.update_time
        return True

    def end(self, left: TaskDocument | None = None) -> None:
        """Write nothing more. `left` is the status document as it is now; None if that is not known."""
        self.ended = True
        self.task = left or TaskDocument()

    def extend(self) -> Procedure[None]:
        """Extend the lease (docs/protocol.md, "While a task works").

        Raises:
            RunLost: Another attempt took the task, or the watchdog failed the run.
            StoreError: Firestore did not answer; the lease keeps its end.
        """
        for tries in range(EXTENSION_TRIES):
            lease_until = self.clock.now() + self.lease
            extension = run_writes.extend(self.identity, self.version, lease_until=lease_until)
            try:
                version = yield from ask(Commit(extension, self.call_seconds))
            except (WriteRefused, WriteUnknown):
                task, _ = yield from ask(ReadDocuments(self.identity.run_id, self.call_seconds))
                if not is_own(task, self.identity.token):
                    self.end()
                    raise RunLost(f"run {self.identity.run_id} lost its lease") from None
                self.task = task
                if task.lease_until is not None and task.lease_until >= lease_until:
                    return
                yield from ask(Pause(tries))
            else:
                self.task = replace(self.task, update_time=version, lease_until=lease_until)
                return
        raise StoreUnavailable("could not extend the lease (lost responses or concurrent writers)")

    def record_progress(self, progress: JsonMap) -> Procedure[None]:
        """Write progress to the run record, unless the attempt has ended.

        If the record has another version than this attempt last wrote, both documents are read, which
        also finds a cancel. Progress is dropped if the record is no longer this attempt's; the next
        extension finds out whether the run is lost.

        Args:
            progress: The record's field `progress`.
        """
        for _ in range(PROGRESS_TRIES):
            if self.ended:
                return
            version = self.run_version
            if version is not None:
                try:
                    record = run_writes.progress(self.identity, version, progress)
                    self.run_version = yield from ask(Commit(record, self.call_seconds))
                except WriteRefused:
                    pass
                else:
                    return
            task, run = yield from ask(ReadDocuments(self.identity.run_id, self.call_seconds))
            if not is_own(task, self.identity.token):
                return
            self.task = task
            if not self.adopt_record(run):
                return
