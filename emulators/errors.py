"""The error that stops the local stack."""


class StackError(Exception):
    """The stack cannot start or continue; only the text is printed: what failed and how to fix it."""
