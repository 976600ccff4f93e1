"""Records on disk, sorted by key, so that any number of them can be merged in little memory.

A spool writes sorted, compressed runs, and merges them as they are read: an external merge sort.
(On Cloud Run the disk is memory as well; compressed, CDRs take about a tenth of their JSON.)
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
RUN_BYTES = 8 << 20
#: Bytes that a record takes in memory beside its JSON, about.
_ENTRY_BYTES = 300
#: Runs that are open at once; when there are as many, they are made one.
MOST_RUNS = 48


class Entry(NamedTuple):
    """A record with what sorts it.

    Attributes:
        key: what tells it from all others; no control characters but 0x1f.
        updated: its `last_updated`, in a form that sorts as time does.
        said: the record, as JSON or in plain Python.
    """

    key: bytes
    updated: bytes
    said: bytes | dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """The record, in plain Python."""
        record: dict[str, Any] = orjson.loads(self.said) if isinstance(self.said, bytes) else self.said
        return record

    @property
    def encoded(self) -> bytes:
        """The record, as JSON."""
        return self.said if isinstance(self.said, bytes) else orjson.dumps(self.said)


_order = itemgetter(0, 1)


def entry(key: str, updated: datetime, record: dict[str, Any]) -> Entry:
    """Return a record's entry.

    Args:
        key: what tells it from all others, printable ASCII and 0x1f.
        updated: when it was last updated, UTC.
        record: the record.
    """
    moment = updated.replace(tzinfo=None).isoformat(timespec="microseconds").encode()
    return Entry(key.encode(), moment, record)


class Spool:
    """Takes records in any order, and gives them sorted by key, then by age.

    Args:
        folder: where its files go; whoever made the folder removes it.
        name: of its files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._files = 0
        self._runs: list[Path] = []
        self._held: list[Entry] = []
        self._held_bytes = 0
        #: Records taken.
        self.count = 0
        #: Bytes of its files.
        self.disk_bytes = 0

    def add(self, key: str, updated: datetime, record: dict[str, Any]) -> None:
        """Take a record."""
        one = entry(key, updated, record)
        said = one.encoded
        self._held.append(one._replace(said=said))
        self._held_bytes += len(said) + _ENTRY_BYTES
        self.count += 1
        if self._held_bytes >= RUN_BYTES:
            self._spill()

    def entries(self) -> Iterator[Entry]:
        """Return all records; of those with one key the newest, and of those the last taken, comes last."""
        self._spill()
        return _merged(self._runs)

    def clear(self) -> None:
        """Let go of all records: nobody wants them."""
        self._held, self._held_bytes = [], 0
        runs, self._runs = self._runs, []
        self._remove(runs)

    def _spill(self) -> None:
        self._held.sort(key=_order)
        if self._held:
            self._runs.append(self._write(self._held))
        self._held, self._held_bytes = [], 0
        if len(self._runs) >= MOST_RUNS:
            runs, self._runs = self._runs, [self._write(_merged(self._runs))]
            self._remove(runs)

    def _remove(self, runs: list[Path]) -> None:
        for run in runs:
            self.disk_bytes -= run.stat().st_size
            run.unlink()

    def _write(self, entries: Iterable[Entry]) -> Path:
        self._files += 1
        run = self._folder / f"{self._name}-{self._files}"
        with gzip.open(run, "wb", compresslevel=1) as file:
            file.writelines(
                b"%b\t%b\t%b\n" % (one.key, one.updated, one.encoded) for one in entries
            )  # JSON has neither tab nor line end
        self.disk_bytes += run.stat().st_size
        return run


def newest(*sources: Iterable[Entry]) -> Iterator[Entry]:
    """Merge sorted sources, and keep of each key the newest; of equals, that of the last source."""
    last: Entry | None = None
    for one in heapq.merge(*sources, key=_order):
        if last is not None and one.key != last.key:
            yield last
        last = one
    if last is not None:
        yield last


def _merged(runs: list[Path]) -> Iterator[Entry]:
    return heapq.merge(*map(_read, runs), key=_order)


def _read(run: Path) -> Iterator[Entry]:
    with gzip.open(run, "rb") as file:
        yield from map(_entry_of, file)  # a loop's variable would keep each line beside its entry


def _entry_of(line: bytes) -> Entry:
    key, updated, said = line[:-1].split(b"\t", 2)
    return Entry(key, updated, said)
