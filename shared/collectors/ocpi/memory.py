"""What a run of an OCPI task stores for the next one, in the details of its result.

It is published with the result, so both are always of one run. A legacy result has none, and the next run
then starts with an empty memory.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from shared import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.collectors.ocpi.crawled import Crawl

#: How long records that were set aside are requested again.
ASK_AGAIN = timedelta(days=14)
#: Parties of other operators that are stored per operator.
MAX_DISOWNED = 2_000
#: Field of the details that holds the memory.
FIELD = "memory"


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Memory(msgspec.Struct, kw_only=True):
    """The memory of a run.

    Attributes:
        parties: Name of the operator by party ("DE*ABC").
        set_aside: By operator, the days (UTC) of `last_updated` of records that were set aside, with
            the time at which that was first found.
        disowned: By operator, the parties whose records were set aside because another operator owns them.
        reads: By operator, the time of the last request to read it again that has ended.
        drops: By operator, the time of the last request to drop its records that has ended.
    """

    parties: dict[str, str] = {}
    set_aside: dict[str, dict[date, _Moment]] = {}
    disowned: dict[str, list[str]] = {}
    reads: dict[str, _Moment] = {}
    drops: dict[str, _Moment] = {}

    @classmethod
    def of(cls, details: dict[str, Any]) -> Memory:
        """Return the memory in the details of a result; fields that cannot be decoded are empty."""
        found = details.get(FIELD) or {}
        fields = {}
        for one in msgspec.structs.fields(cls):
            try:
                value = msgspec.convert(found, dict[str, Any]).get(one.name, {})
                fields[one.name] = msgspec.convert(value, one.type)
            except msgspec.ValidationError as error:
                logger.warning(
                    "memory of the last run could not be decoded", field=one.name, error=str(error)
                )
        return cls(**fields)

    def to_field(self) -> dict[str, Any]:
        """Return it as JSON, for the details."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def ask_again_from(self, operator: str, now: datetime) -> datetime | None:
        """Return the time from which recently set aside records are requested again.

        Args:
            operator: Name of the operator.
            now: Current time, UTC.

        Returns:
            The start of the earliest day with such records, UTC; None if there are none.
        """
        times = self.set_aside.get(operator, {})
        days = [day for day, first_time in times.items() if now - first_time < ASK_AGAIN]
        return datetime.combine(min(days), time(), UTC) if days else None

    def set_aside_after(self, crawls: Iterable[Crawl], now: datetime) -> dict[str, dict[date, datetime]]:
        """Return `set_aside` as it is after a run; entries of failed operators stay.

        Args:
            crawls: The outcome of each operator.
            now: Current time, UTC.
        """
        after = {}
        for one in crawls:
            before = self.set_aside.get(one.operator, {})
            after[one.operator] = (
                before if one.error else {day: before.get(day, now) for day in sorted(one.set_aside_days)}
            )
        return {operator: days for operator, days in after.items() if days}

    def disowned_after(
        self, crawls: Iterable[Crawl], released: Mapping[str, set[str]]
    ) -> dict[str, list[str]]:
        """Return `disowned` as it is after a run; entries of failed and removed operators stay.

        Args:
            crawls: The outcome of each operator.
            released: By operator, parties that no longer belong to another operator. It was read from the
                first month on because of them.
        """
        after = dict(self.disowned)
        for one in crawls:
            before = set(self.disowned.get(one.operator, ()))
            if not one.error:
                before = (before - released.get(one.operator, set())) | one.disowned.keys()
            after[one.operator] = sorted(before)[:MAX_DISOWNED]
        return {operator: parties for operator, parties in after.items() if parties}
