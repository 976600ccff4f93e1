"""The charge detail records (CDRs) of all operators, read with OCPI (task `collect_charge_cdrs`).

Each run asks for the records updated since the newest record of the last result, and for some time before it.
It merges them into the last result: of two records with one (country_code, party_id, id) the newer
`last_updated` wins. A CDR is kept for a number of calendar months after its session ended.

A run asks for older records too in these cases: records were set aside recently, a person requested it, a
party whose records were set aside no longer belongs to another operator, or records may have been replaced by
those of another operator. The details of the result contain the complete totals and the memory for the next
run.

A run may have several legs. The first one decides what to ask for. Each leg reads on where the last one
ended, and a leg with enough time merges.

A credit CDR cancels the CDR it refers to if both are of one operator. Both stay in the result. The cancelled
one gets `nx_credited: true`, and neither counts in the totals. Each record gets `nx_operator`. Records are
ordered by key, so that a million of them can be merged in little memory.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.cdr_totals import Totals
from shared.collectors.known_cdrs import CancelledCdrs, Facts, KnownCdrs
from shared.collectors.ocpi.crawl import conclude, crawl, merging_seconds, reserved_seconds_of
from shared.collectors.ocpi.crawled import summarise_crawls
from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.inputs import STEP, Inputs, listed
from shared.collectors.ocpi.memory import FIELD as MEMORY_FIELD
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.owners import Owners
from shared.collectors.ocpi.reading import CLOCK_SKEW, Checked, in_utc, name_of, read, read_dated
from shared.collectors.ocpi.records import Cdr, Cdr22
from shared.collectors.ocpi.requests import Request, Requests
from shared.collectors.ocpi.spool import newest
from shared.collectors.ocpi.summary import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shared.collectors.ocpi.crawled import Crawl
    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.spool import Entry
    from shared.collectors.ocpi.transport import Limits
    from shared.tasks import TaskRun

#: Field of a CDR that a credit CDR has cancelled.
CREDITED_FIELD = "nx_credited"
#: How far in the future a session may end.
MAX_END_LEAD = timedelta(days=1)

#: Lists that are shortened if the summary is too large, the least important list first.
SHORTENED = ("reasons", "totals", "operators", "overall")
#: Fields of the summary that are about this run alone.
THIS_RUN = (
    "received",
    "set_aside",
    "operators_failed",
    "expired",
    "unreadable",
    "operators",
    "reasons",
)
#: Bytes of the details without the memory: half of what a run accepts.
MAX_DETAILS_BYTES = 8 << 20

#: Decoder by version of OCPI.
_DECODERS: dict[str, msgspec.json.Decoder[Cdr]] = {
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
        operators: The operators to read.
        previous: Reads the last good result; called twice.
        run: The run; it gets progress, summary and details.
        now: Current time, UTC.
        months: Number of calendar months for which CDRs are kept, including the current one.
        memory: Memory of the last run.
        requests: Requests of people, by operator.
        limits: Limits on the requests to each operator.

    Raises:
        NoOperatorAnswered: All operators failed.
        RunLost, RunCancelled, DeadlineExceeded, LegEnded: The run, or this leg of it, has ended.
    """
    given = CdrInputs(
        now=now,
        operators=listed(operators),
        memory=memory or Memory(),
        reserved_seconds=reserved_seconds_of(run),
        requests=dict(requests or {}),
        first_month=month_before(now, months - 1),
    )
    with tempfile.TemporaryDirectory(prefix="nx-cdrs-") as folder_name:
        folder = Path(folder_name)
        last: LastResult | None = None

        def begin() -> dict[str, Any]:
            """Decide what to ask for, in the first leg; that needs the last result."""
            nonlocal last
            last = LastResult(given, previous, folder, run)
            since = {one.name: last.since(one.name) for one in given.operators}
            released = {name: sorted(parties) for name, parties in last.released.items()}
            decided = msgspec.structs.replace(given, since=since, released=released, known=last.known.count)
            plain: dict[str, Any] = msgspec.to_builtins(decided)
            return plain

        inputs = msgspec.convert(run.step(STEP, begin), CdrInputs)
        reader = partial(
            read_dated, partial(read_cdr, latest_end=inputs.now + MAX_END_LEAD), inputs.now + CLOCK_SKEW
        )
        crawls = crawl(
            inputs.operators_in(operators),
            "cdrs",
            reader,
            run,
            folder,
            since=inputs.since.__getitem__,
            limits=limits,
            reserved_seconds=inputs.reserved_seconds,
        )
        run.ensure_leg_time(merging_seconds(inputs.known + sum(one.read for one in crawls)))
        yield from merge(inputs, last or LastResult(inputs, previous, folder, run), crawls, run)


class CdrInputs(Inputs, kw_only=True):
    """The inputs of a run.

    Attributes:
        first_month: Start of the first month that is kept, UTC.
        requests: Requests of people, by operator.
        since: Earliest `last_updated` to ask for, UTC, by operator.
        released: Parties that belonged to another operator when their records were set aside, and no longer
            do, by operator.
        known: Number of records of the last result.
    """

    first_month: datetime
    requests: dict[str, Request]
    since: dict[str, datetime] = msgspec.field(default_factory=dict)
    released: dict[str, list[str]] = msgspec.field(default_factory=dict)
    known: int = 0


class LastResult:
    """The last result, and what follows from it for the run. Creating it reads the result once.

    Args:
        inputs: Of these, `since`, `released` and `known` are not used.
        previous: Reads the last good result.
        folder: Folder of the files.
        run: The run; it gets the progress.
    """

    def __init__(
        self,
        inputs: CdrInputs,
        previous: Callable[[], Iterable[dict[str, Any]]],
        folder: Path,
        run: TaskRun,
    ) -> None:
        self.owners = Owners(inputs.operators_in(()), inputs.memory.parties)
        self.requests = Requests(inputs.requests, inputs.memory)
        self.cancelled = CancelledCdrs(folder)
        self.known = KnownCdrs(previous, folder, self.cancelled, inputs.now, run, self.owners)
        self.released = {
            name: self.owners.not_of_others(parties, name) for name, parties in inputs.memory.disowned.items()
        }
        self._inputs = inputs

    def since(self, operator: str) -> datetime:
        """Return the earliest `last_updated` to ask an operator for, UTC."""
        inputs = self._inputs
        first = inputs.first_month
        if operator in self.requests.drops or self.released.get(operator):
            return first
        earlier = inputs.memory.ask_again_from(operator, inputs.now), self.requests.read_from(operator)
        return max(first, min((self.known.since(first, operator), *filter(None, earlier))))


def merge(inputs: CdrInputs, last: LastResult, crawls: list[Crawl], run: TaskRun) -> Iterator[dict[str, Any]]:
    """Yield the records of the result, ordered by key; then give the run its summary and details."""
    names = {one.operator for one in crawls}
    for command, name in last.requests.without_effect(names, last.known.operators):
        run.log.warning("request for an unknown operator ended", operator=name, command=command)
    for one in crawls:
        if not one.error and last.since(one.operator) < inputs.since[one.operator]:
            one.fail("the last result was replaced by an older one during the run; the next run asks again")
    conclude(crawls, last.owners, run)
    succeeded = [one for one in crawls if not one.error]
    failed = {one.operator for one in crawls if one.error}
    for one in succeeded:
        last.cancelled.add_credits(one.entries())

    merged = Merge(last.cancelled, f"{inputs.first_month:%Y-%m}")
    known = last.known.entries({one.operator for one in succeeded}, last.requests.drops - failed)
    yield from merged.records(newest(known, *(one.entries() for one in succeeded)))

    released = {name: set(parties) for name, parties in inputs.released.items()}
    next_memory = Memory(
        parties=last.owners.remembered(),
        set_aside=inputs.memory.set_aside_after(crawls, inputs.now),
        disowned=inputs.memory.disowned_after(crawls, released),
        **last.requests.ended(failed),
    )
    summary = summarise(crawls, merged, last.known.unreadable)
    details = group(fit(summary, SHORTENED, MAX_DETAILS_BYTES)) | {MEMORY_FIELD: next_memory.to_field()}
    run.summarise(group(fit(summary, SHORTENED)), details=details)


def read_cdr(raw: msgspec.Raw, version: str, *, latest_end: datetime) -> Checked[Cdr]:
    """Check a CDR: the fields of OCPI, and rules about their values.

    Args:
        raw: The record.
        version: The operator's version of OCPI.
        latest_end: Latest allowed end of the session, UTC.

    Raises:
        SetAside: The record is invalid.
    """
    checked = read(raw, _DECODERS[version])
    cdr = checked.typed
    if cdr.credit and cdr.credit_reference_id is None:
        reason = "a credit must refer to a CDR: `credit_reference_id` is missing"
    elif in_utc(cdr.end_date_time) > latest_end:
        reason = "`end_date_time` is in the future"
    else:
        return checked
    raise SetAside(reason, name_of(checked.record), checked.updated)


def month_before(now: datetime, months: int) -> datetime:
    """Return the start of the month that is `months` before the current one, UTC."""
    years, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return datetime(years, month + 1, 1, tzinfo=UTC)


class Merge:
    """Turns merged records into those of the result, and counts them.

    Args:
        cancelled: The CDRs that credits cancel.
        first_month: The oldest month that is kept, such as "2026-01".
    """

    def __init__(self, cancelled: CancelledCdrs, first_month: str) -> None:
        self._cancelled = cancelled
        self._first_month = first_month
        self.totals = Totals()
        self.count = self.credits = self.credited = self.expired = 0

    def records(self, entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
        """Yield the records of the result.

        Args:
            entries: The newest record of each key, ordered by key.
        """
        for entry in entries:
            record = entry.record
            facts = msgspec.convert(record, Facts)
            if facts.month < self._first_month:
                self.expired += 1
                continue
            record.pop(CREDITED_FIELD, None)
            if facts.credit:
                self.credits += 1
            elif self._cancelled.has(entry.key, facts.nx_operator):
                self.credited += 1
                record[CREDITED_FIELD] = True
            else:
                self.totals.add(facts)
            self.count += 1
            yield record
            del record  # or it would be in memory while the next one is decoded


def summarise(crawls: Sequence[Crawl], merge: Merge, unreadable: int) -> dict[str, Any]:
    """Return the full summary, not yet grouped, for the details. The run's summary may be shortened.

    Args:
        crawls: The outcome of each operator.
        merge: The counts and totals.
        unreadable: Number of records of the last result that are not CDRs.
    """
    summary = {
        "count": merge.count,
        "credits": merge.credits,
        "credited": merge.credited,
        "received": sum(one.read for one in crawls if not one.error),
        **summarise_crawls(crawls),
        "expired": merge.expired,
        "overall": merge.totals.overall(),
        "totals": merge.totals.by_operator_and_month(),
    }
    if unreadable:
        summary["unreadable"] = unreadable
    if merge.totals.not_summed:
        summary["not_summed"] = merge.totals.not_summed
    return summary


def group(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary in which the fields about this run alone are in a map of their own.

    The others are about all CDRs of the result.
    """
    this_run = {name: summary[name] for name in THIS_RUN if name in summary}
    kept = {name: value for name, value in summary.items() if name not in THIS_RUN}
    return {"this_run": this_run} | kept
