"""What people see: tables and lines, with states in words and in colour."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cli.exports import cell, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderResult

_STYLES = {
    "completed": "green",
    "running": "cyan",
    "failed": "bold red",
    "suspended": "yellow",
    "missed_tick": "bold red",
    "skipped": "yellow",
    "cancelling": "magenta",
    "resumed": "green",
    "requested": "dim",
    "overdue_original": "yellow",
}
#: Characters of an error beside other tasks; `runs --id` has all of it.
MOST_ERROR = 160
#: States that a history's records have.
STATES = tuple(_STYLES)
#: What a terminal would obey; texts of others are shown and not obeyed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: Fields that tell which record it is; databases give fields in no order.
_FIRST = ("id", "name")
_MOST_CELL = 60


class FittingTable(Table):
    """A table without columns that have nothing to say, or that a narrow terminal has no place for.

    Args:
        columns: headings.
        long: those whose texts go on in a next line, and that are never left out.
        spare: those that are left out where it is narrow, the first first.
    """

    def __init__(self, *columns: str, long: Iterable[str] = (), spare: Iterable[str] = ()) -> None:
        super().__init__(box=None, header_style="bold", pad_edge=False)
        self._spare = tuple(spare)
        for column in columns:
            folded = column in long
            self.add_column(
                column, overflow="fold" if folded else "ellipsis", no_wrap=not folded, min_width=folded * 16
            )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what there is place for."""
        if self.rows:
            self.columns = [column for column in self.columns if any(map(str, column.cells))]
        left_out = 0
        wide = options.update(max_width=10_000)
        for column in self.columns:
            if column.overflow == "fold":
                column.max_width = column.min_width  # no word of theirs, a URL say, is worth another column
            else:
                shown = (Measurement.get(console, wide, cell).maximum for cell in column.cells)
                column.min_width = max(shown, default=0)
        for name in self._spare:
            if Measurement.get(console, wide, self).minimum <= options.max_width:
                break
            self.columns, before = [each for each in self.columns if each.header != name], self.columns
            left_out += len(before) - len(self.columns)
        for index, column in enumerate(self.columns):
            column.max_width = None
            column._index = index  # noqa: SLF001  (the table pads by it, and takes the last for another else)
        if left_out:
            told = f"no place for {left_out} more columns"
            self.caption = f"{self.caption}; {told}" if self.caption else told
        yield from super().__rich_console__(console, options)


def tasks_table(tasks: Iterable[dict[str, Any]], now: datetime) -> Table:
    """Return all tasks at a glance."""
    table = FittingTable(
        "TASK", "STATUS", "DOING", "RESULT", "AGE", "NEXT RUN", "PROBLEM",
        long=("DOING", "PROBLEM"), spare=("RESULT", "NEXT RUN", "AGE"),
    )  # fmt: skip
    for task in tasks:
        result = task["result"] or {}
        table.add_row(
            task["name"],
            state_text(task["status"]),
            _doing(task),
            _result(result),
            age(result.get("completed"), now),
            _clock(task["next_run"]),
            Text(task["problem"] or "", style="bold red"),
        )
    return table


def runs_table(runs: Iterable[dict[str, Any]]) -> Table:
    """Return a history, newest first."""
    table = FittingTable(
        "STARTED", "STATE", "DURATION", "RESULT", "REMARK", "ID",
        long=("REMARK",), spare=("RESULT", "DURATION", "REMARK"),
    )  # fmt: skip
    for run in runs:
        table.add_row(
            _clock(run["started"]),
            state_text(run["state"]),
            duration(run["duration_seconds"]),
            _result(run["result"] or {}),
            remark(run),
            Text(run["id"], style="dim", no_wrap=True),
        )
    return table


def run_lines(run: dict[str, Any]) -> list[Text]:
    """Return all there is to know of a run."""
    lines = [
        Text.assemble((f"{name}: ", "bold"), _value(value))
        for name, value in run.items()
        if value is not None and name != "error"
    ]
    error = run["error"]
    if error:
        said = plain(f"{error.get('type')}: {error.get('message')}")
        lines.append(Text.assemble(("error: ", "bold"), (said, "red")))
        lines.append(Text(plain(error.get("traceback") or ""), style="dim"))
    return lines


def records_table(result: Any, most: int) -> Table:
    """Return the first records of a result."""
    records = rows_of(result)
    rows = records[:most]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    table = FittingTable(*columns, spare=columns[:0:-1])
    for row in rows:
        table.add_row(*(_short(row.get(name)) for name in columns))
    if len(records) > len(rows):
        table.caption = f"and {len(records) - len(rows)} more records: --format json or csv has all"
    return table


def state_text(state: str | None) -> Text:
    """Return a state in words and in colour."""
    return Text(state or "never ran", style=_STYLES.get(state or "", "dim"))


def remark(run: dict[str, Any]) -> Text:
    """Return why a run is what it is."""
    if run["error"]:
        return Text(_line(f"{run['error'].get('type')}: {run['error'].get('message')}"), style="red")
    said = [run["reason"] or "", f"by {run['by']}" if run["by"] else "", run["holder"] or ""]
    return Text(_line(", ".join(filter(None, said))))


def progress_text(progress: dict[str, Any] | None) -> str:
    """Return how far a run is."""
    if not progress:
        return ""
    done, total = progress["done"], progress["total"]
    share = f"{done} of {total} ({done * 100 // total} %)" if total else str(done)
    return _line(f"{share} {progress['message'] or ''}")


def plain(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return _CONTROL.sub("�", text)


def duration(seconds: float | None) -> str:
    """Return a duration as people say it."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def age(moment: str | None, now: datetime) -> str:
    """Return how long ago that was."""
    if moment is None:
        return "-"
    seconds = max((now - datetime.fromisoformat(moment)).total_seconds(), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(size_bytes: int | None) -> str:
    """Return a size as people say it."""
    if size_bytes is None:
        return "-"
    for least, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= least:
            return f"{size_bytes / least:.1f} {unit}"
    return f"{size_bytes} B"


def now_of(answer: dict[str, Any]) -> datetime:
    """Return the server's time, by which ages are told."""
    return datetime.fromisoformat(answer["now"]) if "now" in answer else datetime.now(UTC)


def _doing(task: dict[str, Any]) -> str:
    run = task["run"]
    if run is None:
        return _line(task["error"], MOST_ERROR) if task["state"] == "failed" and task["error"] else ""
    cancelled = f"cancelled by {run['cancel']['by']}" if run["cancel"] else ""
    return " ".join(filter(None, [cancelled, progress_text(run["progress"]) or "at work"]))


def _result(result: dict[str, Any]) -> str:
    if not result:
        return "-"
    count = result.get("count")
    return size(result.get("size_bytes")) if count is None else f"{count} in {size(result.get('size_bytes'))}"


def _clock(moment: str | None) -> str:
    if moment is None:
        return "-"
    local = datetime.fromisoformat(moment).astimezone()
    today = datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items() if item is not None)
    return plain(str(value))


def _short(value: Any) -> str:
    text = _line(str(cell(value)))
    return text if len(text) <= _MOST_CELL else f"{text[: _MOST_CELL - 1]}…"


def _line(text: str, most: int | None = None) -> str:
    line = plain(" ".join(text.split()))
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"
