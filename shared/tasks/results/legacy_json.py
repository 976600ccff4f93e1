"""Unpacks and checks objects that a legacy writer stored, in memory that their bytes bound.

A legacy writer stores bare JSON, and other programs may write to the same path. Such an object is checked to
its end without decoding it, because decoded values take many times its bytes. It is served as it is, except
for text that no reader can decode.
"""

from __future__ import annotations

import codecs
import io
import re
import threading
import zlib
from typing import TYPE_CHECKING

import msgspec

from shared.surrogates import replace_lone_surrogates
from shared.tasks.errors import ResultUnavailable
from shared.tasks.results import gzipped
from shared.tasks.results.normalisation import CALLABLE_KEYS, CALLABLE_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator


def _key_spellings(key: str) -> bytes:
    """Return a pattern for an ASCII key, each of its letters plain or escaped."""
    return b"".join(rb"(?:%s|\\u00(?i:%02x))" % (re.escape(letter.encode()), ord(letter)) for letter in key)


#: Bytes that are checked at once.
_STEP_BYTES = 1 << 18
#: Checks JSON without decoding it.
_CHECK = msgspec.json.Decoder(msgspec.Raw)


def _key_pattern(mark: str) -> re.Pattern[bytes]:
    """Return a pattern for the start of a key that callables cannot carry, with a mark before it.

    The key may contain escapes. A quotation mark after a backslash starts no key. At the end of a text, the
    mark that looks like one would have a backslash before it.
    """
    keys = b"|".join(_key_spellings(mark + key) for key in sorted(CALLABLE_KEYS))
    return re.compile(rb'(?<!\\)"(?=(?:%s)"[ \t\r\n]*:)' % keys)


_CALLABLE_KEY, _MARKED_KEY = _key_pattern(""), _key_pattern(CALLABLE_MARK)
#: A key that callables cannot carry, with or without its mark, as `key`; or another text, or a bracket.
_KEY_OR_TEXT = re.compile(
    rb'"(?P<key>%s)"[ \t\r\n]*:|"(?:[^"\\]|\\.)*"|[{}]'
    % b"|".join(_key_spellings(mark + key) for key in sorted(CALLABLE_KEYS) for mark in ("", CALLABLE_MARK))
)
#: Reading the objects of several tasks at once would take the memory of all.
_ONE_AT_A_TIME = threading.Lock()


class TooLarge(Exception):
    """The object unpacks to more bytes than its reader accepts."""


def json_of(stored: bytes, max_bytes: int) -> bytes:
    r"""Return the JSON in an object that this engine did not store.

    A byte order mark is removed. A lone surrogate (`\\ud83d` alone, which JavaScript writes and reads)
    becomes U+FFFD. A key that callables cannot carry gets the mark that it has in this engine's results.

    Args:
        stored: JSON, compressed or not; a gzip stream may have several members.
        max_bytes: Largest size of the JSON.

    Raises:
        TooLarge: The JSON is larger.
        ResultUnavailable: It is damaged or invalid, or has a marked key already. The text contains the place.
    """
    with _ONE_AT_A_TIME:
        try:
            plain = bytes(replace_lone_surrogates(_unpacked(stored, max_bytes)))
            _CHECK.decode(plain)
        except zlib.error as error:
            raise ResultUnavailable(f"a stored result is damaged: {error}") from error
        except UnicodeDecodeError as error:
            raise ResultUnavailable(f"a stored result is not UTF-8: {error.reason}") from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise ResultUnavailable(f"a stored result is not JSON: {error}") from error
        if _CALLABLE_KEY.search(plain):
            if _MARKED_KEY.search(plain):
                _check_marks(plain)
            plain = _CALLABLE_KEY.sub(b'"' + CALLABLE_MARK.encode(), plain)
        return plain


def _check_marks(plain: bytes) -> None:
    """Refuse JSON in which marking a key gives it the name of another, because readers keep only one."""
    keys: list[set[str]] = []  # of each object that contains the token
    for token in _KEY_OR_TEXT.finditer(plain):
        if token["key"]:
            keys[-1].add(msgspec.json.decode(b'"%s"' % token["key"], type=str))
        elif token[0] == b"{":
            keys.append(set())
        elif token[0] == b"}":
            found = keys.pop()
            for key in CALLABLE_KEYS & found:
                if CALLABLE_MARK + key in found:
                    raise ResultUnavailable(
                        f"a stored result has an object with the keys {key!r} and {CALLABLE_MARK + key!r}, "
                        "which are read alike; rename one"
                    )


def _unpacked(stored: bytes, max_bytes: int) -> bytes:
    """Return the decompressed bytes; uncompressed ones are not copied."""
    is_plain = not stored.startswith(gzipped.MAGIC)
    plain, size = io.BytesIO(stored if is_plain else b""), 0
    check = codecs.getincrementaldecoder("utf-8")()
    for piece in gzipped.plain_pieces(_cut(stored)):
        size += len(piece)
        if size > max_bytes:
            raise TooLarge
        check.decode(piece)
        if not is_plain:
            plain.write(piece)
    check.decode(b"", final=True)
    return plain.getvalue().removeprefix(codecs.BOM_UTF8)


def _cut(stored: bytes) -> Iterator[bytes]:
    return (stored[start : start + _STEP_BYTES] for start in range(0, len(stored), _STEP_BYTES))
