"""Where a result goes: made ready before the commit that publishes it, spread after it.

Before: normalised, placed, and uploaded if Storage keeps it. After: the instance's cache, then
the contract copy. Nothing here decides whether a run may publish.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
    from shared.tasks.documents.run_writes import RunIdentity
    from shared.tasks.protocol.effect_handler import EffectHandler
    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.serving.cache import CacheManager


@dataclass(frozen=True, slots=True)
class Publication:
    """A result ready to be published.

    Attributes:
        run: the attempt whose result it is.
        data: the contract's field `data`.
        saved_in: "db", "storage" or "none".
        cached: what this instance's readers get; None where they ask Firestore.
        path: of the uploaded object, for "storage".
        size_bytes: of the result as JSON, uncompressed.
        count: records of an array or entries of an object.
        details: path of the uploaded details; None where there are none.
    """

    run: RunIdentity
    data: Any
    saved_in: TaskSaveOptions
    cached: Payload | None
    path: str | None = None
    size_bytes: int | None = None
    count: int | None = None
    details: str | None = None

    @property
    def version(self) -> str:
        """Unique: an attempt publishes once."""
        return result_version(self.run)

    def pointer(self, completed: datetime) -> ResultPointer:
        """Describe the result as `run.result` does."""
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
    """Return the version of the result that this attempt would publish."""
    return f"{run.run_id}.{run.token}"


def prepare(value: Any, run: RunIdentity, save_in: TaskSaveOptions | None, objects: Objects) -> Publication:
    """Make what a task returned ready to be published; uploads it if Storage keeps it.

    Args:
        value: what the task returned.
        run: the attempt.
        save_in: where it is to be kept; None is "db".
        objects: the bucket.

    Raises:
        ResultNotStorable: it holds what JSON can't.
        ResultNotKept: Storage did not take it.
    """
    if value is None:
        return Publication(run, NO_DATA, "none", Payload(NO_RESULT))
    if save_in == "none":
        return Publication(run, NO_DATA, "none", _unsaved(value, run))
    result = normalise(value)
    wanted = save_in == "storage" and result.is_collection
    if not wanted and result.misfit is None:
        size = len(result.encoded)
        return Publication(run, result.value, "db", Payload(result.encoded), None, size, result.count)
    if not wanted:
        _tell_misfit(run, result.misfit)
    return _uploaded(result.encoded, result.count, run, objects)


def prepare_stream(
    records: Records,
    seen: TaskRun,
    run: RunIdentity,
    save_in: TaskSaveOptions | None,
    objects: Objects,
) -> Publication:
    """Upload what a task yields, record by record; this instance keeps nothing of it.

    Args:
        records: what the task yields.
        seen: the run as the task sees it: is checked at each record, and bounds the upload.
        run: the attempt.
        save_in: "none" keeps nothing; whatever else is said, a document can't be written bit by bit.
        objects: the bucket.

    Raises:
        BaseException: what the task raised.
        ResultNotStorable: a record holds what JSON can't.
        ResultNotKept: Storage did not take it.
        RunLost: another attempt holds the task.
        DeadlineExceeded: the deadline has passed.
    """
    if save_in == "none":
        return Publication(run, NO_DATA, "none", None, count=_drained(records, seen))
    if save_in != "storage":
        logger.info(
            "the result goes to Storage: it is yielded record by record",
            task=run.task.value,
            run_id=run.run_id,
        )
    path = run_object(run.task, run.run_id, run.token)
    stream = ResultStream(records, seen)
    try:
        objects.write_stream(path, stream, version=result_version(run), timeout=seen.remaining())
    except Exception as error:
        if error is stream.failure or isinstance(error, ResultNotKept):
            raise
        raise _not_kept(error) from error
    url = objects.signed_url(path)
    return Publication(run, url, "storage", None, path, stream.size, stream.count)


def _drained(records: Records, seen: TaskRun) -> int:
    """Have a task yield all there is, for what it does on the way; return how many records came."""
    count = 0

    def take(_: Any) -> bool:
        nonlocal count
        count += 1
        seen.check()
        return False

    records.feed(take)
    return count


def with_details(publication: Publication, seen: TaskRun, objects: Objects) -> Publication:
    """Upload the details of a result, if the task gave any.

    If the result is not published, the watchdog removes the object with other unused ones.

    Args:
        publication: The result.
        seen: The run as the task sees it.
        objects: The bucket.

    Raises:
        ResultNotKept: Storage did not take them.
    """
    if seen.details is None:
        return publication
    run = publication.run
    path = details_object(run.task, run.run_id, run.token)
    timeout = max(seen.remaining(), 1.0)
    try:
        objects.write(path, seen.details, version=publication.version, once=True, timeout=timeout)
    except Exception as error:
        raise _not_kept(error) from error
    return replace(publication, details=path)


def move_to_storage(
    publication: Publication, refusal: WriteRejected, objects: Objects, *, timeout: float
) -> Publication:
    """Give a result that Firestore refused to Storage, so that the work is not lost.

    What a document can't hold is seen before; this is for the limits that nobody wrote down.

    Args:
        publication: the result.
        refusal: what Firestore said.
        objects: the bucket.
        timeout: that the upload may take.

    Raises:
        WriteRejected: the refusal, where there is no result to move.
        ResultNotKept: Storage did not take it.
    """
    if publication.saved_in != "db" or publication.cached is None:
        raise refusal
    _tell_misfit(publication.run, str(refusal))
    moved = _uploaded(publication.cached.json, publication.count, publication.run, objects, timeout)
    return replace(moved, details=publication.details)


def spread(
    publication: Publication, cache: CacheManager, on_servers: EffectHandler, *, is_present: bool
) -> None:
    """Let the readers of this instance and of the contract's path have a published result.

    Args:
        publication: the result.
        cache: what this instance remembers.
        on_servers: writes the contract copy.
        is_present: whether it is the task's present result; another may have followed already.
    """
    task = publication.run.task
    if publication.cached is None or not is_present:
        cache.forget(task)
    else:
        private = publication.saved_in == "none"
        cache.set_result(task, publication.cached, publication.version, private=private)
    if publication.saved_in == "storage":
        try:
            run_procedure(repair_contract_copy(task), on_servers)
        except Exception as error:  # noqa: BLE001  (the result is published, whatever happens here)
            logger.warning("contract copy not written", task=task.value, error=error)


def _tell_misfit(run: RunIdentity, reason: str | None) -> None:
    logger.info(
        "the result goes to Storage: no document can hold it",
        task=run.task.value,
        run_id=run.run_id,
        reason=reason,
    )


def _uploaded(
    encoded: bytes,
    count: int | None,
    run: RunIdentity,
    objects: Objects,
    timeout: float | None = None,
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


def _unsaved(value: Any, run: RunIdentity) -> Payload | None:
    """Encode a result for this instance alone; one that can't be is not worth failing the run."""
    try:
        return Payload(normalise(value).encoded)
    except ResultNotStorable as error:
        logger.warning("result not cached", task=run.task.value, run_id=run.run_id, error=error)
        return None
