"""The charge detail records (CDRs) of all operators, by OCPI (task `collect_charge_cdrs`).

Each run asks for what was updated since the newest record of the last result, an overlap before
it included, and merges that into the last result: of two records of one (country_code, party_id,
id) the newer `last_updated` wins. A CDR is kept for a number of calendar months from the end of
its session.

A credit CDR cancels the one it refers to. Both stay in the result: the cancelled one has
`nx_credited: true`, and neither counts in the totals. Each record has `nx_operator`, too. Records are
ordered by key, which is what lets a million of them be merged in little memory.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.cdr_totals import Totals
from shared.collectors.ocpi.crawl import Crawl, crawl
from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.reading import Checked, in_utc, key_of, name_of, read
from shared.collectors.ocpi.records import Cdr, Cdr22, Price
from shared.collectors.ocpi.spool import Entry, Spool, entry, newest
from shared.collectors.ocpi.summary import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.transport import Limits
    from shared.tasks import TaskRun

#: How far before the newest record is asked again: an operator may show a record later than it dates it.
OVERLAP = timedelta(days=1)
#: The field of a CDR that a credit CDR has cancelled.
CREDITED_FIELD = "nx_credited"
#: How far ahead of this clock a session may have ended.
EARLIEST = timedelta(days=1)
#: Records between two words on how far the last result is read.
_STEP = 1_000
#: How a spool writes that a record is a credit: a sign to look closer, no proof.
_CREDIT_SIGN = b'"credit":true'

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "2.2.1": msgspec.json.Decoder(Cdr),
    "2.2": msgspec.json.Decoder(Cdr22),
}


class Facts(msgspec.Struct, kw_only=True):
    """What of a CDR merging and totals need."""

    country_code: str
    party_id: str
    id: str
    end_date_time: datetime
    last_updated: datetime
    currency: str
    total_cost: Price
    total_energy: int | float
    total_time: int | float
    credit: bool | None = None
    credit_reference_id: str | None = None
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


def collect(
    operators: Sequence[Operator],
    previous: Callable[[], Iterable[dict[str, Any]]],
    run: TaskRun,
    *,
    now: datetime,
    months: int,
    limits: Limits | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield every CDR, ordered by key.

    Args:
        operators: whom to ask.
        previous: reads the last good result; called twice.
        run: told how far the work is, and what came of it.
        now: the time, UTC.
        months: how many calendar months are kept, this one included.
        limits: how far operators are borne with.

    Raises:
        NoOperatorAnswered: all have failed.
        RunLost, DeadlineExceeded: the run has ended.
    """
    first_month = month_before(now, months - 1)
    with tempfile.TemporaryDirectory(prefix="nx-cdrs-") as made:
        folder = Path(made)
        known = Known(previous, folder, now, run)
        reader = partial(read_cdr, latest_end=now + EARLIEST)
        since = partial(known.since, first_month)
        crawls = crawl(operators, "cdrs", reader, run, folder, since=since, limits=limits)
        fresh = [one.spool for one in crawls if not one.error]
        merging = Merging(known.cancelled.union(*map(cancelled_in, fresh)), f"{first_month:%Y-%m}")
        yield from merging.records(newest(known.entries(), *(spool.entries() for spool in fresh)))
        run.summarise(summarise(crawls, merging, known.unreadable))


def read_cdr(raw: msgspec.Raw, version: str, *, latest_end: datetime) -> Checked[Cdr]:
    """Check one CDR: OCPI's fields, and what follows from them."""
    checked = read(raw, _DECODERS[version])
    if checked.seen.credit and checked.seen.credit_reference_id is None:
        raise SetAside("a credit that does not say of what: `credit_reference_id`", name_of(checked.record))
    if in_utc(checked.seen.end_date_time) > latest_end:
        raise SetAside("a session that ends in the future: `end_date_time`", name_of(checked.record))
    return checked


def month_before(now: datetime, months: int) -> datetime:
    """Return the first moment of the month that many months before, UTC."""
    years, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return datetime(years, month + 1, 1, tzinfo=UTC)


class Known:
    """The last good result, read once for what the next must know before it begins.

    Attributes:
        cancelled: keys of CDRs that its credits cancel; some hundred bytes each, and credits are few.
        unreadable: its records that are no CDRs; they are not taken over.
    """

    def __init__(
        self, previous: Callable[[], Iterable[dict[str, Any]]], folder: Path, now: datetime, run: TaskRun
    ) -> None:
        self.cancelled: set[str] = set()
        self.unreadable = 0
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
            cancelled = facts.cancelled_key
            if cancelled is not None:
                self.cancelled.add(cancelled)
            # A record that is ahead of the clock would hide all that come until then.
            if updated <= now and updated > self._newest.get(facts.nx_operator, _LONG_AGO):
                self._newest[facts.nx_operator] = updated

    def _read(self) -> Iterator[Entry]:
        for record in self._previous():
            facts = facts_of(record)
            if facts is not None:
                yield entry(key_of(record), in_utc(facts.last_updated), record)


class Merging:
    """Makes the result of what is merged, and counts what it makes.

    Args:
        cancelled: keys of the CDRs that credits cancel.
        first_month: the oldest month that is kept, as "2026-01".
    """

    def __init__(self, cancelled: set[str], first_month: str) -> None:
        self._cancelled = cancelled
        self._first_month = first_month
        self.totals = Totals()
        self.count = self.credits = self.credited = self.expired = 0

    def records(self, entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
        """Yield the records of the result, each once."""
        for one in entries:
            record = one.record
            facts = msgspec.convert(record, Facts)
            if facts.month < self._first_month:
                self.expired += 1
                continue
            record.pop(CREDITED_FIELD, None)
            if facts.credit:
                self.credits += 1
            elif one.key.decode() in self._cancelled:
                self.credited += 1
                record[CREDITED_FIELD] = True
            else:
                self.totals.add(facts)
            self.count += 1
            yield record


def cancelled_in(spool: Spool) -> set[str]:
    """Return the keys of the CDRs that a spool's credits cancel."""
    signed = (one for one in spool.entries() if isinstance(one.said, bytes) and _CREDIT_SIGN in one.said)
    keys = (msgspec.convert(one.record, Facts).cancelled_key for one in signed)
    return {key for key in keys if key is not None}


def facts_of(record: Any) -> Facts | None:
    """Return the facts of a record of the last result; None where it is no CDR."""
    try:
        facts = msgspec.convert(record, Facts)
        in_utc(facts.last_updated), in_utc(facts.end_date_time)
    except (msgspec.ValidationError, OverflowError):
        return None
    return facts


def summarise(crawls: Sequence[Crawl], merging: Merging, unreadable: int) -> dict[str, Any]:
    """Return what is said beside the result."""
    summary = {
        "count": merging.count,
        "credits": merging.credits,
        "credited": merging.credited,
        "expired": merging.expired,
        "operators_failed": sum(bool(one.error) for one in crawls),
        "set_aside": sum(one.set_aside for one in crawls if not one.error),
        "overall": merging.totals.overall(),
        "totals": merging.totals.by_operator_and_month(),
        "operators": sorted(
            (one.told() for one in crawls), key=lambda told: told["state"]
        ),  # failed ones first
        "reasons": [{"operator": one.operator, **reason} for one in crawls for reason in one.reasons],
    }
    if unreadable:
        summary["unreadable"] = unreadable
    return fit(summary, ["reasons", "totals", "operators", "overall"])


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
