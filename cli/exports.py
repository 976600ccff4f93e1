"""Exports results as JSON or CSV; files are written atomically."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """Write a file and replace an existing one only once the new one is complete.

    A symbolic link is followed, and an existing file keeps its mode. A device or a pipe is written directly.

    Raises:
        CliError: The file cannot be written.
    """
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                yield device
            return
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file  # type: ignore[misc]
                file.flush()
                umask = os.umask(0)
                os.umask(umask)
                Path(file.name).chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~umask)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise CliError(Exit.usage, f"cannot write {path}: {error.strerror}") from error


def copy_json(source: BinaryIO, target: BinaryIO) -> None:
    """Copy the result's JSON unchanged and append a newline."""
    shutil.copyfileobj(source, target)
    target.write(b"\n")


#: Starts of cells that spreadsheets execute or convert to another value.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_csv(source: BinaryIO, target: BinaryIO, *, raw: bool = False) -> None:
    """Write a result as CSV in UTF-8, one record per line.

    The columns are the records' fields, in the order of their first appearance. A nested value is JSON in
    its cell. Text that a spreadsheet would execute, headings included, gets an apostrophe before it.

    Args:
        source: The result, as JSON.
        target: The file to write.
        raw: Whether to keep such text unchanged.
    """

    def escaped(value: Any) -> Any:
        executed = not raw and isinstance(value, str) and value.startswith(_FORMULA_STARTS)
        return f"'{value}" if executed else value

    rows = rows_of(json.load(source))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.TextIOWrapper(
        target, "utf-8", "backslashreplace", newline=""
    )  # JSON may contain a lone surrogate
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(escaped, columns))
    writer.writerows([escaped(cell(row.get(name))) for name in columns] for row in rows)
    text.detach()  # flushes and leaves the file open


def rows_of(result: Any) -> list[dict[str, Any]]:
    """Return a result as records: one per entry of an object, and one for a scalar."""
    if isinstance(result, dict):
        return [{"key": key, "value": value} for key, value in result.items()]
    records = result if isinstance(result, list) else [result]
    return [record if isinstance(record, dict) else {"value": record} for record in records]


def cell(value: Any) -> Any:
    """Return a value as a cell: text and numbers unchanged, None as "", everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
