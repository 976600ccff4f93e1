"""Which pages may read answers, as browsers ask. No stack is needed for it."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from functions.callable_endpoint import callable_function
from tests.functions.front import front

APP = "https://app.example.com"
#: What the Firebase SDKs send with a call.
SDK_HEADERS = "authorization,content-type,firebase-instance-id-token,x-firebase-appcheck,x-firebase-gmpid"
#: As browsers ask before they send a call.
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": SDK_HEADERS}
#: Origins that no setting here lets in.
STRANGERS = [
    "https://evil.example.com",
    "null",
    "*",
    f"{APP}.evil.com",
    f"{APP}:8443",
    "http://app.example.com",
    "",
]


@pytest.fixture(autouse=True)
def _deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")
    monkeypatch.setenv("NX_TASKS_CORS_ORIGINS", f"{APP}, http://localhost:5000")


def client() -> FlaskClient:
    return front(callable_function()(lambda _: "answer"))


def access(answer: Any) -> dict[str, str]:
    """What an answer lets a browser do."""
    assert "Origin" in answer.headers["Vary"]
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [APP, "http://localhost:5000"])
def test_a_page_let_in_may_ask_and_read(origin: str) -> None:
    """The preflight allows what the SDKs send; the answer may be read."""
    answer = client().options("/", headers={"Origin": origin, **PREFLIGHT})
    assert (answer.status_code, answer.data) == (204, b"")
    assert access(answer) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": SDK_HEADERS,
        "Access-Control-Max-Age": "3600",
    }
    answer = client().post("/", json={"data": None}, headers={"Origin": origin})
    assert answer.json == {"result": "answer"}
    assert access(answer) == {"Access-Control-Allow-Origin": origin}


@pytest.mark.parametrize("origin", STRANGERS)
def test_a_stranger_gets_no_leave(origin: str) -> None:
    """Neither asked before nor with the answer."""
    assert access(client().options("/", headers={"Origin": origin, **PREFLIGHT})) == {}
    assert access(client().post("/", json={"data": None}, headers={"Origin": origin})) == {}


def test_no_page_asks() -> None:
    """An application that is no browser sends no origin, and the answer names none."""
    assert access(client().post("/", json={"data": None})) == {}


def test_a_page_reads_what_went_wrong() -> None:
    """A refusal carries the same leave."""
    answer = client().post("/", data=b"no JSON", headers={"Origin": APP})
    assert (answer.status_code, access(answer)) == (400, {"Access-Control-Allow-Origin": APP})


def test_the_projects_own_hosting_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is set, its two origins and no other."""
    monkeypatch.delenv("NX_TASKS_CORS_ORIGINS")
    for origin in ("https://p.web.app", "https://p.firebaseapp.com"):
        answer = client().post("/", json={"data": None}, headers={"Origin": origin})
        assert access(answer) == {"Access-Control-Allow-Origin": origin}
    for origin in (APP, "http://p.web.app", "https://other.web.app", "http://localhost:5000"):
        assert access(client().post("/", json={"data": None}, headers={"Origin": origin})) == {}


def test_a_deployment_without_a_project_lets_no_page_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says INTERNAL and no more, and the log says why."""
    for name in ("NX_TASKS_CORS_ORIGINS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "FIREBASE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    answer = client().options("/", headers={"Origin": APP, **PREFLIGHT})
    assert (answer.status_code, access(answer)) == (204, {})
