"""One attempt of a run: its last known documents, and how it holds its task.

`acquisition` makes an attempt the holder of its task, and `run_end` ends it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared.tasks.contract import TaskStatus
from shared.tasks.documents import run_writes
from shared.tasks.documents.log_writes import write_log
from shared.tasks.documents.models import TaskDocument
from shared.tasks.documents.run_log import RunLog
from shared.tasks.errors import RunLost, StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.decisions import is_own, is_own_record
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ask

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from shared.tasks.clock import Clock
    from shared.tasks.contract import JsonMap
    from shared.tasks.documents.actions import Action
    from shared.tasks.documents.checkpoints import Checkpoint
    from shared.tasks.documents.legs import Legs
    from shared.tasks.documents.models import RunDocument
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.documents.write_messages import WriteMessage
    from shared.tasks.failure import Failure
    from shared.tasks.options import ExecuteTaskOptions

#: Tries of one extension. If all fail, the lease keeps its end until the next extension.
EXTENSION_TRIES = 2
#: Tries of one progress record; then it is dropped.
PROGRESS_TRIES = 2


class Attempt:
    """One attempt of a run, with the documents as it last read or wrote them.

    Args:
        identity: The attempt.
        options: Lease, deadline, and how the status document is written at the start.
        clock: The time.

    Attributes:
        identity: Identifies the attempt. `acquire` replaces it if the delivery turns out to answer a request.
        number: Number of the attempt, 0 until it holds the task.
        started: Time when it took the task, UTC.
        ended: Whether it may write nothing more.
        is_object_unused: Whether the attempt was superseded and its object is certainly not a result.
        document: The status document as this attempt last wrote it, or read it while it held the task.
        record_update_time: Update time of the run record as this attempt last wrote it. If it is None, the
            record is read before it is written.
        checkpoint: What the run has persisted; None if nothing.
        commits: Number of checkpoints that this attempt has tried.
        log: What the task has logged.
        call_seconds: Longest duration of a call while the lease runs; several fit into one lease.
    """

    def __init__(self, identity: AttemptIdentity, options: ExecuteTaskOptions, clock: Clock) -> None:
        self.identity = identity
        self.options = options
        self.clock = clock
        self.number = 0
        self.started: datetime = clock.now()
        self.ended = False
        self.is_object_unused = False
        self.document = TaskDocument()
        self.record_update_time: Timestamp | None = None
        self.checkpoint: Checkpoint | None = None
        self.commits = 0
        self.log = RunLog(clock)
        self.lease = timedelta(seconds=options.lease_seconds)
        self.call_seconds = options.lease_seconds / 6

    @property
    def cancel(self) -> Action | None:
        """Who cancelled the run, when and why, as far as this attempt knows."""
        return self.document.cancel

    @property
    def legs(self) -> Legs | None:
        """Where the long run is; None for a run without legs."""
        return self.document.legs

    @property
    def leg(self) -> int:
        """Number of the leg that the attempt works for; 1 for a run without legs."""
        return 1 if self.legs is None else self.legs.number

    @property
    def holds_result(self) -> bool:
        """Whether the status document, as last known here, has this attempt's result and no later one."""
        return self.document.token == self.identity.token and self.document.state == TaskStatus.completed

    @property
    def update_time(self) -> Timestamp:
        """Update time of the status document as this attempt last wrote it.

        Raises:
            RunLost: The attempt does not hold the task.
        """
        if self.document.update_time is None:
            raise RunLost(f"run {self.identity.run_id} does not hold its task")
        return self.document.update_time

    def recorded_failure(self, failure: Failure) -> Failure:
        """Return the failure to record: if the run was cancelled, that is the cause."""
        return failure if self.cancel is None else failure.cancelled(self.cancel.cancel_message)

    def remembered(self) -> TaskDocument | None:
        """Return the status document as this attempt last wrote it, None if the next start must read it."""
        document = self.document
        return document if self.ended and document.exists and not document.is_suspended else None

    def read_documents(self, deadline: float) -> ReadDocuments:
        """Return the effect that reads the status document and the run record, within the time left."""
        return ReadDocuments(self.identity.run_id, max(deadline - self.clock.monotonic(), 1.0))

    def hold(
        self,
        document: TaskDocument,
        started: datetime,
        record_update_time: Timestamp | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Note that the attempt holds its task, as `document` shows."""
        self.document = document
        self.number = document.attempt
        self.started = started
        self.record_update_time = record_update_time
        self.checkpoint = checkpoint

    def update_time_of(self, record: RunDocument | None) -> Timestamp | None:
        """Return the update time of a run record that was read; None if it is not this attempt's own."""
        return record.update_time if is_own_record(record, self.identity.token) else None

    def end(self, document: TaskDocument | None = None) -> None:
        """Write nothing more. `document` is the current status document; None if that is not known.

        Who cancelled the run, and where the long run is, stay known.
        """
        self.ended = True
        self.document = document or TaskDocument(cancel=self.cancel, legs=self.legs)

    def commit(self, writes: list[WriteMessage]) -> Procedure[Timestamp]:
        """Commit writes of this attempt, and with them what its task has logged since the last such commit.

        The log costs no round trip of its own, and a task that logs nothing costs no write. A commit without
        an answer may be applied late, over a later log: progress and extensions depend on different
        documents. From then on, each commit contains the log. After the last one, no earlier one is applied.

        Returns and raises what the effect `Commit` does.
        """
        logged = self.log.unstored()
        if logged is None:
            return (yield from ask(Commit(writes, self.call_seconds)))
        now = self.clock.now()
        log = write_log(self.identity, logged, attempt=self.number, leg=self.leg, now=now)
        try:
            update_time = yield from ask(Commit([*writes, log], self.call_seconds))
        except WriteUnknown:
            self.log.mark_uncertain()
            raise
        self.log.mark_stored(logged)
        return update_time

    def extend(self) -> Procedure[None]:
        """Extend the lease (docs/protocol.md, "While a task works").

        Raises:
            RunLost: Another attempt took the task, or the watchdog failed the run.
            StoreError: Firestore did not answer; the lease keeps its end.
        """
        for tries in range(EXTENSION_TRIES):
            lease_until = self.clock.now() + self.lease
            extension = run_writes.extend(self.identity, self.update_time, lease_until=lease_until)
            try:
                update_time = yield from self.commit(extension)
            except (WriteConflict, WriteUnknown):
                document, _ = yield from ask(ReadDocuments(self.identity.run_id, self.call_seconds))
                if not is_own(document, self.identity.token):
                    self.end()
                    raise RunLost(f"run {self.identity.run_id} lost its lease") from None
                self.document = document
                if document.lease_until is not None and document.lease_until >= lease_until:
                    return
                yield from ask(Pause(tries))
            else:
                self.document = replace(self.document, update_time=update_time, lease_until=lease_until)
                return
        raise StoreUnavailable("could not extend the lease (lost responses or concurrent writers)")

    def record_progress(self, progress: JsonMap) -> Procedure[None]:
        """Write progress to the run record, unless the attempt has ended.

        If the record has changed since this attempt last wrote it, both documents are read, which also
        finds a cancel. Progress is dropped if the record is no longer this attempt's; the next
        extension finds out whether the run is lost.

        Args:
            progress: The record's field `progress`.
        """
        for _ in range(PROGRESS_TRIES):
            if self.ended:
                return
            update_time = self.record_update_time
            if update_time is not None:
                try:
                    write = run_writes.progress(self.identity, update_time, progress)
                    self.record_update_time = yield from self.commit(write)
                except WriteConflict:
                    pass
                else:
                    return
            document, record = yield from ask(ReadDocuments(self.identity.run_id, self.call_seconds))
            if not is_own(document, self.identity.token):
                return
            self.document = document
            self.record_update_time = self.update_time_of(record)
            if self.record_update_time is None:
                return
