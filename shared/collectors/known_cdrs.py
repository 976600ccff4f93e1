"""The CDRs of the last result, for `charge_cdrs`: what the next one must know of them before it begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.ocpi.reading import in_utc, key_of
from shared.collectors.ocpi.records import (  # noqa: TC001  (msgspec reads the annotations)
    CdrId,
    CountryCode,
    PartyId,
    Price,
)
from shared.collectors.ocpi.spool import Entry, Spool, entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from shared.tasks import TaskRun

#: How far before the newest record is asked again: an operator may show a record later than it dates it.
OVERLAP = timedelta(days=1)
#: Records between two words on how far the last result is read.
_STEP = 1_000
#: How a spool writes that a record is a credit: a sign to look closer, no proof.
_CREDIT_SIGN = b'"credit":true'
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Facts(msgspec.Struct, kw_only=True):
    """What of a CDR merging and totals need."""

    country_code: CountryCode
    party_id: PartyId
    id: CdrId
    end_date_time: datetime
    last_updated: datetime
    currency: str
    total_cost: Price
    total_energy: int | float
    total_time: int | float
    credit: bool | None = None
    credit_reference_id: CdrId | None = None
    nx_operator: str

    @property
    def month(self) -> str:
        """The month that its session ended in, UTC; where nobody knows (1970), that of its last update."""
        ended = in_utc(self.end_date_time)
        return f"{ended if ended.year > 1970 else in_utc(self.last_updated):%Y-%m}"

    @property
    def cancelled_key(self) -> str | None:
        """The key of the CDR that it cancels; None where it is no credit."""
        if not self.credit or self.credit_reference_id is None:
            return None
        return f"{self.country_code}\x1f{self.party_id}\x1f{self.credit_reference_id}".lower()


def facts_of(record: Any) -> Facts | None:
    """Return the facts of a record of the last result; None where it is no CDR."""
    try:
        facts = msgspec.convert(record, Facts)
        in_utc(facts.last_updated), in_utc(facts.end_date_time)
    except (msgspec.ValidationError, OverflowError):
        return None
    return facts


class Cancelled:
    """The keys of CDRs that credits cancel, on disk: whoever sends nothing but credits fills no memory.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder, ".cancelled")
        self._keys: Iterator[bytes] | None = None
        self._ahead: bytes | None = None

    def add(self, credit: Facts) -> None:
        """Take the key of what a record cancels, if it is a credit."""
        key = credit.cancelled_key
        if key is not None:
            self._spool.add(key, credit.last_updated, {})

    def add_those_of(self, spool: Spool) -> None:
        """Take the keys of what a spool's credits cancel."""
        for one in spool.entries():
            if isinstance(one.said, bytes) and _CREDIT_SIGN in one.said:
                self.add(msgspec.convert(one.record, Facts))

    def has(self, key: bytes) -> bool:
        """Tell whether a CDR is cancelled; once all are added, and in the order of keys."""
        if self._keys is None:
            self._keys = (one.key for one in self._spool.entries())
            self._ahead = next(self._keys, None)
        while self._ahead is not None and self._ahead < key:
            self._ahead = next(self._keys, None)
        return self._ahead == key


class Known:
    """The last good result, read once for what the next must know before it begins.

    Args:
        previous: reads it.
        folder: where it goes if it must be sorted.
        cancelled: is told what its credits cancel.
        now: the time, UTC.
        run: told how far the reading is.

    Attributes:
        unreadable: its records that are no CDRs; they are not taken over.
    """

    def __init__(
        self,
        previous: Callable[[], Iterable[dict[str, Any]]],
        folder: Path,
        cancelled: Cancelled,
        now: datetime,
        run: TaskRun,
    ) -> None:
        self.unreadable = 0
        self._cancelled = cancelled
        self._previous = previous
        self._folder = folder
        self._newest: dict[str, datetime] = {}
        self._in_order = True
        self._look(now, run)

    def since(self, first: datetime, operator: str) -> datetime:
        """Return from when on an operator is asked for records; `first` where nothing is known of it."""
        newest_known = self._newest.get(operator)
        return first if newest_known is None else max(first, newest_known - OVERLAP)

    def entries(self) -> Iterator[Entry]:
        """Read it once more, in order of keys."""
        if self._in_order:
            return self._read()
        spool = Spool(self._folder, ".known")  # another wrote it
        for one in self._read():
            spool.add(one.key.decode(), datetime.fromisoformat(one.updated.decode()), one.record)
        return spool.entries()

    def _look(self, now: datetime, run: TaskRun) -> None:
        last = ""
        for place, record in enumerate(self._previous()):
            if place % _STEP == 0:
                run.progress(place, message="reading the last result")
            facts = facts_of(record)
            if facts is None:
                self.unreadable += 1
                continue
            key, updated = key_of(record), in_utc(facts.last_updated)
            self._in_order = self._in_order and last <= key
            last = key
            self._cancelled.add(facts)
            # A record that is ahead of the clock would hide all that come until then.
            if updated <= now and updated > self._newest.get(facts.nx_operator, _LONG_AGO):
                self._newest[facts.nx_operator] = updated

    def _read(self) -> Iterator[Entry]:
        for record in self._previous():
            facts = facts_of(record)
            if facts is not None:
                yield entry(key_of(record), in_utc(facts.last_updated), record)
