"""The address of the page holds the view."""

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from emulators.loopback import request as ask
from shared.tasks import TaskName

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.conftest import Open

HEALTH = TaskName.collect_devices_health


@pytest.mark.parametrize("path", ["/nope", "/tasks", "/tasks/collect_devices_health/nope", "/nope/deeper"])
def test_an_unknown_address_shows_not_found(visit: "Open", path: str) -> None:
    """The page shows it to users, signed in or not, and links to all tasks."""
    page = visit()
    page.page.goto(f"{page.base}{path}")
    not_found = page.page.get_by_role("heading", name=re.compile("Page not found"))
    expect(not_found).to_be_visible()
    page.page.get_by_role("link", name="All tasks").click()
    expect(page.page.get_by_role("button", name="Sign in")).to_be_visible()
    page.sign_in("viewer").page.goto(f"{page.base}{path}")
    expect(not_found).to_be_visible()
    expect(page.page).to_have_title("Not found · nx-tasks")
    page.page.get_by_role("link", name="All tasks").click()
    expect(page.row(HEALTH.value)).to_be_visible()


def test_hosting_answers_404_for_unknown_addresses(stack: "Addresses") -> None:
    """Its body is the page, under the same policy; addresses of the page are answered with 200."""
    status, body = ask(f"http://{stack.hosting}/nope")[:2]
    assert status == 404
    assert b"/assets/index-" in (body if isinstance(body, bytes) else body.encode())
    for path in ("/", "/timeline", f"/tasks/{HEALTH.value}", f"/tasks/{HEALTH.value}/result"):
        assert ask(f"http://{stack.hosting}{path}")[0] == 200
