"""Users sign in by password on the local stack and by link in a project, with App Check."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import pytest
from playwright.sync_api import Route, expect

from cli.cloud_logging import log_url
from emulators.loopback import request as ask
from shared.tasks import TaskName, TaskRun, execute_task
from tests.cli.conftest import emulated_codes

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.browsing import Visit
    from tests.web.conftest import Open

HEALTH = TaskName.collect_devices_health
VIEWER = "viewer@example.com"
#: Services that the page of a project calls besides its own Hosting.
GOOGLE = {
    "identitytoolkit.googleapis.com",
    "securetoken.googleapis.com",
    "us-central1-some-project.cloudfunctions.net",
    "www.google.com",
    "content-firebaseappcheck.googleapis.com",
}
#: Replaces App Check and reCAPTCHA, which have no emulator.
RECAPTCHA = """window.grecaptcha = { enterprise: {
  ready: (go) => go(), render: (_, { callback }) => callback(), execute: async () => "not a robot",
} };"""
APP_CHECK_TOKEN = "an App Check token"


@pytest.fixture
def project(visit: "Open", stack: "Addresses") -> Iterator["Visit"]:
    """The page of a project, with the stack's emulators at Google's addresses."""
    there = visit(hosts=GOOGLE)

    def emulated(pattern: str, base: str) -> None:
        def forward(route: Route) -> None:
            path = route.request.url.removeprefix(pattern.rstrip("*"))
            route.fulfill(response=route.fetch(url=f"{base}/{path}"))

        there.page.route(pattern, forward)

    def configured(route: Route) -> None:
        settings = {
            **route.fetch().json(),
            "projectId": "some-project",
            "appId": "1:2:web:3",
            "apiKey": "key",
        }
        route.fulfill(json=settings)

    there.page.route("**/__/firebase/init.json", configured)
    there.page.route("**/config.json", lambda route: route.fulfill(json={"appCheckSiteKey": "site-key"}))
    there.page.route(
        "https://www.google.com/recaptcha/**",
        lambda route: route.fulfill(body=RECAPTCHA, content_type="text/javascript"),
    )
    there.page.route(
        "https://content-firebaseappcheck.googleapis.com/**",
        lambda route: route.fulfill(
            json={"token": APP_CHECK_TOKEN, "ttl": "3600s"}, headers={"Access-Control-Allow-Origin": "*"}
        ),
    )
    for host in ("identitytoolkit.googleapis.com", "securetoken.googleapis.com"):
        emulated(f"https://{host}/**", f"http://{stack.auth}/{host}")
    emulated("https://us-central1-some-project.cloudfunctions.net/**", stack.callables_url)
    yield there
    there.page.unroute_all(behavior="ignoreErrors")


def sign_in_by_link(project: "Visit", stack: "Addresses", path: str = "") -> None:
    """Ask for a link, open it in the same browser, and confirm the address that the page remembers."""
    page = project.page
    page.goto(f"{project.base}{path}")
    expect(page.get_by_text("Sign in with the e-mail address that an administrator")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_count(0)
    page.get_by_label("E-mail address").fill(VIEWER)
    page.get_by_role("button", name="Send sign-in link").click()
    expect(page.get_by_role("status")).to_contain_text(f"We sent a sign-in link to {VIEWER}")
    page.goto(emulated_codes(stack)[-1]["oobLink"])
    expect(page.get_by_label("E-mail address")).to_have_value(VIEWER)
    page.get_by_role("button", name="Sign in").click()


def test_a_user_of_a_project_signs_in_by_link_with_app_check(project: "Visit", stack: "Addresses") -> None:
    """In the browser that requested it, the link suffices; calls carry the App Check token."""
    sign_in_by_link(project, stack)
    expect(project.row(HEALTH.value)).to_be_visible()
    assert project.page.url == f"{project.base}/"
    calls = [request for request in project.requests if request.url.endswith("/list_tasks")]
    assert {call.all_headers().get("x-firebase-appcheck") for call in calls} == {APP_CHECK_TOKEN}


def test_a_sign_in_link_leads_to_the_view_that_was_asked_for(project: "Visit", stack: "Addresses") -> None:
    """A shared link works for users who sign in first."""
    path = f"/tasks/{HEALTH.value}?q=north"
    sign_in_by_link(project, stack, path)
    expect(project.row(HEALTH.value)).to_be_visible()
    assert project.page.url == f"{project.base}{path}"


def test_a_run_of_a_project_links_to_cloud_logging(project: "Visit", stack: "Addresses") -> None:
    """The link finds the entries of the run, as the command line's link does."""
    tick = dt.datetime.now(dt.UTC)

    def works(run: TaskRun) -> list[int]:
        run.log.info("read")
        return [1]

    run_id = execute_task("test", HEALTH, works, {"scheduled_for": tick}).run_id
    sign_in_by_link(project, stack, f"/tasks/{HEALTH.value}?run={quote(run_id)}")
    link = project.page.locator(".panel .log").get_by_role("link", name="All lines in Cloud Logging")
    address = link.get_attribute("href")
    assert address is not None
    query = unquote(urlsplit(address).path.partition("query=")[2])
    since = re.search(r'timestamp>="(.*)"', query)
    assert since is not None
    assert dt.datetime.fromisoformat(since[1]) == tick
    assert unquote(address) == unquote(log_url("some-project", HEALTH, run_id, since[1]))


def test_a_rejected_token_shows_what_to_check(project: "Visit", stack: "Addresses") -> None:
    """The cause may be the sign-in or App Check, so the page names both."""
    refused = {"error": {"status": "UNAUTHENTICATED", "message": "Unauthenticated"}}
    project.page.route(
        "https://us-central1-some-project.cloudfunctions.net/list_tasks",
        lambda route: route.fulfill(
            status=401, body=json.dumps(refused), headers={"Access-Control-Allow-Origin": "*"}
        ),
    )
    sign_in_by_link(project, stack)
    expect(project.page.get_by_role("alert")).to_contain_text("Sign out and in again")
    expect(project.page.get_by_role("alert")).to_contain_text("check the site key in config.json")


def test_a_wrong_password_is_an_error(visit: "Open") -> None:
    """The message does not reveal whether the account exists."""
    page = visit()
    page.page.goto(page.base)
    page.page.get_by_label("E-mail address").fill("operator@example.com")
    page.page.get_by_label("Password").fill("guess")
    page.page.get_by_role("button", name="Sign in").click()
    expect(page.page.get_by_role("alert")).to_have_text(
        "The e-mail address or the password is wrong. Check both."
    )


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("USER_DISABLED", "This account is disabled. Ask an administrator to enable it."),
        ("TOO_MANY_ATTEMPTS_TRY_LATER", "Too many attempts. Wait a few minutes, then try again."),
        ("SOME_NEW_CODE", "Sign-in failed. Try again; if it fails again, ask an administrator."),
    ],
)
def test_firebase_error_codes_are_shown_as_sentences(visit: "Open", code: str, sentence: str) -> None:
    page = visit()
    error = {"error": {"code": 400, "message": code}}
    page.page.route("**/accounts:signInWithPassword?**", lambda route: route.fulfill(status=400, json=error))
    page.page.goto(page.base)
    page.page.get_by_label("E-mail address").fill("operator@example.com")
    page.page.get_by_label("Password").fill("guess")
    page.page.get_by_role("button", name="Sign in").click()
    expect(page.page.get_by_role("alert")).to_have_text(sentence)


def test_a_link_signs_in_the_user_it_was_sent_to(visit: "Open", stack: "Addresses") -> None:
    """In another browser, the page asks for the e-mail address; a link is valid once."""
    auth = f"http://{stack.auth}"
    request_body = {
        "requestType": "EMAIL_SIGNIN",
        "email": VIEWER,
        "continueUrl": f"http://{stack.hosting}",
    }
    sent = ask(
        f"{auth}/identitytoolkit.googleapis.com/v1/accounts:sendOobCode?key=any",
        method="POST",
        body=request_body,
    )
    assert sent[0] == 200
    address = emulated_codes(stack)[-1]["oobLink"]
    page, again = visit(), visit()
    for each in (page, again):
        each.page.goto(address)
        address = each.page.url
        each.page.get_by_label("E-mail address").fill(VIEWER)
        each.page.get_by_role("button", name="Sign in").click()
        if each is page:
            expect(each.row(HEALTH.value)).to_be_visible()
    expect(again.page.get_by_role("alert")).to_contain_text("Request a new one")
