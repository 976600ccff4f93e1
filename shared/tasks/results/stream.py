"""Writes a result that a task yields record by record, without ever holding all of it.

It becomes the same JSON array that a list would, with one record per line, so that readers can split it
without a parser. It is compressed as every stored result is. The upload reads it, which runs the task.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import google_crc32c

from shared.tasks.results import gzipped
from shared.tasks.results.normalisation import encode_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.runtime.task_thread import Loop

#: Start of an array with one record per line. No other result of this engine begins with it.
OPENING = b"[\n"
CLOSING = b"\n]"
_BETWEEN = b",\n"
#: Bytes of JSON that are compressed at once.
_BATCH_BYTES = 1 << 16


class Records:
    """The records of a task that returned a synchronous or asynchronous iterator.

    Args:
        records: The iterator.
        loop: Runs an asynchronous iterator; the loop that the task itself ran in, if it did.
    """

    def __init__(self, records: Any, loop: Loop) -> None:
        self._records = records
        self._loop = loop
        self._is_async = hasattr(type(records), "__anext__")

    @staticmethod
    def accepts(value: object) -> bool:
        """Return whether a value is an iterator; text, bytes and collections are not."""
        return hasattr(type(value), "__next__") or hasattr(type(value), "__anext__")

    def feed(self, take: Callable[[object], bool]) -> bool:
        """Pass records to `take` until it returns True; return whether there may be more.

        Raises:
            BaseException: What the task raised, or `take`.
        """
        if self._is_async:
            return self._loop.run(self._feed(take))
        return any(take(record) for record in self._records)

    async def _feed(self, take: Callable[[object], bool]) -> bool:
        async for record in self._records:
            if take(record):
                return True
        return False

    def close(self) -> None:
        """Let the task clean up; no more records are requested."""
        with suppress(Exception):  # an error here must not hide how the run ended
            if hasattr(self._records, "aclose"):
                self._loop.run(self._records.aclose())
            elif hasattr(self._records, "close"):
                self._records.close()


class ResultStream:
    """The stored bytes of a result, produced while they are read, once and by one thread.

    Args:
        records: What the task yields.
        task_run: Is checked at each record, and receives its progress.

    Attributes:
        count: Number of records so far.
        size: Bytes of JSON so far.
        failure: The error of the task, or of one of its records.
    """

    def __init__(self, records: Records, task_run: TaskRun) -> None:
        self.count = 0
        self.size = 0
        self.failure: BaseException | None = None
        self._records = records
        self._task_run = task_run
        self._compressor = gzipped.Compressor()
        self._crc32c = 0
        self._lines: list[bytes] = []
        self._line_bytes = 0
        self._stored = bytearray(gzipped.HEAD)
        self._read = 0
        self._wanted = 0
        self._is_complete = False  # `_stored` has the last record and the end of the array

    @property
    def crc32c(self) -> str:
        """The checksum of the bytes read so far, as Storage writes it."""
        return crc32c_text(self._crc32c)

    @property
    def ended(self) -> bool:
        """Whether all bytes were read."""
        return self._is_complete and not self._stored

    def tell(self) -> int:
        """Return the number of bytes read so far."""
        return self._read

    def read(self, size: int) -> bytes:
        """Return the next bytes to store; fewer than requested only at the end.

        Raises:
            BaseException: What the task raised.
            ResultNotStorable: A record contains a value that JSON cannot hold.
            RunLost: The run has lost its lease, or has ended without the task.
            DeadlineExceeded: The deadline has passed.
        """
        self._wanted = size
        try:
            if not self._is_complete and not self._records.feed(self._take):
                self._end()
        except BaseException as error:
            self.failure = error
            raise
        piece = bytes(self._stored[:size])
        del self._stored[:size]
        self._crc32c = google_crc32c.extend(self._crc32c, piece)
        self._read += len(piece)
        return piece

    def _take(self, record: object) -> bool:
        """Write a record; return whether the bytes for this read are available."""
        line = encode_record(record, self.count)
        self._lines.append(line)
        self._line_bytes += len(line) + len(_BETWEEN)
        self.count += 1
        self._task_run.stream_progress(self.count, self.size + self._line_bytes)
        if self._line_bytes < _BATCH_BYTES:
            return False
        self._write_lines()
        return len(self._stored) >= self._wanted

    def _end(self) -> None:
        self._write_lines()
        self._write(CLOSING if self.size else OPENING + CLOSING[1:])
        self._stored += self._compressor.finish() + gzipped.tail(self._compressor)
        self._is_complete = True

    def _write_lines(self) -> None:
        if self._lines:
            self._write((_BETWEEN if self.size else OPENING) + _BETWEEN.join(self._lines))
            self._lines.clear()
            self._line_bytes = 0

    def _write(self, plain: bytes) -> None:
        self._stored += self._compressor.add(plain)
        self.size += len(plain)


def crc32c_text(value: int) -> str:
    """Return a checksum as Storage writes it."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()
