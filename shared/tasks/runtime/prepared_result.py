"""Prepares a result for the commit that publishes it, and updates cache and contract copy after the commit.

The commit itself is `complete` in `shared.tasks.protocol.run_end`, with the writes that
`shared.tasks.documents.run_writes.complete` builds. Only that decides whether a run may publish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared import logger
from shared.tasks.contract import NO_DATA, TaskSaveOptions, details_object, run_object
from shared.tasks.documents.result_pointer import ResultPointer
from shared.tasks.errors import ResultNotKept, ResultNotStorable, WriteRejected
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.protocol.result_read import NO_RESULT
from shared.tasks.results.normalisation import normalise
from shared.tasks.results.parts import JoinedParts
from shared.tasks.results.payload import Payload
from shared.tasks.results.stream import Records, ResultStream

if TYPE_CHECKING:
    from shared.tasks.backends.storage import Objects
    from shared.tasks.contract import Json, TaskName
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.protocol.effect_handler import EffectHandler
    from shared.tasks.results.parts import OpenObject
    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.serving.cache import CacheManager

#: Seconds to read one part while a result is joined. If they do not fit, a leg of its own joins it.
JOIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class PreparedResult:
    """A result that is ready to be published.

    Attributes:
        data: The contract's field `data`.
        pointer: Describes the result. Its time of completion is not known yet.
        cached: What this instance caches; None if its readers must ask Firestore.
    """

    data: Json
    pointer: ResultPointer
    cached: Payload | None


def prepare_result(
    value: object,
    identity: AttemptIdentity,
    task_run: TaskRun,
    save_in: TaskSaveOptions | None,
    objects: Objects,
) -> PreparedResult:
    """Prepare what a task returned or yields, and upload what Storage keeps, its details included.

    `task_run` is checked before an upload, and limits its duration.

    Raises:
        BaseException: What `TaskRun.check` raises, or a task that yields its records.
        ResultNotStorable: The result contains a value that JSON cannot hold.
        ResultNotKept: The upload failed.
    """
    task_run.check()
    if isinstance(value, Records):
        prepared = _prepare_stream(value, identity, task_run, save_in, objects)
    else:
        task_run.checkpoints.check_returned()
        prepared = _prepare_value(value, identity, save_in, objects)
    task_run.checkpoints.raise_if_ended()  # what a task returns that has caught LegEnded is not complete
    if task_run.details is None:
        return prepared
    # If the result is not published, the watchdog removes the object with other unused ones.
    path = details_object(identity.task, identity.run_id, identity.token)
    timeout = max(task_run.leg_remaining(), 1.0)
    pointer, cached = prepared.pointer, prepared.cached
    try:
        objects.write(path, task_run.details, version=pointer.version, once=True, timeout=timeout)
    except Exception as error:
        raise _not_kept(error) from error
    return PreparedResult(prepared.data, replace(pointer, details=path), cached)


def move_to_storage(
    prepared: PreparedResult,
    identity: AttemptIdentity,
    refusal: WriteRejected,
    objects: Objects,
    *,
    timeout: float,
) -> PreparedResult:
    """Upload a result that Firestore refused, so that the task's work is not lost.

    `normalise` finds what a document cannot hold. This is for limits that Firestore does not document.

    Raises:
        WriteRejected: The refusal, if there is no result to move.
        ResultNotKept: The upload failed.
    """
    pointer, cached = prepared.pointer, prepared.cached
    if pointer.saved_in != "db" or cached is None:
        raise refusal
    _log_move(identity, str(refusal))
    moved = _upload(cached.json, pointer.count, identity, objects, timeout)
    return PreparedResult(moved.data, replace(moved.pointer, details=pointer.details), moved.cached)


def update_cache(prepared: PreparedResult, task: TaskName, cache: CacheManager, *, is_current: bool) -> None:
    """Cache a published result, unless another one has been published since (`is_current` is False)."""
    pointer = prepared.pointer
    if prepared.cached is None or not is_current:
        cache.forget(task)
    else:
        private = pointer.saved_in == "none"
        cache.set_result(task, prepared.cached, pointer.version, private=private)


def update_contract_copy(prepared: PreparedResult, task: TaskName, handler: EffectHandler) -> None:
    """Update the contract copy after a result was published in Storage."""
    if prepared.pointer.saved_in == "storage":
        try:
            run_procedure(repair_contract_copy(task), handler)
        except Exception as error:  # noqa: BLE001  (the result is published; the watchdog repairs the copy)
            logger.warning("contract copy not written", task=task.value, error=error)


def _prepare_value(
    value: object, identity: AttemptIdentity, save_in: TaskSaveOptions | None, objects: Objects
) -> PreparedResult:
    if value is None:
        return PreparedResult(NO_DATA, _pointer(identity, "none"), Payload(NO_RESULT))
    if save_in == "none":
        return PreparedResult(NO_DATA, _pointer(identity, "none"), _cached_only(value, identity))
    result = normalise(value)
    goes_to_storage = save_in == "storage" and result.is_collection
    if not goes_to_storage and result.misfit is None:
        pointer = _pointer(identity, "db", len(result.encoded), result.count)
        return PreparedResult(result.value, pointer, Payload(result.encoded))
    if not goes_to_storage:
        _log_move(identity, result.misfit)
    return _upload(result.encoded, result.count, identity, objects)


def _prepare_stream(
    records: Records,
    identity: AttemptIdentity,
    task_run: TaskRun,
    save_in: TaskSaveOptions | None,
    objects: Objects,
) -> PreparedResult:
    """Upload records as the task yields them; this instance keeps none of them."""
    if save_in == "none":
        count = _drain(records, task_run)
        pointer = _pointer(identity, "none", count=None if task_run.resumed else count)
        return PreparedResult(NO_DATA, pointer, None)
    if save_in != "storage":  # a document cannot be written in parts
        _log_move(identity, "it is yielded record by record")
    stream = open_stream(records, task_run, objects.open)
    path = run_object(identity.task, identity.run_id, identity.token)
    try:
        objects.write_stream(path, stream, version=_version(identity), timeout=task_run.leg_remaining())
    except Exception as error:
        if error is stream.failure or isinstance(error, ResultNotKept):
            raise
        raise _not_kept(error) from error
    pointer = _pointer(identity, "storage", stream.size, stream.count, path)
    return PreparedResult(objects.sign_url(path), pointer, None)


def open_stream(records: Records, task_run: TaskRun, open_object: OpenObject) -> ResultStream | JoinedParts:
    """Return the bytes to store of the records that a task yields.

    A task without cursors works while they are read. One with cursors has worked when this returns: the parts
    of all legs and attempts are joined.
    """
    records.begin()
    checkpoints = task_run.checkpoints
    if not checkpoints.joins_parts:
        checkpoints.refuse_cursors()
        return ResultStream(records, task_run)
    parts = checkpoints.stream(task_run.stream_progress)
    try:
        records.feed(parts.take)
    except BaseException:
        if not checkpoints.ended:
            checkpoints.close()  # a `finally` of the task must not move a cursor past records that are lost
        raise
    checkpoints.raise_if_ended()  # a task that does not let the end of its leg pass is not complete
    checkpoints.ensure(checkpoints.part_count * JOIN_SECONDS)
    return JoinedParts(checkpoints.result_parts(), open_object, task_run.check)


def _drain(records: Records, task_run: TaskRun) -> int:
    """Let a task yield all its records and drop them; return their number."""
    count = 0

    def take(_: object) -> bool:
        nonlocal count
        count += 1
        task_run.check()
        return False

    records.feed(take)
    return count


def _pointer(
    identity: AttemptIdentity,
    saved_in: TaskSaveOptions,
    size_bytes: int | None = None,
    count: int | None = None,
    path: str | None = None,
) -> ResultPointer:
    """Describe the one result that an attempt may publish."""
    pointer = ResultPointer(_version(identity), saved_in, identity.run_id, size_bytes=size_bytes, count=count)
    return pointer if path is None else replace(pointer, path=path, encoding="gzip")


def _version(identity: AttemptIdentity) -> str:
    return f"{identity.run_id}.{identity.token}"


def _log_move(identity: AttemptIdentity, reason: str | None) -> None:
    """Log that a result is stored in Storage although the task's options name another place."""
    logger.info(
        "result moved to Storage",
        task=identity.task.value,
        run_id=identity.run_id,
        reason=reason,
    )


def _upload(
    encoded: bytes,
    count: int | None,
    identity: AttemptIdentity,
    objects: Objects,
    timeout: float | None = None,
) -> PreparedResult:
    path = run_object(identity.task, identity.run_id, identity.token)
    try:
        objects.write(path, encoded, version=_version(identity), once=True, timeout=timeout)
    except ResultNotKept:
        raise
    except Exception as error:
        raise _not_kept(error) from error
    pointer = _pointer(identity, "storage", len(encoded), count, path)
    return PreparedResult(objects.sign_url(path), pointer, Payload(encoded))


def _not_kept(error: Exception) -> ResultNotKept:
    return ResultNotKept(f"Storage did not take the result: {type(error).__name__}: {error}")


def _cached_only(value: object, identity: AttemptIdentity) -> Payload | None:
    """Encode a result that is only cached; one that cannot be encoded does not fail the run."""
    try:
        return Payload(normalise(value).encoded)
    except ResultNotStorable as error:
        logger.warning("result not cached", task=identity.task.value, run_id=identity.run_id, error=error)
        return None
