"""A result that a task yields record by record, written while it comes and never held whole.

It becomes the same JSON array that a list would, with one record a line, so that a reader takes it
apart without a parser of its own; compressed as every stored result is. The upload pulls it.
"""

from __future__ import annotations

import base64
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import google_crc32c

from shared.tasks.results import gzipped
from shared.tasks.results.normalisation import encode_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.runtime.task_thread import Loop

#: How the array begins where each record has a line of its own; nothing else of this engine's does.
OPENING = b"[\n"
CLOSING = b"\n]"
_BETWEEN = b",\n"
#: Bytes of JSON that are compressed at once.
_BATCH_BYTES = 1 << 16


class Records:
    """The records of a task that returned or yields an iterator, be it synchronous or not.

    Args:
        records: the iterator.
        loop: runs an asynchronous one; the loop that the task itself ran in, if it did.
    """

    def __init__(self, records: Any, loop: Loop) -> None:
        self._records = records
        self._loop = loop
        self._is_async = hasattr(type(records), "__anext__")

    @staticmethod
    def are(value: Any) -> bool:
        """Tell whether a value is an iterator: text, bytes and collections are none."""
        return hasattr(type(value), "__next__") or hasattr(type(value), "__anext__")

    def feed(self, take: Callable[[Any], bool]) -> bool:
        """Hand over records until `take` has enough; return whether there may be more.

        Raises:
            BaseException: what the task raised, or `take`.
        """
        if self._is_async:
            return self._loop.run(self._feed(take))
        return any(take(record) for record in self._records)

    async def _feed(self, take: Callable[[Any], bool]) -> bool:
        async for record in self._records:
            if take(record):
                return True
        return False

    def close(self) -> None:
        """Let the task clean up: it is asked for nothing more."""
        with suppress(Exception):  # how the run ended is known, and is not to be hidden
            if hasattr(self._records, "aclose"):
                self._loop.run(self._records.aclose())
            elif hasattr(self._records, "close"):
                self._records.close()


class ResultStream:
    """The stored bytes of a result, made as they are read. Read once, by one thread.

    Args:
        records: what the task yields.
        run: is checked at each record, and told of its progress.

    Attributes:
        count: records so far.
        size: bytes of JSON so far.
        failure: what the task, or a record of it, failed with.
    """

    def __init__(self, records: Records, run: TaskRun) -> None:
        self.count = 0
        self.size = 0
        self.failure: BaseException | None = None
        self._records = records
        self._run = run
        self._compressor = gzipped.Compressor()
        self._crc32c = 0
        self._lines: list[bytes] = []
        self._waiting = 0  # bytes of these lines
        self._stored = deque([gzipped.HEAD])
        self._at_hand = len(gzipped.HEAD)  # bytes of these
        self._read = 0
        self._wanted = 0
        self._is_complete = False  # no record and no byte of the array's end is missing in `_stored`

    @property
    def crc32c(self) -> str:
        """The checksum of what was read, as Storage writes it."""
        return crc32c_text(self._crc32c)

    @property
    def ended(self) -> bool:
        """Whether all was read."""
        return self._is_complete and not self._stored

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._read

    def read(self, size: int) -> bytes:
        """Return the next bytes as they are stored; fewer than asked for only at the end.

        Raises:
            BaseException: what the task raised.
            ResultNotStorable: a record holds what JSON can't.
            RunLost: another attempt holds the task.
            DeadlineExceeded: the deadline has passed.
        """
        self._wanted = size
        try:
            if not self._is_complete and not self._records.feed(self._take):
                self._end()
        except BaseException as error:
            self.failure = error
            raise
        piece = self._next(size)
        self._crc32c = google_crc32c.extend(self._crc32c, piece)
        self._read += len(piece)
        return piece

    def _take(self, record: Any) -> bool:
        """Write a record; return whether as much is at hand as is wanted."""
        line = encode_record(record, self.count)
        self._lines.append(line)
        self._waiting += len(line) + len(_BETWEEN)
        self.count += 1
        self._run.stream_progress(self.count, self.size + self._waiting)
        if self._waiting < _BATCH_BYTES:
            return False
        self._write_lines()
        return self._at_hand >= self._wanted

    def _end(self) -> None:
        self._write_lines()
        self._write(CLOSING if self.size else OPENING + CLOSING[1:])
        self._put(self._compressor.finish() + gzipped.tail(self._compressor))
        self._is_complete = True

    def _write_lines(self) -> None:
        if self._lines:
            self._write((_BETWEEN if self.size else OPENING) + _BETWEEN.join(self._lines))
            self._lines.clear()
            self._waiting = 0

    def _write(self, plain: bytes) -> None:
        self._put(self._compressor.add(plain))
        self.size += len(plain)

    def _put(self, stored: bytes) -> None:
        self._stored.append(stored)
        self._at_hand += len(stored)

    def _next(self, size: int) -> bytes:
        """Take the next bytes from what is at hand."""
        pieces, left = [], size
        while left and self._stored:
            piece = self._stored.popleft()
            if len(piece) > left:
                self._stored.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        self._at_hand -= size - left
        return b"".join(pieces)


def crc32c_text(value: int) -> str:
    """Return a checksum as Storage writes it."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()
