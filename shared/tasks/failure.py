"""A failure as the status document, the run history and the log contain it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.tasks.errors import RunCancelled
from shared.tasks.redaction import clean, shortened
from shared.tasks.trace import message_of, trace_of

#: Longest error text in a document, in characters.
MAX_MESSAGE = 1_500
#: Longest trace in a run record, in characters.
MAX_TRACE = 4_000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: Name of the exception's type.
        message: Its message without secrets; may be empty.
        trace: Where it was raised and what caused it, by `trace_of`; may be empty.
    """

    kind: str
    message: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception. Never raises, even if the exception's own methods do."""
        trace = trace_of(error, MAX_TRACE)
        return cls(clean(type(error).__name__, 200), clean(message_of(error), MAX_MESSAGE), trace)

    def cancelled(self, why: str) -> Failure:
        """Return the failure of a cancelled run: who cancelled it and why, and what its task raised."""
        kind = RunCancelled.__name__
        message = clean(why, MAX_MESSAGE)
        if self.kind != kind:
            message = shortened(f"{message} ({self.text})", MAX_MESSAGE)
        return Failure(kind, message, self.trace)

    @property
    def text(self) -> str:
        """Type and message for the contract's field `error`, at most 1,500 characters."""
        # Not redacted again, because a type such as InvalidTokenError would count as a secret's name.
        return shortened(f"{self.kind}: {self.message}" if self.message else self.kind, MAX_MESSAGE)

    def to_fields(self) -> dict[str, str]:
        """Return the fields of the run record's `error`."""
        return {"type": self.kind, "message": self.message, "traceback": self.trace}
