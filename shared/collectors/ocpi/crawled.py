"""The outcome of one operator in a run: its records on disk, records set aside, or an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date  # noqa: TC003  (msgspec reads the annotation)
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.ocpi.owners import count_party, party_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from shared.collectors.ocpi.errors import SetAside
    from shared.collectors.ocpi.spool import Entry, Spool

#: Reasons why records were set aside that a summary contains per operator.
REASONS = 5
#: The kind of the reason that a party belongs to another operator.
_PARTY = "party"
#: Days with records that were set aside which are kept; of more, the latest are dropped.
MAX_DAYS = 400
#: Field of each record with the name of the operator that sent it.
OPERATOR_FIELD = "nx_operator"


class SetAsides(msgspec.Struct, frozen=True):
    """What a crawl has counted about records that were set aside, for the next leg.

    Attributes:
        count: Their number.
        days: As `Crawl.set_aside_days`.
        reasons: Each kind with its reasons.
    """

    count: int
    days: list[date]
    reasons: list[tuple[str, list[dict[str, str]]]]


@dataclass(slots=True)
class Crawl:
    """The outcome of one operator.

    Attributes:
        operator: Name of the operator.
        spool: Its records; empty if it failed.
        set_aside: Number of records that do not follow OCPI, or whose party belongs to another operator.
        error: Why it failed; empty if it did not.
        unexpected: Representation of an unexpected error, for the log only; empty for other errors.
        total: Value of the last X-Total-Count; None if there was none.
        parties: Number of records by party ("DE*ABC"), without those that were set aside.
        set_aside_days: Days (UTC) of `last_updated` of the records to ask for again.
        disowned: Number of records that were set aside because of their party, by party.
    """

    operator: str
    spool: Spool
    set_aside: int = 0
    error: str = ""
    unexpected: str = ""
    total: int | None = None
    parties: dict[str, int] = field(default_factory=dict)
    set_aside_days: set[date] = field(default_factory=set)
    disowned: dict[str, int] = field(default_factory=dict)
    _reasons: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {_PARTY: []})

    @property
    def records(self) -> int:
        """Number of records of its own parties."""
        return self.spool.count - sum(self.disowned.values())

    @property
    def read(self) -> int:
        """Number of records that it sent, including those that were set aside."""
        return self.records + self.set_aside

    def entries(self) -> Iterator[Entry]:
        """Return the records of its own parties, ordered by key."""
        if not self.disowned:
            return self.spool.entries()
        others = {party.replace("*", "\x1f", 1).lower().encode() for party in self.disowned}
        return (one for one in self.spool.entries() if one.key.rpartition(b"\x1f")[0] not in others)

    def add(self, key: str, updated: datetime, record: dict[str, Any]) -> bytes:
        """Add a record with its operator; return it as JSON.

        Raises:
            OcpiError: The operator sent records of too many parties.
        """
        count_party(self.parties, party_of(record["country_code"], record["party_id"]))
        record[OPERATOR_FIELD] = self.operator
        return self.spool.add(key, updated, record)

    def fail(self, error: str, unexpected: str = "") -> None:
        """Discard the records, for this reason."""
        self.error, self.unexpected = error, unexpected
        self.spool.clear()

    def restart(self) -> None:
        """Forget all records and counts, because the operator is read again from its first page."""
        self.spool.clear()
        self.spool.count = self.set_aside = 0
        self.total = None
        self.parties.clear()
        self.set_aside_days.clear()
        self._reasons = {_PARTY: []}

    @property
    def set_asides(self) -> SetAsides:
        """What was counted about records that were set aside."""
        return SetAsides(self.set_aside, sorted(self.set_aside_days), [*self._reasons.items()])

    @set_asides.setter
    def set_asides(self, counted: SetAsides) -> None:
        self.set_aside, self.set_aside_days = counted.count, set(counted.days)
        self._reasons = dict(counted.reasons)

    def disown(self, party: str, count: int, owner: str) -> None:
        """Set the records of a party aside because it belongs to another operator.

        Args:
            party: The party.
            count: Number of its records.
            owner: Name of the operator that it belongs to.
        """
        self.disowned[party] = count
        self.set_aside += count
        reason = f"this party belongs to the operator {owner}; list it in `parties` of the right operator"
        self._add_reason(_PARTY, party, reason)

    def add_aside(self, aside: SetAside, since: datetime | None) -> None:
        """Count a record that is set aside.

        Args:
            aside: The record and the reason, without the token.
            since: Records were asked for from this last update; None for all.
        """
        self.set_aside += 1
        updated = aside.updated or since
        # An operator that sends older records ignores date_from, and sends them again anyway.
        if since is not None and updated is not None and updated >= since:
            self.set_aside_days.add(updated.date())
            if len(self.set_aside_days) > MAX_DAYS:
                self.set_aside_days.remove(max(self.set_aside_days))
        # Decoding errors end with the place: "Expected `int` - at `$.evses[3].max_voltage`".
        self._add_reason(aside.reason.partition(" - at ")[0], aside.record, aside.reason)

    @property
    def first_reasons(self) -> list[dict[str, str]]:
        """One reason of each kind, as `record` and `reason`; the one about parties comes first."""
        return [reasons[0] for reasons in self._reasons.values() if reasons][:REASONS]

    @property
    def reasons(self) -> list[dict[str, str]]:
        """The reasons for the summary: first one of each kind, then others."""
        further = [reason for reasons in self._reasons.values() for reason in reasons[1:]]
        return [*self.first_reasons, *further][:REASONS]

    def _add_reason(self, kind: str, record: str, reason: str) -> None:
        if kind in self._reasons or len(self._reasons) <= REASONS:
            reasons = self._reasons.setdefault(kind, [])
            if len(reasons) < REASONS:
                reasons.append({"record": record, "reason": reason})

    def to_summary(self) -> dict[str, Any]:
        """Return the operator's row of a summary."""
        row: dict[str, Any] = {"name": self.operator, "state": "failed" if self.error else "read"}
        row |= {"records": self.records, "set_aside": self.set_aside}
        if self.error:
            return row | {"error": self.error}
        if self.total is not None and self.total != self.read:
            row |= {"total_said": self.total}  # X-Total-Count differs from the number of records.
        return row


def summarise_crawls(crawls: Sequence[Crawl]) -> dict[str, Any]:
    """Return the fields of a summary about the operators; failed operators come first."""
    return {
        "operators_failed": sum(bool(one.error) for one in crawls),
        "set_aside": sum(one.set_aside for one in crawls if not one.error),
        "operators": sorted((one.to_summary() for one in crawls), key=itemgetter("state")),
        "reasons": [{"operator": one.operator, **reason} for one in crawls for reason in one.reasons],
    }
