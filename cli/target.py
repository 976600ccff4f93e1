"""Which system is spoken to: the local stack, or a project."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

#: The region of all functions.
REGION = "us-central1"
LOCAL_PROJECT = "demo-nx-tasks"
#: Where the local stack's parts answer, where its environment says nothing: this checkout's own stack.
FIREBASE_JSON = Path(__file__).resolve().parents[1] / "firebase.json"


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
        url = os.environ.get("NX_FUNCTIONS_URL", f"http://{functions}/{LOCAL_PROJECT}/{REGION}")
        auth = os.environ.get("FIREBASE_AUTH_EMULATOR_HOST", auth)
        return Target(LOCAL_PROJECT, url, *_auth(f"http://{auth}/"), local=True)
    return Target(project, f"https://{REGION}-{project}.cloudfunctions.net", *_auth("https://"))


def _auth(before: str) -> tuple[str, str]:
    return (
        f"{before}identitytoolkit.googleapis.com/v1/accounts",
        f"{before}securetoken.googleapis.com/v1/token",
    )
