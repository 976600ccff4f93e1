"""A task's last good result, from the read that found it to the caller that gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import JsonMap
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.result_pointer import ResultPointer
    from shared.tasks.results.payload import Payload


class TaskResult(Struct, frozen=True):
    """A task's last good result, as it was read, and as an instance caches and serves it.

    Attributes:
        payload: The result; None if it was not requested, was evicted, or is too large.
        version: Unique among all results of the task; empty if the result exists in this process only.
        document: The status document of the last check; None if a run of this process published the
            result and it was not checked since.
        checked_at: Start of the check that confirmed the version, on the clock's monotonic scale, in seconds.
        failed_at: Time of the last failed check since then, on the same scale; None if none failed.
        failing_since: Time of the first of these.
        private: Whether only Python callers in this process get the payload (`save_in="none"`).
        too_large: Path of the stored result if it has more bytes than its reader accepts.
    """

    payload: Payload | None
    version: str
    document: TaskDocument | None = None
    checked_at: float = 0.0
    failed_at: float | None = None
    failing_since: float | None = None
    private: bool = False
    too_large: str | None = None

    @property
    def completed(self) -> datetime | None:
        """Time when it was published, UTC; None if there is no result."""
        return None if self.document is None else self.document.result_completed

    @property
    def status(self) -> str | None:
        """The contract's status of the task."""
        return None if self.document is None else self.document.status

    @property
    def stale(self) -> bool:
        """Whether its freshness could not be verified."""
        return self.failed_at is not None

    @property
    def saved_in(self) -> str | None:
        """Where it is stored: "db", "storage" or "none"; "contract" or None if this engine published none."""
        return None if self._pointer is None else self._pointer.saved_in

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the result as JSON; None if unknown."""
        return None if self._pointer is None else self._pointer.size_bytes

    @property
    def count(self) -> int | None:
        """Records of an array or entries of an object; None if unknown."""
        return None if self._pointer is None else self._pointer.count

    @property
    def summary(self) -> JsonMap | None:
        """Summary that the task gave with its result."""
        return None if self._pointer is None else self._pointer.summary

    @property
    def path(self) -> str | None:
        """Path of its object in the bucket; None if it has no object of its own."""
        return None if self._pointer is None else self._pointer.path

    @property
    def _pointer(self) -> ResultPointer | None:
        return None if self.document is None else self.document.result
