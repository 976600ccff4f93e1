"""A result as it is read record by record: the elements of a JSON array, in bounded memory.

What this engine streamed has one record a line. Any other array, of this engine or of others, is
taken apart by the standard library's parser, which is slower; nothing is ever held whole.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from shared.tasks.errors import NoRecords, ResultUnavailable
from shared.tasks.results.stream import CLOSING, OPENING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Characters that a single record of an array without lines may have.
MAX_RECORD = 1 << 26
_SPACE = " \t\r\n"
_AFTER_VALUE = frozenset(",]" + _SPACE)


def records_of(plain: Iterator[bytes], *, ours: bool) -> Iterator[Any]:
    """Return the records of a JSON array, as its bytes come.

    Args:
        plain: the bytes, in pieces.
        ours: whether this engine wrote them: it is taken at its word that a line is a record.

    Raises:
        NoRecords: it is no array.
        ResultUnavailable: it is no JSON, or ends before the array does.
    """
    head = b""
    while ours and len(head) < len(OPENING) and (piece := next(plain, None)) is not None:
        head += piece
    if head.startswith(OPENING):
        yield from _lines(head[len(OPENING) :], plain)
    else:
        yield from _elements(_Text(head, plain))


def _lines(rest: bytes, plain: Iterator[bytes]) -> Iterator[Any]:
    """Return the records of lines, each but the last with a comma at its end."""
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
        raise ResultUnavailable("a stored result is not whole")


class _Text:
    """The text that has come and is not yet read."""

    def __init__(self, head: bytes, plain: Iterator[bytes]) -> None:
        self._plain = plain
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()  # others may begin with a mark
        self._parse = json.JSONDecoder(parse_constant=_refuse).raw_decode
        self._text = self._decode.decode(head)
        self._at = 0

    def next_sign(self) -> str:
        """Skip space and return the next character, which stays; "" at the end."""
        while True:
            while self._at < len(self._text):
                sign = self._text[self._at]
                if sign not in _SPACE:
                    return sign
                self._at += 1
            if not self._more():
                return ""

    def takes(self, sign: str) -> bool:
        """Skip space, and the character if it is the next; return whether it was."""
        found = self.next_sign() == sign
        self._at += found
        return found

    def value(self) -> Any:
        """Return the JSON value that comes next."""
        self.next_sign()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError:  # it may be all right once there is more of it
                if not self._more():
                    raise
                continue
            # A number may go on where the text ends, or in the midst of it: `1.` and `1e` are none.
            if self._text[end : end + 1] in _AFTER_VALUE or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Have twice as much text at hand as is not read yet; return whether any came."""
        left = self._text[self._at :]
        if len(left) > MAX_RECORD:
            raise ResultUnavailable(f"a record has more than {MAX_RECORD} characters, or is no JSON")
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


def _elements(text: _Text) -> Iterator[Any]:
    if not text.takes("["):
        raise NoRecords("the result is no array of records: read it with get_task_data")
    if not text.takes("]"):
        yield text.value()
        while not text.takes("]"):
            if not text.takes(","):
                raise ResultUnavailable("a stored result is no JSON, or not whole")
            yield text.value()
    if text.next_sign():
        raise ResultUnavailable("a stored result is no JSON: something follows it")


def _refuse(constant: str) -> NoReturn:
    raise ResultUnavailable(f"a stored result is no JSON: it has {constant}")
