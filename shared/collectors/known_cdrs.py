"""The CDRs of the last result, for `charge_cdrs`: what the next one must know of them before it begins."""

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
    def party(self) -> str:
        """The party that owns it, "DE*ABC"."""
        return party_of(self.country_code, self.party_id)

    @property
    def month(self) -> str:
        """The month that its session ended in, UTC; where nobody knows (1970), that of its last update."""
        ended = in_utc(self.end_date_time)
        return f"{ended if ended.year > 1970 else in_utc(self.last_updated):%Y-%m}"

    @property
    def cancelled_key(self) -> str | None:
        """The key and the operator of the CDR that it cancels; None if it is no credit."""
        if not self.credit or self.credit_reference_id is None:
            return None
        key = f"{self.country_code}\x1f{self.party_id}\x1f{self.credit_reference_id}".lower()
        return _of_operator(key, self.nx_operator)


def facts_of(record: Any) -> Facts | None:
    """Return the facts of a record of the last result; None where it is no CDR."""
    try:
        facts = msgspec.convert(record, Facts)
        in_utc(facts.last_updated), in_utc(facts.end_date_time)
    except (msgspec.ValidationError, OverflowError):
        return None
    return facts


def _of_operator(key: str, operator: str) -> str:
    """Return a CDR's key with its operator; it sorts as the key does, since 0x1f is below all of a key."""
    return f"{key}\x1f{operator.lower()}"


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

    def add_those_of(self, entries: Iterable[Entry]) -> None:
        """Take the keys of what the credits among these records cancel."""
        for one in entries:
            if isinstance(one.said, bytes) and _CREDIT_SIGN in one.said:
                self.add(msgspec.convert(one.record, Facts))

    def has(self, cdr_key: bytes, operator: str) -> bool:
        """Tell whether a CDR is cancelled, once all credits are added, and in the order of keys.

        Args:
            cdr_key: The key of the CDR.
            operator: The operator that it came from; credits of other operators do not count.
        """
        key = _of_operator(cdr_key.decode(), operator).encode()
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
        owners: Decides whose the parties are; learns whose records the result has.

    Attributes:
        unreadable: Number of its records that are not CDRs; they are not taken over.
        operators: Names of the operators that its records came from.
    """

    def __init__(
        self,
        previous: Callable[[], Iterable[dict[str, Any]]],
        folder: Path,
        cancelled: Cancelled,
        now: datetime,
        run: TaskRun,
        owners: Owners,
    ) -> None:
        self.unreadable = 0
        self.operators: set[str] = set()
        self._owners = owners
        self._latest = now + CLOCK_SKEW
        self._cancelled = cancelled
        self._previous = previous
        self._folder = folder
        self._newest: dict[str, datetime] = {}
        self._in_order = True
        self._read_again: dict[str, datetime] = {}
        for party, moment in self._look(now, run).items():
            owner = owners.of(party) or ""
            self._read_again[owner] = min(moment, self._read_again.get(owner, moment))

    def since(self, first: datetime, operator: str) -> datetime:
        """Return from when on an operator is asked for records; `first` where nothing is known of it."""
        newest_known = self._newest.get(operator)
        if newest_known is None:
            return first
        wanted = newest_known - OVERLAP
        return max(first, min(wanted, self._read_again.get(operator, wanted)))

    def entries(self, read: Container[str], dropped: Container[str]) -> Iterator[Entry]:
        """Read it once more, in order of keys.

        Args:
            read: Operators that this run has read: what is not theirs of their parties is left out.
            dropped: Operators whose records are left out.
        """
        if self._in_order:
            return self._read(read, dropped)
        spool = Spool(self._folder, ".known")  # another wrote it
        for one in self._read(read, dropped):
            spool.add(one.key.decode(), datetime.fromisoformat(one.updated.decode()), one.record)
        return spool.entries()

    def _look(self, now: datetime, run: TaskRun) -> dict[str, datetime]:
        """Read it, and return the parties of which it has strays.

        A stray may have replaced a record of the party's operator. With each party is the time from
        which that operator is to be read again: all, if another operator sent the stray; otherwise from
        the end of the stray's session, since a CDR is made after that.
        """
        strays: dict[str, datetime] = {}
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
            if self._is_stray(facts):
                is_others = self._owners.is_configured_for_another(facts.party, facts.nx_operator)
                lost = _LONG_AGO if is_others else in_utc(facts.end_date_time)
                strays[facts.party] = min(lost, strays.get(facts.party, lost))
            self.operators.add(facts.nx_operator)
            self._owners.learn(facts.party, facts.nx_operator)
            # A record that is ahead of the clock would hide all that come until then.
            if updated <= now and updated > self._newest.get(facts.nx_operator, _LONG_AGO):
                self._newest[facts.nx_operator] = updated
        return strays

    def _is_stray(self, facts: Facts) -> bool:
        """Tell whether a record would be set aside if it came now: not its operator's, or of the future."""
        is_others = self._owners.is_configured_for_another(facts.party, facts.nx_operator)
        return is_others or in_utc(facts.last_updated) > self._latest

    def _read(self, read: Container[str], dropped: Container[str]) -> Iterator[Entry]:
        for record in self._previous():
            facts = facts_of(record)
            if facts is None or facts.nx_operator in dropped:
                continue
            # It goes only when its owner's own records have come, which it may have replaced.
            if not (self._is_stray(facts) and self._owners.of(facts.party) in read):
                yield entry(key_of(record), in_utc(facts.last_updated), record)
