"""Prepares a result for the commit that publishes it, and updates its copies after the commit.

Nothing here decides whether a run may publish.
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
from shared.tasks.results.payload import Payload
from shared.tasks.results.stream import Records, ResultStream

if TYPE_CHECKING:
    from shared.tasks.backends.storage import Objects
    from shared.tasks.contract import Json, TaskName
    from shared.tasks.documents.run_writes import AttemptIdentity
    from shared.tasks.protocol.effect_handler import EffectHandler
    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.serving.cache import CacheManager


@dataclass(frozen=True, slots=True)
class Publication:
    """A result that is ready to be published.

    Attributes:
        data: The contract's field `data`.
        pointer: Describes the result. Its time of completion is not known yet.
        cached: What this instance caches; None if its readers must ask Firestore.
    """

    data: Json
    pointer: ResultPointer
    cached: Payload | None


def prepare(
    value: object, run: AttemptIdentity, task_run: TaskRun, save_in: TaskSaveOptions | None, objects: Objects
) -> Publication:
    """Prepare what a task returned or yields, and upload what Storage keeps, its details included.

    `task_run` is checked before an upload, and limits its duration.

    Raises:
        BaseException: What a task raised that yields, or `TaskRun.check`.
        ResultNotStorable: The result contains a value that JSON cannot hold.
        ResultNotKept: The upload failed.
    """
    task_run.check()
    if isinstance(value, Records):
        publication = _prepare_stream(value, run, task_run, save_in, objects)
    else:
        publication = _prepare_value(value, run, save_in, objects)
    if task_run.details is None:
        return publication
    # If the result is not published, the watchdog removes the object with other unused ones.
    path = details_object(run.task, run.run_id, run.token)
    timeout = max(task_run.remaining(), 1.0)
    pointer, cached = publication.pointer, publication.cached
    try:
        objects.write(path, task_run.details, version=pointer.version, once=True, timeout=timeout)
    except Exception as error:
        raise _not_kept(error) from error
    return Publication(publication.data, replace(pointer, details=path), cached)


def move_to_storage(
    publication: Publication,
    run: AttemptIdentity,
    refusal: WriteRejected,
    objects: Objects,
    *,
    timeout: float,
) -> Publication:
    """Upload a result that Firestore refused, so that the task's work is not lost.

    `normalise` finds what a document cannot hold. This is for limits that Firestore does not document.

    Raises:
        WriteRejected: The refusal, if there is no result to move.
        ResultNotKept: The upload failed.
    """
    pointer, cached = publication.pointer, publication.cached
    if pointer.saved_in != "db" or cached is None:
        raise refusal
    _log_misfit(run, str(refusal))
    moved = _upload(cached.json, pointer.count, run, objects, timeout)
    return Publication(moved.data, replace(moved.pointer, details=pointer.details), moved.cached)


def update_copies(
    publication: Publication, task: TaskName, cache: CacheManager, handler: EffectHandler, *, is_current: bool
) -> None:
    """Update this instance's cache and the contract copy with a published result.

    `is_current` is False if another result has been published since.
    """
    pointer = publication.pointer
    if publication.cached is None or not is_current:
        cache.forget(task)
    else:
        private = pointer.saved_in == "none"
        cache.set_result(task, publication.cached, pointer.version, private=private)
    if pointer.saved_in == "storage":
        try:
            run_procedure(repair_contract_copy(task), handler)
        except Exception as error:  # noqa: BLE001  (the result is published; the watchdog repairs the copy)
            logger.warning("contract copy not written", task=task.value, error=error)


def _prepare_value(
    value: object, run: AttemptIdentity, save_in: TaskSaveOptions | None, objects: Objects
) -> Publication:
    if value is None:
        return Publication(NO_DATA, _pointer(run, "none"), Payload(NO_RESULT))
    if save_in == "none":
        return Publication(NO_DATA, _pointer(run, "none"), _cached_only(value, run))
    result = normalise(value)
    goes_to_storage = save_in == "storage" and result.is_collection
    if not goes_to_storage and result.misfit is None:
        pointer = _pointer(run, "db", len(result.encoded), result.count)
        return Publication(result.value, pointer, Payload(result.encoded))
    if not goes_to_storage:
        _log_misfit(run, result.misfit)
    return _upload(result.encoded, result.count, run, objects)


def _prepare_stream(
    records: Records,
    run: AttemptIdentity,
    task_run: TaskRun,
    save_in: TaskSaveOptions | None,
    objects: Objects,
) -> Publication:
    """Upload records as the task yields them; this instance keeps none of them."""
    if save_in == "none":
        return Publication(NO_DATA, _pointer(run, "none", count=_drain(records, task_run)), None)
    if save_in != "storage":  # a document cannot be written in parts
        logger.info(
            "the result goes to Storage: it is yielded record by record",
            task=run.task.value,
            run_id=run.run_id,
        )
    path, stream = run_object(run.task, run.run_id, run.token), ResultStream(records, task_run)
    try:
        objects.write_stream(path, stream, version=_version(run), timeout=task_run.remaining())
    except Exception as error:
        if error is stream.failure or isinstance(error, ResultNotKept):
            raise
        raise _not_kept(error) from error
    pointer = _pointer(run, "storage", stream.size, stream.count, path)
    return Publication(objects.signed_url(path), pointer, None)


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
    run: AttemptIdentity,
    saved_in: TaskSaveOptions,
    size_bytes: int | None = None,
    count: int | None = None,
    path: str | None = None,
) -> ResultPointer:
    """Describe the one result that an attempt may publish."""
    pointer = ResultPointer(_version(run), saved_in, run.run_id, size_bytes=size_bytes, count=count)
    return pointer if path is None else replace(pointer, path=path, encoding="gzip")


def _version(run: AttemptIdentity) -> str:
    return f"{run.run_id}.{run.token}"


def _log_misfit(run: AttemptIdentity, reason: str | None) -> None:
    logger.info(
        "the result goes to Storage: no document can hold it",
        task=run.task.value,
        run_id=run.run_id,
        reason=reason,
    )


def _upload(
    encoded: bytes, count: int | None, run: AttemptIdentity, objects: Objects, timeout: float | None = None
) -> Publication:
    path = run_object(run.task, run.run_id, run.token)
    try:
        objects.write(path, encoded, version=_version(run), once=True, timeout=timeout)
    except ResultNotKept:
        raise
    except Exception as error:
        raise _not_kept(error) from error
    pointer = _pointer(run, "storage", len(encoded), count, path)
    return Publication(objects.signed_url(path), pointer, Payload(encoded))


def _not_kept(error: Exception) -> ResultNotKept:
    return ResultNotKept(f"Storage did not take the result: {type(error).__name__}: {error}")


def _cached_only(value: object, run: AttemptIdentity) -> Payload | None:
    """Encode a result that is only cached; one that cannot be encoded does not fail the run."""
    try:
        return Payload(normalise(value).encoded)
    except ResultNotStorable as error:
        logger.warning("result not cached", task=run.task.value, run_id=run.run_id, error=error)
        return None
