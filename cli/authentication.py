"""Signs in with Firebase Auth and provides the headers for the callables.

The local stack has demo users with passwords. A project sends a link to the user's e-mail address (`login`),
so no password is handled here. The refresh token is stored in a file that only its owner can read. It becomes
invalid when the user is disabled or signed out everywhere.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cli.errors import CliError, Exit
from cli.http_client import post

if TYPE_CHECKING:
    import requests

    from cli.target import Target

#: Default user of the local stack; `make run` creates it.
LOCAL_USER = "operator@example.com"
LOCAL_PASSWORD = "nx-tasks-demo"  # noqa: S105  (valid only on the Auth emulator)
_LOCAL_KEY = "demo"
_APP_CHECK = "https://firebaseappcheck.googleapis.com/v1"


def headers_of(target: Target, user: str | None) -> dict[str, str]:
    """Sign in, and return the headers that authenticate calls.

    Args:
        target: The local stack or a project.
        user: E-mail address of a user of the local stack; None for the operator.

    Raises:
        CliError: The sign-in failed.
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
        CliError: Firebase Auth refused.
    """
    body = {
        "requestType": "EMAIL_SIGNIN",
        "email": email,
        "continueUrl": f"https://{target.project}.web.app/",
        "canHandleCodeInApp": True,
    }
    _checked(post(f"{target.accounts}:sendOobCode", body, params={"key": api_key}))


def sign_in_with_link(target: Target, email: str, api_key: str, link: str) -> None:
    """Sign in with the link that was sent, and store the refresh token.

    Raises:
        CliError: The link is not a sign-in link, was used before, or has expired.
    """
    codes = parse_qs(urlsplit(link.strip()).query)
    if "link" in codes:  # mobile links wrap the sign-in link
        codes = parse_qs(urlsplit(codes["link"][0]).query)
    if "oobCode" not in codes:
        raise CliError(
            Exit.usage, "this is not a sign-in link; copy the whole address of the link in the e-mail"
        )
    body = {"email": email, "oobCode": codes["oobCode"][0]}
    signed_in = _checked(post(f"{target.accounts}:signInWithEmailLink", body, params={"key": api_key}))
    kept = {"email": email, "api_key": api_key, "refresh_token": signed_in["refreshToken"]}
    file = _file(target)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(
        os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as written:
        json.dump(kept, written)


def sign_out(target: Target) -> bool:
    """Delete the stored sign-in; return whether there was one."""
    file = _file(target)
    existed = file.exists()
    file.unlink(missing_ok=True)
    return existed


def _with_password(target: Target, email: str) -> str:
    password = os.environ.get("NX_PASSWORD", LOCAL_PASSWORD)
    body = {"email": email, "password": password, "returnSecureToken": True}
    answer = post(f"{target.accounts}:signInWithPassword", body, params={"key": _LOCAL_KEY})
    return str(_checked(answer, f"{email} (--user; password: NX_PASSWORD or the demo's)")["idToken"])


def _with_refresh_token(target: Target) -> str:
    kept: dict[str, str] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(_file(target).read_text("utf-8"))
    refresh = os.environ.get("NX_REFRESH_TOKEN") or kept.get("refresh_token")
    api_key = os.environ.get("NX_API_KEY") or kept.get("api_key")
    if not refresh or not api_key:
        raise CliError(
            Exit.signed_out,
            f"not signed in to {target.project}; run `nx-tasks --project {target.project} login`",
        )
    body = {"grant_type": "refresh_token", "refresh_token": refresh}
    return str(_checked(post(target.tokens, body, params={"key": api_key}))["id_token"])


def _app_check_token(target: Target) -> str:
    app_id, api_key = os.environ.get("NX_APP_ID"), os.environ.get("NX_API_KEY")
    if not app_id:
        raise CliError(
            Exit.signed_out, "NX_APP_CHECK_DEBUG_TOKEN needs NX_APP_ID; set it to the web app's id"
        )
    url = f"{_APP_CHECK}/projects/{target.project}/apps/{app_id}:exchangeDebugToken"
    body = {"debug_token": os.environ["NX_APP_CHECK_DEBUG_TOKEN"]}
    return str(_checked(post(url, body, params={"key": api_key} if api_key else None))["token"])


def _file(target: Target) -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "nx-tasks" / f"{target.project}.json"


#: Sentences for Firebase Auth's error codes; other codes are shown as they are.
_SENTENCES = {
    "EMAIL_NOT_FOUND": "the e-mail address or the password is wrong",
    "INVALID_PASSWORD": "the e-mail address or the password is wrong",
    "INVALID_LOGIN_CREDENTIALS": "the e-mail address or the password is wrong",
    "USER_DISABLED": "this account is disabled; ask an administrator to enable it",
    "INVALID_OOB_CODE": "the link was already used or is not valid; run login again",
    "EXPIRED_OOB_CODE": "the link has expired; run login again",
    "TOKEN_EXPIRED": "the sign-in has expired; run login again",
    "INVALID_REFRESH_TOKEN": "the sign-in has expired; run login again",
    "USER_NOT_FOUND": "this account no longer exists; ask an administrator to add it",
    "TOO_MANY_ATTEMPTS_TRY_LATER": "too many attempts; wait a few minutes",
    "INVALID_EMAIL": "this e-mail address is not valid",
}


def _checked(answer: requests.Response, user: str = "") -> dict[str, Any]:
    """Return the body of Firebase Auth's response; raises CliError if it is an error."""
    body: Any = None
    with suppress(ValueError):
        body = answer.json()
    if answer.ok and isinstance(body, dict):
        return body
    error = body.get("error") if isinstance(body, dict) else None
    message = str(error.get("message")) if isinstance(error, dict) else f"HTTP {answer.status_code}"
    exit_code = Exit.unavailable if answer.status_code >= 500 else Exit.signed_out
    reason = _SENTENCES.get(message.split(" ", 1)[0], message)
    raise CliError(exit_code, f"Firebase Auth refused the sign-in{user and f' of {user}'}: {reason}")
