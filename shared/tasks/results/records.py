"""Reads a result record by record: the elements of a JSON array, in bounded memory.

A result that this engine streamed has one record per line. Any other array goes through the standard
library's parser, which is slower. Neither holds the whole result.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, NoReturn

import orjson

from shared.tasks.errors import NoRecords, ResultUnavailable
from shared.tasks.results.stream import CLOSING, OPENING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks.contract import Json

#: Largest record of an array without lines, in characters.
MAX_RECORD = 1 << 26
_SPACE = " \t\r\n"
_AFTER_VALUE = frozenset(",]" + _SPACE)


def records_of(plain: Iterator[bytes], *, ours: bool) -> Iterator[Json]:
    """Yield the records of a JSON array while its bytes arrive.

    Args:
        plain: The bytes, in pieces.
        ours: Whether this engine wrote them; then a line is a record if the array begins with a line.

    Raises:
        NoRecords: The JSON is not an array.
        ResultUnavailable: The bytes are not JSON, or end before the array does.
    """
    head = b""
    while ours and len(head) < len(OPENING) and (piece := next(plain, None)) is not None:
        head += piece
    if head.startswith(OPENING):
        yield from _lines(head[len(OPENING) :], plain)
    else:
        yield from _elements(_Text(head, plain))


def _lines(rest: bytes, plain: Iterator[bytes]) -> Iterator[Json]:
    """Yield the records of lines; all lines but the last end with a comma."""
    while True:
        lines = rest.split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield orjson.loads(line[:-1] if line.endswith(b",") else line)
        piece = next(plain, None)
        if piece is None:
            break
        rest += piece
    if rest != CLOSING[1:]:
        raise ResultUnavailable("a stored result is incomplete")


class _Text:
    """The text that has arrived and is not parsed yet."""

    def __init__(self, head: bytes, plain: Iterator[bytes]) -> None:
        self._plain = plain
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()  # it skips a byte order mark
        self._parse = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
        self._text = self._decode.decode(head)
        self._at = 0

    def peek(self) -> str:
        """Skip white space and return the next character without taking it; "" at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in _SPACE:
                    return character
                self._at += 1
            if not self._read_more():
                return ""

    def take(self, character: str) -> bool:
        """Take the next character after white space if it is this one; return whether it is."""
        found = self.peek() == character
        self._at += found
        return found

    def value(self) -> Json:
        """Take the next JSON value."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError:  # the value may be incomplete
                if not self._read_more():
                    raise
                continue
            # A number may continue after the end of the text: `1.` and `1e` are not numbers.
            if self._text[end : end + 1] in _AFTER_VALUE or not self._read_more():
                self._at = end
                return value

    def _read_more(self) -> bool:
        """Read until twice as much text is unparsed as now; return whether any arrived."""
        left = self._text[self._at :]
        if len(left) > MAX_RECORD:
            raise ResultUnavailable(f"a record has more than {MAX_RECORD} characters, or is not JSON")
        pieces, wanted = [left], max(len(left), 1)
        for piece in self._plain:
            pieces.append(self._decode.decode(piece))
            wanted -= len(pieces[-1])
            if wanted <= 0:
                break
        else:
            self._decode.decode(b"", final=True)
        if len(pieces) == 1:
            return False
        self._text, self._at = "".join(pieces), 0
        return True


def _elements(text: _Text) -> Iterator[Json]:
    if not text.take("["):
        raise NoRecords("the result is not an array of records; read it with get_task_data")
    if not text.take("]"):
        yield text.value()
        while not text.take("]"):
            if not text.take(","):
                raise ResultUnavailable("a stored result is not JSON, or incomplete")
            yield text.value()
    if text.peek():
        raise ResultUnavailable("a stored result is not JSON: text follows the array")


def _refuse_constant(constant: str) -> NoReturn:
    raise ResultUnavailable(f"a stored result is not JSON: it contains {constant}")
