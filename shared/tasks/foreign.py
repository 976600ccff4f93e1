"""What others stored at a result's path: unpacked and checked, in memory that its bytes bound.

The original writes bare JSON, and anybody may put an object there. What it holds is known only
when it was read to its end, and what values it would make takes many times its bytes: so none
are made of it. It is served as it is, but for what no reader could make text of.
"""

from __future__ import annotations

import codecs
import io
import re
import threading
import zlib
from typing import TYPE_CHECKING

import msgspec

from shared.tasks import gzipped
from shared.tasks.errors import ResultUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes that are looked at a time.
_STEP_BYTES = 1 << 18
#: Checks JSON and makes nothing of it.
_CHECK = msgspec.json.Decoder(msgspec.Raw)
#: An escape as JSON has it; its one group is half a letter, the other half of which isn't there.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
#: What JavaScript makes of half a letter where it must be text; as long as what it stands for.
_NO_LETTER = b"ufffd"
#: Objects of several tasks, read at once, would take the memory of all.
_ONE_AT_A_TIME = threading.Lock()


class TooMuch(Exception):
    """It unpacks to more bytes than its reader takes."""


def json_of(stored: bytes, most: int) -> bytes:
    r"""Return the JSON in bytes that this engine did not store.

    A byte order mark is left out, and half a letter (`\\ud83d` alone, which JavaScript writes and
    reads) becomes U+FFFD: neither makes a result that can't be read.

    Args:
        stored: JSON, compressed or not; a gzip stream may have several members.
        most: bytes that the JSON may have.

    Raises:
        TooMuch: it has more.
        ResultUnavailable: it is damaged, or no JSON; the text says where.
    """
    with _ONE_AT_A_TIME:
        return _json_of(stored, most)


def _json_of(stored: bytes, most: int) -> bytes:
    try:
        plain = _unpacked(stored, most)
    except zlib.error as error:
        raise ResultUnavailable(f"a stored result is damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise ResultUnavailable(f"a stored result is not UTF-8: {error.reason}") from error
    if _HALF.search(plain):
        plain = _whole_letters(plain)
    try:
        _CHECK.decode(plain)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ResultUnavailable(f"a stored result is no JSON: {error}") from error
    return plain


def _unpacked(stored: bytes, most: int) -> bytes:
    """Return the bytes, with no copy of those that are not compressed."""
    is_plain = not stored.startswith(gzipped.MAGIC)
    plain, size = io.BytesIO(stored if is_plain else b""), 0
    check = codecs.getincrementaldecoder("utf-8")()
    for piece in gzipped.plain_pieces(_cut(stored)):
        size += len(piece)
        if size > most:
            raise TooMuch
        check.decode(piece)
        if not is_plain:
            plain.write(piece)
    check.decode(b"", final=True)
    return plain.getvalue().removeprefix(codecs.BOM_UTF8)


def _cut(stored: bytes) -> Iterator[bytes]:
    return (stored[start : start + _STEP_BYTES] for start in range(0, len(stored), _STEP_BYTES))


def _whole_letters(plain: bytes) -> bytes:
    """Return JSON without halves of letters, which are found by looking at each escape in its turn."""
    mended = io.BytesIO(plain)  # one copy, made at the first write
    for escape in _ESCAPE.finditer(plain):
        if escape[1]:
            mended.seek(escape.start(1))
            mended.write(_NO_LETTER)
    return mended.getvalue()
