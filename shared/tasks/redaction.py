"""Removes secrets from the texts of errors, traces and log lines.

These are replaced by "…":

- the query of a URL, and the user and password before its host
- what follows the name of an authentication scheme, such as `Bearer`
- the value of a name that contains one of the words in `_WORDS`, as in `api_key=…`, `"password": "…"`,
  `X-Auth-Token: …`, `('client_secret', '…')` and `credentials={…`

The rule looks at names only, so the count in `tokens=12` is removed, too. Each pattern reads a text once,
whatever it contains, because a task logs texts of others.
"""

from __future__ import annotations

import re

_HIDDEN = "…"

_WORDS = (
    r"(?:token|secret|passw(?:or)?d|passphrase|authori[sz]ation|api[_-]?key|private[_-]?key|credential|"
    r"signature|cookie)"
)
_WORD = re.compile(_WORDS)
#: Matches each URL, also without a query, so that the text after "https://" is read only once.
_URL = re.compile(r"(https?://[^\s?\"'<>]*)(\?[^\s\"'<>]+)?", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/?#\"'<>]*@")
_SCHEME = re.compile(r"\b((?:Bearer|Token|Basic)\s+)[^\s\"'<>]+", re.IGNORECASE)
_HIDDEN_SCHEME = rf"(?:Bearer|Token|Basic)\s+{_HIDDEN}"
#: A header in a text: its value may have several words.
_AUTHORIZATION = re.compile(
    rf"(authorization\s*[:=]\s*)(?!{_HIDDEN_SCHEME}|[\"'])[^\s].*",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"""
    (?P<name>
        {_WORDS}[\w.-]{{0,40}}
        (?: (?P<quote>\\{{0,8}}["'])?\]?\s*[:=]+>? | \\{{0,8}}["']\s*, )  # h["token"] = , ("token",
        \s*
    )
    (?:
        (?P<begin>[bru]{{0,2}}(?P<mark>\\{{0,8}}["'])) (?s:.*?) (?P<end>(?<!\\)(?P=mark)|\Z)
        | [\[({{](?s:.*)  # the end of a list or map is not known, so this is the rest of the text
        | (?!{_HIDDEN_SCHEME}) (?(quote)[^\s,}}\])]+|\S+)
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)


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
    return shown if len(shown) <= length and not is_cut else f"{shown[: length - 1]}{_HIDDEN}"


def redacted(text: str) -> str:
    """Remove secrets from a text, and replace lone surrogates, which Firestore refuses."""
    text = _URL.sub(lambda url: f"{url[1]}?{_HIDDEN}" if url[2] else url[0], text)
    text = _USER.sub(f"{_HIDDEN}@", text)
    text = _SCHEME.sub(rf"\1{_HIDDEN}", text)
    if is_secret(text):
        text = _AUTHORIZATION.sub(rf"\1{_HIDDEN}", text)
        text = _NAMED.sub(rf"\g<name>\g<begin>{_HIDDEN}\g<end>", text)
    return text.encode("utf-8", "replace").decode()
