"""A task's history: search, time range, equal errors, requests, and traces."""

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Locator, Route, expect

from shared import firebase
from shared.tasks import TaskName, execute_task
from tests.support.paged_run import PagedRun
from tests.waiting import wait_for

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.browsing import Visit
    from tests.web.conftest import Open
    from tests.web.past import Past

HEALTH = TaskName.collect_devices_health
FIVE_MINUTES = dt.timedelta(minutes=5)


def long_history(count: int, **errors: str) -> dt.datetime:
    """Write records of runs as the engine does, five minutes apart; return the start of the newest one.

    Args:
        count: Number of runs.
        errors: By "rNUMBER": message of the error of this run, 0 for the newest.
    """
    database = firebase.firestore_client()
    newest = dt.datetime.now(dt.UTC).replace(microsecond=0) - FIVE_MINUTES
    runs = database.collection(f"nx-tasks/{HEALTH.value}/nx-runs")
    batch = database.batch()
    for number in range(count):
        if number % 500 == 499:  # Firestore's limit
            batch.commit()
            batch = database.batch()
        started = newest - number * FIVE_MINUTES
        record = {
            "state": "completed", "source": "a test", "started": started, "changed": started, "attempt": 1,
            "completed": started + dt.timedelta(seconds=2), "duration_ms": 2000,
        }  # fmt: skip
        if message := errors.get(f"r{number}"):
            record |= {"state": "failed", "error": {"type": "ValueError", "message": message}}
        batch.set(runs.document(f"run-{number:04}"), record)
    batch.commit()
    return newest


def open_history(page: "Visit", query: str = "") -> Locator:
    page.open(f"/tasks/{HEALTH.value}{query}")
    return page.page.locator(".runs li")


def test_a_search_states_how_far_it_went(visit: "Open", past: "Past") -> None:
    """It looks at older entries until it has found enough, and the user can search all of them."""
    long_history(400, r7="no answer from north", r310="no answer from south")
    page = visit("viewer")
    entries = open_history(page)
    expect(entries).to_have_count(50)
    expect(page.page.get_by_text("History", exact=True)).to_have_count(
        1
    )  # no tab has the name of the heading
    page.page.get_by_label("Search the history").fill("ANSWER no")
    status = page.page.locator(".runs [role=status]").first
    expect(status).to_have_text("2 matches in all 400 entries.")
    expect(entries).to_have_count(2)
    page.page.get_by_label("Search the history").fill('"answer from south"')
    expect(entries).to_have_count(1)
    page.page.get_by_label("Search the history").fill("north south")
    expect(status).to_have_text("No match in all 400 entries.")
    expect(entries).to_have_count(0)


def test_a_long_search_stops_and_continues_on_demand(visit: "Open", past: "Past") -> None:
    """After a thousand entries, with the time back to which it went."""
    newest = long_history(1300, r1250="lost")
    page = visit("viewer", timezone_id="Etc/UTC")
    entries = open_history(page, "?q=lost")
    status = page.page.locator(".runs [role=status]").first
    oldest = newest - 1049 * FIVE_MINUTES
    back = rf"back to {oldest.day} {oldest:%b}t?[ \d]*, {oldest:%H:%M}\."
    expect(status).to_have_text(re.compile(rf"^No match in the newest 1,050 entries, {back}$"))
    page.page.get_by_role("button", name="Search older entries").click()
    expect(entries).to_have_count(1)
    expect(status).to_have_text("1 match in all 1,300 entries.")


def test_a_time_range_selects_entries(visit: "Open", past: "Past") -> None:
    """The service selects them, so that no entry before the range is loaded; a wrong range is an error.

    What a user types replaces the address once it is complete, without entries in the browser's history.
    """
    newest = long_history(100)
    page = visit("viewer", timezone_id="Europe/Zurich")
    entries = open_history(page)
    page.page.get_by_label("Time range").select_option("Last hour")
    expect(entries).to_have_count(11)
    asked = page.answered("list_runs")
    page.page.get_by_label("Time range").select_option("Between two times")
    start = page.page.evaluate("(time) => new Date(time).toLocaleString('sv').slice(0, 16).replace(' ', 'T')",
                               (newest - 40 * FIVE_MINUTES).isoformat())  # fmt: skip
    end = page.page.evaluate("(time) => new Date(time).toLocaleString('sv').slice(0, 16).replace(' ', 'T')",
                             (newest - 30 * FIVE_MINUTES).isoformat())  # fmt: skip
    before = page.page.evaluate("history.length")
    zone = page.page.evaluate(
        "(time) => new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(new Date(time))"
        ".find(({ type }) => type === 'timeZoneName').value",
        newest.isoformat(),
    )
    first, last = (page.page.get_by_label(f"{name} ({zone})", exact=True) for name in ("From", "To"))
    first.fill(start)
    last.fill(f"{int(end[:4]) + 4}{end[4:]}")
    expect(entries).to_have_count(41)
    last.focus()
    for _ in ("month", "day"):
        page.page.keyboard.press("Tab")
    page.page.keyboard.type(end[:4], delay=250)  # longer than the pause after which the address changes
    expect(last).to_have_value(end)
    expect(entries).to_have_count(10)
    assert page.page.evaluate("history.length") == before
    wait_for("the answer", lambda: page.page.wait_for_timeout(50) or asked)
    ranges = [each.request.post_data_json["data"] for each in asked]
    assert any("until" in sent and "since" in sent for sent in ranges)
    assert not [sent for sent in ranges if min(sent.get("since", "9"), sent.get("until", "9")) < "1970"]
    last.fill("2020-01-01T00:00")
    expect(page.page.get_by_role("alert")).to_contain_text("start of the time range must be before its end")
    page.page.get_by_label("Time range").select_option("Any time")
    expect(entries).to_have_count(50)


def test_a_range_up_to_now_follows_the_time(visit: "Open", past: "Past") -> None:
    """Entries leave "Last hour" as the service's clock goes on, and the page asks for the new range."""
    newest = long_history(30)
    page = visit("viewer")
    entries = open_history(page, "?range=1h")
    expect(entries).to_have_count(11)
    asked = page.answered("list_runs")

    def half_an_hour_later(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        now = dt.datetime.fromisoformat(body["result"]["now"]) + dt.timedelta(minutes=30)
        body["result"]["now"] = now.isoformat()
        route.fulfill(response=response, json=body)

    page.page.route("**/list_tasks", half_an_hour_later)
    expect(entries).to_have_count(5)
    page.page.evaluate("dispatchEvent(new Event('online'))")  # every view asks again at once

    def is_asked() -> bool:
        sent = [answer.request.post_data_json["data"].get("since") for answer in asked]
        return any(dt.datetime.fromisoformat(since) > newest - 8 * FIVE_MINUTES for since in sent if since)

    wait_for("the later range", lambda: page.page.wait_for_timeout(50) or is_asked())


def test_equal_errors_are_grouped_with_their_count(visit: "Open", past: "Past") -> None:
    """The most frequent one first; a click shows only its runs."""
    north = {f"r{number}": "north: 503" for number in (1, 4, 9)}
    long_history(20, **north, r2="timeout", r5="timeout", r6="only once")
    page = visit("viewer")
    entries = open_history(page)
    groups = page.page.locator(".equal-errors button")
    expect(groups).to_have_text(["3 runs ValueError: north: 503", "2 runs ValueError: timeout"])
    groups.first.click()
    expect(entries).to_have_count(3)
    expect(page.page.locator(".chip")).to_contain_text("Only this error:")
    expect(page.page).to_have_url(re.compile("error=ValueError"))
    page.page.get_by_role("button", name="Show all entries").click()
    expect(entries).to_have_count(20)


def test_older_entries_stay_when_a_new_run_starts(visit: "Open", past: "Past") -> None:
    """The first page moves down by one, and no entry between the pages is lost."""
    long_history(80)
    page = visit("viewer")
    entries = open_history(page)
    page.page.get_by_role("button", name="Show older entries").click()
    expect(entries).to_have_count(80)
    for _ in range(2):
        assert execute_task("test", HEALTH, lambda: [1]).status == "completed"
    expect(entries).to_have_count(82)


def add_sixty_one_runs() -> None:
    """Add more runs than a page has."""
    database, now = firebase.firestore_client(), dt.datetime.now(dt.UTC)
    batch = database.batch()
    for number in range(60):
        started = now - dt.timedelta(seconds=number)
        record = {"state": "completed", "source": "a test", "attempt": 1}
        record |= {"started": started, "changed": started}
        batch.set(database.document(f"nx-tasks/{HEALTH.value}/nx-runs/later{number}"), record)
    batch.commit()
    assert execute_task("test", HEALTH, lambda: [1]).status == "completed"


def test_no_entry_between_two_distant_pages_is_lost(visit: "Open", past: "Past") -> None:
    """After a pause of the page, the newest page may share no entry with those it has shown."""
    long_history(80)
    page = visit("viewer")
    entries = open_history(page)
    older = page.page.get_by_role("button", name="Show older entries")
    older.click()
    expect(entries).to_have_count(80)
    add_sixty_one_runs()
    expect(entries).to_have_count(50)
    for count in (100, 141):
        older.click()
        expect(entries).to_have_count(count)


def test_older_entries_that_come_late_leave_no_hole(visit: "Open", past: "Past") -> None:
    """Between those that were asked for and a newest page that shares no entry with the list are others."""
    long_history(80)
    page = visit("viewer")
    entries = open_history(page)
    expect(entries).to_have_count(50)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if "cursor" in route.request.post_data_json["data"] and not held:
            held.append(route)
        else:
            route.fallback()

    page.page.route("**/list_runs", hold)
    older = page.page.get_by_role("button", name="Show older entries")
    older.click()
    wait_for("the request", lambda: page.page.wait_for_timeout(50) or held)
    add_sixty_one_runs()
    expect(entries.first).to_contain_text("1 record")
    with page.page.expect_response(lambda answer: answer.request == held[0].request):
        held[0].continue_()
    expect(older).to_be_enabled()
    for count in (100, 141):
        older.click()
        expect(entries).to_have_count(count)


def test_a_requested_run_shows_who_asked_and_why(visit: "Open", clean_firestore: "Addresses") -> None:
    """In overview, task and history, from its start; never as a run of the schedule."""
    at = dt.datetime.now(dt.UTC)
    who = {"by": "operator@example.com", "reason": "the north was down"}
    asked = {"id": f"request-{at:%Y-%m-%dT%H:%M:%S.%fZ}", **who, "at": at, "since": at}
    firebase.firestore_client().document(f"nx-tasks/{HEALTH.value}").set({"run": {"request": asked}})
    source = f"firebase-schedule-{HEALTH.value}-us-central1"
    assert execute_task(source, HEALTH, lambda: [1], {"schedule_time": at}).run_id == asked["id"]
    page = visit("viewer")
    expected = "Requested by operator@example.com: the north was down"
    expect(page.row(HEALTH.value)).to_contain_text(expected)
    entries = open_history(page)
    expect(page.page.locator(".glance")).to_contain_text(expected)
    expect(page.page.locator(".glance")).not_to_contain_text("Scheduled")
    expect(entries.first).to_contain_text(expected)
    entries.first.get_by_role("button").click()
    expect(entries.first.locator(".facts")).to_contain_text(expected)
    expect(entries.first).not_to_contain_text("Scheduled")
    page.page.get_by_label("Search the history").fill("north down")
    expect(entries).to_have_count(1)


def test_only_a_run_at_work_is_asked_for_often(visit: "Open", past: "Past") -> None:
    """A run that waits for its next leg logs nothing, and the record of a request never changes."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    request = f"{at:%Y-%m-%dT%H:%M:%S.%fZ}.requested"
    record = {"state": "requested", "by": "p", "reason": "r", "started": at, "holder": f"request-{at}"}
    firebase.firestore_client().document(f"nx-tasks/{HEALTH.value}/nx-runs/{request}").set(record)
    waiting = PagedRun.waiting(HEALTH).run_id
    page = visit()
    page.page.clock.install()
    page.sign_in("viewer").open(f"/tasks/{HEALTH.value}?entry={request}&entry={waiting}")
    for run_id in (request, waiting):
        expect(page.page.locator(".runs .facts").filter(has_text=run_id)).to_be_visible()
    page.page.clock.pause_at(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2))
    record_pauses = """() => {
      const [pauses, set] = [[], window.setTimeout];
      window.setTimeout = (...all) => (pauses.push(all[1]), set(...all));
      return pauses;
    }"""
    pauses = page.page.evaluate_handle(record_pauses)
    lists, runs = page.answered("list_tasks"), page.answered("get_run")
    for _ in range(7):
        count = len(lists)
        page.page.clock.run_for(5500)
        wait_for("an answer", lambda count=count: page.page.wait_for_timeout(20) or len(lists) > count)
    asked = [answer.request.post_data_json["data"]["id"] for answer in runs]
    assert set(asked) == {waiting}
    assert len(asked) <= 4
    assert {1500, 5000} & {*pauses.json_value()} == {5000}  # milliseconds between requests of all tasks


def _decode(rows: str) -> Any:
    try:
        return {}[rows]
    except KeyError as error:
        error.add_note("page 3")
        raise ValueError("no rows") from error


def test_a_trace_shows_causes_and_folds_other_calls(visit: "Open", past: "Past") -> None:
    """The task's own calls are open, those of the engine are folded; the copy has every line."""
    assert execute_task("test", HEALTH, lambda: _decode("rows")).status == "failed"
    page = visit("viewer")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    entries = open_history(page)
    entries.first.get_by_role("button").click()
    trace = entries.first.locator(".trace")
    causes = trace.locator(".cause")
    expect(causes).to_have_count(2)
    expect(causes.nth(0)).to_contain_text("in _decode")
    expect(causes.nth(1).locator("p")).to_have_text("caused by KeyError: 'rows'")
    expect(causes.nth(1)).to_contain_text("note: page 3")
    folded = causes.nth(0).locator("details")
    expect(folded.locator("summary")).to_have_text(re.compile(r"^\d+ calls? of the engine and of libraries$"))
    expect(folded.locator("pre")).not_to_be_visible()
    folded.locator("summary").click()
    expect(folded.locator("pre")).to_contain_text("[engine] shared/tasks/")
    entries.first.get_by_role("button", name="Copy trace").click()
    expect(entries.first.locator(".copy [role=status]")).to_have_text("Copied.")
    copied = page.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("ValueError: no rows\n")
    assert "\ncaused by KeyError: 'rows'\n" in copied
    assert "[engine] shared/tasks/" in copied


def test_a_trace_wraps_on_a_phone_and_times_align(visit: "Open", past: "Past") -> None:
    assert execute_task("test", HEALTH, lambda: _decode("rows" * 40)).status == "failed"
    long_history(12, r2="x", r3="a longer text " * 5)
    page = visit("viewer", viewport={"width": 360, "height": 740})
    entries = open_history(page)
    entries.first.get_by_role("button").click()
    trace = entries.first.locator(".trace")
    expect(trace).to_contain_text("in _decode")
    assert trace.evaluate("(trace) => trace.scrollWidth <= trace.clientWidth")
    ends = page.page.locator(".runs .when time").evaluate_all(
        "(times) => times.map((time) => Math.round(time.getBoundingClientRect().right))"
    )
    assert len(set(ends)) == 1


def test_an_empty_map_in_a_summary_has_no_heading(visit: "Open", past: "Past") -> None:
    """And all numbers of a summary have the same format."""
    summary = {
        "count": 12345,
        "set_aside": {},
        "sizes": [23456, 1],
        "by_operator": {"north": {"read": 34567, "errors": {}}},
    }
    past.of(HEALTH, every=FIVE_MINUTES, result=lambda: [1], seconds=lambda _: 1, count=1, summary=summary)
    page = visit("viewer")
    entries = open_history(page)
    entries.first.get_by_role("button").click()
    run = entries.first.locator(".run")
    run.locator("summary").click()
    for number in ("12,345", "23,456, 1", "34,567"):
        expect(run).to_contain_text(number)
    expect(run).not_to_contain_text("set aside")
    expect(run).not_to_contain_text("errors")
