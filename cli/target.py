"""Which system is spoken to: the local stack, or a project."""

from __future__ import annotations

import os
from dataclasses import dataclass

#: The region of all functions.
REGION = "us-central1"
LOCAL_PROJECT = "demo-nx-tasks"
#: Where the local stack's parts answer, where its environment says nothing.
LOCAL_FUNCTIONS = f"http://127.0.0.1:5001/{LOCAL_PROJECT}/{REGION}"
LOCAL_AUTH = "127.0.0.1:9099"


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


def target_of(project: str | None) -> Target:
    """Return the local stack, or a project's system.

    Args:
        project: its id; None for the local stack, wherever its environment says it is.
    """
    if project is None:
        functions = os.environ.get("NX_FUNCTIONS_URL", LOCAL_FUNCTIONS)
        auth = f"http://{os.environ.get('FIREBASE_AUTH_EMULATOR_HOST', LOCAL_AUTH)}/"
        return Target(LOCAL_PROJECT, functions, *_auth(auth), local=True)
    return Target(project, f"https://{REGION}-{project}.cloudfunctions.net", *_auth("https://"))


def _auth(before: str) -> tuple[str, str]:
    return (
        f"{before}identitytoolkit.googleapis.com/v1/accounts",
        f"{before}securetoken.googleapis.com/v1/token",
    )
