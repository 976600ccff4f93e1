"""What became of one operator in a run: its records on disk, what was set aside, or why it failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    from shared.collectors.ocpi.errors import SetAside
    from shared.collectors.ocpi.spool import Entry, Spool

#: Reasons why records were set aside that a summary contains per operator.
REASONS = 5
#: The kind of the reason that a party belongs to another operator.
_PARTY = "party"
#: Days of which it is remembered that records were set aside: the first ones.
MAX_DAYS = 400
#: The field of each record that says from which operator it came.
OPERATOR_FIELD = "nx_operator"


@dataclass(slots=True)
class Crawl:
    """What became of one operator.

    Attributes:
        operator: its name.
        spool: its records; of no use where it failed.
        set_aside: Number of records that do not follow OCPI, or whose party belongs to another operator.
        error: why it failed; empty where it did not.
        unforeseen: what it was, where nobody thought of that; for the log alone.
        total: what X-Total-Count said last; None where it said nothing.
        parties: Records by party ("DE*ABC"), without those that were set aside.
        set_aside_days: Days (UTC) of `last_updated` of the records to ask for again.
        disowned: Records that were set aside because of their party, by party.
    """

    operator: str
    spool: Spool
    set_aside: int = 0
    error: str = ""
    unforeseen: str = ""
    total: int | None = None
    parties: dict[str, int] = field(default_factory=dict)
    set_aside_days: set[date] = field(default_factory=set)
    disowned: dict[str, int] = field(default_factory=dict)
    _reasons: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {_PARTY: []})

    @property
    def records(self) -> int:
        """Records of its own."""
        return self.spool.count - sum(self.disowned.values())

    @property
    def read(self) -> int:
        """Records that came, good and bad."""
        return self.records + self.set_aside

    def entries(self) -> Iterator[Entry]:
        """Return its own records, in order of keys."""
        if not self.disowned:
            return self.spool.entries()
        others = {party.replace("*", "\x1f", 1).lower().encode() for party in self.disowned}
        return (one for one in self.spool.entries() if one.key.rpartition(b"\x1f")[0] not in others)

    def disown(self, party: str, count: int, owner: str) -> None:
        """Set the records of a party aside because it belongs to another operator.

        Args:
            party: The party.
            count: Its records.
            owner: The operator that it belongs to.
        """
        self.disowned[party] = count
        self.set_aside += count
        why = f"this party belongs to the operator {owner}: list it in `parties` of the right operator"
        self._note(_PARTY, party, why)

    def add_aside(self, aside: SetAside, since: datetime | None) -> None:
        """Take a record that is set aside.

        Args:
            aside: The record, and why; without the token.
            since: Records were asked for from this last update; None for all.
        """
        self.set_aside += 1
        updated = aside.updated or since
        # An older one comes from an operator that ignores date_from: it comes again anyway.
        if since is not None and updated is not None and updated >= since:
            self.set_aside_days.add(updated.date())
            if len(self.set_aside_days) > MAX_DAYS:
                self.set_aside_days.remove(max(self.set_aside_days))
        # Decoding errors end with the place: "Expected `int` - at `$.evses[3].max_voltage`".
        self._note(aside.reason.partition(" - at ")[0], aside.record, aside.reason)

    @property
    def first_reasons(self) -> list[dict[str, str]]:
        """One reason of each kind, `record` and `reason`; first the one about parties."""
        return [noted[0] for noted in self._reasons.values() if noted][:REASONS]

    @property
    def reasons(self) -> list[dict[str, str]]:
        """The reasons for the summary: one of each kind, then further ones."""
        further = [reason for noted in self._reasons.values() for reason in noted[1:]]
        return [*self.first_reasons, *further][:REASONS]

    def _note(self, kind: str, record: str, reason: str) -> None:
        if kind in self._reasons or len(self._reasons) <= REASONS:
            noted = self._reasons.setdefault(kind, [])
            if len(noted) < REASONS:
                noted.append({"record": record, "reason": reason})

    def told(self) -> dict[str, Any]:
        """Return the operator's row of a summary."""
        said: dict[str, Any] = {"name": self.operator, "state": "failed" if self.error else "read"}
        said |= {"records": self.records, "set_aside": self.set_aside}
        if self.error:
            return said | {"error": self.error}
        if self.total is not None and self.total != self.read:
            said |= {"total_said": self.total}  # it counts otherwise than it sends
        return said
