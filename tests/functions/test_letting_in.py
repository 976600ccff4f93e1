"""Who may sign in: what docs/deploy.md has an operator run, on the Auth emulator."""

import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from emulators.environment import PROJECT, Addresses

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script() -> str:
    """The commands of its section."""
    section = (ROOT / "docs" / "deploy.md").read_text("utf-8").partition("\n## 5. Let people in\n")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def test_an_account_is_made_and_has_its_role(script: str, stack: Addresses) -> None:
    """In this order, as a role is the account's; again with another role, it is the same account."""
    from firebase_admin import auth, delete_app, initialize_app  # noqa: PLC0415

    email = f"{uuid.uuid4().hex}@example.com"
    assert "somebody@example.com operator" in script
    app = initialize_app(options={"projectId": PROJECT}, name=email)
    try:
        accounts = set()
        for role in ("viewer", "operator"):
            commands = script.replace("somebody@example.com operator", f"{email} {role}")
            environment = {**os.environ, "PROJECT": PROJECT}
            subprocess.run(["bash", "-e", "-c", commands], cwd=ROOT, env=environment, check=True)
            user = auth.get_user_by_email(email, app=app)
            assert user.custom_claims == {"role": role}
            accounts.add(user.uid)
        (uid,) = accounts
        auth.delete_user(uid, app=app)
    finally:
        delete_app(app)
