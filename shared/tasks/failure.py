"""A failure as the status document, the run history and the log contain it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.tasks.errors import RunCancelled
from shared.tasks.trace import message_of, trace_of

#: Longest error text in a document, in characters.
MAX_MESSAGE = 1_500
#: Longest trace in a run record, in characters.
MAX_TRACE = 4_000

#: The query of a URL, and the word after the name of an authentication scheme.
_SECRETS = re.compile(r"(https?://[^\s?\"'<>]+\?|\b(?:Bearer|Token|Basic)\s+)[^\s\"'<>]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: Name of the exception's type.
        message: Its message; may be empty.
        trace: Where it was raised and what caused it, by `trace_of`; may be empty.
    """

    kind: str
    message: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception. Never raises, even if the exception's own methods do."""
        trace = trace_of(error, MAX_TRACE, clean=_redacted)
        return cls(clean(type(error).__name__, 200), clean(message_of(error), MAX_MESSAGE), trace)

    def cancelled(self, why: str) -> Failure:
        """Return the failure of a cancelled run: who cancelled it and why, and what its task raised."""
        kind = RunCancelled.__name__
        message = why if self.kind == kind else f"{why} ({self.text})"
        return Failure(kind, clean(message, MAX_MESSAGE), self.trace)

    @property
    def text(self) -> str:
        """Type and message for the contract's field `error`, at most 1,500 characters."""
        return clean(f"{self.kind}: {self.message}" if self.message else self.kind, MAX_MESSAGE)

    def to_fields(self) -> dict[str, str]:
        """Return the fields of the run record's `error`."""
        return {"type": self.kind, "message": self.message, "traceback": self.trace}


def clean(text: str, length: int) -> str:
    """Redact a text, make it storable, and shorten it to at most `length` characters."""
    shown = _redacted(text[: 4 * length])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def _redacted(text: str) -> str:
    """Remove secrets from a text, and replace lone surrogates, which Firestore refuses.

    Errors of HTTP clients contain whole URLs, including signatures and tokens.
    """
    return _SECRETS.sub(r"\1…", text).encode("utf-8", "replace").decode()
