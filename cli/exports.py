"""Exports results as JSON, NDJSON or CSV, one record at a time; files are written atomically."""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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


def write_ndjson(source: BinaryIO, target: BinaryIO) -> None:
    """Write each record of a list on a line of its own, as stored; any other result is one line."""
    reader = _Reader(source)
    if reader.kind == "{":
        source.seek(0)
        chunks = iter(partial(source.read, _CHUNK_BYTES), b"")
        target.writelines(chunk.translate(None, b"\r\n") for chunk in chunks)
        target.write(b"\n")
        return
    target.writelines(f"{text}\n".encode(errors="surrogatepass") for _, _, text in reader.entries())


def write_csv(source: BinaryIO, target: BinaryIO, *, raw: bool = False) -> None:
    """Write a result as CSV in UTF-8 without a byte order mark, one record per line.

    The result is read twice, first for the columns: the records' fields in the order of their first
    appearance. A map has the columns `key` and `value`, and a record that is not a map has the column
    `value`. Numbers are written as stored, and nested values as JSON. Text that a spreadsheet would execute,
    headings included, gets an apostrophe before it, also after a semicolon, a tab or a newline, because some
    spreadsheets begin a cell there. `web/src/result/exports.ts` has the same rules.

    Args:
        source: The result, as JSON.
        target: The file to write.
        raw: Whether to keep such text unchanged.
    """
    columns = dict.fromkeys(("key", "value") if _Reader(source).kind == "{" else ())
    for row in _rows(_Reader(source)):
        columns.update(dict.fromkeys(row))
    if not columns:
        return
    target.write(_csv_line(columns, raw=raw))
    rows = _rows(_Reader(source, _DECODER_AS_STORED))
    target.writelines(_csv_line(map(row.get, columns), raw=raw) for row in rows)


#: Bytes of a result that are read at a time.
_CHUNK_BYTES = 1 << 16
_SPACE = re.compile(r"[ \t\r\n]*")
_BLANK = r"\x00-\x20\x7f-\xa0\u2000-\u200b\u2028\u2029\u202f\u3000\ufeff\"'"
_OPERATOR = r"=+\-@\uff1d\uff0b\uff0d\uff20"
#: Text that a spreadsheet would execute or convert: a tab, a newline, or an operator after spaces and quotes.
_FORMULA = re.compile(rf"[\t\r\n]|[{_BLANK}]*[{_OPERATOR}]")
#: What may begin a cell inside a text: a list separator of some locales, a tab or a newline, and an operator
#: that follows. It matches without an operator, too, so that it reads a run of such characters only once.
_INNER_CELL = re.compile(rf"([;\t\r\n][;{_BLANK}]*)([{_OPERATOR}])?")
_SEPARATOR = re.compile(r"\r\n|[;\t\r\n]")
_NEEDS_QUOTES = re.compile(r'[",;\t\r\n]')
_NEEDS_QUOTES_RAW = re.compile(r'[",\r\n]')
#: A negative number, and text that begins with a digit. Where the comma is the decimal one, and the semicolon
#: separates cells, the two are one formula unless the text is quoted.
_JOINED = re.compile(r"-[^,]*,(?![0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z)[0-9]")
_NEWLINES = str.maketrans("", "", "\r\n")


class _Number(str):
    """A JSON number as stored, because Python may write a float differently."""

    __slots__ = ()


_DECODER = json.JSONDecoder()
_DECODER_AS_STORED = json.JSONDecoder(parse_int=_Number, parse_float=_Number)


class _Reader:
    """Reads the entries of a result in bounded memory.

    Args:
        source: The result, as JSON in UTF-8; it is read from its start.
        decoder: Decodes the values.
    """

    def __init__(self, source: BinaryIO, decoder: json.JSONDecoder = _DECODER) -> None:
        self._decoder = decoder
        source.seek(0)
        self._stream = codecs.getreader("utf-8")(source, "surrogatepass")
        self._text, self._at = "", 0
        first = self._next()
        #: "[" for a list, "{" for a map, "" for any other value.
        self.kind = first if first in {"[", "{"} else ""

    def entries(self) -> Iterator[tuple[str, Any, str]]:
        """Yield the key, the value and the JSON of each entry; a scalar is one entry."""
        if not self.kind:
            yield "", *self._value()
            return
        while self._next() not in {"]", "}"}:
            self._at += 1  # the opening bracket, or a comma
            if self._next() in {"]", "}"}:  # an empty list or map
                return
            key = ""
            if self.kind == "{":
                key, _ = self._value()
                self._next()
                self._at += 1  # the colon
            yield key, *self._value()

    def _next(self) -> str:
        """Skip spaces, and return the character after them."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                raise CliError(Exit.unavailable, "the result is not complete JSON; try again")

    def _value(self) -> tuple[Any, str]:
        """Read the next value; return it and its JSON without newlines."""
        self._next()
        while True:
            value, end = None, 0
            with suppress(json.JSONDecodeError):  # the value goes on in the next chunk
                value, end = self._decoder.raw_decode(self._text, self._at)
            # A number may go on in the next chunk, too, unless another character follows it.
            if end in {0, len(self._text)} and self._read_on():
                continue
            if end == 0:
                raise CliError(Exit.unavailable, "the result is not complete JSON; try again")
            text, self._at = self._text[self._at : end], end
            return value, text.translate(_NEWLINES)

    def _read_on(self) -> bool:
        """Read a chunk at least as long as the unread text, so that a long value is decoded rarely."""
        unread = self._text[self._at :]
        chunk = self._stream.read(max(_CHUNK_BYTES, len(unread)))
        self._text, self._at = unread + chunk, 0
        return bool(chunk)


def _rows(reader: _Reader) -> Iterator[dict[str, Any]]:
    """Yield the entries of a result as records, as `rows_of` does."""
    for key, value, _ in reader.entries():
        if reader.kind == "{":
            yield {"key": key, "value": value}
        else:
            yield value if isinstance(value, dict) else {"value": value}


def _csv_line(values: Iterable[Any], *, raw: bool) -> bytes:
    cells = [cell(value) for value in values]
    if not raw:
        cells = [_harmless(text) if type(text) is str else text for text in cells]
    needs_quotes = _NEEDS_QUOTES_RAW if raw else _NEEDS_QUOTES
    is_joined = not raw and _JOINED.match(",".join(cells[:2]))
    quoted = [needs_quotes.search(text) or (is_joined and index == 1) for index, text in enumerate(cells)]
    cells = [
        '"' + text.replace('"', '""') + '"' if is_quoted else text
        for text, is_quoted in zip(cells, quoted, strict=True)
    ]
    line = ",".join(cells) if cells != [""] else '""'  # most readers ignore an empty line
    return f"{line}\n".encode(errors="backslashreplace")  # JSON may contain a lone surrogate


def _harmless(text: str) -> str:
    """Put an apostrophe before each formula: at the start, and after what separates cells in some locales."""
    inner = _INNER_CELL.sub(
        lambda found: found[0] if found[2] is None else _SEPARATOR.sub(r"\g<0>'", found[1]) + found[2], text
    )
    return f"'{inner}" if _FORMULA.match(text) else inner


def rows_of(result: Any) -> list[dict[str, Any]]:
    """Return a result as records: one per entry of an object, and one for a scalar."""
    if isinstance(result, dict):
        return [{"key": key, "value": value} for key, value in result.items()]
    records = result if isinstance(result, list) else [result]
    return [record if isinstance(record, dict) else {"value": record} for record in records]


def cell(value: Any) -> str:
    """Return a value as a cell: text and numbers unchanged, None as "", everything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else _json(value)


def _json(value: Any) -> str:
    """Encode a value as compact JSON, with its numbers as stored."""
    if isinstance(value, _Number):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(name)}:{_json(each)}" for name, each in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
