"""What keeps the local stack from starting or from going on, in words for the person at the console."""


class StackError(Exception):
    """The stack cannot start or go on; the text says why and what to do, and is all that is shown."""
