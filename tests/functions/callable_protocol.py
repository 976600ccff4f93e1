"""The protocol of callables without an SDK: valid requests of the client SDKs, and invalid ones."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from emulators import demo_data
from emulators.environment import PROJECT, Addresses
from emulators.loopback import request as ask

#: Texts that no response may contain: paths of code, tracebacks, paths of results.
PRIVATE = ("Traceback", ".py", "/functions", "/shared", "/venv", "tasks_data", "X-Goog-", "http:", "https:")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: HTTP status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON with the content type of JSON."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


def send(
    stack: Addresses,
    body: bytes | None,
    *,
    token: str | None = None,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    chunked: bool = False,
    function: str = "get_task_data",
    private: tuple[str, ...] = PRIVATE,
) -> Answer:
    """Send a request to a callable on the Functions emulator; the response may contain no private text.

    Args:
        stack: Addresses of the stack.
        body: The raw body.
        token: An ID token, valid or not.
        method: HTTP method.
        headers: Headers to add to or replace those of the SDKs; a value of "" removes one.
        chunked: Whether to send the body in chunks, without a Content-Length.
        function: The callable.
        private: Texts that the response may not contain.
    """
    sent = {"Content-Type": "application/json", **(headers or {})}
    if token is not None:
        sent = {"Authorization": f"Bearer {token}", **sent}
    connection = http.client.HTTPConnection(stack.functions, timeout=60)
    try:
        connection.request(
            method,
            f"{urlsplit(stack.callables_url).path}/{function}",
            body=iter([body]) if chunked else body,
            headers={name: value for name, value in sent.items() if value},
            encode_chunked=chunked,
        )
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        received = Answer(answer.status, named, answer.read())
    finally:
        connection.close()
    assert not [word for word in private if word.encode() in received.body], received
    return received


def call(stack: Addresses, data: object, token: str | None = None, **how: Any) -> Answer:
    """Call `get_task_data`, or another function, with this data; for options see `send`."""
    return send(stack, json.dumps({"data": data}).encode(), token=token, **how)


def sign_in(stack: Addresses, email: str) -> str:
    """Sign in a user of the demo at the Auth emulator; return the ID token."""
    credentials = {"email": email, "password": demo_data.PASSWORD, "returnSecureToken": True}
    return str(ask_auth(stack, "accounts:signInWithPassword", credentials)["idToken"])


def sign_in_with_custom_token(stack: Addresses, token: str) -> str:
    """Sign in with a token that the Admin SDK made; return the ID token."""
    body = {"token": token, "returnSecureToken": True}
    return str(ask_auth(stack, "accounts:signInWithCustomToken", body)["idToken"])


def sign_up(stack: Addresses) -> str:
    """Create an anonymous user without claims; return the ID token."""
    return str(ask_auth(stack, "accounts:signUp", {"returnSecureToken": True})["idToken"])


def ask_auth(stack: Addresses, method: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call a method of Firebase Auth's API at the emulator; return the response."""
    address = f"http://{stack.auth}/identitytoolkit.googleapis.com/v1/{method}?key=demo"
    status, answer = ask(address, method="POST", body=body)
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


@contextmanager
def reading_app(email: str, *tasks: str) -> Iterator[None]:
    """Create an account with the claim `tasks` and the demo's password for the duration of a with block."""
    from firebase_admin import auth, delete_app, initialize_app  # noqa: PLC0415

    app = initialize_app(options={"projectId": PROJECT}, name=email)
    user = auth.create_user(email=email, email_verified=True, password=demo_data.PASSWORD, app=app)
    try:
        auth.set_custom_user_claims(user.uid, {"tasks": list(tasks)}, app=app)
        yield
    finally:
        auth.delete_user(user.uid, app=app)
        delete_app(app)


def refused(answer: Answer) -> tuple[int, str]:
    """The status and the message of a denied call."""
    return answer.status, answer.json["error"]["message"]
