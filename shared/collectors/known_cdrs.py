"""The CDRs of the last result, and what `charge_cdrs` must know about them before it asks the operators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.ocpi.owners import party_of
from shared.collectors.ocpi.reading import CLOCK_SKEW, in_utc, key_of
from shared.collectors.ocpi.records import (  # noqa: TC001  (msgspec reads the annotations)
    CdrId,
    CountryCode,
    PartyId,
    Price,
)
from shared.collectors.ocpi.spool import Entry, Spool, entry

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator
    from pathlib import Path

    from shared.collectors.ocpi.owners import Owners
    from shared.tasks import TaskRun

#: Time before the newest record that is requested again. Operators may publish a record after its date.
OVERLAP = timedelta(days=1)
#: Records between two progress reports.
_PROGRESS_STEP = 1_000
#: Part of the JSON of every credit CDR. Other records may contain it too, so a match must be decoded.
_CREDIT_MARK = b'"credit":true'
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Facts(msgspec.Struct, kw_only=True):
    """The fields of a CDR that merging and totals need."""

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
    def party(self) -> str:
        """The party that owns the CDR, "DE*ABC"."""
        return party_of(self.country_code, self.party_id)

    @property
    def month(self) -> str:
        """Month in which the session ended, UTC; if that is unknown (1970), the month of the last update."""
        ended = in_utc(self.end_date_time)
        return f"{ended if ended.year > 1970 else in_utc(self.last_updated):%Y-%m}"

    @property
    def cancelled_key(self) -> str | None:
        """Key and operator of the CDR that this one cancels; None if it is not a credit."""
        if not self.credit or self.credit_reference_id is None:
            return None
        key = f"{self.country_code}\x1f{self.party_id}\x1f{self.credit_reference_id}".lower()
        return _of_operator(key, self.nx_operator)


def facts_of(record: object) -> Facts | None:
    """Return the facts of a record of the last result; None if it is not a CDR."""
    try:
        facts = msgspec.convert(record, Facts)
        in_utc(facts.last_updated), in_utc(facts.end_date_time)
    except (msgspec.ValidationError, OverflowError):
        return None
    return facts


def _of_operator(key: str, operator: str) -> str:
    """Return a CDR's key with its operator; it sorts like the key, since 0x1f precedes printable ASCII."""
    return f"{key}\x1f{operator.lower()}"


class CancelledCdrs:
    """The keys of CDRs that credits cancel, on disk, so that any number of credits fits in memory.

    Args:
        folder: Folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder, ".cancelled")
        self._keys: Iterator[bytes] | None = None
        self._next_key: bytes | None = None

    def add(self, credit: Facts) -> None:
        """Add the key of the CDR that a record cancels, if it is a credit."""
        key = credit.cancelled_key
        if key is not None:
            self._spool.add(key, credit.last_updated, {})

    def add_credits(self, entries: Iterable[Entry]) -> None:
        """Add the keys of the CDRs that these records cancel."""
        for one in entries:
            if isinstance(one.content, bytes) and _CREDIT_MARK in one.content:
                self.add(msgspec.convert(one.record, Facts))

    def has(self, cdr_key: bytes, operator: str) -> bool:
        """Return whether a CDR is cancelled. Call it after all credits are added, with keys in order.

        Args:
            cdr_key: The key of the CDR.
            operator: The operator that sent the CDR; credits of other operators do not count.
        """
        key = _of_operator(cdr_key.decode(), operator).encode()
        if self._keys is None:
            self._keys = (one.key for one in self._spool.entries())
            self._next_key = next(self._keys, None)
        while self._next_key is not None and self._next_key < key:
            self._next_key = next(self._keys, None)
        return self._next_key == key


class KnownCdrs:
    """The CDRs of the last good result. Creating it reads the result once.

    Args:
        previous: Reads the last good result.
        folder: Folder of its records if they must be sorted.
        cancelled: Gets the credits of the result.
        now: Current time, UTC.
        run: The run; it gets the progress.
        owners: Decides which operator a party belongs to, and learns the parties of the result.

    Attributes:
        count: Number of records of the result.
        unreadable: Number of records that are not CDRs; the next result does not contain them.
        operators: Names of the operators that sent the records.
    """

    def __init__(
        self,
        previous: Callable[[], Iterable[dict[str, Any]]],
        folder: Path,
        cancelled: CancelledCdrs,
        now: datetime,
        run: TaskRun,
        owners: Owners,
    ) -> None:
        self.count = self.unreadable = 0
        self.operators: set[str] = set()
        self._owners = owners
        self._latest = now + CLOCK_SKEW
        self._cancelled = cancelled
        self._previous = previous
        self._folder = folder
        self._newest: dict[str, datetime] = {}
        self._in_order = True
        self._read_again: dict[str, datetime] = {}
        for party, moment in self._scan(now, run).items():
            owner = owners.of(party) or ""
            self._read_again[owner] = min(moment, self._read_again.get(owner, moment))

    def since(self, first: datetime, operator: str) -> datetime:
        """Return the earliest `last_updated` to ask an operator for; `first` if it has no records."""
        newest_known = self._newest.get(operator)
        if newest_known is None:
            return first
        since = newest_known - OVERLAP
        return max(first, min(since, self._read_again.get(operator, since)))

    def entries(self, read: Container[str], dropped: Container[str]) -> Iterator[Entry]:
        """Read the result again, ordered by key.

        Args:
            read: Operators that this run has read; strays of their parties are left out.
            dropped: Operators whose records are left out.
        """
        if self._in_order:
            return self._kept(read, dropped)
        spool = Spool(self._folder, ".known")  # A legacy result is not ordered by key.
        for one in self._kept(read, dropped):
            spool.add(one.key.decode(), datetime.fromisoformat(one.updated.decode()), one.record)
        return spool.entries()

    def _scan(self, now: datetime, run: TaskRun) -> dict[str, datetime]:
        """Read the result; return the parties with strays, and the time from which to read each again.

        A stray may have replaced a record of the party's operator. If another operator sent the stray, all
        records are read again. Otherwise reading starts at the end of the stray's session, because a CDR is
        created after that.
        """
        strays: dict[str, datetime] = {}
        last = ""
        for place, record in enumerate(self._previous()):
            if place % _PROGRESS_STEP == 0:
                run.progress(place, message="reading the last result")
            self.count += 1
            facts = facts_of(record)
            if facts is None:
                self.unreadable += 1
                continue
            key, updated = key_of(record), in_utc(facts.last_updated)
            self._in_order = self._in_order and last <= key
            last = key
            self._cancelled.add(facts)
            if self._is_stray(facts):
                is_others = self._owners.is_configured_for_another(facts.party, facts.nx_operator)
                lost = _LONG_AGO if is_others else in_utc(facts.end_date_time)
                strays[facts.party] = min(lost, strays.get(facts.party, lost))
            self.operators.add(facts.nx_operator)
            self._owners.learn(facts.party, facts.nx_operator)
            # A record of the future would hide all records until its time.
            if updated <= now and updated > self._newest.get(facts.nx_operator, _LONG_AGO):
                self._newest[facts.nx_operator] = updated
        return strays

    def _is_stray(self, facts: Facts) -> bool:
        """Return whether a record would be set aside today: of another operator's party, or of the future."""
        is_others = self._owners.is_configured_for_another(facts.party, facts.nx_operator)
        return is_others or in_utc(facts.last_updated) > self._latest

    def _kept(self, read: Container[str], dropped: Container[str]) -> Iterator[Entry]:
        for record in self._previous():
            facts = facts_of(record)
            if facts is None or facts.nx_operator in dropped:
                continue
            # A stray stays until the party's operator was read, whose record it may have replaced.
            if not (self._is_stray(facts) and self._owners.of(facts.party) in read):
                yield entry(key_of(record), in_utc(facts.last_updated), record)
