"""Reads the log of a run, which is the lines of all its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.cloud.firestore_v1.types import query as _query

from shared.tasks.documents.codec import as_int, as_text, as_time, decode_fields
from shared.tasks.documents.run_log import MAX_BYTES, MAX_LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.firestore_calls import Message
    from shared.tasks.contract import Json, TaskName

#: Largest number of attempts whose logs are read; those that logged last.
MAX_ATTEMPTS = 20

_DESCENDING = _query.StructuredQuery.Direction.DESCENDING


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """A line of a run's log.

    Attributes:
        attempt, leg: The attempt that logged it, and its leg.
        number: Its number in that leg of the attempt, from 1; lost lines are counted.
        at: When the task logged it, UTC.
        level: "info", "warning" or "error".
        text: The event and its fields.
    """

    attempt: int
    leg: int
    number: int
    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class RunLogView:
    """The log of a run.

    Attributes:
        lines: Its last lines, oldest first.
        lost: Number of earlier lines. Those of attempts beyond the last `MAX_ATTEMPTS` are not counted.
    """

    lines: tuple[LoggedLine, ...]
    lost: int

    @classmethod
    def parse(cls, documents: Iterable[Mapping[str, Json]]) -> RunLogView:
        """Join the logs of attempts, in any order, within the limits of one attempt's log."""
        lines: list[LoggedLine] = []
        lost = 0
        for values in documents:
            before = as_int(values.get("lost")) or 0
            lost += before
            attempt, leg = as_int(values.get("attempt")) or 0, as_int(values.get("leg")) or 0
            stored = values.get("lines")
            for number, line in enumerate(stored if isinstance(stored, list) else (), before + 1):
                at = as_time(line.get("at"))
                level, text = as_text(line.get("level")), as_text(line.get("text"))
                if at is not None and level is not None and text is not None:
                    lines.append(LoggedLine(attempt, leg, number, at, level, text))
        lines.sort(key=lambda line: (line.attempt, line.leg, line.number))
        kept = _last(lines)
        return cls(kept, lost + len(lines) - len(kept))


def view_log(store: Store, name: TaskName, run_id: str) -> RunLogView:
    """Read the log of a run.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """

    def fill(query: Message) -> None:
        # Each attempt writes its log again as long as it works, so the newest logs are the last attempts'.
        order = query.order_by.add(direction=_DESCENDING)
        order.field.field_path = "at"
        query.limit.value = MAX_ATTEMPTS

    return RunLogView.parse(decode_fields(found.fields) for found in store.query_log(name, run_id, fill))


def _last(lines: list[LoggedLine]) -> tuple[LoggedLine, ...]:
    """Return the last lines that one attempt's log could contain."""
    first, size_bytes = len(lines), 0
    while first > 0 and len(lines) - first < MAX_LINES:
        size_bytes += len(lines[first - 1].text.encode())
        if size_bytes > MAX_BYTES:
            break
        first -= 1
    return tuple(lines[first:])
