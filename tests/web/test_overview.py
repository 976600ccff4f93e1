"""The overview: what needs attention first, filters and search, and what comes next."""

import datetime as dt
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Route, expect

from shared.tasks import TaskName, cancel_run, execute_task, suspend_task
from tests.web import past as pasts

if TYPE_CHECKING:
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open
    from tests.web.past import Past

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations
CDRS = TaskName.collect_charge_cdrs
WHO = {"by": "operator@example.com", "reason": "a test"}
Tasks = list[dict[str, Any]]


def change_tasks(page: "Visit", change: Callable[[Tasks], Tasks]) -> None:
    """Change the tasks in responses of the service; tasks that it does not have get an empty history."""

    def list_tasks(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        if "tasks" in body["result"]:
            body["result"]["tasks"] = change(body["result"]["tasks"])
        route.fulfill(response=response, json=body)

    def list_runs(route: Route) -> None:
        name = (route.request.post_data_json or {}).get("data", {}).get("task_name")
        if name is None or name in {task.value for task in TaskName}:
            return route.continue_()
        page_of_runs = {"version": "none", "runs": [], "next_cursor": None}
        return route.fulfill(json={"result": page_of_runs}, headers={"Access-Control-Allow-Origin": "*"})

    page.page.route("**/list_tasks", list_tasks)
    page.page.route("**/list_runs", list_runs)


def thirty(tasks: Tasks) -> Tasks:
    """Thirty tasks: number 17 failed, number 20 is late, 25 was cancelled, and the job of 27 is paused."""
    (first,) = [task for task in tasks if task["name"] == HEALTH]
    changes: dict[int, dict[str, Any]] = {
        17: {"status": "failed", "state": "failed", "outcome": "failed", "error": "ValueError: no answer"},
        20: {"recent_ticks": ["2026-01-01T00:20:00Z"], "schedule": "*/10 * * * *"},
        25: {
            "status": "failed", "state": "failed", "outcome": "cancelled",
            "error": "RunCancelled: cancelled by operator@example.com: not needed",
        },
        27: {"problem": "its job in Cloud Scheduler is paused"},
    }  # fmt: skip
    late = {20: {**first["result"], "completed": "2026-01-01T00:00:00Z"}}
    return [
        {
            **first,
            "name": f"task_{number:02}",
            "recent_ticks": [],
            **changes.get(number, {}),
            "result": late.get(number, first["result"]),
        }
        for number in range(30)
    ]


def never_late(tasks: Tasks) -> Tasks:
    """Leave the schedule's ticks out, without which no result is late."""
    return [{**task, "recent_ticks": []} for task in tasks]


def shown(page: "Visit") -> list[str]:
    names: list[str] = page.page.locator(".row[data-task]").evaluate_all(
        "(rows) => rows.map((row) => row.dataset.task)"
    )
    return names


def test_what_needs_attention_comes_first(visit: "Open", past: "Past") -> None:
    """Of thirty tasks, the failed, late and cancelled one, and one with a paused job; filter and search."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=1)
    page = visit("viewer")
    change_tasks(page, thirty)
    page.page.goto(page.base)
    expect(page.page.locator(".row[data-task]")).to_have_count(30)
    assert shown(page)[:4] == ["task_17", "task_20", "task_27", "task_25"]
    lead = "task_17 failed; task_20 late; task_27 needs attention; 1 cancelled"
    expect(page.page.locator(".lead")).to_contain_text(lead)
    page.page.get_by_label("Sort by").select_option("name")
    assert shown(page) == sorted(shown(page))
    page.page.get_by_role("button", name="Needs attention 3").click()
    expect(page.page.locator(".row[data-task]")).to_have_count(3)
    page.page.get_by_label("Search tasks").fill("no ANSWER")
    expect(page.page.locator(".row[data-task]")).to_have_count(1)
    page.page.get_by_label("Search tasks").fill("nothing like it")
    none = page.page.locator(".tasks .none")
    expect(none).to_contain_text("No task matches")
    expect(none).to_contain_text("nothing like it")
    page.page.get_by_role("button", name="Show all 30 tasks").click()
    expect(page.page.locator(".row[data-task]")).to_have_count(30)
    expect(page.page.get_by_label("Search tasks")).to_have_value("")


def test_a_row_that_moves_keeps_the_focus(visit: "Open") -> None:
    assert execute_task("test", HEALTH, lambda: [1]).status == "completed"
    page = visit("viewer")
    change_tasks(page, never_late)
    page.open("/")
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    button = page.row(HEALTH.value).get_by_role("button", name="Run now")
    button.focus()
    assert shown(page)[0] != HEALTH
    assert execute_task("test", HEALTH, lambda: 1 / 0).status == "failed"
    expect(page.state(HEALTH.value)).to_have_text("Failed")
    assert shown(page)[0] == HEALTH
    expect(button).to_be_focused()


def test_the_tab_shows_a_failure(visit: "Open") -> None:
    """Its title and icon, in every view, until the task completes or the user signs out."""
    page = visit("viewer")
    icon = page.page.locator("link[rel=icon]")
    expect(page.page).to_have_title("nx-tasks")
    expect(icon).to_have_attribute("href", "/icon.svg")
    assert execute_task("test", HEALTH, lambda: 1 / 0).status == "failed"
    expect(page.page).to_have_title("1 failed · nx-tasks")
    expect(icon).to_have_attribute("href", "/icon-failed.svg")
    page.row(HEALTH.value).get_by_role("link").click()
    expect(page.page).to_have_title(f"1 failed · {HEALTH.value} · nx-tasks")
    assert page.context.request.get(f"{page.base}/icon-failed.svg").ok
    assert execute_task("test", HEALTH, lambda: [1]).status == "completed"
    expect(page.page).to_have_title(f"{HEALTH.value} · nx-tasks")
    expect(icon).to_have_attribute("href", "/icon.svg")
    assert execute_task("test", HEALTH, lambda: 1 / 0).status == "failed"
    expect(icon).to_have_attribute("href", "/icon-failed.svg")
    page.page.get_by_role("button", name="Sign out").click()
    expect(page.page).to_have_title("nx-tasks")
    expect(icon).to_have_attribute("href", "/icon.svg")


def test_a_failure_shows_its_next_attempt_and_stops_it(visit: "Open") -> None:
    """In the overview and in the task, with the button beside it, also if the machine's clock is ahead."""
    tick = {"scheduled_for": dt.datetime.now(dt.UTC)}
    assert execute_task("test", HEALTH, lambda: 1 / 0, tick).status == "failed"
    page = visit("operator")
    page.page.add_init_script("const now = Date.now; Date.now = () => now() + 2 * 3_600_000;")
    expected = re.compile(r"^Attempt 2 of 6, (again at \d\d:\d\d:\d\d|due now)", re.IGNORECASE)
    for path in ("/", f"/tasks/{HEALTH.value}"):
        page.open(path)
        retry = page.row(HEALTH.value).locator(".retry")
        expect(retry).to_have_text(expected)
        expect(retry.get_by_role("button", name="Stop retries")).to_be_enabled()
    retry.get_by_role("button", name="Stop retries").click()
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("the operator is down")
    dialog.get_by_role("button", name="Stop retries").click()
    expect(page.state(HEALTH.value)).to_have_text("Cancelled")
    expect(page.row(HEALTH.value)).not_to_contain_text(re.compile("Attempt 2 of 6", re.IGNORECASE))
    assert execute_task("test", HEALTH, lambda: [1], tick).status == "duplicate"


def test_a_cancelled_run_is_not_a_failure(visit: "Open", past: "Past", hold: "Hold") -> None:
    """Neither in headline, tab, success rate nor filters; it has a colour and a shape of its own."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=2)
    tick = {"scheduled_for": dt.datetime.now(dt.UTC)}
    run = execute_task("test", HEALTH, lambda: 1 / 0, tick)
    page = visit("viewer")
    change_tasks(page, never_late)
    page.open("/")
    row = page.row(HEALTH.value)
    expect(row).to_contain_text("67 % of 3 runs")
    failed = row.locator(".state .mark").first.evaluate(STYLE)
    assert run.run_id is not None
    cancel_run(HEALTH, run.run_id, **WHO)
    expect(page.state(HEALTH.value)).to_have_text("Cancelled")
    cancelled = row.locator(".state .mark").first.evaluate(STYLE)
    assert (cancelled["colour"] != failed["colour"], cancelled["shape"] != failed["shape"]) == (True, True)
    expect(row).to_contain_text("100 % of 2 runs")
    expect(row.locator(".bar.cancel")).to_have_count(1)
    expect(row.locator(".bar.bad")).to_have_count(0)
    expect(row.locator(".error")).to_have_count(0)
    expect(page.page.locator(".lead")).to_contain_text("No failures; 1 cancelled")
    expect(page.page).to_have_title("nx-tasks")
    expect(page.page.get_by_role("button", name="Needs attention 0")).to_be_visible()
    page.open(f"/tasks/{HEALTH.value}?show=failed")
    expect(page.page.locator(".runs")).to_contain_text("No match in the only entry")
    page.page.get_by_role("button", name="Cancelled", exact=True).click()
    expect(page.page.locator(".runs li")).to_have_count(1)
    expect(page.page.locator(".runs li")).to_contain_text("Cancelled by operator@example.com: a test")


#: Colour and shape of a mark.
STYLE = """(mark) => {
  const { backgroundColor, clipPath, transform } = getComputedStyle(mark);
  return { colour: backgroundColor, shape: clipPath + transform };
}"""


def test_a_task_is_suspended_until_a_time(visit: "Open", past: "Past") -> None:
    """The dialog takes an optional time in the future, and the page shows it in the viewer's zone."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=1)
    page = visit("operator")
    page.row(HEALTH.value).get_by_role("button", name="Suspend").click()
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("devices are moved")
    dialog.get_by_label("Reason").press("Tab")
    expect(dialog.get_by_role("button", name="Suspend")).to_be_focused()
    dialog.get_by_label("Resume at").fill("2026-01-01T12:00")
    dialog.get_by_role("button", name="Suspend").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Enter a time in the future")
    dialog.get_by_label("Resume at").fill("20260-01-01T12:00")
    dialog.get_by_role("button", name="Suspend").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Enter a complete date and time")
    dialog.get_by_label("Resume at").fill("2099-01-01T12:00")
    dialog.get_by_role("button", name="Suspend").click()
    expect(dialog.get_by_role("alert")).to_contain_text("366 days")
    day = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    dialog.get_by_label("Resume at").fill(f"{day:%Y-%m-%d}T12:00")
    dialog.get_by_role("button", name="Suspend").click()
    expect(page.state(HEALTH.value)).to_have_text("Suspended")
    expected = re.compile(rf"Until {day.day} {day:%b}t?( \d+)?, 12:00\. Suspended by operator@example\.com")
    expect(page.row(HEALTH.value)).to_contain_text(expected)
    first_tick = re.compile(rf"{day.day} {day:%b}t?( \d+)?, 12:05\D*in \d+ [hd]")
    expect(page.row(HEALTH.value).locator(".next")).to_contain_text(first_tick)
    page.open(f"/tasks/{HEALTH.value}")
    expect(page.page.locator(".glance")).to_contain_text(expected)
    expect(page.page.locator(".glance")).to_contain_text(first_tick)


def test_a_long_reason_is_clamped(visit: "Open") -> None:
    """To two lines in the overview, as an error is; the view of the task shows all of it."""
    reason = "the devices are being moved, " * 16
    suspend_task(HEALTH, by="operator@example.com", reason=reason)
    page = visit("viewer")
    line = page.row(HEALTH.value).locator(".now .detail").first
    expect(line).to_contain_text("the devices")
    size = "(line) => [line.clientHeight, line.scrollHeight, parseFloat(getComputedStyle(line).lineHeight)]"
    height, whole, one = line.evaluate(size)
    assert height < 2.5 * one < whole
    page.open(f"/tasks/{HEALTH.value}")
    height, whole, _ = page.page.locator(".glance .detail").first.evaluate(size)
    assert height == whole


def test_times_of_a_schedule_in_another_zone_have_their_zone(visit: "Open", past: "Past") -> None:
    """The schedule's and the viewer's; a schedule without a time of day needs none."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=1)
    page = visit("viewer", timezone_id="Europe/London")
    fields: dict[str, Any] = {
        "schedule": "0 4 * * *",
        "time_zone": "Europe/Berlin",
        "next_run": "2026-01-15T03:00:00Z",
    }
    change_tasks(
        page, lambda tasks: [{**task, **fields} if task["name"] == HEALTH else task for task in tasks]
    )
    page.open("/")
    row = page.row(HEALTH.value)
    expect(row.locator(".name p")).to_have_text("daily at 04:00 Europe/Berlin")
    expect(row.locator(".next")).to_contain_text(re.compile(r"03:00 GMT"))
    page.open(f"/tasks/{HEALTH.value}")
    schedule = page.page.get_by_role("region", name="Schedule")
    expect(schedule).to_contain_text("daily at 04:00 Europe/Berlin")
    expect(schedule).to_contain_text(re.compile(r"03:00 GMT"))
    fields["schedule"] = "*/5 * * * *"
    page.open("/")
    expect(row.locator(".name p")).to_have_text("every 5 minutes")
    expect(row.locator(".next")).not_to_contain_text("GMT")


@pytest.mark.parametrize("width", [360, 900])
def test_rows_keep_their_place_and_their_labels(visit: "Open", past: "Past", width: int) -> None:
    """Nothing moves when the strips load, and the next run keeps its label without the table's heads."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=9)
    page = visit("viewer", viewport={"width": width, "height": 800})
    held: list[Route] = []
    released = False

    def hold(route: Route) -> None:
        if released:
            route.continue_()
        else:
            held.append(route)

    page.page.route("**/list_runs", hold)
    page.open("/")
    places = "(rows) => rows.map((row) => Math.round(row.getBoundingClientRect().top))"
    rows = page.page.locator(".row[data-task]")
    expect(rows).to_have_count(4)
    page.page.evaluate("document.fonts.ready")
    before = rows.evaluate_all(places)
    released = True
    for route in held:
        route.continue_()
    expect(page.row(HEALTH.value).get_by_role("option")).to_have_count(9)
    expect(page.page.locator(".strip[aria-busy], [aria-busy=true].strip")).to_have_count(0)
    assert rows.evaluate_all(places) == before
    label = "getComputedStyle(document.querySelector('.next > p'), '::before').content"
    assert page.page.evaluate(label) == '"Next "'
    note = page.page.locator("#viewer-note").evaluate(
        "(note) => parseFloat(getComputedStyle(note).marginBottom)"
    )
    assert note >= 8


def test_usually_is_the_same_in_both_views(visit: "Open", past: "Past") -> None:
    """The median of the last fifty runs, although the charts show more of them."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: list(pasts.devices(2)),
            seconds=lambda number: 9 if number < 45 else 2, count=80)  # fmt: skip
    page = visit("viewer")
    expect(page.row(HEALTH.value)).to_contain_text("2.0 s usually")
    page.open(f"/tasks/{HEALTH.value}")
    expect(page.page.locator(".charts figcaption").first).to_have_text(
        "Duration 80 runs, 2.0 s to 9.0 s, usually 2.0 s"
    )
