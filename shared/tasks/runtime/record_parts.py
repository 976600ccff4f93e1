"""Divides the records that a task yields into parts, which its checkpoints name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict

from shared.tasks.documents.checkpoints import Part, SavedPart
from shared.tasks.results.normalisation import encode_record
from shared.tasks.results.parts import PartContent, PartWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.tasks.runtime.checkpoints import CheckpointBackend

#: Stored bytes after which a part is uploaded, although no checkpoint is due.
PART_BYTES = 8 << 20


class RecordParts:
    """Takes the records of a task that uses cursors, and divides them into parts.

    Args:
        saved: The parts that earlier legs and attempts persisted.
        upload: Uploads a part.
        progress: Receives the number of records and bytes so far.

    Attributes:
        writer: Compresses those that are not uploaded.
        parts: Those that no checkpoint has named yet.
        pending: Whether records were yielded since a cursor moved.
    """

    def __init__(
        self,
        saved: list[SavedPart],
        upload: Callable[[PartContent], Part],
        progress: Callable[[int, int], None],
    ) -> None:
        self._thread = threading.get_ident()
        self.writer = PartWriter(follows=bool(saved))
        self.parts: list[Part | PartContent] = []
        self.pending = False
        self._count = sum(one.count for one in saved)
        self._bytes = sum(one.size for one in saved)
        self._upload = upload
        self._progress = progress

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread yields the records."""
        return self._thread == threading.get_ident()

    def take(self, record: object) -> bool:
        """Add a record; return False, because more are accepted."""
        self.writer.add(encode_record(record, self._count))
        self._count += 1
        self.pending = True
        self._progress(self._count, self._bytes + self.writer.size)
        if self.writer.stored_bytes >= PART_BYTES:
            self.parts += self._cut()
            self._upload_last()
        return False

    def take_parts(self) -> list[Part | PartContent]:
        """Return the parts of all records so far, for a checkpoint that names them; the last is in memory."""
        parts, self.parts = [*self.parts, *self._cut()], []
        return parts

    def _upload_last(self) -> None:
        """Upload the last part. If that fails, it stays in memory for the next checkpoint."""
        last = self.parts[-1]
        if isinstance(last, PartContent):
            self.parts[-1] = self._upload(last)

    def _cut(self) -> list[PartContent]:
        content = self.writer.cut()
        if content is None:
            return []
        self._bytes += content.size
        return [content]


class UnnamedParts:
    """The parts that the next checkpoint names, uploaded or still in memory, in their order.

    Args:
        backend: Stores them.
    """

    def __init__(self, backend: CheckpointBackend) -> None:
        self._backend = backend
        self._parts: list[_UnnamedPart] = []

    @property
    def of_result(self) -> list[Part | PartContent]:
        """Those of the result."""
        return [each.part for each in self._parts if not each.kept]

    def kept_by(self, cursor: str) -> list[Part | PartContent]:
        """Return those that a cursor keeps."""
        return [each.part for each in self._parts if each.kept and each.cursor == cursor]

    def add(self, part: Part | PartContent | None, cursor: str, *, kept: bool) -> None:
        """Add a part with records that a cursor has moved past; None if there are none."""
        if part is not None:
            self._parts.append(_UnnamedPart(part, cursor, kept))

    def store(self, content: PartContent) -> Part:
        """Upload a part."""
        return content.stored_at(self._backend.upload(content.blocks))

    def upload(self) -> list[SavedPart]:
        """Upload those in memory, and return all. If an upload fails, the rest stays in memory."""
        for each in self._parts:
            if isinstance(each.part, PartContent):
                each.part = self.store(each.part)
        return [each.saved() for each in self._parts]

    def remove(self, named: Iterable[SavedPart]) -> None:
        """Remove those that a checkpoint has named."""
        paths = {one.path for one in named}
        self._parts = [
            each for each in self._parts if isinstance(each.part, PartContent) or each.part.path not in paths
        ]


class _UnnamedPart(Struct):
    part: Part | PartContent
    cursor: str
    kept: bool

    def saved(self) -> SavedPart:
        """Return the uploaded part, for the checkpoint that names it."""
        assert isinstance(self.part, Part)  # noqa: S101  (a checkpoint names uploaded parts only)
        return SavedPart(**asdict(self.part), cursor=self.cursor, kept=self.kept)
