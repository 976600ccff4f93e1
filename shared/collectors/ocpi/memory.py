"""What a run of an OCPI task remembers for the next one, in the details of its result.

It is published with the result, so both are always of one run. A result that another implementation
wrote has none: the next run then starts with an empty memory.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.collectors.ocpi.crawled import Crawl

#: How long a record that was set aside is asked for again.
ASK_AGAIN = timedelta(days=14)
#: Field of the details that holds the memory.
FIELD = "memory"


class Memory(msgspec.Struct, kw_only=True):
    """What is remembered.

    Attributes:
        parties: Operator by party ("DE*ABC").
        set_aside: By operator, the days (UTC, "2026-05-02") of `last_updated` of records that were set
            aside, each with the time when that was first seen.
        reads: By operator, the time of the last request to read it again that was carried out.
        drops: By operator, the time of the last request to drop its records that was carried out.
    """

    parties: dict[str, str] = {}
    set_aside: dict[str, dict[str, datetime]] = {}
    reads: dict[str, datetime] = {}
    drops: dict[str, datetime] = {}

    @classmethod
    def of(cls, details: dict[str, Any]) -> Memory:
        """Return the memory that a result's details hold; an empty one if they hold none."""
        try:
            return msgspec.convert(details.get(FIELD, {}), cls)
        except msgspec.ValidationError:
            return cls()

    def to_field(self) -> dict[str, Any]:
        """Return it as JSON, for the details."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def ask_again_from(self, operator: str, now: datetime) -> datetime | None:
        """Return the time from which records are asked for again that were set aside lately.

        Args:
            operator: Name of the operator.
            now: Current time, UTC.

        Returns:
            The start of the earliest day with such records, UTC; None if there are none.
        """
        days = [day for day, seen in self.set_aside.get(operator, {}).items() if now - seen < ASK_AGAIN]
        try:
            return datetime.fromisoformat(min(days)).replace(tzinfo=UTC) if days else None
        except ValueError:
            return None

    def set_aside_after(self, crawls: Iterable[Crawl], now: datetime) -> dict[str, dict[str, datetime]]:
        """Return `set_aside` as it is after a run; what is remembered of a failed operator stays.

        Args:
            crawls: What became of each operator.
            now: Current time, UTC.
        """
        after = {}
        for one in crawls:
            seen = self.set_aside.get(one.operator, {})
            after[one.operator] = (
                seen if one.error else {day: seen.get(day, now) for day in sorted(one.set_aside_days)}
            )
        return {operator: days for operator, days in after.items() if days}
