"""Records on disk, sorted by key, so that any number of them can be merged in little memory.

A spool is an external merge sort: it writes sorted, compressed segments, and merges them when they are read.
On Cloud Run the disk is memory too; compressed, CDRs take about a tenth of their JSON.
"""

from __future__ import annotations

import gzip
import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

#: Bytes of records that are sorted in memory.
SEGMENT_BYTES = 8 << 20
#: Approximate bytes of memory per record beside its JSON.
_ENTRY_BYTES = 300
#: Segments that are open at once; this many are merged into one.
MAX_SEGMENTS = 48


class Entry(NamedTuple):
    """A record with its sort key.

    Attributes:
        key: Key of the record, without control characters except 0x1f.
        updated: Its `last_updated`, in a form that sorts by time.
        content: The record, as JSON or decoded.
    """

    key: bytes
    updated: bytes
    content: bytes | dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """The record, decoded."""
        record: dict[str, Any] = (
            orjson.loads(self.content) if isinstance(self.content, bytes) else self.content
        )
        return record

    @property
    def encoded(self) -> bytes:
        """The record, as JSON."""
        return self.content if isinstance(self.content, bytes) else orjson.dumps(self.content)


_order = itemgetter(0, 1)


def entry(key: str, updated: datetime, record: dict[str, Any]) -> Entry:
    """Return a record's entry.

    Args:
        key: Key of the record, of printable ASCII and 0x1f.
        updated: Its `last_updated`, UTC.
        record: The record.
    """
    moment = updated.replace(tzinfo=None).isoformat(timespec="microseconds").encode()
    return Entry(key.encode(), moment, record)


class Spool:
    """Takes records in any order, and returns them sorted by key, then by `last_updated`.

    Args:
        folder: Folder of its files. The caller removes it.
        name: Name of its files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._files = 0
        self._segments: list[Path] = []
        self._buffer: list[Entry] = []
        self._buffer_bytes = 0
        #: Number of records added.
        self.count = 0
        #: Bytes of the files.
        self.disk_bytes = 0

    def add(self, key: str, updated: datetime, record: dict[str, Any]) -> bytes:
        """Add a record; return it as JSON."""
        one = entry(key, updated, record)
        encoded = one.encoded
        self._buffer.append(one._replace(content=encoded))
        self._buffer_bytes += len(encoded) + _ENTRY_BYTES
        self.count += 1
        if self._buffer_bytes >= SEGMENT_BYTES:
            self._spill()
        return encoded

    def entries(self) -> Iterator[Entry]:
        """Return all records, sorted; of records with the same key and time, the last added comes last."""
        self._spill()
        return _merged(self._segments)

    def clear(self) -> None:
        """Remove all records."""
        self._buffer, self._buffer_bytes = [], 0
        segments, self._segments = self._segments, []
        self._remove(segments)

    def _spill(self) -> None:
        self._buffer.sort(key=_order)
        if self._buffer:
            self._segments.append(self._write(self._buffer))
        self._buffer, self._buffer_bytes = [], 0
        if len(self._segments) >= MAX_SEGMENTS:
            segments, self._segments = self._segments, [self._write(_merged(self._segments))]
            self._remove(segments)

    def _remove(self, segments: list[Path]) -> None:
        for segment in segments:
            self.disk_bytes -= segment.stat().st_size
            segment.unlink()

    def _write(self, entries: Iterable[Entry]) -> Path:
        self._files += 1
        segment = self._folder / f"{self._name}-{self._files}"
        with gzip.open(segment, "wb", compresslevel=1) as file:
            # JSON has no tab and no line end outside of escapes.
            file.writelines(b"%b\t%b\t%b\n" % (one.key, one.updated, one.encoded) for one in entries)
        self.disk_bytes += segment.stat().st_size
        return segment


def newest(*sources: Iterable[Entry]) -> Iterator[Entry]:
    """Merge sorted sources, and keep the newest record of each key; of equals, the last source's."""
    last: Entry | None = None
    for one in heapq.merge(*sources, key=_order):
        if last is not None and one.key != last.key:
            yield last
        last = one
    if last is not None:
        yield last


def _merged(segments: list[Path]) -> Iterator[Entry]:
    return heapq.merge(*map(_read, segments), key=_order)


def _read(segment: Path) -> Iterator[Entry]:
    with gzip.open(segment, "rb") as file:
        yield from map(_entry_of, file)  # A loop variable would keep each line in memory beside its entry.


def _entry_of(line: bytes) -> Entry:
    key, updated, content = line[:-1].split(b"\t", 2)
    return Entry(key, updated, content)
