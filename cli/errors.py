"""What can go wrong, each with the code that scripts can tell it by."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes."""

    #: Done.
    done = 0
    #: The run that was followed did not complete: it failed, or was cancelled. Also typer's own, where a pipe
    #: was closed, or a prompt.
    failed = 1
    #: The command was not understood, or means nothing to the server: there is no such task, say.
    usage = 2
    #: Nobody is signed in, or their sign-in is over.
    signed_out = 3
    #: Whoever is signed in may not do this.
    denied = 4
    #: No such run.
    missing = 5
    #: Not in this state: the task is suspended, held by another run, or the run has ended.
    refused = 6
    #: The server did not answer, or can't now: try again.
    unavailable = 7
    #: The wait is over, and the run is not, or has not begun.
    waiting = 8
    #: Ctrl-C.
    interrupted = 130


class CliError(Exception):
    """Ends the command; the text says what to do."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code


#: Exit codes by the status of a callable's error.
_CODES = {
    "UNAUTHENTICATED": Exit.signed_out,
    "PERMISSION_DENIED": Exit.denied,
    "NOT_FOUND": Exit.missing,
    "FAILED_PRECONDITION": Exit.refused,
    "INVALID_ARGUMENT": Exit.usage,
}


def refusal(status: str, message: str) -> CliError:
    """Return the error that a callable's refusal is."""
    return CliError(_CODES.get(status, Exit.unavailable), message)
