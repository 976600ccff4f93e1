"""The address of the page holds the view."""

import datetime as dt
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

from emulators.loopback import request as ask
from shared.tasks import TaskName, execute_task
from tests.waiting import wait_for
from tests.web import past as pasts

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.conftest import Open
    from tests.web.past import Past

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations


def test_an_unknown_address_shows_not_found(visit: "Open") -> None:
    """The page shows it to users, signed in or not, and links to all tasks."""
    paths = ("/nope", "/tasks", "/tasks/collect_devices_health/nope", "/nope/deeper")
    page = visit()
    not_found = page.page.get_by_role("heading", name="Page not found")
    for path in paths:
        page.page.goto(f"{page.base}{path}")
        expect(not_found).to_be_visible()
        page.page.get_by_role("link", name="All tasks").click()
        expect(page.page.get_by_role("button", name="Sign in")).to_be_visible()
    page.sign_in("viewer")
    for path in paths:
        page.page.goto(f"{page.base}{path}")
        expect(not_found).to_be_visible()
        expect(page.page).to_have_title("Not found · nx-tasks")
        page.page.get_by_role("link", name="All tasks").click()
        expect(page.row(HEALTH.value)).to_be_visible()


def test_hosting_answers_404_for_unknown_addresses(stack: "Addresses") -> None:
    """The body is the page; the page's own addresses are answered with 200."""
    status, body = ask(f"http://{stack.hosting}/nope")
    assert status == 404
    assert re.search(r"/assets/index-[^\"]+\.js", body)
    for path in ("", "/timeline", f"/tasks/{HEALTH.value}", f"/tasks/{HEALTH.value}/result"):
        for slash in ("", "/"):
            assert ask(f"http://{stack.hosting}{path}{slash}")[0] == 200, f"{path}{slash}"


def test_a_shared_link_opens_the_same_history(visit: "Open", past: "Past") -> None:
    """Filter, search, time range and opened entry are those of the user who shared it."""
    past.of(
        HEALTH,
        every=dt.timedelta(minutes=5),
        result=lambda: list(pasts.devices(40)),
        seconds=lambda _: 2,
        fails=lambda number: number % 3 == 0,
        count=30,
    )
    sharing = visit("operator").open(f"/tasks/{HEALTH.value}")
    one = sharing.page
    one.get_by_role("button", name="Failed", exact=True).click()
    one.get_by_label("Time range").select_option("Last hour")
    one.get_by_label("Search the history").fill("north 503")
    one.locator(".runs li").nth(1).get_by_role("button").click()
    expect(one.locator(".runs li").nth(1).locator(".trace")).to_be_visible()
    expect(one).to_have_url(re.compile("q=north"))
    assert parse_qs(urlsplit(one.url).query).keys() == {"show", "range", "q", "entry"}
    listed = one.locator(".runs li").all_inner_texts()

    receiving = visit("viewer").open(one.url.removeprefix(sharing.base))
    other = receiving.page
    expect(other.get_by_role("button", name="Failed", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(other.get_by_label("Time range")).to_have_value("1h")
    expect(other.get_by_label("Search the history")).to_have_value("north 503")
    expect(other.locator(".runs li").nth(1).locator(".trace")).to_be_in_viewport()
    expect(other.locator(".runs li")).to_have_count(len(listed))
    assert len(listed) == 3
    opened = other.locator(".runs li").filter(has=other.locator(".trace"))
    expect(opened).to_have_count(1)


def test_a_shared_link_opens_a_run_outside_of_the_list(visit: "Open", past: "Past") -> None:
    """A run that the filter does not select is shown above the list, until it is closed."""
    past.of(
        HEALTH,
        every=dt.timedelta(minutes=5),
        result=list,
        seconds=lambda _: 2,
        fails=lambda number: number == 0,
        count=3,
    )
    page = visit("viewer").open(f"/tasks/{HEALTH.value}")
    page.page.locator(".runs li[data-state=failed] button").click()
    expect(page.page.locator(".runs li .trace")).to_be_visible()
    page.open(page.page.url.removeprefix(page.base) + "&show=completed")
    expect(page.page.locator(".runs .panel .trace")).to_be_visible()
    page.page.get_by_role("button", name="Close").click()
    expect(page.page.locator(".panel")).to_have_count(0)
    expect(page.page).to_have_url(re.compile(r"\?show=completed$"))


def test_an_address_opens_ten_entries_at_most(visit: "Open", past: "Past") -> None:
    """The last ones, each once, because each of them asks the service."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=list, seconds=lambda _: 2, count=1)
    page = visit("viewer")
    entries = [f"run-{number}" for number in range(14)]
    page.open(f"/tasks/{HEALTH.value}?{'&'.join(f'entry={each}' for each in [*entries, entries[-1]])}")
    expect(page.page.locator(".runs .panel")).to_have_count(10)

    def requested() -> set[str]:
        sent = [
            request for request in page.requests if request.url.endswith("/get_run") and request.post_data
        ]
        return {request.post_data_json["data"]["id"] for request in sent}

    wait_for("the requests", lambda: page.page.wait_for_timeout(50) or len(requested()) >= 10)
    assert requested() == set(entries[-10:])


def test_back_and_forward_restore_the_view(visit: "Open", past: "Past") -> None:
    """Over filters, opened entries and views."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=list, seconds=lambda _: 2, count=3)
    page = visit("viewer")
    one = page.page
    page.row(HEALTH.value).get_by_role("link").click()
    completed = one.get_by_role("button", name="Completed", exact=True)
    completed.click()
    entries = one.locator(".runs li")
    entries.first.get_by_role("button").click()
    expect(entries.first.locator(".run")).to_be_visible()
    one.go_back()
    expect(entries.first.locator(".run")).to_have_count(0)
    expect(completed).to_have_attribute("aria-pressed", "true")
    one.go_back()
    expect(completed).to_have_attribute("aria-pressed", "false")
    one.go_back()
    expect(one.get_by_role("heading", name="Tasks", exact=True)).to_be_visible()
    for _ in range(3):
        one.go_forward()
    expect(completed).to_have_attribute("aria-pressed", "true")
    expect(entries.first.locator(".run")).to_be_visible()


def test_a_shared_link_opens_the_same_overview(visit: "Open", past: "Past") -> None:
    """Filter, search and sort order."""
    past.of(
        LOCATIONS,
        every=dt.timedelta(hours=2),
        result=list,
        seconds=lambda _: 2,
        fails=lambda _: True,
        count=1,
    )
    sharing = visit("operator")
    sharing.page.get_by_label("Sort by").select_option("name")
    sharing.page.get_by_label("Search tasks").fill("charge")
    expect(sharing.page.locator(".row[data-task]")).to_have_count(2)
    expect(sharing.page).to_have_url(re.compile("q=charge"))
    receiving = visit("viewer").open(sharing.page.url.removeprefix(sharing.base))
    expect(receiving.page.get_by_label("Sort by")).to_have_value("name")
    expect(receiving.page.get_by_label("Search tasks")).to_have_value("charge")
    names = "(rows) => rows.map((row) => row.dataset.task)"
    expect(receiving.page.locator(".row[data-task]")).to_have_count(2)
    assert receiving.page.locator(".row[data-task]").evaluate_all(names) == [
        TaskName.collect_charge_cdrs.value,
        LOCATIONS.value,
    ]
    receiving.page.get_by_role("button", name="Needs attention").click()
    expect(receiving.page.locator(".row[data-task]")).to_have_count(1)
    receiving.page.go_back()
    expect(receiving.page.locator(".row[data-task]")).to_have_count(2)


def test_a_shared_link_opens_the_same_result(visit: "Open", past: "Past") -> None:
    """Search, filter and sort order of its records."""
    assert execute_task("test", HEALTH, lambda: list(pasts.devices(200))).status == "completed"
    sharing = visit("operator").open_result(HEALTH)
    one = sharing.page
    one.get_by_label("Search the result").fill("tracker-0001")
    one.get_by_role("button", name=re.compile("^degraded")).click()
    heading = one.get_by_role("columnheader", name="battery_voltage").get_by_role("button")
    heading.click()
    heading.click()
    expect(one).to_have_url(re.compile("q=tracker.*|.*q=tracker"))
    assert parse_qs(urlsplit(one.url).query).keys() == {"q", "only", "sort", "down"}
    rows = one.get_by_role("row")
    expect(one.get_by_text(re.compile(r"^\d+ of 200 records$"))).to_be_visible()
    receiving = visit("viewer")
    receiving.page.goto(one.url)
    expect(receiving.page.get_by_label("Search the result")).to_have_value("tracker-0001")
    expect(receiving.page.get_by_role("columnheader", name="battery_voltage")).to_have_attribute(
        "aria-sort", "descending"
    )
    expect(receiving.page.get_by_role("row")).to_have_text(rows.all_text_contents())
    one.go_back()
    expect(one.get_by_role("columnheader", name="battery_voltage")).to_have_attribute(
        "aria-sort", "ascending"
    )
