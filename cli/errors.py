"""The error that ends a command, and the exit codes."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes."""

    #: Done.
    done = 0
    #: The followed run failed and is not tried again, or it was cancelled. Typer uses this code, too, if a
    #: pipe or a prompt was closed.
    failed = 1
    #: Invalid command, such as an unknown task.
    usage = 2
    #: Not signed in, or the sign-in has expired.
    signed_out = 3
    #: The user is not allowed to do this.
    denied = 4
    #: No such run.
    missing = 5
    #: Not possible in this state: the task is suspended or held by another run, or the run has ended.
    refused = 6
    #: The server did not respond or is unavailable; try again.
    unavailable = 7
    #: The time to wait is over, and the run has not ended or not started.
    waiting = 8
    #: Ctrl-C.
    interrupted = 130


class CliError(Exception):
    """Ends the command.

    Args:
        code: The exit code.
        text: What failed and what to do about it.
    """

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
    """Return the error for a callable's error status."""
    return CliError(_CODES.get(status, Exit.unavailable), message)
