"""Which pages may read responses, requested as browsers do; needs no stack."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from emulators.environment import PROJECT
from functions.callable_endpoint import callable_function
from tests.functions.front import front

APP = "https://app.example.com"
#: Headers that the Firebase SDKs send with a call.
SDK_HEADERS = "authorization,content-type,firebase-instance-id-token,x-firebase-appcheck,x-firebase-gmpid"
#: Headers of a browser's preflight request.
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": SDK_HEADERS}
#: Origins that are not allowed by the settings.
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
    # The project of all tests, because firebase_admin keeps one app per process.
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")
    monkeypatch.setenv("NX_TASKS_CORS_ORIGINS", f"{APP}, http://localhost:5000")


def client() -> FlaskClient:
    return front(callable_function()(lambda _: "answer"))


def access(answer: Any) -> dict[str, str]:
    """The CORS headers of a response."""
    assert "Origin" in answer.headers["Vary"]
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [APP, "http://localhost:5000"])
def test_an_allowed_page_may_call_and_read(origin: str) -> None:
    """The preflight response allows the headers that the SDKs send."""
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
def test_other_origins_get_no_access(origin: str) -> None:
    """Neither in the preflight response nor with the result."""
    assert access(client().options("/", headers={"Origin": origin, **PREFLIGHT})) == {}
    assert access(client().post("/", json={"data": None}, headers={"Origin": origin})) == {}


def test_a_request_without_an_origin_gets_no_cors_headers() -> None:
    """An application that is not a browser sends none."""
    assert access(client().post("/", json={"data": None})) == {}


def test_errors_have_the_same_cors_headers() -> None:
    answer = client().post("/", data=b"no JSON", headers={"Origin": APP})
    assert (answer.status_code, access(answer)) == (400, {"Access-Control-Allow-Origin": APP})


def test_the_hosting_of_the_project_is_allowed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two origins and no other."""
    monkeypatch.delenv("NX_TASKS_CORS_ORIGINS")
    for origin in (f"https://{PROJECT}.web.app", f"https://{PROJECT}.firebaseapp.com"):
        answer = client().post("/", json={"data": None}, headers={"Origin": origin})
        assert access(answer) == {"Access-Control-Allow-Origin": origin}
    for origin in (APP, f"http://{PROJECT}.web.app", "https://other.web.app", "http://localhost:5000"):
        assert access(client().post("/", json={"data": None}, headers={"Origin": origin})) == {}


def test_without_a_project_no_page_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is INTERNAL; the log has the cause."""
    for name in ("NX_TASKS_CORS_ORIGINS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "FIREBASE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    answer = client().options("/", headers={"Origin": APP, **PREFLIGHT})
    assert (answer.status_code, access(answer)) == (204, {})
