"""The charge detail records (CDRs) of all operators, by OCPI (task `collect_charge_cdrs`).

Each run asks for what was updated since the newest record of the last result, an overlap before
it included, and merges that into the last result: of two records of one (country_code, party_id,
id) the newer `last_updated` wins. A CDR is kept for a number of calendar months from the end of
its session.

A run asks from an earlier time if records were set aside lately, if a person requested it, if a party
of which records were set aside no longer belongs to another operator, or if records of an operator's
parties may have been replaced by others. The details of the result contain the complete totals and
the memory for the next run.

A credit CDR cancels the one it refers to, if both are of one operator. Both stay in the result: the
cancelled one has `nx_credited: true`, and neither counts in the totals. Each record has `nx_operator`,
too. Records are ordered by key, which is what lets a million of them be merged in little memory.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.cdr_totals import Totals
from shared.collectors.known_cdrs import Cancelled, Facts, Known
from shared.collectors.ocpi.crawl import crawl
from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.memory import FIELD as MEMORY_FIELD
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.owners import Owners
from shared.collectors.ocpi.reading import CLOCK_SKEW, Checked, in_utc, name_of, read, read_dated
from shared.collectors.ocpi.records import Cdr, Cdr22
from shared.collectors.ocpi.requests import Requests
from shared.collectors.ocpi.spool import newest
from shared.collectors.ocpi.summary import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shared.collectors.ocpi.crawled import Crawl
    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.requests import Request
    from shared.collectors.ocpi.spool import Entry
    from shared.collectors.ocpi.transport import Limits
    from shared.tasks import TaskRun

#: The field of a CDR that a credit CDR has cancelled.
CREDITED_FIELD = "nx_credited"
#: How far ahead of this clock a session may have ended.
EARLIEST = timedelta(days=1)

#: Lists of the summary that lose elements if there is no room, the least needed first.
SHORTENED = ("reasons", "totals", "operators", "overall")
#: Bytes of the details without the memory: half of what details may have.
MAX_DETAILS_BYTES = 8 << 20

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "2.2.1": msgspec.json.Decoder(Cdr),
    "2.2": msgspec.json.Decoder(Cdr22),
}


def collect(  # noqa: PLR0913  (each is an input of its own)
    operators: Sequence[Operator],
    previous: Callable[[], Iterable[dict[str, Any]]],
    run: TaskRun,
    *,
    now: datetime,
    months: int,
    memory: Memory | None = None,
    requests: Mapping[str, Request] | None = None,
    limits: Limits | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield every CDR, ordered by key.

    Args:
        operators: whom to ask.
        previous: reads the last good result; called twice.
        run: told how far the work is, and what came of it.
        now: the time, UTC.
        months: how many calendar months are kept, this one included.
        memory: What the last run remembered.
        requests: What people request, by operator.
        limits: how far operators are borne with.

    Raises:
        NoOperatorAnswered: all have failed.
        RunLost, DeadlineExceeded: the run has ended.
    """
    first_month = month_before(now, months - 1)
    memory = memory or Memory()
    asked = Requests(requests or {}, memory)
    owners = Owners(operators, memory.parties)
    with tempfile.TemporaryDirectory(prefix="nx-cdrs-") as made:
        folder = Path(made)
        cancelled = Cancelled(folder)
        known = Known(previous, folder, cancelled, now, run, owners)
        for command, name in asked.without_effect({one.name for one in operators}, known.operators):
            run.log.warning("request for an unknown operator ended", operator=name, command=command)
        # Parties that another operator owned when records of them were set aside, and no longer does.
        released = {name: owners.not_of_others(gone, name) for name, gone in memory.disowned.items()}

        def since(operator: str) -> datetime:
            """Return the oldest last update that an operator is asked for, UTC."""
            if operator in asked.drops or released.get(operator):
                return first_month
            again = memory.ask_again_from(operator, now), asked.read_from(operator)
            return max(first_month, min((known.since(first_month, operator), *filter(None, again))))

        reader = partial(read_dated, partial(read_cdr, latest_end=now + EARLIEST), now + CLOCK_SKEW)
        crawls = crawl(owners, "cdrs", reader, run, folder, since=since, limits=limits)
        fresh = [one for one in crawls if not one.error]
        for one in fresh:
            cancelled.add_those_of(one.entries())
        read, failed = {one.operator for one in fresh}, {one.operator for one in crawls if one.error}
        merging = Merging(cancelled, f"{first_month:%Y-%m}")
        last = known.entries(read, asked.drops - failed)
        yield from merging.records(newest(last, *(one.entries() for one in fresh)))
        remembered = Memory(
            parties=owners.remembered(),
            set_aside=memory.set_aside_after(crawls, now),
            disowned=memory.disowned_after(crawls, released),
            **asked.ended(failed),
        )
        summary = summarise(crawls, merging, known.unreadable)
        whole = fit(summary, SHORTENED, MAX_DETAILS_BYTES)
        run.summarise(fit(summary, SHORTENED), details=whole | {MEMORY_FIELD: remembered.to_field()})


def read_cdr(raw: msgspec.Raw, version: str, *, latest_end: datetime) -> Checked[Cdr]:
    """Check one CDR: OCPI's fields, and what follows from them."""
    checked = read(raw, _DECODERS[version])
    if checked.seen.credit and checked.seen.credit_reference_id is None:
        raise SetAside(
            "a credit that does not say of what: `credit_reference_id`",
            name_of(checked.record),
            checked.updated,
        )
    if in_utc(checked.seen.end_date_time) > latest_end:
        raise SetAside(
            "a session that ends in the future: `end_date_time`", name_of(checked.record), checked.updated
        )
    return checked


def month_before(now: datetime, months: int) -> datetime:
    """Return the first moment of the month that many months before, UTC."""
    years, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return datetime(years, month + 1, 1, tzinfo=UTC)


class Merging:
    """Makes the result of what is merged, and counts what it makes.

    Args:
        cancelled: the CDRs that credits cancel.
        first_month: the oldest month that is kept, as "2026-01".
    """

    def __init__(self, cancelled: Cancelled, first_month: str) -> None:
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
            elif self._cancelled.has(one.key, facts.nx_operator):
                self.credited += 1
                record[CREDITED_FIELD] = True
            else:
                self.totals.add(facts)
            self.count += 1
            yield record


def summarise(crawls: Sequence[Crawl], merging: Merging, unreadable: int) -> dict[str, Any]:
    """Return the summary in full, for the details; the run's summary may be a shortened copy."""
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
    if merging.totals.not_summed:
        summary["not_summed"] = merging.totals.not_summed
    return summary
