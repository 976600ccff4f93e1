"""Terminal output: data is never markup, and control characters are printed as escapes."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

#: Control characters except tab and newline, lone surrogates, line separators, and bidi controls.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CHUNK_BYTES = 1 << 16
#: Columns of standard output if it is not a terminal and COLUMNS is not set.
_PIPE_WIDTH = 200


def printable(text: str) -> str:
    r"""Return a text with its control and bidi characters as escapes: `\x1b`, `\u202e`."""
    return _UNSAFE.sub(lambda found: ascii(found.group())[1:-1], text)


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON that standard output can encode, with control and bidi characters as JSON escapes."""
    text = json.dumps(value, ensure_ascii=not _is_utf8(sys.stdout), indent=indent)
    return _UNSAFE.sub(_as_json_escape, text)


def write_to_terminal(source: BinaryIO, out: TextIO, *, is_json: bool) -> None:
    """Copy UTF-8 text to a terminal, with control and bidi characters as escapes.

    Args:
        source: The text, copied from its current position.
        out: The terminal.
        is_json: Whether to use JSON escapes.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while chunk := source.read(_CHUNK_BYTES):
        text = decoder.decode(chunk)
        out.write(_UNSAFE.sub(_as_json_escape, text) if is_json else printable(text))
    out.write(decoder.decode(b"", final=True))


def console(*, stderr: bool = False) -> Console:
    """Return a console that interprets neither markup nor emoji codes.

    Args:
        stderr: Whether it writes to standard error instead of standard output.
    """
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    has_columns = os.environ.get("COLUMNS", "").isdigit()  # rich uses it
    if not stderr and not made.is_terminal and not has_columns:
        made.width = _PIPE_WIDTH
    return made


def show(text: str, *, stderr: bool = False, style: str = "") -> None:
    """Print a line that may contain data."""
    console(stderr=stderr).print(Text(printable(text), style=style), soft_wrap=True)


def replace_unencodable() -> None:
    """Make both streams replace characters that their encoding lacks, instead of raising an error."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a closed stream is None
        stream.reconfigure(errors="replace")


def _as_json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def _is_utf8(stream: TextIO) -> bool:
    return codecs.lookup(stream.encoding or "ascii").name == "utf-8"
