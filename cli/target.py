"""The system that commands use: the local stack or a project."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

LOCAL_PROJECT = "demo-nx-tasks"
#: Contains the ports of this checkout's local stack, unless the environment overrides them.
FIREBASE_JSON = Path(__file__).resolve().parents[1] / "firebase.json"
#: Name and default of the setting for the functions' region.
REGION, DEFAULT_REGION = "NX_TASKS_REGION", "us-central1"


@dataclass(frozen=True, slots=True)
class Target:
    """The local stack or a project.

    Attributes:
        project: Id of the project.
        functions: URL prefix of the callables.
        accounts: URL prefix of the Identity Toolkit's methods.
        tokens: URL for exchanging refresh tokens.
        local: Whether it is the local stack.
    """

    project: str
    functions: str
    accounts: str
    tokens: str
    local: bool = False


def target_of(project: str | None, *, configured: Path = FIREBASE_JSON) -> Target:
    """Return the addresses of the local stack or of a project.

    Args:
        project: Id of the project; None for the local stack.
        configured: The firebase.json with the local stack's ports; the environment takes precedence.
    """
    if project is None:
        local = json.loads(configured.read_text("utf-8"))["emulators"]
        functions, auth = (f"{local[part]['host']}:{local[part]['port']}" for part in ("functions", "auth"))
        # The stack writes its settings to .stack/env.
        region = _region(configured.parent, f".env.{LOCAL_PROJECT}", ".env.local", ".stack/env")
        url = os.environ.get("NX_FUNCTIONS_URL", f"http://{functions}/{LOCAL_PROJECT}/{region}")
        auth = os.environ.get("FIREBASE_AUTH_EMULATOR_HOST", auth)
        return Target(LOCAL_PROJECT, url, *_auth(f"http://{auth}/"), local=True)
    region = _region(configured.parent, f".env.{project}")
    return Target(project, f"https://{region}-{project}.cloudfunctions.net", *_auth("https://"))


def _region(folder: Path, *files: str) -> str:
    """Return the region of the last `.env` file that sets it, else of the environment, else the default."""
    region = os.environ.get(REGION) or DEFAULT_REGION
    for file in (folder / name for name in (".env", *files)):
        if file.is_file():
            found = re.findall(
                rf"""(?m)^\s*(?:export\s+)?{REGION}\s*=\s*["']?([a-z0-9-]+)""", file.read_text("utf-8")
            )
            region = found[-1] if found else region
    return region


def _auth(prefix: str) -> tuple[str, str]:
    return (
        f"{prefix}identitytoolkit.googleapis.com/v1/accounts",
        f"{prefix}securetoken.googleapis.com/v1/token",
    )
