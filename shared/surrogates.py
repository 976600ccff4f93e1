"""Repairs JSON text that contains lone surrogates, which JavaScript writes and Python's decoders refuse."""

from __future__ import annotations

import io
import re

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
#: Escapes in reading order, so that `\\ud83d` is an escaped backslash; group 1 is a lone surrogate.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
#: U+FFFD, which has as many bytes as the escape that it replaces.
_REPLACEMENT = b"ufffd"


def replace_lone_surrogates(encoded: bytes | bytearray) -> bytes | bytearray:
    r"""Replace each escape of half a surrogate pair by `\ufffd`.

    Such an escape is valid JSON (RFC 8259, 8.2) but is not Unicode text. Programs produce it when they cut
    a text in the middle of an emoji.

    Args:
        encoded: JSON, valid or not.

    Returns:
        The JSON, of the same length; the argument itself if there is nothing to replace.
    """
    if _SURROGATE.search(encoded) is None:
        return encoded
    repaired = io.BytesIO(encoded)  # a copy is made at the first write
    for escape in _ESCAPE.finditer(encoded):
        if escape[1] is not None:
            repaired.seek(escape.start(1))
            repaired.write(_REPLACEMENT)
    return repaired.getvalue()
