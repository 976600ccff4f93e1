"""The version of nx-tasks, and the commit of the checkout."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: The checkout's project file, the only source of the version.
PYPROJECT = ROOT / "pyproject.toml"


def version() -> str:
    """Return the version, with the commit if git knows it: `0.2.0 (1a2b3c4d5e)`."""
    number = str(tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["version"])
    found = commit()
    return number if found is None else f"{number} ({found})"


def commit(root: Path = ROOT) -> str | None:
    """Return a checkout's commit, with "+" if files have changed since; None in a copy without git."""
    if not (root / ".git").exists():  # git would find the repository of an outer folder
        return None
    try:
        found = _git(root, "rev-parse", "--short=10", "HEAD")
        return f"{found}+" if _git(root, "status", "--porcelain", "--untracked-files=no") else found
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603  (no input of a user)
    return done.stdout.strip()
