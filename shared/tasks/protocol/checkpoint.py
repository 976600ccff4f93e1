"""Reads and makes the checkpoints of a run (docs/protocol.md, "Steps, positions and parts")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.documents import checkpoint_writes
from shared.tasks.documents.checkpoints import Changes, Saved, next_checkpoint
from shared.tasks.errors import ResultNotKept, RunLost, StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.decisions import is_own
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, ReadSteps, ask

if TYPE_CHECKING:
    from shared.tasks.protocol.attempt import Attempt


def read_saved(attempt: Attempt) -> Procedure[Saved]:
    """Return what earlier legs and attempts of the run have persisted.

    It is read after the attempt took the task: until then, the last attempt may still make a checkpoint.

    Raises:
        ResultNotKept: Documents that the run record counts are missing.
        StoreError: Firestore did not answer.
    """
    checkpoint = attempt.checkpoint
    if checkpoint is None:
        return Saved()
    saved = yield from ask(ReadSteps(attempt.identity.run_id))
    if not checkpoint.is_of_all(saved):
        found = f"{len(saved.steps)} steps, {len(saved.cursors)} cursors and {len(saved.parts)} parts"
        wanted = f"{checkpoint.steps}, {checkpoint.cursors} and {checkpoint.parts}"
        raise ResultNotKept(f"the run has {found}, but its record counts {wanted}; a new run must start")
    return saved


def make_checkpoint(attempt: Attempt, saved: Saved, changes: Changes, *, deadline: float) -> Procedure[None]:
    """Persist changes in one commit, which is conditional on the run record.

    Args:
        attempt: The attempt, which holds the task.
        saved: What was persisted before.
        changes: What is new.
        deadline: When to give up, on the clock's monotonic scale; at least one try is made.

    Raises:
        RunLost: Another attempt took the task, or the run has ended.
        StoreUnavailable: The changes may be persisted, or not. The next checkpoint must contain them again.
        WriteRejected, WriteDenied: Firestore cannot store them, or may not be written.
    """
    attempt.commits += 1
    commit = f"{attempt.identity.token}.{attempt.commits}"
    checkpoint = next_checkpoint(attempt.checkpoint, saved, changes, commit)
    tries = 0
    while True:
        if attempt.ended:
            raise RunLost(f"run {attempt.identity.run_id} does not hold its task")
        update_time = attempt.record_update_time
        if update_time is not None:
            now = attempt.clock.now()
            writes = checkpoint_writes.save(attempt.identity, update_time, checkpoint, changes, now=now)
            try:
                attempt.record_update_time = yield from ask(Commit(writes, attempt.call_seconds))
            except (WriteConflict, WriteUnknown):
                attempt.record_update_time = None
            else:
                attempt.checkpoint = checkpoint
                return
        document, record = yield from ask(ReadDocuments(attempt.identity.run_id, attempt.call_seconds))
        if not is_own(document, attempt.identity.token):
            raise RunLost(f"run {attempt.identity.run_id} lost its task")
        attempt.document = document  # it may contain a cancel
        attempt.record_update_time = attempt.update_time_of(record)
        found = None if record is None else record.checkpoint
        # An earlier commit of this attempt may have been applied although its response was lost. `changes`
        # contain its changes, so this commit still follows the last one that is known to be applied.
        if attempt.record_update_time is not None and found is not None and found.commit == commit:
            attempt.checkpoint = checkpoint
            return  # only the response was lost
        if attempt.clock.monotonic() >= deadline:
            raise StoreUnavailable("no checkpoint could be made in time (lost responses or writers)")
        yield from ask(Pause(tries))
        tries += 1
