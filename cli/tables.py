"""A table that fits the terminal's width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderResult

#: Spaces between two columns.
_GAP = 2
#: Least width of a column whose text wraps.
_LONG_WIDTH = 16
#: Columns that the note on dropped columns names.
_MAX_NAMED = 5


@dataclass(slots=True)
class _Column:
    heading: str
    is_long: bool
    cells: list[Text] = field(default_factory=list)

    def min_width(self) -> int:
        """Return the width that the column needs; wrapped text needs no more than `_LONG_WIDTH`."""
        if self.is_long:
            return max(_LONG_WIDTH, cell_len(self.heading))
        lines = (line for cell in self.cells for line in cell.plain.splitlines())
        return max([cell_len(self.heading), *map(cell_len, lines)])


class FittingTable:
    """A table without its empty columns, and without the optional columns that do not fit.

    Args:
        columns: Headings.
        long: Columns whose text wraps; they are never dropped.
        optional: Columns that may be dropped, in the order of dropping.
    """

    def __init__(self, *columns: str, long: Iterable[str] = (), optional: Iterable[str] = ()) -> None:
        self._columns = [_Column(printable(column), column in long) for column in columns]
        self._optional = tuple(map(printable, optional))
        #: Text below the table, as wide as the terminal.
        self.note = ""

    def add(self, *cells: str | Text) -> None:
        """Add a row. A str is data: it is never interpreted as markup."""
        for column, cell in zip(self._columns, cells, strict=True):
            column.cells.append(Text(printable(cell)) if isinstance(cell, str) else cell)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the columns that fit."""
        columns = [column for column in self._columns if any(cell.plain for cell in column.cells)]
        columns = columns or self._columns
        dropped = self._to_drop(columns, options.max_width)
        columns = [column for column in columns if column.heading not in dropped]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(
                column.heading,
                overflow="fold" if column.is_long else "ellipsis",
                no_wrap=not column.is_long,
                min_width=column.min_width(),
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*row)
        yield table
        note = "; ".join(filter(None, [self.note, _dropped_note(dropped)]))
        if note:
            yield Text(printable(note), style="dim italic")

    def _to_drop(self, columns: list[_Column], width: int) -> list[str]:
        """Choose the optional columns to drop: as few as possible, the first ones first."""
        widths = {column.heading: column.min_width() + _GAP for column in columns}
        excess = sum(widths.values()) - _GAP - width
        dropped: list[str] = []
        for name in self._optional:
            if excess > 0 and name in widths:
                dropped.append(name)
                excess -= widths[name]
        for name in dropped[-2::-1]:
            if excess + widths[name] <= 0:
                dropped.remove(name)
                excess += widths[name]
        return dropped


def _dropped_note(dropped: list[str]) -> str:
    if not dropped:
        return ""
    more = f" and {len(dropped) - _MAX_NAMED} more columns" if len(dropped) > _MAX_NAMED else ""
    return f"no room for {', '.join(dropped[:_MAX_NAMED])}{more}: widen the terminal, or use --json"
