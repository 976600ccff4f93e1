"""Reads the log of a run, which is the last lines of its attempts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.cloud.firestore_v1.types import query as _query

from shared.tasks.documents.codec import as_int, as_text, as_time, decode_fields
from shared.tasks.documents.run_log import MAX_BYTES, MAX_LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.firestore_calls import Message
    from shared.tasks.contract import Json, TaskName

#: Largest number of attempts whose logs are read; those that logged last.
MAX_ATTEMPTS = 20
#: Number of attempts whose logs are read first. Those of earlier ones are read if they leave lines free.
NEWEST_ATTEMPTS = 2

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
        lost: Number of earlier lines of the attempts whose logs were read.
        is_full: Whether it has no room for lines of earlier attempts.
        lost_is_exact: Whether the logs of all attempts were read.
    """

    lines: tuple[LoggedLine, ...]
    lost: int
    is_full: bool = False
    lost_is_exact: bool = True

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
                if not isinstance(line, dict):
                    continue
                at = as_time(line.get("at"))
                level, text = as_text(line.get("level")), as_text(line.get("text"))
                if at is not None and level is not None and text is not None:
                    lines.append(LoggedLine(attempt, leg, number, at, level, text))
        lines.sort(key=lambda line: (line.attempt, line.leg, line.number))
        kept = _last(lines)
        cut = len(lines) - len(kept)
        return cls(kept, lost + cut, cut > 0 or len(kept) == MAX_LINES)


def view_log(
    store: Store, name: TaskName, run_id: str, newest: Sequence[Message] | None = None
) -> RunLogView:
    """Read the log of a run. Logs of earlier attempts are read only as long as they add lines.

    Args:
        store: Firestore.
        name: The task.
        run_id: The run.
        newest: What `newest_logs` found; None to read it.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    if newest is None:
        newest = store.query_log(name, run_id, newest_logs())
    view = RunLogView.parse(decode_fields(each.fields) for each in newest)
    if len(newest) < NEWEST_ATTEMPTS:
        return view
    if view.is_full:
        return replace(view, lost_is_exact=False)
    earlier = newest_logs(limit=MAX_ATTEMPTS - NEWEST_ATTEMPTS, before=newest[-1])
    found = [*newest, *store.query_log(name, run_id, earlier)]
    view = RunLogView.parse(decode_fields(each.fields) for each in found)
    return replace(view, lost_is_exact=len(found) < MAX_ATTEMPTS)


def newest_logs(
    *, limit: int = NEWEST_ATTEMPTS, mask: Iterable[str] = (), before: Message | None = None
) -> Callable[[Message], None]:
    """Return what narrows a query to the logs of the attempts that logged last, newest first.

    Args:
        limit: Largest number of logs.
        mask: Fields to read; all if empty.
        before: The log after which to begin; None to begin with the newest.
    """

    def fill(query: Message) -> None:
        for field in mask:
            query.select.fields.add(field_path=field)
        # Each attempt writes its log again as long as it works, so the newest logs are the last attempts'.
        for field in ("at", "__name__"):
            order = query.order_by.add(direction=_DESCENDING)
            order.field.field_path = field
        query.limit.value = limit
        if before is not None:
            query.start_at.values.add().CopyFrom(before.fields["at"])
            query.start_at.values.add(reference_value=before.name)
            query.start_at.before = False

    return fill


def _last(lines: list[LoggedLine]) -> tuple[LoggedLine, ...]:
    """Return the last lines that one attempt's log could contain."""
    first, size_bytes = len(lines), 0
    while first > 0 and len(lines) - first < MAX_LINES:
        size_bytes += len(lines[first - 1].text.encode())
        if size_bytes > MAX_BYTES:
            break
        first -= 1
    return tuple(lines[first:])
