"""Entry point of `python -m cli`."""

from cli import (  # noqa: F401  (they register the commands)
    change_commands,
    log_commands,
    read_commands,
    session_commands,
    show_command,
)
from cli.app import main

if __name__ == "__main__":
    main()
