"""Keeps the checkpoints of an attempt in Firestore and Storage."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.tasks.backends.downloads import DownloadFailed
from shared.tasks.contract import part_object
from shared.tasks.documents.checkpoints import Saved
from shared.tasks.errors import ResultNotKept
from shared.tasks.protocol.checkpoint import make_checkpoint, read_saved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.tasks.backends.storage import Objects
    from shared.tasks.documents.checkpoints import Changes
    from shared.tasks.protocol.attempt import Attempt
    from shared.tasks.runtime.held_run import HeldRun

#: Longest time to upload a part, in seconds; the task waits meanwhile.
UPLOAD_SECONDS = 60.0


class RunStorage:
    """Keeps the checkpoints of an attempt. It implements `CheckpointBackend`.

    Args:
        attempt: The attempt.
        objects: The bucket.
        held: The run, which carries out procedures and knows how much time is left.
    """

    def __init__(self, attempt: Attempt, objects: Objects, held: HeldRun) -> None:
        self._attempt = attempt
        self._objects = objects
        self._held = held
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._saved = Saved()

    def read(self) -> Saved:
        """Return what earlier legs and attempts persisted. Raises what `read_saved` raises."""
        self._saved = self._held.run_procedure(read_saved(self._attempt))
        return self._saved

    def save(self, changes: Changes) -> None:
        """Persist changes in one commit. Raises what `make_checkpoint` raises."""
        # Extensions of the lease wait meanwhile. A checkpoint that takes longer is made again later.
        deadline = self._attempt.clock.monotonic() + self._attempt.call_seconds
        checkpoint = make_checkpoint(self._attempt, self._saved, changes, deadline=deadline)
        self._held.run_procedure(checkpoint)

    def upload(self, content: bytes) -> str:
        """Store an object that a later commit will name; return its path.

        Raises:
            ResultNotKept: Storage did not take it.
        """
        identity = self._attempt.identity
        with self._lock:
            number = next(self._numbers)
        path = part_object(identity.task, identity.run_id, identity.token, number)
        try:
            timeout = min(UPLOAD_SECONDS, max(self._held.task_run.leg_remaining(), 1.0))
            self._objects.write_part(path, content, timeout=timeout)
        except Exception as error:
            text = f"Storage did not take {path}: {type(error).__name__}: {error}"
            raise ResultNotKept(text) from error
        return path

    def open(self, path: str) -> Iterable[bytes] | None:
        """Return an object's bytes in pieces; None if it does not exist.

        Raises:
            ResultNotKept: Storage did not return it.
        """
        timeout = max(self._held.task_run.leg_remaining(), 1.0)
        with _reading(path):
            pieces = self._objects.open(path, timeout=timeout)
        return None if pieces is None else _pieces(path, pieces)


def _pieces(path: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    with _reading(path):
        yield from pieces


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Raise ResultNotKept if Storage does not return an object."""
    try:
        yield
    except DownloadFailed as error:
        raise ResultNotKept(f"Storage did not return {path}: {error}") from error
