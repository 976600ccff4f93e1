"""Prepares a result for the commit that publishes it, and updates its copies after the commit.

Nothing here decides whether a run may publish.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.contract import NO_DATA, TaskSaveOptions, details_object, run_object
from shared.tasks.documents.models import ResultPointer
from shared.tasks.errors import ResultNotKept, ResultNotStorable, WriteRejected
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.protocol.result_read import NO_RESULT
from shared.tasks.results.normalisation import normalise
from shared.tasks.results.payload import Payload
from shared.tasks.results.stream import Records, ResultStream

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.backends.storage import Objects
    from shared.tasks.contract import Json
    from shared.tasks.documents.run_writes import RunIdentity
    from shared.tasks.protocol.effect_handler import EffectHandler
    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.serving.cache import CacheManager


@dataclass(frozen=True, slots=True)
class Publication:
    """A result that is ready to be published.

    Attributes:
        run: The attempt that produced it.
        data: The contract's field `data`.
        saved_in: "db", "storage" or "none".
        cached: What this instance caches; None if its readers must ask Firestore.
        path: Path of the uploaded object, for "storage".
        size_bytes: Bytes of the result as JSON, uncompressed.
        count: Records of an array or entries of an object.
        details: Path of the uploaded details; None if the task gave none.
    """

    run: RunIdentity
    data: Json
    saved_in: TaskSaveOptions
    cached: Payload | None
    path: str | None = None
    size_bytes: int | None = None
    count: int | None = None
    details: str | None = None

    @property
    def version(self) -> str:
        """The result's version."""
        return result_version(self.run)

    def pointer(self, completed: datetime) -> ResultPointer:
        """Describe the result as the field `run.result` does."""
        return ResultPointer(
            version=self.version,
            saved_in=self.saved_in,
            run_id=self.run.run_id,
            completed=completed,
            path=self.path,
            size_bytes=self.size_bytes,
            count=self.count,
            encoding="gzip" if self.path else None,
            details=self.details,
        )


def result_version(run: RunIdentity) -> str:
    """Return the version of the one result that this attempt may publish."""
    return f"{run.run_id}.{run.token}"


def prepare(
    value: object, run: RunIdentity, task_run: TaskRun, save_in: TaskSaveOptions | None, objects: Objects
) -> Publication:
    """Prepare what a task returned or yields, and upload what Storage keeps, its details included.

    Args:
        value: What the task returned; `Records` if it yields.
        run: The attempt.
        task_run: The run as the task sees it. It is checked before an upload, and limits its duration.
        save_in: Where the result is kept; None means "db".
        objects: The bucket.

    Raises:
        BaseException: What a task raised that yields.
        ResultNotStorable: The result contains a value that JSON cannot hold.
        ResultNotKept: The upload failed.
        RunLost: Another attempt holds the task.
        RunCancelled: An operator cancelled the run.
        DeadlineExceeded: The deadline has passed.
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
    try:
        objects.write(path, task_run.details, version=publication.version, once=True, timeout=timeout)
    except Exception as error:
        raise _not_kept(error) from error
    return replace(publication, details=path)


def move_to_storage(
    publication: Publication, refusal: WriteRejected, objects: Objects, *, timeout: float
) -> Publication:
    """Upload a result that Firestore refused, so that the task's work is not lost.

    `normalise` finds what a document cannot hold. This is for limits that Firestore does not document.

    Raises:
        WriteRejected: The refusal, if there is no result to move.
        ResultNotKept: The upload failed.
    """
    if publication.saved_in != "db" or publication.cached is None:
        raise refusal
    _log_misfit(publication.run, str(refusal))
    moved = _upload(publication.cached.json, publication.count, publication.run, objects, timeout)
    return replace(moved, details=publication.details)


def update_copies(
    publication: Publication, cache: CacheManager, handler: EffectHandler, *, is_present: bool
) -> None:
    """Update this instance's cache and the contract copy with a published result.

    Args:
        publication: The result.
        cache: The results that this instance holds.
        handler: Writes the contract copy.
        is_present: Whether it is the task's present result; another may have been published since.
    """
    task = publication.run.task
    if publication.cached is None or not is_present:
        cache.forget(task)
    else:
        private = publication.saved_in == "none"
        cache.set_result(task, publication.cached, publication.version, private=private)
    if publication.saved_in == "storage":
        try:
            run_procedure(repair_contract_copy(task), handler)
        except Exception as error:  # noqa: BLE001  (the result is published; the watchdog repairs the copy)
            logger.warning("contract copy not written", task=task.value, error=error)


def _prepare_value(
    value: object, run: RunIdentity, save_in: TaskSaveOptions | None, objects: Objects
) -> Publication:
    if value is None:
        return Publication(run, NO_DATA, "none", Payload(NO_RESULT))
    if save_in == "none":
        return Publication(run, NO_DATA, "none", _cached_only(value, run))
    result = normalise(value)
    goes_to_storage = save_in == "storage" and result.is_collection
    if not goes_to_storage and result.misfit is None:
        size = len(result.encoded)
        return Publication(run, result.value, "db", Payload(result.encoded), None, size, result.count)
    if not goes_to_storage:
        _log_misfit(run, result.misfit)
    return _upload(result.encoded, result.count, run, objects)


def _prepare_stream(
    records: Records,
    run: RunIdentity,
    task_run: TaskRun,
    save_in: TaskSaveOptions | None,
    objects: Objects,
) -> Publication:
    """Upload records as the task yields them; this instance keeps none of them."""
    if save_in == "none":
        return Publication(run, NO_DATA, "none", None, count=_drain(records, task_run))
    if save_in != "storage":  # a document cannot be written in parts
        logger.info(
            "the result goes to Storage: it is yielded record by record",
            task=run.task.value,
            run_id=run.run_id,
        )
    path = run_object(run.task, run.run_id, run.token)
    stream = ResultStream(records, task_run)
    try:
        objects.write_stream(path, stream, version=result_version(run), timeout=task_run.remaining())
    except Exception as error:
        if error is stream.failure or isinstance(error, ResultNotKept):
            raise
        raise _not_kept(error) from error
    return Publication(run, objects.signed_url(path), "storage", None, path, stream.size, stream.count)


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


def _log_misfit(run: RunIdentity, reason: str | None) -> None:
    logger.info(
        "the result goes to Storage: no document can hold it",
        task=run.task.value,
        run_id=run.run_id,
        reason=reason,
    )


def _upload(
    encoded: bytes, count: int | None, run: RunIdentity, objects: Objects, timeout: float | None = None
) -> Publication:
    path = run_object(run.task, run.run_id, run.token)
    try:
        objects.write(path, encoded, version=result_version(run), once=True, timeout=timeout)
    except ResultNotKept:
        raise
    except Exception as error:
        raise _not_kept(error) from error
    url = objects.signed_url(path)
    return Publication(run, url, "storage", Payload(encoded), path, len(encoded), count)


def _not_kept(error: Exception) -> ResultNotKept:
    return ResultNotKept(f"Storage did not take the result: {type(error).__name__}: {error}")


def _cached_only(value: object, run: RunIdentity) -> Payload | None:
    """Encode a result that is only cached; one that cannot be encoded does not fail the run."""
    try:
        return Payload(normalise(value).encoded)
    except ResultNotStorable as error:
        logger.warning("result not cached", task=run.task.value, run_id=run.run_id, error=error)
        return None
