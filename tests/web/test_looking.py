"""The page's read-only views: all tasks, one task, its history, its result."""

import base64
import datetime as dt
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Route, expect

from shared import firebase
from shared.tasks import (
    RunCancelled,
    TaskEngine,
    TaskName,
    TaskSpec,
    execute_task,
    resume_task,
    suspend_task,
)
from tests.functions.callable_protocol import reading_app
from tests.support.paged_run import PagedRun
from tests.waiting import wait_for
from tests.web import past as pasts

if TYPE_CHECKING:
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open
    from tests.web.past import Past

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations
CDRS = TaskName.collect_charge_cdrs
FIVE_MINUTES = dt.timedelta(minutes=5)


def fill(past: "Past", task: TaskName = HEALTH, **options: object) -> None:
    """Create a history of fifty runs, of which the twentieth failed."""
    chosen = {
        "every": FIVE_MINUTES,
        "seconds": lambda number: 2 + number % 5,
        "fails": lambda number: number == 20,
    }
    past.of(task, result=lambda: list(pasts.devices(40)), **{**chosen, **options})  # type: ignore[arg-type]


def test_the_list_shows_the_state_of_all_tasks(visit: "Open", past: "Past") -> None:
    """Each row has status, age, next run in the viewer's time zone, fifty runs, a record and the size."""
    now = dt.datetime.now(dt.UTC)
    since_tick = (now - dt.timedelta(seconds=30)).timestamp() % FIVE_MINUTES.total_seconds() + 30
    fill(past, last=dt.timedelta(seconds=since_tick))  # the last run is that of the schedule's last tick
    page = visit("viewer")
    row = page.row(HEALTH.value)
    expect(page.row("send_reset_sms")).to_contain_text("Never ran")
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    expect(row).to_contain_text(re.compile(r"\d+ (s|min) old · on time"))
    expect(row).to_contain_text("40 records")
    expect(row.get_by_role("option")).to_have_count(50)
    expect(row.locator(".bar.bad")).to_have_count(1)
    expect(row).to_contain_text("98 % of 50 runs")
    expect(row).to_contain_text("4.0 s usually, steady")
    tick = page.page.evaluate(
        "document.querySelector('[data-task=collect_devices_health] .next time').dateTime"
    )
    local = dt.datetime.fromisoformat(tick).astimezone(ZoneInfo("Europe/Zurich"))
    expect(row.locator(".next time")).to_have_text(f"{local:%H:%M}")


def test_a_bar_shows_its_run_to_pointer_and_keyboard(visit: "Open", past: "Past") -> None:
    """Hovering shows a run's details, arrow keys move along the bars, Enter opens the run."""
    fill(past)
    page = visit("viewer")
    row = page.row(HEALTH.value)
    row.locator(".bar.bad").hover()
    expect(row.locator(".hint")).to_contain_text("OperatorUnreachable: north")
    page.page.mouse.move(0, 0)
    expect(row.locator(".hint")).to_have_count(0)
    bars = row.get_by_role("listbox")
    bars.focus()
    bars.press("End")
    for _ in range(29):
        bars.press("ArrowLeft")
    expect(row.get_by_role("option", selected=True)).to_have_accessible_name(
        re.compile("^Failed, .*Unreachable")
    )
    bars.press("Enter")
    expect(page.page.locator(".panel .trace")).to_contain_text("in _ask_an_operator")


def test_the_progress_of_a_run_is_shown_live(visit: "Open", past: "Past", hold: "Hold") -> None:
    """Progress, remaining time and the end of the run appear without a reload."""
    fill(past)
    page = visit("viewer")
    run = hold(HEALTH)
    expect(page.state(HEALTH.value)).to_have_text("Running")
    run.progress(10, 120, "judging devices")
    row = page.row(HEALTH.value)
    expect(row).to_contain_text("10 of 120 · judging devices")

    def left() -> int:
        found = re.search(r"about (\d+) (s|min) left", row.inner_text())
        assert found is not None
        return int(found[1]) * (60 if found[2] == "min" else 1)

    first = left()
    wait_for("another estimate", lambda: left() != first, seconds=70)
    assert left() < first
    expect(row.get_by_role("progressbar")).to_have_attribute("value", "10")
    run.progress(90, 120, "judging devices")
    expect(row).to_contain_text("90 of 120")
    run.end()
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    expect(row).to_contain_text("1 record")


def test_a_run_is_shown_as_running_between_its_legs(visit: "Open", past: "Past") -> None:
    """With its leg, its deadline and positions, and the progress and time left of all legs."""
    run = PagedRun.waiting(HEALTH, leg=3)
    page = visit("viewer")
    row = page.row(HEALTH.value)
    expect(page.state(HEALTH.value)).to_have_text("Running")
    expect(row).to_contain_text("for 50 min")
    expect(row).to_contain_text("10 of 12 · page 10 · about 10 min left")
    waits = re.compile(r"waiting for leg 3 since .*[\d:]{8}, expected by .*[\d:]{8} · deadline .*\d\d:\d\d")
    expect(row.locator(".leg")).to_have_text(waits)
    expect(row.get_by_role("button", name="Cancel run")).to_be_visible()
    page.open(f"/tasks/{HEALTH.value}")
    expect(page.page.locator(".glance")).to_contain_text("At pages of north: 10")
    entry = page.page.locator(".runs li")
    expect(entry).to_contain_text(re.compile(r"waiting for leg 3 since .* · 10 of 12 page 10"))
    entry.get_by_role("button").click()
    facts = entry.locator(".facts")
    expect(facts).to_contain_text(re.compile("Leg.*waiting for leg 3 since"))
    expect(facts).to_contain_text("Work of ended attempts50 min")
    expect(facts).to_contain_text("Persisted1 step, 0 parts")
    expect(facts).to_contain_text("Positionspages of north: 10")
    run.fails = ValueError("no answer")
    assert run.deliver(3).status == "failed"
    expect(page.page.locator(".glance .error")).to_have_text(
        "Last failure, tried again: ValueError: no answer"
    )
    expect(page.state(HEALTH.value)).to_have_text("Running")
    expect(entry.locator(".trace")).to_contain_text("raise self.fails")
    run.fails = None
    assert run.deliver(3).status == "completed"
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    expect(entry).to_contain_text("3 legs · 1 record")
    expect(entry).to_contain_text("1 h")
    expect(facts).to_contain_text("Legs3")


def test_a_run_may_take_several_ticks_without_being_late(visit: "Open", past: "Past") -> None:
    """The next result is allowed as much time as the last one took, beyond the next ticks."""
    fill(past, count=1, seconds=lambda _: 500, last=dt.timedelta(seconds=800))
    page = visit("viewer")
    expect(page.row(HEALTH.value)).to_contain_text(re.compile(r"\d min old · on time"))


def test_a_lost_leg_is_in_the_history(visit: "Open", past: "Past") -> None:
    """The page shows that the leg is overdue, and then when the watchdog's delivery is expected."""
    run = PagedRun.waiting(HEALTH)
    document = firebase.firestore_client().document(f"nx-tasks/{HEALTH.value}")
    document.update({"run.lease_until": dt.datetime.now(dt.UTC) - dt.timedelta(seconds=30)})
    page = visit("viewer").open(f"/tasks/{HEALTH.value}")
    leg = page.page.locator(".glance .leg")
    expect(leg).to_have_text(re.compile("overdue since .*: the watchdog delivers it again"))
    run.clock.at = dt.datetime.now(dt.UTC)
    run.engine.watch_task(TaskSpec(HEALTH))
    expect(leg).to_have_text(re.compile("waiting for leg 2 since .*, expected by"))
    page.page.get_by_role("button", name="Skipped or missed").click()
    entry = page.page.locator('.runs li[data-state="lost_leg"]')
    expect(entry).to_contain_text("Leg lost")
    expect(entry).to_contain_text("leg 2 was not delivered in time, and is delivered again")


def test_a_failed_run_shows_error_and_traceback(visit: "Open", past: "Past") -> None:
    """The history can be filtered by outcome; a failed run can be opened and closed."""
    fill(past, count=60)
    page = visit("viewer").open(f"/tasks/{HEALTH.value}")
    entries = page.page.locator(".runs li")
    expect(entries).to_have_count(50)
    page.page.get_by_role("button", name="Show older entries").click()
    expect(entries).to_have_count(60)
    page.page.get_by_role("button", name="Failed", exact=True).click()
    expect(entries).to_have_count(1)
    entries.locator(".entry").click()
    expect(entries.locator(".trace")).to_contain_text("raise OperatorUnreachable")
    folded = entries.locator(".trace details")
    expect(folded.locator("summary")).to_contain_text("calls of the engine and of libraries")
    expect(folded).to_contain_text("[engine] shared/tasks/runtime/task_thread.py")
    expect(folded.locator("pre")).not_to_be_visible()
    expect(entries.locator(".error")).to_contain_text("answered 503, three times")
    entries.locator(".entry").click()
    expect(entries.locator(".trace")).to_have_count(0)
    expect(page.page.locator(".u-wrap canvas")).to_have_count(2)


def test_attempts_and_skips_show_their_reason(visit: "Open", past: "Past") -> None:
    """A run shows its number of attempts; a skipped tick shows its reason and has a filter."""
    ticks = [dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes) for minutes in (5, 1)]

    def run(tick: dt.datetime, work: Callable[[], object]) -> str:
        return execute_task("a test", HEALTH, work, {"scheduled_for": tick}).status

    assert [run(ticks[0], lambda: 1 / 0), run(ticks[0], lambda: [1])] == ["failed", "completed"]
    suspend_task(HEALTH, by="operator@example.com", reason="devices are moved")
    assert run(ticks[1], lambda: [2]) == "skipped"
    page = visit("viewer").open(f"/tasks/{HEALTH.value}").page
    entries = page.locator(".runs li")
    expect(entries.and_(page.locator("[data-state=completed]"))).to_contain_text("attempt 2")
    page.get_by_role("button", name="Skipped or missed").click()
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("suspended")
    page.get_by_role("button", name="By operators").click()
    expect(entries).to_contain_text("by operator@example.com: devices are moved")


def test_a_result_with_a_hundred_thousand_records_can_be_used(
    visit: "Open", past: "Past", tell: Callable[[str], None]
) -> None:
    """Only some dozen rows exist at a time; search, order, details and download cover all records."""
    outcome = execute_task("test", HEALTH, lambda: list(pasts.devices(100_000)), {"save_in": "storage"})
    assert outcome.status == "completed"
    page = visit("viewer").open_result(HEALTH).page
    grid = page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-rowcount", "100001")
    expect(page.get_by_role("button", name=re.compile("^offline 10,000"))).to_be_visible()
    frames = page.evaluate(SCROLL)
    tell(
        f"100,000 rows scrolled from end to end: {frames['count']} frames, median {frames['median']:.0f} ms, "
        f"longest {frames['longest']:.0f} ms; {frames['rows']} rows at a time at most"
    )
    assert frames["rows"] < 120
    grid.press("End")
    expect(grid.get_by_role("row", name=re.compile("tracker-099999"))).to_be_visible()
    grid.press("Enter")
    record = page.get_by_role("tree", name="Fields of record 100000")
    expect(record).to_contain_text("tracker-099999")
    page.get_by_label("Search the result").fill("tracker-0420 unhealthy")
    wanted = [
        each
        for each in pasts.devices(100_000)
        if "tracker-0420" in each["id"] and each["health"] == "unhealthy"
    ]
    expect(page.get_by_text(f"{len(wanted)} of 100,000 records")).to_be_visible()
    page.get_by_role("columnheader", name="battery_voltage").get_by_role("button").click()
    expect(grid.get_by_role("row").nth(1)).to_contain_text(
        str(min(each["battery_voltage"] for each in wanted))
    )
    page.get_by_label("Search the result").fill('"Tracker 420"')
    named = sum("Tracker 420" in each["name"] for each in pasts.devices(100_000))
    expect(page.get_by_text(f"{named} of 100,000 records")).to_be_visible()
    page.get_by_label("Search the result").fill("")
    page.get_by_role("button", name=re.compile("^degraded")).click()
    expect(page.get_by_text("10,000 of 100,000 records")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert json.loads(download.value.path().read_text("utf-8")) == list(pasts.devices(100_000))


#: Scrolls a grid to its end and returns statistics of the frames.
SCROLL = """async () => {
  const grid = document.querySelector("[role=grid]");
  const times = [];
  let rows = 0;
  let last = performance.now();
  for (let step = 0; step < 120; step++) {
    grid.scrollTop += grid.scrollHeight / 120;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
    rows = Math.max(rows, grid.querySelectorAll("[role=row]").length);
  }
  times.sort((one, other) => one - other);
  return { count: times.length, median: times[60], longest: times[119], rows };
}"""


def test_locations_are_points_and_objects_are_trees(visit: "Open", past: "Past") -> None:
    """Records with coordinates are drawn without a map; a result other than a list is a tree."""
    locations = [
        {"id": f"L{number}", "name": f"Place {number}", "nx_operator": "north",
         "coordinates": {"latitude": str(47 + number / 10), "longitude": str(8 + number % 7 / 10)}}
        for number in range(30)
    ]  # fmt: skip
    assert execute_task("test", LOCATIONS, lambda: locations).status == "completed"
    assert execute_task("test", HEALTH, lambda: {"sums": {"DE": {"kWh": "12.5"}}}).status == "completed"
    page = visit("viewer").open_result(LOCATIONS)
    drawing = page.page.get_by_role("img", name=re.compile("^30 points between latitudes 47.00 and 49.90"))
    expect(drawing).to_be_visible()
    page.open_result(HEALTH)
    tree = page.page.get_by_role("tree")
    tree.press("ArrowDown")
    tree.press("ArrowRight")
    expect(tree).to_contain_text("12.5")
    page.page.get_by_label("Search the result").fill("kwh")
    expect(tree).to_contain_text("sums \u203a DE \u203a kWh")


def test_a_result_too_large_for_a_response_is_downloaded_from_storage(visit: "Open", past: "Past") -> None:
    """Beyond 32 MiB compressed, the page links the object, can request a new link, and converts it."""
    noise = [{"n": n, "noise": base64.b64encode(os.urandom(1 << 20)).decode()} for n in range(34)]
    assert execute_task("test", CDRS, lambda: noise, {"save_in": "storage"}).status == "completed"
    page = visit("operator").open_result(CDRS)
    link = page.page.get_by_role("link", name="Download it from Storage")
    expect(page.page.locator(".notice")).to_contain_text("too large to show here")
    expect(page.page.locator(".notice")).to_contain_text("within 15 min")
    address = link.get_attribute("href")
    assert address is not None
    assert page.context.request.get(address).json() == noise
    page.page.get_by_label("Format of the download").select_option("CSV, unchanged")
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Download unchanged CSV").click()
    written = Path(download.value.path()).read_text("utf-8")
    assert written == "n,noise\n" + "".join(f"{record['n']},{record['noise']}\n" for record in noise)
    asked = page.answered("get_task_data")
    page.page.get_by_role("button", name="get a new link").click()
    wait_for("another answer", lambda: page.page.wait_for_timeout(50) or asked)
    expect(link).to_be_visible()


def test_data_is_marked_stale_while_the_network_fails(visit: "Open", past: "Past") -> None:
    """The data stays visible with its age; the page recovers with the network."""
    fill(past)
    page = visit("viewer")
    expect(page.page.get_by_text("Live", exact=True)).to_be_visible()
    page.context.set_offline(True)
    alert = page.page.get_by_role("alert")
    expect(alert).to_contain_text("Cannot reach the service. Showing data from")
    expect(page.page.get_by_text(re.compile(r"^Stale, \d+ s old$"))).to_be_visible()
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    assert execute_task("test", HEALTH, lambda: 1 / 0).status == "failed"
    asked = len(page.requests)
    wait_for("another try", lambda: page.page.wait_for_timeout(200) or len(page.requests) > asked)
    page.context.set_offline(False)
    expect(page.page.get_by_text("Live", exact=True)).to_be_visible()
    expect(alert).to_have_count(0)
    expect(page.state(HEALTH.value)).to_have_text("Failed")


def test_a_hidden_page_polls_less_often(visit: "Open") -> None:
    """It polls once per minute instead of every few seconds, and immediately when visible again."""
    page = visit()
    page.page.clock.install()
    # A headless browser never hides a page.
    page.page.add_init_script(
        "Object.defineProperty(document, 'visibilityState', { get: () => window.shown ?? 'visible' })"
    )
    page.sign_in("viewer")
    expect(page.page.get_by_text("Live", exact=True)).to_be_visible()
    asked = len(polls := page.answered("list_tasks"))

    def passes(seconds: int, count: int) -> None:
        """Check the number of polls after the given time."""
        nonlocal asked
        page.page.clock.run_for(seconds * 1000)
        asked += count
        wait_for("polls", lambda: page.page.wait_for_timeout(50) or len(polls) >= asked)
        assert len(polls) == asked

    def turn(state: str) -> None:
        page.page.evaluate(
            "(state) => { window.shown = state; document.dispatchEvent(new Event('visibilitychange')); }",
            state,
        )

    passes(6, 1)
    turn("hidden")
    passes(6, 1)
    passes(50, 0)
    passes(11, 1)
    passes(50, 0)
    turn("visible")
    passes(0, 1)
    passes(6, 1)


def test_polls_of_an_unchanged_system_transfer_few_bytes(visit: "Open", past: "Past") -> None:
    """Polls send the known version, and responses only confirm it."""
    fill(past)
    page = visit("viewer")
    with page.page.expect_response(
        lambda answer: answer.url.endswith("/list_tasks") and "not_modified" in answer.text(), timeout=60_000
    ) as polled:
        pass
    assert len(polled.value.body()) < 150


def test_users_without_a_role_see_that_an_operator_acted(visit: "Open", hold: "Hold") -> None:
    """A user with the claim `tasks` and no role sees "an operator" without name and reason."""
    who = {"by": "anna@example.com", "reason": "confidential"}
    with reading_app("reading-app@example.com", HEALTH):
        page = visit("reading-app")
        run = hold(HEALTH)
        expect(page.state(HEALTH.value)).to_have_text("Running")
        status = firebase.firestore_client().document(f"nx-tasks/{HEALTH.value}").get()
        TaskEngine().cancel_run(HEALTH, status.get("run.id"), **who)
        suspend_task(HEALTH, **who)
        row = page.row(HEALTH.value)
        expect(row.get_by_text("Suspended by an operator", exact=True)).to_have_count(1)
        expect(row.get_by_text("Cancellation requested by an operator", exact=True)).to_have_count(1)
        run.go_on_until(RunCancelled)
        resume_task(HEALTH, **who)
        expect(page.state(HEALTH.value)).to_have_text("Cancelled")
        expect(row).to_contain_text("Cancelled by an operator")
        for text in ("anna", "alone"):
            expect(row).not_to_contain_text(text)


def answering(
    page: "Visit", schedule: str, ticks: list[dt.datetime], completed: dt.datetime, **task: Any
) -> None:
    """Change the service's responses to a task with this schedule and this age of the last result."""

    def answer(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        if "tasks" in body["result"]:
            body["result"]["version"] += schedule
            for each in body["result"]["tasks"]:
                if each["name"] == HEALTH:
                    each["schedule"] = schedule
                    each["recent_ticks"] = [tick.isoformat() for tick in ticks]
                    each["result"]["completed"] = completed.isoformat()
                    each.update(task)
        route.fulfill(response=response, json=body)

    page.page.route("**/list_tasks", answer)


@pytest.mark.parametrize(
    ("schedule", "words", "ages", "late"),
    [
        ("0 4 * * *", "daily at 04:00 UTC", (24.9, 49.9), "on time"),  # a day of 25 hours
        ("*/45 * * * *", "*/45 * * * *", (0.1, 0.35, 1.1), "on time"),
        ("0 */5 * * *", "0 */5 * * * UTC", (1, 5), "1 run late"),
        ("*/90 * * * *", "*/90 * * * *", (0.4, 1.4, 2.4, 3.4), "4 or more runs late"),
    ],
)
def test_lateness_is_computed_from_the_schedule_s_ticks(
    visit: "Open", past: "Past", schedule: str, words: str, ages: tuple[float, ...], late: str
) -> None:
    """Neither a day of 25 hours nor an uneven step makes a result late or is shown as an interval."""
    fill(past, count=1)
    now = dt.datetime.now(dt.UTC)
    ticks = [now - dt.timedelta(hours=age) for age in ages]
    missed = {"on time": 0, "1 run late": 1}.get(late, len(ticks))
    completed = (ticks[missed] if missed < len(ticks) else ticks[-1] - dt.timedelta(hours=2)) + dt.timedelta(
        seconds=9
    )
    page = visit("viewer")
    answering(page, schedule, ticks, completed)
    page.open("/")
    expect(page.row(HEALTH.value)).to_contain_text(f"· {late}")
    expect(page.row(HEALTH.value).locator(".name p")).to_have_text(words)


def test_search_ignores_unicode_normalization(visit: "Open") -> None:
    """A combining accent equals a precomposed letter, in records and in trees."""
    composed, decomposed = "Caf\u00e9", "Cafe\u0301"
    execute_task(
        "test", HEALTH, lambda: [{"id": "a", "name": composed}, {"id": "b", "name": decomposed}, {"id": "c"}]
    )
    execute_task("test", LOCATIONS, lambda: {"a": composed, "b": decomposed, "c": "x"})
    page = visit("viewer")
    page.open_result(HEALTH)
    for wanted in (composed, decomposed.upper()):
        page.page.get_by_label("Search the result").fill(wanted)
        expect(page.page.locator(".records [role=status]").last).to_have_text("2 of 3 records")
    page.open_result(LOCATIONS)
    page.page.get_by_label("Search the result").fill(decomposed)
    expect(page.page.get_by_role("treeitem")).to_have_count(2)


def test_rounded_numbers_are_marked_and_downloaded_exactly(visit: "Open") -> None:
    """The page marks integers beyond 2^53; a download has the stored bytes."""
    stored = [{"id": 2**53 + 1, "small": 7, "all": [2**60 + 1], "float": 1e22}]
    execute_task("test", HEALTH, lambda: stored)
    page = visit("viewer")
    page.open_result(HEALTH)
    row = page.page.get_by_role("grid").get_by_role("row").last
    expect(row).to_contain_text(f"≈ {2**53}")
    expect(row).not_to_contain_text("≈ 7")
    expect(row.get_by_role("gridcell", name="1e+22", exact=True)).to_have_count(1)
    expect(row.get_by_title("May be rounded: beyond 2^53")).to_have_count(1)
    row.click()
    expect(page.page.get_by_role("tree")).to_contain_text(f"≈ {2**53}")
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Download JSON").click()
    assert json.loads(Path(download.value.path()).read_text("utf-8")) == stored


def test_the_text_of_records_has_its_own_direction(visit: "Open") -> None:
    """Hebrew is right-to-left on a left-to-right page."""
    execute_task("test", HEALTH, lambda: [{"id": "1", "name": "\u05e9\u05dc\u05d5\u05dd (a)"}])
    page = visit("viewer")
    page.open_result(HEALTH)
    cell = page.page.get_by_role("gridcell").last
    expect(cell).to_contain_text("(a)")
    assert cell.evaluate("cell => getComputedStyle(cell).direction") == "rtl"


def test_an_invalidly_encoded_address_shows_no_task(visit: "Open") -> None:
    """It causes no error."""
    page = visit("viewer")
    # The Hosting emulator refuses such an address, so the page navigates to it.
    page.page.evaluate(
        "history.pushState(null, '', '/tasks/%E0%A4%A'); dispatchEvent(new PopStateEvent('popstate'))"
    )
    expect(page.page.get_by_role("heading", name="Task not found")).to_be_visible()


def test_a_result_that_the_sdk_cannot_decode_is_an_error(visit: "Open") -> None:
    """Results of earlier engine versions may be undecodable; the page shows the error and a download."""
    execute_task("test", HEALTH, lambda: {"a": 1})
    page = visit("viewer")

    def answer(route: Route) -> None:
        route.fulfill(
            json={"result": {"version": "v", "completed": None, "stale": False, "data": {"@type": "x"}}}
        )

    page.page.route("**/get_task_data", answer)
    page.open(f"/tasks/{HEALTH.value}/result")
    expect(page.page.get_by_role("alert")).to_contain_text(
        "callable protocol cannot carry (@type, hasOwnProperty)"
    )
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Download JSON").click()
    assert "@type" in Path(download.value.path()).read_text("utf-8")


def test_a_tab_that_failed_to_load_recovers_without_a_reload(visit: "Open", past: "Past") -> None:
    """The page retries failed requests for its configuration and its charts."""
    fill(past, count=3)
    page = visit("viewer")
    page.page.route("**/config.json", lambda route: route.abort())
    page.page.goto(page.base)
    expect(page.page.get_by_role("heading", name="The page cannot start")).to_be_visible()
    page.page.unroute("**/config.json")
    expect(page.row(HEALTH.value)).to_be_visible()
    page.page.route("**/assets/charts*", lambda route: route.abort())
    page.open(f"/tasks/{HEALTH.value}")
    expect(page.page.get_by_text("The charts could not be loaded.")).to_be_visible()
    page.page.unroute("**/assets/charts*")
    expect(page.page.locator(".u-wrap canvas").first).to_be_visible()
