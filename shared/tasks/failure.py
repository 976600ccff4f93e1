"""A failure in words: what of an exception goes into the status, the history and the log."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from typing import Any

from shared.tasks.errors import RunCancelled

#: Characters that an error may take in a document.
MAX_MESSAGE = 1_500
#: Characters of a traceback in the history; its end says most.
MAX_TRACEBACK = 4_000
#: Frames of a traceback, counted from where the error was raised.
MAX_FRAMES = 12

#: The query of a URL, and what follows a word that announces a token.
_SECRETS = re.compile(r"(https?://[^\s?\"'<>]+\?|\b(?:Bearer|Token|Basic)\s+)[^\s\"'<>]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: the exception's type.
        message: what it said; empty where it said nothing.
        trace: the shortened traceback; empty where there is none.
    """

    kind: str
    message: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Put an exception in words; never raises, whatever the exception does."""
        return cls(_clean(type(error).__name__, 200), _clean(_said(error), MAX_MESSAGE), _trace(error))

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


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  (an exception's own str() may fail in any way)
        return "(its message can't be read)"


def _trace(error: BaseException) -> str:
    try:
        frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        lines = [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
        return _clean("\n".join(lines)[-MAX_TRACEBACK:], MAX_TRACEBACK)
    except BaseException:  # noqa: BLE001  (a traceback is a help, not worth a run's end)
        return ""


def _clean(text: str, length: int) -> str:
    """Cut a text, take out what opens doors, and replace what is no Unicode.

    Errors of HTTP clients hold whole URLs, signatures and tokens included; Firestore refuses a
    lone surrogate.
    """
    shown = _SECRETS.sub(r"\1…", text[: 4 * length])
    shown = shown if len(shown) <= length else f"{shown[: length - 1]}…"
    return shown.encode("utf-8", "replace").decode()
