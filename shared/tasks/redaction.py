"""Removes secrets from the texts of errors, traces and log lines.

These are replaced by "…":

- the query of a URL, and the user and password before its host
- what follows the name of an authentication scheme, such as `Bearer`
- the rest of the line after a name that ends with `authorization` or `cookie`, such as `Set-Cookie:`
- the value of a name that contains one of the words in `_WORDS`, as in `api_key=…`, `"password": "…"`,
  `X-Auth-Token: …`, `('client_secret', '…')`, `credentials={…}` and `auth=BasicAuth(…)`

A value without quotes and brackets ends at the next space. The rule looks at names only, so the count in
`tokens=12` is removed, too. The time for a text grows with its length, whatever it contains, because a task
logs texts of others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HIDDEN = "…"

_WORDS = (
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|authori[sz]ation|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|credential|signature|cookie|session[_-]?id|jwt|(?<![a-z0-9])auth(?![\w.-]))"
)
_WORD = re.compile(_WORDS)
#: Matches each URL, also without a query, so that the text after "https://" is read only once.
_URL = re.compile(r"(https?://[^\s?\"'<>]*)(\?[^\s\"'<>]+)?", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/?#\"'<>]*@")
_SCHEME = re.compile(r"\b((?:Bearer|Token|Basic)\s+)[^\s\"'<>]+", re.IGNORECASE)
_NAMED = re.compile(
    rf"""
    (?P<name>{_WORDS}(?!\w{{0,40}}(?-i:Error|Exception):\s)[\w.-]{{0,40}})  # not "InvalidTokenError: "
    (?: (?P<quote>\\{{0,8}}["'])?\]?\s*[:=]+>? | \\{{0,8}}["']\s*, )  # h["token"] = , ("token",
    \s*
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: A value that is redacted already. The rest of `Token …"abc"` is not.
_REDACTED = re.compile(
    rf"(?:(?:Bearer|Token|Basic)\s+)?{_HIDDEN}(?=[\s,)\]}}]|[\"'](?!\w)|\Z)", re.IGNORECASE
)
_QUOTED = re.compile(
    r"""(?P<begin>[bru]{0,2}(?P<mark>\\{0,8}["']))(?s:.*?)(?P<end>(?<!\\)(?P=mark)|\Z)""", re.IGNORECASE
)
#: Begins with a list, a map or a call.
_BRACKET = re.compile(r"[\w.]*[\[({]")
_BRACKET_OR_QUOTE = re.compile(r"""[\[\](){}]|(?<!\\)\\*["']""")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_HEADERS = ("authorization", "authorisation", "cookie")
#: Where a value without quotes ends: a header's, a quoted name's (as in JSON), and any other.
_LINE, _ITEM, _TO_SPACE = re.compile(r".*"), re.compile(r"[^\s,}\])]*"), re.compile(r"\S*")


def is_secret(name: str) -> bool:
    """Return whether a field with this name has a secret as its value.

    Args:
        name: Name of the field, or a text that may contain such names.
    """
    return _WORD.search(name.lower()) is not None  # several times as fast as IGNORECASE


def clean(text: str, length: int) -> str:
    """Redact a text, make it storable, and shorten it to at most `length` characters."""
    start = text[: 4 * length]
    is_cut = len(start) < len(text)
    if is_cut and "://" in (last := start.rpartition(" ")[2]):
        # Half a URL may be a password without the "@" after it.
        start = start.removesuffix(last) + last[: last.rindex("://") + 3]
    shown = redacted(start)
    return shortened(f"{shown}{_HIDDEN}" if is_cut else shown, length)


def shortened(text: str, length: int) -> str:
    """Shorten a text to at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}{_HIDDEN}"


def redacted(text: str) -> str:
    """Remove secrets from a text, and replace lone surrogates, which Firestore refuses."""
    text = _URL.sub(lambda url: f"{url[1]}?{_HIDDEN}" if url[2] else url[0], text)
    text = _USER.sub(f"{_HIDDEN}@", text)
    text = _SCHEME.sub(rf"\1{_HIDDEN}", text)
    if is_secret(text):
        text = "".join(_without_named(text))
    return text.encode("utf-8", "replace").decode()


def _without_named(text: str) -> Iterator[str]:
    """Yield the parts of a text with the values of secrets' names redacted."""
    end = 0
    while name := _NAMED.search(text, end):
        yield text[end : name.end()]
        end = name.end()
        if value := _REDACTED.match(text, end):
            yield value[0]
            end = value.end()
        elif value := _QUOTED.match(text, end):
            yield f"{value['begin']}{_HIDDEN}{value['end']}"
            end = value.end()
        else:
            is_header = name["name"].lower().endswith(_HEADERS)
            rest = _ITEM if name["quote"] else _LINE if is_header else _TO_SPACE
            bracket = _BRACKET.match(text, end)
            value = rest.match(text, _end_of_bracket(text, bracket.end() - 1) if bracket else end)
            if value and value.end() > end:
                yield _HIDDEN
                end = value.end()
    yield text[end:]


def _end_of_bracket(text: str, start: int) -> int:
    """Return where the bracket at `start` ends: the end of the text unless its close is certain."""
    closing: list[str] = []
    mark = ""
    for match in _BRACKET_OR_QUOTE.finditer(text, start):
        found = match[0]
        if mark:
            if found == mark:
                mark = ""
            elif found[-1] == mark[-1] and (len(mark) > 1 or len(found) % 2):
                break  # \\" may end a string or be a part of it, depending on how often it was encoded
        elif found in _CLOSING:
            closing.append(_CLOSING[found])
        elif found[-1] in "\"'":
            mark = found
        elif found != closing.pop():
            break
        elif not closing:
            return match.end()
    return len(text)
