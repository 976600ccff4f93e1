"""Which system is spoken to: the local stack, or a project."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

LOCAL_PROJECT = "demo-nx-tasks"
#: Where the local stack's parts answer, where its environment says nothing: this checkout's own stack.
FIREBASE_JSON = Path(__file__).resolve().parents[1] / "firebase.json"
#: The setting of the functions' region, and its default.
REGION, DEFAULT_REGION = "NX_TASKS_REGION", "us-central1"


@dataclass(frozen=True, slots=True)
class Target:
    """A system.

    Attributes:
        project: its id.
        functions: what precedes a callable's name in its address.
        accounts: what precedes a method of the Identity Toolkit.
        tokens: where refresh tokens are exchanged.
        local: whether it is the stack on this machine.
    """

    project: str
    functions: str
    accounts: str
    tokens: str
    local: bool = False


def target_of(project: str | None, *, configured: Path = FIREBASE_JSON) -> Target:
    """Return the local stack, or a project's system.

    Args:
        project: its id; None for the local stack, wherever its environment says it is.
        configured: the firebase.json whose ports the local stack has, if its environment says nothing.
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
    """Return the functions' region: of the last of the `.env` files that sets it, else of the environment."""
    region = os.environ.get(REGION) or DEFAULT_REGION
    for file in (folder / name for name in (".env", *files)):
        if file.is_file():
            said = re.findall(
                rf"""(?m)^\s*(?:export\s+)?{REGION}\s*=\s*["']?([a-z0-9-]+)""", file.read_text("utf-8")
            )
            region = said[-1] if said else region
    return region


def _auth(before: str) -> tuple[str, str]:
    return (
        f"{before}identitytoolkit.googleapis.com/v1/accounts",
        f"{before}securetoken.googleapis.com/v1/token",
    )
