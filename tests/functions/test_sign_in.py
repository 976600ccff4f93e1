"""The commands of docs/deploy.md that let a person sign in, on the Auth emulator."""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, FunctionsErrorCode, HttpsError

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.loopback import request as http
from functions.authorization import UNVERIFIED, caller_of
from shared.tasks import TaskName
from tests.functions.callable_protocol import ask_auth, call, refused, sign_in_with_custom_token

ROOT = Path(__file__).resolve().parents[2]
WHY = {"task_name": TaskName.collect_devices_health, "reason": "why"}
CALLABLES: dict[str, dict[str, Any]] = {
    "get_task_data": {"task_name": TaskName.collect_devices_health},
    "list_tasks": {},
    "list_runs": {"task_name": TaskName.collect_devices_health},
    "list_timeline": {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()},
    "get_run": {"task_name": TaskName.collect_devices_health, "id": "some-run"},
    "run_task": WHY,
    "suspend_task": WHY,
    "resume_task": WHY,
    "cancel_run": {**WHY, "id": "some-run"},
}


def section(title: str) -> str:
    """The commands of a section of the page."""
    text = (
        (ROOT / "docs" / "deploy.md").read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    )
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def script() -> str:
    """The commands that give a person a role."""
    return section("5. Let people in")


def give_role(script: str, email: str, role: str) -> "subprocess.CompletedProcess[str]":
    """Run the documented command."""
    assert "anna@example.com operator" in script
    commands = script.replace("anna@example.com operator", f"{email} {role}")
    return subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=ROOT,
        env={**os.environ, "PROJECT": PROJECT},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def admin(stack: Addresses) -> Iterator[Any]:
    """An app of the Admin SDK."""
    from firebase_admin import delete_app, initialize_app  # noqa: PLC0415

    app = initialize_app(options={"projectId": PROJECT}, name=uuid.uuid4().hex)
    yield app
    delete_app(app)


@pytest.fixture
def email(admin: Any) -> Iterator[str]:
    """An unused address; its account is removed afterwards."""
    from firebase_admin import auth  # noqa: PLC0415

    address = f"{uuid.uuid4().hex}@example.com"
    yield address
    with suppress(auth.UserNotFoundError):
        auth.delete_user(auth.get_user_by_email(address, app=admin).uid, app=admin)


def test_an_account_is_created_with_its_role(script: str, admin: Any, email: str) -> None:
    """Running the command again with another role changes the same account."""
    from firebase_admin import auth  # noqa: PLC0415

    accounts = set()
    for role in ("viewer", "operator"):
        ended = give_role(script, email, role)
        assert ended.returncode == 0, ended.stderr
        user = auth.get_user_by_email(email, app=admin)
        assert user.custom_claims == {"role": role}
        accounts.add(user.uid)
    assert len(accounts) == 1


def test_only_administrators_can_create_accounts() -> None:
    """The documented set-up closes self sign-up; the update mask names the fields of the body."""
    found = re.search(r'config\?updateMask=(\S+)" \\\n +-d \'(.+)\'', section("1. The project"))
    assert found
    mask, body = found[1].split(","), json.loads(found[2])
    assert body["client"] == {"permissions": {"disabledUserSignup": True}}
    assert mask == ["signIn.email", "client.permissions.disabledUserSignup"]


def test_an_account_that_another_person_registered_gets_no_role(
    script: str, admin: Any, email: str, stack: Addresses
) -> None:
    """The command refuses it with instructions."""
    from firebase_admin import auth  # noqa: PLC0415

    ask_auth(stack, "accounts:signUp", {"email": email, "password": "a-strangers"})
    ended = give_role(script, email, "operator")
    user = auth.get_user_by_email(email, app=admin)
    assert ended.returncode == 1
    assert f"the address of the account of {email} ({user.uid}) is not verified" in ended.stderr
    assert "Delete the account in the console" in ended.stderr
    assert user.custom_claims is None
    auth.delete_user(user.uid, app=admin)
    assert give_role(script, email, "operator").returncode == 0


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("claims", [{"role": "operator"}, {"tasks": [WHY["task_name"]]}], ids=str)
def test_claims_of_an_unverified_address_are_ignored(
    admin: Any, email: str, stack: Addresses, claims: dict[str, Any]
) -> None:
    """Removing the address does not help; a verification link does."""
    from firebase_admin import auth  # noqa: PLC0415

    credentials = {"email": email, "password": demo_data.PASSWORD, "returnSecureToken": True}
    made = ask_auth(stack, "accounts:signUp", credentials)
    auth.set_custom_user_claims(made["localId"], claims, app=admin)
    signed_in = ask_auth(stack, "accounts:signInWithPassword", credentials)
    for function, data in CALLABLES.items():
        assert refused(call(stack, data, signed_in["idToken"], function=function)) == (403, UNVERIFIED)

    ask_auth(stack, "accounts:sendOobCode", {"requestType": "EMAIL_SIGNIN", "email": email, **LINK})
    codes = http(f"http://{stack.auth}/emulator/v1/projects/{PROJECT}/oobCodes")[1]["oobCodes"]
    (code,) = (code["oobCode"] for code in codes if code["email"] == email)
    by_link = ask_auth(stack, "accounts:signInWithEmailLink", {"email": email, "oobCode": code})
    assert call(stack, {}, by_link["idToken"], function="list_tasks").status == 200

    auth.update_user(made["localId"], email_verified=False, app=admin)
    ask_auth(stack, "accounts:update", {"idToken": signed_in["idToken"], "deleteProvider": ["password"]})
    without_address = refreshed(stack, signed_in["refreshToken"])
    assert refused(call(stack, {}, without_address, function="list_tasks")) == (403, UNVERIFIED)
    auth.delete_user(made["localId"], app=admin)  # its address cannot be looked up


LINK = {"continueUrl": "http://127.0.0.1/", "canHandleCodeInApp": True}


def refreshed(stack: Addresses, refresh_token: str) -> str:
    """A new ID token."""
    address = f"http://{stack.auth}/securetoken.googleapis.com/v1/token?key=demo"
    body = {"grantType": "refresh_token", "refreshToken": refresh_token}
    status, answer = http(address, method="POST", body=body)
    assert status == 200, answer
    return str(answer["id_token"])


def test_an_account_without_an_address_may_have_a_role(admin: Any, stack: Addresses) -> None:
    """No other person can register it; a custom token is enough."""
    from firebase_admin import auth  # noqa: PLC0415

    user = auth.create_user(app=admin)
    try:
        auth.set_custom_user_claims(user.uid, {"role": "viewer"}, app=admin)
        token = sign_in_with_custom_token(stack, auth.create_custom_token(user.uid, app=admin).decode())
        assert call(stack, {}, token, function="list_tasks").status == 200
    finally:
        auth.delete_user(user.uid, app=admin)


BY_PASSWORD = {"firebase": {"sign_in_provider": "password"}}


@pytest.mark.parametrize(
    ("claims", "count"),
    [
        ({"email": "a@b.c", "email_verified": True}, True),
        ({"email": "a@b.c", "email_verified": True, **BY_PASSWORD}, True),
        ({"email": "a@b.c", "email_verified": False}, False),
        ({"email": "a@b.c", "email_verified": "true"}, False),
        ({"email": "a@b.c"}, False),
        ({"email": "a@b.c", "firebase": {"sign_in_provider": "custom"}}, False),
        ({"email_verified": True, **BY_PASSWORD}, False),
        (BY_PASSWORD, False),
        ({"firebase": {"sign_in_provider": "custom"}}, True),
        ({"phone_number": "+4915112345678", "firebase": {"sign_in_provider": "phone"}}, True),
        ({}, True),
    ],
    ids=str,
)
def test_claims_count_only_with_a_verified_address_or_none(claims: dict[str, Any], count: bool) -> None:
    """Needs no stack."""
    request: Any = CallableRequest(
        data={},
        raw_request=None,
        auth=AuthData("uid", {"role": "operator", **claims}),  # type: ignore[arg-type]
    )
    if count:
        assert caller_of(request).role == "operator"
    else:
        with pytest.raises(HttpsError) as denied:
            caller_of(request)
        assert denied.value.code is FunctionsErrorCode.PERMISSION_DENIED
        assert denied.value.message == UNVERIFIED
