"""The page's timeline: what all tasks did over time, by pointer, fingers and keyboard."""

import datetime as dt
import json
import re
from collections.abc import Callable
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from google.cloud.firestore import SERVER_TIMESTAMP
from playwright.sync_api import Locator, expect

import main  # noqa: F401  (declares the schedules of all tasks)
from shared import firebase
from shared.tasks import TaskName, execute_task, suspend_task
from shared.tasks.cron import coming_ticks
from shared.tasks.documents.run_ids import run_id_of
from shared.tasks.specs import spec_of
from tests.waiting import wait_for
from tests.web.test_page import AXE_WIDTHS, SCHEMES, focused, press_until

if TYPE_CHECKING:
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open
    from tests.web.past import Past

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations
CDRS, SMS = TaskName.collect_charge_cdrs, TaskName.send_reset_sms
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
PHONE = {"width": 360, "height": 740}


def ago(duration: dt.timedelta) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - duration


def record(task: TaskName, at: dt.datetime, state: str = "completed", **fields: Any) -> str:
    """Write a record of the run history; a run takes ten minutes. Returns its id."""
    took = 10 * 60 if state in {"completed", "failed"} else 0
    values = {
        "state": state,
        "run_id": run_id_of(at),
        "scheduled_for": at,
        "started": at,
        "completed": at + dt.timedelta(seconds=took),
        "changed": SERVER_TIMESTAMP,
        **({"duration_ms": took * 1_000, "attempt": 1} if took else {}),
    }
    record_id = f"{run_id_of(at)}{'' if took else f'.{state}'}"
    document = f"nx-tasks/{task.value}/nx-runs/{record_id}"
    firebase.firestore_client().document(document).set({**values, **fields})
    return record_id


@pytest.fixture
def day(past: "Past") -> dict[str, str]:
    """A record of each kind within the last hours; their ids."""
    error = {"type": "OperatorUnreachable", "message": "north answered 503"}
    who = {"by": "ops@example.com", "reason": "wrong input", "at": ago(6 * HOUR)}
    cancelled = {"type": "RunCancelled", "message": "cancelled by ops@example.com: wrong input"}
    return {
        "completed": record(CDRS, ago(8 * HOUR)),
        "failed": record(CDRS, ago(5 * HOUR), "failed", error=error),
        "cancelled": record(CDRS, ago(2 * HOUR), "failed", cancel=who, error=cancelled),
        "skipped": record(LOCATIONS, ago(3 * HOUR), "skipped", reason="suspended"),
        "missed": record(
            LOCATIONS, ago(7 * HOUR), "missed_tick", detail="no run started", scheduled_for=None
        ),
        "old": record(HEALTH, ago(2 * DAY)),
    }


def plot(page: "Visit") -> Locator:
    return page.page.get_by_role("listbox", name=re.compile("^Timeline of"))


def timeline(page: "Visit", query: str = "") -> "Visit":
    """Open the timeline and wait until it has read its range."""
    page.page.goto(f"{page.base}/timeline{query}")
    expect(page.page.locator(READ)).to_be_visible()
    return page


#: The view when it has read what it shows.
READ = ".timeline[aria-busy=false]"


def place_of(page: "Visit", task: TaskName, at: dt.datetime) -> tuple[float, float]:
    """Where a time of a task is drawn, in pixels of the viewport."""
    found = page.page.evaluate(
        """([task, at]) => {
          const plot = document.querySelector(".plot").getBoundingClientRect();
          const { from, to } = document.querySelector(".plot").dataset;
          const names = [...document.querySelectorAll(".names li")];
          const row = names.find((each) => each.querySelector("a").getAttribute("href").endsWith(task));
          const { top, height } = row.getBoundingClientRect();
          return [plot.left + ((at - from) / (to - from)) * plot.width, top + height * 0.55];
        }""",
        [task.value, at.timestamp() * 1000],
    )
    return found[0], found[1]


def span(page: "Visit") -> tuple[dt.datetime, dt.datetime]:
    """The range that is drawn."""
    found = page.page.evaluate("(({from, to}) => [from, to])(document.querySelector('.plot').dataset)")
    first, last = (dt.datetime.fromtimestamp(float(each) / 1000, dt.UTC) for each in found)
    return first, last


def query(page: "Visit") -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.page.url).query).items()}


def test_a_link_to_the_next_hours_shows_their_ticks(visit: "Open") -> None:
    """The range has no runs, and begins after the present time."""
    page = timeline(visit("viewer"), f"?from={iso(ago(-6 * HOUR))}&to={iso(ago(-18 * HOUR))}")
    expect(page.page.locator(".lead")).to_contain_text(": 0 runs.")
    page.page.get_by_text("The same as a table").click()
    ticks = page.page.get_by_role("group", name="Table of ticks to come").locator("tr", has_text=CDRS.value)
    expect(ticks).to_contain_text("12")  # hourly
    expect(page.page.get_by_text("The timeline may be out of date")).to_have_count(0)


@pytest.mark.usefixtures("day")
def test_the_table_has_what_is_drawn(visit: "Open") -> None:
    """Each entry of the range with its outcome, times and reason, and the ticks to come."""
    page = timeline(visit("operator"))
    expect(page.page.locator(".lead")).to_contain_text("3 runs, 1 failed, 1 cancelled, 1 skipped, 1 missed.")
    page.page.get_by_text("The same as a table").click()
    rows = page.page.get_by_role("group", name="Table of entries").locator("tbody tr")
    expect(rows).to_have_count(5)
    words = ["Cancelled", "Skipped", "Failed", "Missed", "Completed"]
    assert [row.locator(".state").inner_text() for row in rows.all()] == words
    expect(rows.nth(0)).to_contain_text("Cancelled by ops@example.com: wrong input")
    expect(rows.nth(2)).to_contain_text("OperatorUnreachable: north answered 503")
    expect(rows.nth(3)).to_contain_text("no run started")
    expect(rows.nth(4)).to_contain_text("10 min")
    coming = page.page.get_by_role("group", name="Table of ticks to come").locator("tbody tr")
    expect(coming).to_have_count(len(TaskName))
    expected = [
        sum(tick <= span(page)[1] for tick in coming_ticks(spec_of(task), dt.datetime.now(dt.UTC)))
        for task in sorted(TaskName)
    ]
    assert [int(row.locator("td").last.inner_text()) for row in coming.all()] == expected
    rows.nth(2).get_by_role("link").click()
    expect(page.page.locator(".panel")).to_contain_text("north answered 503")


def test_a_click_on_a_bar_opens_its_run(visit: "Open", day: dict[str, str]) -> None:
    """The pointer shows what it is before; back leads to the same range."""
    page = timeline(visit("operator"), "?range=24h")
    page.page.mouse.move(*place_of(page, CDRS, ago(5 * HOUR)))
    hint = page.page.locator(".plot .hint")
    expect(hint).to_contain_text("Failed")
    expect(hint).to_contain_text("10 min")
    expect(hint).to_contain_text("OperatorUnreachable: north answered 503")
    page.page.mouse.move(*place_of(page, CDRS, ago(9 * HOUR)))
    expect(hint).to_have_count(0)
    page.page.mouse.click(*place_of(page, CDRS, ago(5 * HOUR)))
    expect(page.page.locator(".panel")).to_contain_text("north answered 503")
    assert query(page)["run"] == day["failed"]
    page.page.go_back()
    expect(page.page.locator(READ)).to_be_visible()
    page.page.mouse.click(*place_of(page, LOCATIONS, ago(3 * HOUR)))  # a mark is opened, too
    expect(page.page.locator(".panel")).to_contain_text("suspended")


#: Zooms, and clicks a button before the address has followed. The timer at the end is younger than the one
#: that writes the address, and waits as long, so it ends later.
ZOOM_AND_CLICK = """async (name) => {
  const zoom = new WheelEvent("wheel", { deltaY: -400, ctrlKey: true, clientX: 900 });
  document.querySelector(".plot").dispatchEvent(zoom);
  [...document.querySelectorAll(".bar button")].find((each) => each.textContent === name).click();
  await new Promise((done) => setTimeout(done, 250));
}"""
#: Moves to earlier times by a quarter, opens the selected entry before the address has followed, and returns
#: the range before.
MOVE_AND_ENTER = """() => {
  const { from, to } = document.querySelector(".plot").dataset;
  for (const key of [{ key: "ArrowLeft", shiftKey: true }, { key: "Enter" }]) {
    document.querySelector(".plot").dispatchEvent(new KeyboardEvent("keydown", key));
  }
  return [Number(from), Number(to)];
}"""


@pytest.mark.usefixtures("day")
def test_mouse_and_wheel_move_and_zoom_and_the_address_follows(visit: "Open") -> None:
    """Another user who opens the address sees the same range; presets follow the time again."""
    page = timeline(visit("operator"), "?range=6h")
    first, last = span(page)
    box = plot(page).bounding_box()
    assert box is not None
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(middle, y)
    page.page.mouse.down()
    page.page.mouse.move(middle + box["width"] / 4, y, steps=5)
    page.page.mouse.up()
    wait_for("the address", lambda: page.page.wait_for_timeout(50) or "from" in query(page))
    moved = (last - first) / 4
    assert abs(first - span(page)[0] - moved) < moved / 20
    assert abs(last - span(page)[1] - moved) < moved / 20
    before, url = span(page), page.page.url
    page.page.mouse.wheel(0, -300)
    wait_for("the address", lambda: page.page.wait_for_timeout(50) or page.page.url != url)
    after = span(page)
    assert after[1] - after[0] < (before[1] - before[0]) * 0.8
    share = (middle + box["width"] / 4 - box["x"]) / box["width"]  # the time below the pointer stays there
    assert (
        abs((before[0] + (before[1] - before[0]) * share) - (after[0] + (after[1] - after[0]) * share))
        < HOUR / 30
    )
    other = timeline(visit("operator"), f"?{urlsplit(page.page.url).query}")
    assert [
        abs(one - two) < dt.timedelta(seconds=1) for one, two in zip(span(other), after, strict=True)
    ] == [True] * 2
    page.page.get_by_role("button", name="7 days").click()
    assert query(page) == {"range": "7d"}
    expect(page.page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    page.page.get_by_role("button", name="24 hours").click()
    page.page.go_back()
    expect(page.page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    for button in ("24 hours", "24 hours"):  # the second one is pressed already
        page.page.evaluate(ZOOM_AND_CLICK, button)
        assert query(page) == {}
    page.page.go_back()
    expect(page.page.locator("[aria-label='Time range'] [aria-pressed=true]")).to_have_count(0)
    before = length(page)
    assert before < 20 * HOUR  # as it was zoomed
    page.page.evaluate(ZOOM_AND_CLICK, "Zoom in")
    wait_for("both zooms", lambda: page.page.wait_for_timeout(50) or length(page) < before * 0.3)


def ranges(page: "Visit", after: int) -> list[dict[str, Any]]:
    """The requests for a time range, and not for changes, after a number of requests."""
    sent = [each for each in page.requests[after:] if each.url.endswith("/list_timeline")]
    data = [each.post_data_json["data"] for each in sent if each.method == "POST"]
    return [each for each in data if "changed_since" not in each and "cursors" not in each]


def iso(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.usefixtures("day")
def test_earlier_runs_are_read_when_they_come_into_view(visit: "Open") -> None:
    """Only those that are missing; the range ends seven days ago and in the next day."""
    page = visit("operator")
    first = len(page.requests)
    past = f"?from={iso(ago(2 * DAY + HOUR))}&to={iso(ago(2 * DAY - HOUR))}"
    expect(timeline(page, past).page.locator(".lead")).to_contain_text(": 1 run.")
    (old,) = ranges(page, first)
    assert dt.datetime.fromisoformat(old["until"]) < ago(2 * DAY - 2 * HOUR)  # not everything since then
    page.page.get_by_role("button", name="6 hours").click()
    expect(page.page.locator(".lead")).to_contain_text("2 runs, 1 failed, 1 cancelled, 1 skipped.")
    expect(page.page.locator(READ)).to_be_visible()
    before = len(page.requests)
    page.page.get_by_role("button", name="7 days").click()
    expect(page.page.locator(".lead")).to_contain_text("4 runs, 1 failed, 1 cancelled, 1 skipped, 1 missed.")
    expect(page.page.locator(READ)).to_be_visible()
    assert all(dt.datetime.fromisoformat(data["until"]) < ago(7 * HOUR) for data in ranges(page, before))
    read = sorted((data["since"], data["until"]) for data in ranges(page, first))
    assert len(read) == 4  # both sides of the first range, too
    assert all(until <= since for (_, until), (since, _) in pairwise(read)), "a time was read twice"
    for _ in range(3):
        page.page.get_by_role("button", name="Zoom out").click()
        page.page.get_by_role("button", name="Later").click()
    first, last = span(page)
    assert abs(last - first - 8 * DAY) < HOUR / 60
    assert abs(last - ago(-DAY)) < HOUR / 60


def test_only_changes_are_read_again(visit: "Open", past: "Past", hold: "Hold") -> None:
    """A run appears while it works and ends, without a reload and without its history being read again.

    The ticks to come are read again after an hour, before they end within the view.
    """
    page = visit()
    page.page.clock.install()
    timeline(page.sign_in("operator"), "?range=1h")
    asked = page.answered("list_timeline")
    run = hold(HEALTH)
    expect(page.page.locator(".lead")).to_contain_text("1 run, 1 running.")
    run.end()
    expect(page.page.locator(".lead")).to_have_text(re.compile(r": 1 run\.$"))
    sent = [answer.request.post_data_json["data"] for answer in asked]
    assert sent
    assert all("changed_since" in each for each in sent)
    suspend_task(HEALTH, by="ops@example.com", reason="devices are moved")
    expect(page.page.locator(".names li", has_text=HEALTH.value)).to_contain_text("suspended")
    page.page.get_by_text("The same as a table").click()
    ticks = page.page.get_by_role("group", name="Table of ticks to come").locator("tr", has_text=HEALTH.value)
    expect(ticks).to_contain_text("None while suspended")
    before = len(page.requests)
    page.page.clock.fast_forward("01:00:00")
    wait_for("the ticks", lambda: page.page.wait_for_timeout(50) or ranges(page, before))


def test_the_timeline_works_with_the_keyboard_alone(visit: "Open", day: dict[str, str]) -> None:
    """Arrows select entries, which are read out; plus, minus and Shift with arrows zoom and move."""
    page = timeline(visit("operator"), "?range=1h")
    one, selected = page.page, plot(page).get_by_role("option", selected=True)
    press_until(page, "Tab", lambda: focused(page).startswith("plot"))
    expect(selected).to_have_count(0)  # because no entry is in view
    one.goto(page.base)
    expect(page.row(CDRS.value)).to_be_visible()
    press_until(page, "Tab", lambda: focused(page) == "/timeline")
    one.keyboard.press("Enter")
    expect(one.get_by_role("heading", name="Timeline")).to_be_focused()
    expect(one.locator(READ)).to_be_visible()
    shown = press_until(page, "Tab", lambda: focused(page).startswith("plot"))
    assert all(shown), "a focused element did not show its focus"
    expect(selected).to_have_accessible_name(
        re.compile(f"^{CDRS.value}, Cancelled, .*10 min.*by ops@example.com")
    )
    one.keyboard.press("ArrowLeft")
    expect(selected).to_have_accessible_name(re.compile("Failed, .*OperatorUnreachable"))
    one.keyboard.press("Home")
    expect(selected).to_have_accessible_name(re.compile("Completed"))
    one.keyboard.press("ArrowDown")
    expect(selected).to_have_accessible_name(re.compile(f"^{LOCATIONS.value}, Missed, .*no run started"))
    one.keyboard.press("ArrowRight")
    expect(selected).to_have_accessible_name(re.compile("Skipped"))
    before = length(page)
    one.keyboard.press("+")
    wait_for("a shorter range", lambda: one.wait_for_timeout(50) or length(page) < before * 0.9)
    wait_for("the address", lambda: one.wait_for_timeout(50) or "from" in query(page))
    first = span(page)[0]
    one.keyboard.press("Shift+ArrowLeft")
    wait_for("an earlier range", lambda: one.wait_for_timeout(50) or span(page)[0] < first)
    one.keyboard.press("-")
    one.keyboard.press("ArrowUp")
    one.keyboard.press("End")
    one.keyboard.press("ArrowLeft")
    expect(selected).to_have_accessible_name(re.compile("Failed, .*OperatorUnreachable"))
    begin, end = one.evaluate(MOVE_AND_ENTER)
    expect(one.locator(".panel")).to_contain_text("north answered 503")
    assert query(page)["run"] == day["failed"]
    one.go_back()
    expect(one.locator(READ)).to_be_visible()
    moved = dt.datetime.fromtimestamp((begin - (end - begin) / 4) / 1000, dt.UTC)
    assert abs(span(page)[0] - moved) < HOUR / 60


def test_fingers_move_and_zoom(visit: "Open", day: dict[str, str]) -> None:
    """On a phone: one finger moves, two zoom, a tap opens; the page itself does not move."""
    page = timeline(visit("operator", viewport=PHONE, has_touch=True), "?range=24h")
    box = plot(page).bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2

    def touch(kind: str, *xs: float) -> None:
        points = [{"x": x, "y": y, "id": number} for number, x in enumerate(xs)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    devtools = page.context.new_cdp_session(page.page)
    before = span(page)
    touch("touchStart", 200)
    for x in (190, 170, 150, 120, 100):
        touch("touchMove", x)
    touch("touchEnd")
    wait_for("a later range", lambda: page.page.wait_for_timeout(50) or span(page)[0] > before[0] + HOUR)
    before = span(page)
    touch("touchStart", 150, 210)
    for reach in (20, 40, 60, 80):
        touch("touchMove", 150 - reach, 210 + reach)
    touch("touchEnd")
    wait_for(
        "a shorter range",
        lambda: page.page.wait_for_timeout(50) or length(page) < (before[1] - before[0]) / 2,
    )
    assert page.page.evaluate("[scrollX, visualViewport.scale]") == [0, 1]
    page = timeline(page, "?range=24h")
    page.page.touchscreen.tap(*place_of(page, CDRS, ago(5 * HOUR)))
    expect(page.page.locator(".panel")).to_contain_text("north answered 503")
    assert query(page)["run"] == day["failed"]


def length(page: "Visit") -> dt.timedelta:
    first, last = span(page)
    return last - first


@pytest.mark.usefixtures("day")
def test_axe_finds_no_violation_in_the_timeline(visit: "Open", tell: Callable[[str], None]) -> None:
    """With a selected entry and the table, which fit the screen; nothing is cut off."""
    suspend_task(SMS, by="ops@example.com", reason="numbers change")
    page = timeline(visit("operator", viewport={"width": 360, "height": 800}))
    page.page.get_by_text("The same as a table").click()
    expect(page.page.get_by_role("group", name="Table of entries")).to_be_visible()
    plot(page).press("Home")
    expect(plot(page).get_by_role("option", selected=True)).to_have_count(1)
    for width, scheme in product(AXE_WIDTHS, SCHEMES):
        assert page.overflowing(width) == []
        expect(plot(page).get_by_role("option", selected=True)).to_have_count(1)
        found = page.axe(scheme)
        tell(
            f"axe, timeline, {scheme}, {width} px wide: {len(found['passes'])} rules passed, "
            f"{len(found['violations'])} broken"
        )
        assert found["violations"] == []


#: Runs of the test with many runs; the task of most of them has one per minute.
MANY = 10_000


def many_runs() -> None:
    """Write a week of runs, one in fifty failed, with the fields of a run of the engine."""
    execute_task("test", HEALTH, lambda: [1])
    database = firebase.firestore_client()
    runs = database.collection(f"nx-tasks/{HEALTH.value}/nx-runs")
    (model,) = (each.to_dict() or {} for each in runs.stream())
    begin = ago(7 * DAY - HOUR)
    batch = database.batch()
    for number in range(1, MANY):
        at = begin + (7 * DAY - 2 * HOUR) / MANY * number
        state = "failed" if number % 50 == 0 else "completed"
        fields = {**model, "state": state, "started": at, "completed": at + dt.timedelta(seconds=30)}
        batch.set(runs.document(run_id_of(at)), {**fields, "scheduled_for": at, "changed": SERVER_TIMESTAMP})
        if number % 500 == 0:
            batch.commit()
            batch = database.batch()
    batch.commit()


def test_ten_thousand_runs_move_smoothly(
    visit: "Open", past: "Past", tell: Callable[[str], None], record_property: Callable[[str, object], None]
) -> None:
    """They are read in pages, and drawn without one element per run."""
    many_runs()
    page = visit("operator")
    asked = page.answered("list_timeline")
    page = timeline(page, "?range=7d")
    expect(page.page.locator(".lead")).to_contain_text(f": {MANY:,} runs, {(MANY - 1) // 50} failed.")
    sizes = [len(answer.body()) for answer in asked]
    elements = page.page.evaluate("document.querySelectorAll('.timeline *').length")
    assert elements < 300
    frames = page.page.evaluate(MOVE)
    figures = {key: round(value, 1) for key, value in frames.items()}
    tell(
        f"{MANY:,} runs moved over a week: {figures['count']:.0f} frames, median {figures['median']} ms, "
        f"longest {figures['longest']} ms; read in {len(sizes)} answers, the largest "
        f"{max(sizes) / 1000:.0f} kB; {elements} elements"
    )
    record_property("timeline_frames", json.dumps(figures))
    assert frames["moved"] == frames["count"], "a frame did not move"
    assert frames["median"] < 20


#: Moves the timeline to and fro with the wheel, one step per frame, and returns statistics of the frames.
MOVE = """async () => {
  const plot = document.querySelector(".plot");
  const zoom = { deltaY: -400, ctrlKey: true, clientX: 900, cancelable: true };
  plot.dispatchEvent(new WheelEvent("wheel", zoom));
  await new Promise(requestAnimationFrame);
  const times = [];
  let moved = 0;
  let last = performance.now();
  for (let step = 0; step < 120; step++) {
    const before = plot.dataset.from;
    plot.dispatchEvent(new WheelEvent("wheel", { deltaX: step % 60 < 30 ? -12 : 12, cancelable: true }));
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
    moved += plot.dataset.from !== before;
  }
  times.sort((one, other) => one - other);
  return { count: times.length, moved, median: times[60], longest: times[119] };
}"""
