"""Entry point of `python -m cli`."""

from cli import change_commands, read_commands, session_commands  # noqa: F401  (they register the commands)
from cli.app import main

if __name__ == "__main__":
    main()
