"""Copies of the checkout, and local stacks on ports of their own."""

import os
import shutil
from itertools import count, islice
from pathlib import Path
from typing import Any

from emulators import ports

ROOT = Path(__file__).resolve().parents[2]


def copy_files(folder: Path) -> None:
    """Copy the checkout without the files that git ignores."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    leave_out = shutil.ignore_patterns(".git", *ignored)
    shutil.copytree(ROOT, folder, symlinks=True, ignore=leave_out, dirs_exist_ok=True)
    (folder / "venv").symlink_to(ROOT / "venv", target_is_directory=True)


def move_ports(config: dict[str, Any]) -> dict[str, int]:
    """Give each part of a stack a free port.

    Args:
        config: The parsed firebase.json; it is changed.

    Returns:
        The port of each part, also of parts that are not in firebase.json.
    """
    emulators = config["emulators"]
    names = [name for name, part in emulators.items() if isinstance(part, dict) and "port" in part]
    # Below the range from which the system takes ports for outgoing connections.
    first = 20000 + os.getpid() % 10000
    free = islice(filter(ports.is_free, count(first)), len(names) + len(ports.OWN_PORTS))
    moved = dict(zip((*names, *ports.OWN_PORTS), free, strict=True))
    for name in names:
        emulators[name]["port"] = moved[name]
    return moved


def own_ports(moved: dict[str, int]) -> dict[str, str]:
    """Return the variables with which the stack's own servers use these ports."""
    return {variable: str(moved[part]) for part, (variable, _) in ports.OWN_PORTS.items()}
