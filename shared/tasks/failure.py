"""A failure in words: what of an exception goes into the status, the history and the log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shared.tasks.errors import RunCancelled
from shared.tasks.trace import message_of, trace_of

#: Characters that an error may take in a document.
MAX_MESSAGE = 1_500
#: Characters of a trace in the run record.
MAX_TRACE = 4_000

#: The query of a URL, and what follows a word that announces a token.
_SECRETS = re.compile(r"(https?://[^\s?\"'<>]+\?|\b(?:Bearer|Token|Basic)\s+)[^\s\"'<>]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: the exception's type.
        message: what it said; empty where it said nothing.
        trace: Where it was raised, and what caused it, as `trace_of` describes; may be empty.
    """

    kind: str
    message: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Put an exception in words; never raises, whatever the exception does."""
        trace = trace_of(error, MAX_TRACE, clean=_redacted)
        return cls(_clean(type(error).__name__, 200), _clean(message_of(error), MAX_MESSAGE), trace)

    def cancelled(self, why: str) -> Failure:
        """Return the failure of a run that a person cancelled: whatever its task made of it, that is why.

        Args:
            why: who cancelled it, and why.
        """
        kind = RunCancelled.__name__
        message = why if self.kind == kind else f"{why} ({self.text})"
        return Failure(kind, _clean(message, MAX_MESSAGE), self.trace)

    @property
    def text(self) -> str:
        """Type and message, as the contract's field `error` has them: at most 1,500 characters."""
        return _clean(f"{self.kind}: {self.message}" if self.message else self.kind, MAX_MESSAGE)

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of the history."""
        return {"type": self.kind, "message": self.message, "traceback": self.trace}


def _clean(text: str, length: int) -> str:
    """Redact a text and cut it."""
    shown = _redacted(text[: 4 * length])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def _redacted(text: str) -> str:
    """Remove secrets from a text, and replace what is not Unicode.

    Errors of HTTP clients contain whole URLs, including signatures and tokens. Firestore refuses a
    lone surrogate.
    """
    return _SECRETS.sub(r"\1…", text).encode("utf-8", "replace").decode()
