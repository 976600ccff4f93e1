"""What became of one operator in a run: its records on disk, what was set aside, or why it failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shared.collectors.ocpi.errors import SetAside
    from shared.collectors.ocpi.spool import Entry, Spool

#: Records set aside of which an operator's summary tells the reason.
REASONS = 5
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
        set_aside: records that were not as OCPI wants them.
        reasons: for the first of these, id and reason.
        error: why it failed; empty where it did not.
        unforeseen: what it was, where nobody thought of that; for the log alone.
        total: what X-Total-Count said last; None where it said nothing.
        parties: Records by party ("DE*ABC"), without those that were set aside.
        set_aside_days: Days (UTC) of `last_updated` of the records to ask for again.
    """

    operator: str
    spool: Spool
    set_aside: int = 0
    reasons: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    unforeseen: str = ""
    total: int | None = None
    parties: dict[str, int] = field(default_factory=dict)
    set_aside_days: set[str] = field(default_factory=set)
    _disowned: dict[bytes, int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records of its own."""
        return self.spool.count - sum(self._disowned.values())

    @property
    def read(self) -> int:
        """Records that came, good and bad."""
        return self.records + self.set_aside

    def entries(self) -> Iterator[Entry]:
        """Return its own records, in order of keys."""
        if not self._disowned:
            return self.spool.entries()
        others = self._disowned
        return (one for one in self.spool.entries() if one.key.rpartition(b"\x1f")[0] not in others)

    def disown(self, party: str, count: int, owner: str) -> None:
        """Set the records of a party aside that belongs to another operator.

        Args:
            party: The party.
            count: Its records.
            owner: The operator that it belongs to.
        """
        country_code, _, party_id = party.partition("*")
        self._disowned[f"{country_code}\x1f{party_id}".lower().encode()] = count
        self.set_aside += count
        why = f"this party belongs to the operator {owner}: list it in `parties` of the right operator"
        self._tell(party, why)

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
            self.set_aside_days.add(f"{updated:%Y-%m-%d}")
            if len(self.set_aside_days) > MAX_DAYS:
                self.set_aside_days.remove(max(self.set_aside_days))
        self._tell(aside.record, aside.reason)

    def _tell(self, record: str, reason: str) -> None:
        if len(self.reasons) < REASONS:
            self.reasons.append({"record": record, "reason": reason})

    def told(self) -> dict[str, Any]:
        """Return what a summary says of it."""
        said: dict[str, Any] = {"name": self.operator, "state": "failed" if self.error else "read"}
        said |= {"records": self.records, "set_aside": self.set_aside}
        if self.error:
            return said | {"error": self.error}
        if self.total is not None and self.total != self.read:
            said |= {"total_said": self.total}  # it counts otherwise than it sends
        return said
