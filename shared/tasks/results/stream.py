"""Writes a result that a task yields record by record, without ever holding all of it.

It becomes the same JSON array that a list would, with one record per line, so that readers can split it
without a parser. It is compressed as every stored result is. The upload reads it, which runs the task.
`shared.tasks.results.parts` has the streams of runs that store their records before they end.
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

    from shared.tasks.results.gzipped import Blocks
    from shared.tasks.runtime.task_run import TaskRun
    from shared.tasks.runtime.task_thread import Loop

#: Start of an array with one record per line. No other result of this engine begins with it.
OPENING = b"[\n"
CLOSING = b"\n]"
#: The array without records.
EMPTY = b"[\n]"
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
        self._ahead: list[object] = []

    @staticmethod
    def accepts(value: object) -> bool:
        """Return whether a value is an iterator; text, bytes and collections are not."""
        return hasattr(type(value), "__next__") or hasattr(type(value), "__anext__")

    def begin(self) -> None:
        """Let the task work until it yields its first record, which `feed` passes on, or ends.

        Raises:
            BaseException: What the task raised.
        """

        def keep(record: object) -> bool:
            self._ahead.append(record)
            return True

        self.feed(keep)

    def feed(self, take: Callable[[object], bool]) -> bool:
        """Pass records to `take` until it returns True; return whether there may be more.

        Raises:
            BaseException: What the task raised, or `take`.
        """
        while self._ahead:
            if take(self._ahead.pop()):
                return True
        if self._is_async:
            return self._loop.run(self._feed(take))
        return any(map(take, self._records))  # unlike a loop's variable, it keeps no record in memory

    async def _feed(self, take: Callable[[object], bool]) -> bool:
        async for record in self._records:
            enough = take(record)
            del record  # or it would be in memory while the task makes the next one
            if enough:
                return True
        return False

    def close(self) -> None:
        """Let the task clean up; no more records are requested."""
        with suppress(Exception):  # an error here must not hide how the run ended
            if hasattr(self._records, "aclose"):
                self._loop.run(self._records.aclose())
            elif hasattr(self._records, "close"):
                self._records.close()


class ArrayWriter:
    """Writes an array with one record per line, and compresses the lines in batches.

    Args:
        stored: Receives the compressed bytes.
        follows: Whether these lines continue an array that has records already.

    Attributes:
        count: Number of records so far.
        size: Bytes of JSON so far.
        stored: The compressed bytes so far, without those of the last lines.
    """

    def __init__(self, stored: bytearray, *, follows: bool = False) -> None:
        self.count = 0
        self.size = 0
        self.stored = stored
        self._follows = follows
        self._compressor = gzipped.Compressor()
        self._lines: list[bytes] = []
        self._next_batch = _BATCH_BYTES  # the size at which lines are compressed next

    def add(self, line: bytes) -> bool:
        """Write an encoded record; return whether lines were compressed."""
        self._lines.append(line)
        self.count += 1
        self.size += len(line) + len(_BETWEEN)  # OPENING has as many bytes
        if self.size < self._next_batch:
            return False
        self._write_lines()
        return True

    def flush(self) -> Blocks:
        """Compress the remaining lines; return the rest of the blocks, and the checksum and size of all."""
        self._write_lines()
        rest = self._compressor.finish()
        return gzipped.Blocks(rest, self._compressor.crc, self._compressor.size)

    def copy(self) -> ArrayWriter:
        """Return a writer that continues from here, independently of this one."""
        other = ArrayWriter(bytearray(self.stored), follows=self._follows)
        other.count, other.size, other._next_batch = self.count, self.size, self._next_batch
        other._compressor, other._lines = self._compressor.copy(), [*self._lines]
        return other

    def end(self) -> Blocks:
        """Write the end of the array, otherwise like `flush`."""
        self._write_lines()
        self._write(CLOSING if self.size else EMPTY)
        self.size = self._compressor.size
        return self.flush()

    def _write_lines(self) -> None:
        if self._lines:
            is_first = self._compressor.size == 0 and not self._follows
            self._write((OPENING if is_first else _BETWEEN) + _BETWEEN.join(self._lines))
            self._lines.clear()
            self._next_batch = self.size + _BATCH_BYTES

    def _write(self, plain: bytes) -> None:
        self.stored += self._compressor.add(plain)


class StoredStream:
    """The stored bytes of a result, produced while they are read, once and by one thread.

    Attributes:
        failure: The error of the read that failed.
    """

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self._crc32c = 0
        self._stored = bytearray(gzipped.HEAD)
        self._read = 0
        self._is_complete = False  # `_stored` has the end of the member

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
            BaseException: What `_produce` raised.
        """
        try:
            if not self._is_complete:
                self._produce(size)
        except BaseException as error:
            self.failure = error
            raise
        piece = bytes(self._stored[:size])
        del self._stored[:size]
        self._crc32c = google_crc32c.extend(self._crc32c, piece)
        self._read += len(piece)
        return piece

    def _produce(self, size: int) -> None:
        """Extend `_stored` to this size, or to the end of the member."""
        raise NotImplementedError

    def _end(self, end: Blocks) -> None:
        """End the member with its last blocks, and the checksum and size of all its blocks."""
        self._stored += end.blocks + gzipped.tail(end)
        self._is_complete = True


class ResultStream(StoredStream):
    """Stores what a task yields. The upload that reads it runs the task.

    A read raises what the task raised, ResultNotStorable for a record that contains a value that JSON cannot
    hold, and what `TaskRun.check` raises.

    Args:
        records: What the task yields.
        task_run: Is checked at each record, and receives its progress.
    """

    def __init__(self, records: Records, task_run: TaskRun) -> None:
        super().__init__()
        self._records = records
        self._task_run = task_run
        self._array = ArrayWriter(self._stored)
        self._wanted = 0

    @property
    def count(self) -> int:
        """Number of records so far."""
        return self._array.count

    @property
    def size(self) -> int:
        """Bytes of JSON so far."""
        return self._array.size

    def _produce(self, size: int) -> None:
        self._wanted = size
        if not self._records.feed(self._take):
            self._end(self._array.end())

    def _take(self, record: object) -> bool:
        """Write a record; return whether the bytes for this read are available."""
        array = self._array
        is_compressed = array.add(encode_record(record, array.count))
        self._task_run.stream_progress(array.count, array.size)
        return is_compressed and len(self._stored) >= self._wanted


def crc32c_text(value: int) -> str:
    """Return a checksum as Storage writes it."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()
