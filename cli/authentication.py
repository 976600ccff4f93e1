"""Who asks: signs in with Firebase Auth, and shows that to the callables.

On the local stack with a demo user's e-mail address and password. In a project with a link sent to one's
e-mail address (`login`): no password passes through here. What is kept then is a refresh token, in a file
that nobody else may read; it is worth nothing once the user is disabled or signed out everywhere.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cli.errors import CliError, Exit
from cli.wire import post

if TYPE_CHECKING:
    import requests

    from cli.target import Target

#: Who one is on the local stack, where nobody else is named; `make run` makes these users.
LOCAL_USER = "operator@example.com"
LOCAL_PASSWORD = "nx-tasks-demo"  # noqa: S105  (opens nothing but the Auth emulator)
_LOCAL_KEY = "demo"
_APP_CHECK = "https://firebaseappcheck.googleapis.com/v1"


def headers_of(target: Target, user: str | None) -> dict[str, str]:
    """Sign in, and return the headers that show it.

    Args:
        target: where.
        user: an e-mail address of the local stack's; None for the usual one.

    Raises:
        CliError: it can't be done; the text says what to do.
    """
    if target.local:
        token = _with_password(target, user or LOCAL_USER)
        return {"Authorization": f"Bearer {token}"}
    token = os.environ.get("NX_ID_TOKEN") or _with_refresh_token(target)
    headers = {"Authorization": f"Bearer {token}"}
    if "NX_APP_CHECK_DEBUG_TOKEN" in os.environ:
        headers["X-Firebase-AppCheck"] = _app_check_token(target)
    return headers


def send_link(target: Target, email: str, api_key: str) -> None:
    """Have Firebase Auth send a sign-in link to an e-mail address.

    Raises:
        CliError: it won't.
    """
    body = {
        "requestType": "EMAIL_SIGNIN",
        "email": email,
        "continueUrl": f"https://{target.project}.web.app/",
        "canHandleCodeInApp": True,
    }
    _told(post(f"{target.accounts}:sendOobCode", body, params={"key": api_key}))


def sign_in_with_link(target: Target, email: str, api_key: str, link: str) -> None:
    """Sign in with the link that was sent, and keep that.

    Raises:
        CliError: it is no such link, or is used up or too old.
    """
    codes = parse_qs(urlsplit(link.strip()).query)
    if "link" in codes:  # within a link for telephones
        codes = parse_qs(urlsplit(codes["link"][0]).query)
    if "oobCode" not in codes:
        raise CliError(Exit.usage, "that is no sign-in link: copy the whole address of the e-mail's link")
    body = {"email": email, "oobCode": codes["oobCode"][0]}
    signed_in = _told(post(f"{target.accounts}:signInWithEmailLink", body, params={"key": api_key}))
    kept = {"email": email, "api_key": api_key, "refresh_token": signed_in["refreshToken"]}
    file = _file(target)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(
        os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as written:
        json.dump(kept, written)


def sign_out(target: Target) -> bool:
    """Forget who is signed in; return whether anybody was."""
    file = _file(target)
    there = file.exists()
    file.unlink(missing_ok=True)
    return there


def _with_password(target: Target, email: str) -> str:
    password = os.environ.get("NX_PASSWORD", LOCAL_PASSWORD)
    body = {"email": email, "password": password, "returnSecureToken": True}
    answer = post(f"{target.accounts}:signInWithPassword", body, params={"key": _LOCAL_KEY})
    return str(_told(answer, f"{email} (--user; password: NX_PASSWORD or the demo's)")["idToken"])


def _with_refresh_token(target: Target) -> str:
    kept: dict[str, str] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(_file(target).read_text("utf-8"))
    refresh = os.environ.get("NX_REFRESH_TOKEN") or kept.get("refresh_token")
    api_key = os.environ.get("NX_API_KEY") or kept.get("api_key")
    if not refresh or not api_key:
        raise CliError(
            Exit.signed_out, f"nobody is signed in to {target.project}: `--project {target.project} login`"
        )
    body = {"grant_type": "refresh_token", "refresh_token": refresh}
    return str(_told(post(target.tokens, body, params={"key": api_key}))["id_token"])


def _app_check_token(target: Target) -> str:
    app_id, api_key = os.environ.get("NX_APP_ID"), os.environ.get("NX_API_KEY")
    if not app_id:
        raise CliError(
            Exit.signed_out, "NX_APP_CHECK_DEBUG_TOKEN is set: set NX_APP_ID to the web app's id, too"
        )
    url = f"{_APP_CHECK}/projects/{target.project}/apps/{app_id}:exchangeDebugToken"
    body = {"debug_token": os.environ["NX_APP_CHECK_DEBUG_TOKEN"]}
    return str(_told(post(url, body, params={"key": api_key} if api_key else None))["token"])


def _file(target: Target) -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "nx-tasks" / f"{target.project}.json"


def _told(answer: requests.Response, who: str = "") -> dict[str, Any]:
    """Return what Firebase Auth says, or why it won't let somebody in."""
    told: Any = None
    with suppress(ValueError):
        told = answer.json()
    if answer.ok and isinstance(told, dict):
        return told
    error = told.get("error") if isinstance(told, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    code = Exit.unavailable if answer.status_code >= 500 else Exit.signed_out
    raise CliError(code, f"Firebase Auth refused{who and f' {who}'}: {said or f'HTTP {answer.status_code}'}")
