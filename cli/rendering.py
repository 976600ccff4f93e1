"""What people see: tables and lines, with states in words and in colour."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cli.exports import cell, rows_of
from cli.terminal import printable

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
    "refused": "yellow",
    "overdue_original": "yellow",
}
#: Characters of an error beside other tasks; `runs --id` has all of it.
MOST_ERROR = 160
#: States that a history's records have.
STATES = tuple(_STYLES)
#: Lines of a trace for calls of the engine and of libraries (`shared/tasks/trace.py`); they are dimmed.
_OTHER_CODE = re.compile(r" *\[(engine|library)\] ")
#: Fields that tell which record it is; databases give fields in no order.
_FIRST = ("id", "name")
_MOST_CELL = 60
#: Spaces between two columns.
_GAP = 2
#: Columns that the note on dropped ones names.
_MOST_NAMED = 5


class FittingTable(Table):
    """A table that drops empty columns, and columns that a narrow terminal has no place for.

    Args:
        columns: Headings.
        long: Columns whose text wraps, and that are never dropped.
        spare: Columns that may be dropped, the first of them first.
    """

    def __init__(self, *columns: str, long: Iterable[str] = (), spare: Iterable[str] = ()) -> None:
        super().__init__(box=None, header_style="bold", pad_edge=False)
        self._spare = tuple(map(printable, spare))
        #: Text below the table, as wide as the terminal.
        self.note = ""
        for column in columns:
            folded = column in long
            self.add_column(
                printable(column),
                overflow="fold" if folded else "ellipsis",
                no_wrap=not folded,
                min_width=folded * 16,
            )

    def add(self, *cells: str | Text) -> None:
        """Add a row. Text of strings is data, whatever characters it holds."""
        self.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the columns that fit."""
        if self.rows:
            self.columns = [column for column in self.columns if any(map(str, column.cells))]
        wide = options.update(max_width=10_000)
        for column in self.columns:
            if column.overflow == "fold":
                column.max_width = column.min_width  # no word of theirs, a URL say, is worth another column
            else:
                shown = (Measurement.get(console, wide, cell).maximum for cell in column.cells)
                column.min_width = max(shown, default=0)
        left_out = self._left_out(options.max_width)
        self.columns = [column for column in self.columns if column.header not in left_out]
        for index, column in enumerate(self.columns):
            column.max_width = None
            column._index = index  # noqa: SLF001  (the table pads by it, and takes the last for another else)
        yield from super().__rich_console__(console, options)
        named = ", ".join(left_out[:_MOST_NAMED]) + f" and {len(left_out) - _MOST_NAMED} more columns" * (
            len(left_out) > _MOST_NAMED
        )
        dropped = f"no room for {named}: widen the terminal, or use --json" if left_out else ""
        note = "; ".join(filter(None, [self.note, dropped]))
        if note:
            yield Text(printable(note), style="dim italic")

    def _left_out(self, width: int) -> list[str]:
        """Choose the spare columns to drop: as few as possible, the first ones first."""
        widths = {str(c.header): max(c.min_width or 0, cell_len(str(c.header))) + _GAP for c in self.columns}
        excess = sum(widths.values()) - _GAP - width
        left_out: list[str] = []
        for name in self._spare:
            if excess > 0 and name in widths:
                left_out.append(name)
                excess -= widths[name]
        for name in left_out[-2::-1]:
            if excess + widths[name] <= 0:
                left_out.remove(name)
                excess += widths[name]
        return left_out


def tasks_table(tasks: Iterable[dict[str, Any]], now: datetime) -> FittingTable:
    """Return all tasks at a glance."""
    table = FittingTable(
        "TASK", "STATUS", "DOING", "RESULT", "AGE", "NEXT RUN", "PROBLEM",
        long=("DOING", "PROBLEM"), spare=("RESULT", "NEXT RUN", "AGE"),
    )  # fmt: skip
    for task in tasks:
        result = task["result"] or {}
        table.add(
            task["name"],
            state_text(task["status"]),
            _doing(task),
            _result(result),
            age(result.get("completed"), now),
            _clock(task["next_run"]),
            Text(_line(task["problem"] or ""), style="bold red"),
        )
    return table


def runs_table(runs: Iterable[dict[str, Any]]) -> Table:
    """Return a history, newest first."""
    table = FittingTable(
        "STARTED", "STATE", "DURATION", "RESULT", "REMARK", "ID",
        long=("REMARK",), spare=("RESULT", "DURATION", "ID"),
    )  # fmt: skip
    for run in runs:
        table.add(
            _clock(run["started"]),
            state_text(run["state"]),
            duration(run["duration_seconds"]),
            _result(run["result"] or {}),
            remark(run),
            Text(printable(run["id"]), style="dim", no_wrap=True),
        )
    return table


def run_lines(run: dict[str, Any]) -> list[Text]:
    """Return all there is to know of a run."""
    lines = [
        Text.assemble((printable(f"{name}: "), "bold"), _value(value))
        for name, value in run.items()
        if value is not None and name != "error"
    ]
    error = run["error"]
    if error:
        said = printable(f"{error.get('type')}: {error.get('message')}")
        lines.append(Text.assemble(("error: ", "bold"), (said, "red")))
        trace = printable(error.get("traceback") or "").splitlines()
        lines.extend(Text(line, style="dim" if _OTHER_CODE.match(line) else "") for line in trace)
    return lines


def records_table(result: Any, most: int) -> Table:
    """Return the first records of a result."""
    records = rows_of(result)
    rows = records[:most]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    table = FittingTable(*columns, spare=columns[:0:-1])
    for row in rows:
        table.add(*(_short(row.get(name)) for name in columns))
    if len(records) > len(rows):
        table.note = f"and {len(records) - len(rows)} more records: --format json or csv has all"
    return table


def state_text(state: str | None) -> Text:
    """Return a state in words and in colour."""
    return Text(printable(state or "never ran"), style=_STYLES.get(state or "", "dim"))


def remark(run: dict[str, Any]) -> Text:
    """Return why a run is what it is."""
    if run["error"]:
        return Text(_line(f"{run['error'].get('type')}: {run['error'].get('message')}"), style="red")
    if run["refused"]:
        return Text(_line(refusal_text(run["refused"])))
    if run["requested"]:
        by, reason = run["requested"]["by"], run["requested"]["reason"]
        return Text(_line(f"requested by {by}{reason and f': {reason}'}"))
    said = [run["reason"] or "", f"by {run['by']}" if run["by"] else "", run["holder"] or ""]
    return Text(_line(", ".join(filter(None, said))))


def refusal_text(refused: dict[str, Any]) -> str:
    """Return how often a run's delivery was refused, why, and when it comes again."""
    count, again = refused["count"], refused["again"]
    follows = f"it comes again after {_clock(again)}" if again else "it does not come again"
    return _line(
        f"Cloud Scheduler's delivery was refused {count} time{'s' * (count > 1)}: "
        f"{refused['reason']}; {follows}"
    )


def progress_text(progress: dict[str, Any] | None) -> str:
    """Return how far a run is."""
    if not progress:
        return ""
    done, total = progress["done"], progress["total"]
    share = f"{done} of {total} ({done * 100 // total} %)" if total else str(done)
    return _line(f"{share} {progress['message'] or ''}")


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
        return ", ".join(f"{_line(name)} {_short(item)}" for name, item in value.items() if item is not None)
    return printable(str(value))


def _short(value: Any) -> str:
    text = _line(str(cell(value)))
    return text if len(text) <= _MOST_CELL else f"{text[: _MOST_CELL - 1]}…"


def _line(text: str, most: int | None = None) -> str:
    line = printable(" ".join(text.split()))
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"
