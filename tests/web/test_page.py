"""Requirements for every view: accessibility, size, security policy, and screen sizes."""

import datetime as dt
import gzip
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from emulators.loopback import request as ask
from shared.tasks import TaskName, execute_task
from tests.support.paged_run import PagedRun
from tests.waiting import wait_for
from tests.web import past as pasts
from tests.web.browsing import ROOT

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open
    from tests.web.past import Past

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations
CDRS = TaskName.collect_charge_cdrs
#: Colour schemes and widths in pixels in which axe checks each view.
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
AXE_WIDTHS = (1440, 360)
#: Limit of compressed scripts before the first paint, bytes.
SCRIPT_BUDGET = 150_000
Tell = Callable[[str], None]


@pytest.fixture
def busy(past: "Past", hold: "Hold") -> None:
    """A history with failures, a running task, and a result with coordinates."""
    past.of(
        HEALTH,
        every=dt.timedelta(minutes=5),
        result=lambda: list(pasts.devices(200)),
        seconds=lambda number: 2 + number % 5,
        fails=lambda number: number in {20, 49},
        summary={
            "count": 200,
            "this_run": {"received": 212, "set_aside": 1, "operators": [{"name": "north", "records": 212}]},
            "connectors": {"by_health": {"good": 140, "offline": 60}, "by_power": {"up_to_350_kw": 1}},
            "reasons": [
                {
                    "operator": "north",
                    "reason": "Expected `int | float`, got `str` - at `$.total_energy`",
                    "record": "DE/NXN/CDR000177",
                }
            ],
            "devices": ["tracker-1", "tracker-2"],
        },
    )
    spots = [{"id": str(n), "coordinates": {"latitude": 47 + n / 10, "longitude": 8}} for n in range(20)]
    past.of(LOCATIONS, every=dt.timedelta(hours=2), result=lambda: spots, seconds=lambda _: 4, count=3)
    execute_task("test", CDRS, lambda: {"sums": {"DE": {"kWh": "12.5"}}})
    reading = hold(CDRS)
    for level in ("info", "warning", "error"):
        reading.log(level, "page read", operator="north", address=f"https://ocpi.example.com/{'x' * 90}")
    reading.progress(30, 120, "reading")
    between_legs = PagedRun.waiting(TaskName.send_reset_sms)
    between_legs.fails = ValueError("no answer")
    between_legs.deliver(2)


def open_trace(page: "Visit", task: TaskName, state: str) -> None:
    """Open the first entry with a state in a task's history."""
    page.open(f"/tasks/{task.value}")
    page.page.locator(f".runs li[data-state={state}] button").first.click()
    expect(page.page.locator(".trace")).to_be_visible()


def open_log(page: "Visit") -> None:
    """Open the running run, whose log has lines of each level."""
    page.open(f"/tasks/{CDRS.value}")
    page.page.locator(".runs li[data-state=running] .entry").click()
    expect(page.page.locator(".log [data-level=error]")).to_be_visible()


def views(page: "Visit") -> dict[str, Callable[[], object]]:
    """Return the function that opens each view, by name."""
    one = page.page

    def record() -> None:
        page.open_result(HEALTH)
        one.get_by_role("grid").press("Enter")
        expect(one.get_by_role("tree")).to_be_visible()
        one.get_by_text("connectors, devices, reasons").click()
        expect(one.get_by_text("tracker-1, tracker-2")).to_be_visible()

    def run() -> None:
        page.open("/").row(HEALTH.value).locator(".bar.bad").last.click()
        expect(one.locator(".panel .trace")).to_be_visible()

    def trace() -> None:
        open_trace(page, HEALTH, "failed")
        expect(one.locator(".u-wrap canvas").first).to_be_visible()

    def drawing() -> None:
        page.open_result(LOCATIONS)
        expect(one.get_by_role("img")).to_be_visible()

    def dialog() -> None:
        page.open("/").row(HEALTH.value).get_by_role("button", name="Suspend").click()
        one.get_by_role("dialog").get_by_role("button", name="Suspend").click()
        expect(one.get_by_role("dialog").get_by_role("alert")).to_be_visible()

    def strips() -> None:
        page.open("/")
        expect(page.row(HEALTH.value).get_by_role("option").first).to_be_visible()

    def tree() -> None:
        page.open_result(CDRS)
        expect(one.get_by_role("tree")).to_be_visible()

    def nothing() -> None:
        one.goto(f"{page.base}/tasks/none")
        expect(one.get_by_role("heading", name="Task not found")).to_be_visible()

    def outage() -> None:
        strips()
        page.context.set_offline(True)
        expect(one.get_by_role("alert")).to_contain_text("Showing data from")

    return {
        "all tasks": strips, "one run": run, "history": trace, "result": record, "tree": tree,
        "between legs": lambda: open_trace(page, TaskName.send_reset_sms, "running"),
        "log": lambda: open_log(page),
        "drawing": drawing, "dialog": dialog, "no task": nothing, **searches(page), "outage": outage,
    }  # fmt: skip


def searches(page: "Visit") -> dict[str, Callable[[], object]]:
    """Return the functions that open the timeline, searches, and an address that does not exist."""
    one = page.page

    def timeline() -> None:
        one.goto(f"{page.base}/timeline")
        expect(one.locator(".timeline[aria-busy=false]")).to_be_visible()

    def no_page() -> None:
        one.goto(f"{page.base}/nope")
        expect(one.get_by_role("heading", name="Page not found")).to_be_visible()

    def no_hits() -> None:
        one.goto(f"{page.base}/?q=no-such-task&sort=next")
        expect(one.get_by_text("No task matches")).to_be_visible()

    def searched() -> None:
        page.open(f"/tasks/{HEALTH.value}?q=north&show=failed&from=2026-01-01T00:00:00Z")
        expect(one.locator(".equal-errors")).to_be_visible()
        one.locator(".runs li button").first.click()
        expect(one.locator(".runs .trace")).to_be_visible()

    return {"timeline": timeline, "no page": no_page, "no hits": no_hits, "searched history": searched}


@pytest.mark.usefixtures("busy")
def test_every_view_is_accessible_and_fits_every_screen(visit: "Open", tell: Tell) -> None:
    """axe finds no violation in both themes, on a desktop and on a phone.

    From 360 pixels to 4K, no view overflows or cuts off text; at 4K the font is larger.
    """
    page = visit(viewport={"width": 360, "height": 800})
    found: dict[tuple[int, str], dict[str, dict[str, Any]]] = defaultdict(dict)

    def check(view: str) -> None:
        for width in (3840, 1440, 1280, 360):  # the last one is that in which the next view is opened
            assert page.overflowing(width) == [], (view, width)
            letters = page.page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
            assert letters >= (20 if width == 3840 else 15)
            for scheme in SCHEMES if width in AXE_WIDTHS else ():
                found[width, scheme][view] = page.axe(scheme)

    page.page.goto(page.base)
    expect(page.page.get_by_role("button", name="Sign in")).to_be_visible()
    check("sign-in")
    page.sign_in("operator")
    for name, show in views(page).items():
        show()
        check(name)
    assert found.keys() == {(width, scheme) for width in AXE_WIDTHS for scheme in SCHEMES}
    for (width, scheme), each in found.items():
        wrong = {view: violations for view, one in each.items() if (violations := one["violations"])}
        passed, unsure = (sum(len(one[kind]) for one in each.values()) for kind in ("passes", "incomplete"))
        tell(
            f"axe, {scheme}, {width} px wide: {len(each)} views, {passed} rules passed, "
            f"{sum(map(len, wrong.values()))} broken, {unsure} undecided"
        )
        assert wrong == {}, (width, scheme)


@pytest.mark.usefixtures("busy")
def test_scripts_before_the_first_paint_are_small(visit: "Open", tell: Tell) -> None:
    """Charts and results are loaded later."""
    page = visit()
    page.page.goto(page.base)
    expect(page.page.get_by_role("button", name="Sign in")).to_be_visible()

    def loaded() -> set[str]:
        names = page.page.evaluate("performance.getEntriesByType('resource').map(({name}) => name)")
        return {urlsplit(name).path for name in names if name.endswith(".js")}

    first = loaded()
    size = sum(len(gzip.compress((ROOT / f"web/dist{path}").read_bytes())) for path in first)
    painted = page.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    tell(
        f"before the first paint: {size / 1000:.1f} kB of script, compressed, of at most "
        f"{SCRIPT_BUDGET / 1000:.0f}; painted after {painted:.0f} ms"
    )
    assert 10_000 < size < SCRIPT_BUDGET
    page.sign_in("viewer")
    assert loaded() == first
    page.open(f"/tasks/{HEALTH.value}")
    expect(page.page.locator(".u-wrap canvas").first).to_be_visible()
    assert len(loaded()) == len(first) + 1


def test_the_footer_names_version_and_commit(visit: "Open") -> None:
    """Also before a user signs in. The version is that of the command line."""
    page = visit()
    page.page.goto(page.base)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    named = re.compile(rf"^nx-tasks {re.escape(version)}(, commit [0-9a-f]{{10}}\+?)?$")
    expect(page.page.get_by_role("contentinfo")).to_have_text(named)
    page.sign_in("viewer")
    expect(page.page.get_by_role("contentinfo")).to_have_text(named)


@pytest.mark.usefixtures("busy")
def test_the_page_works_with_the_keyboard_alone(visit: "Open") -> None:
    """The focus is visible at every step to a traceback and through a change."""
    page = visit()
    one = page.page
    one.goto(page.base)
    expect(one.get_by_label("E-mail address")).to_be_visible()
    for text in ("operator@example.com", "nx-tasks-demo"):
        one.keyboard.press("Tab")
        one.keyboard.type(text)
    one.keyboard.press("Enter")
    expect(page.row(HEALTH.value)).to_be_visible()
    focus_shown = press_until(page, "Tab", lambda: focused(page) == f"/tasks/{HEALTH.value}")
    assert all(focus_shown), "a focused element did not show its focus"
    one.keyboard.press("Enter")
    expect(one.get_by_role("heading", name=HEALTH.value)).to_be_focused()
    expect(one.locator(".runs li[data-state=failed]").first).to_be_visible()
    press_until(page, "Tab", lambda: "Failed" in focused(page) and "entry" in focused(page))
    one.keyboard.press("Enter")
    expect(one.locator(".trace")).to_be_visible()
    press_until(page, "Shift+Tab", lambda: "Suspend" in focused(page))
    one.keyboard.press("Enter")
    expect(one.get_by_label("Reason")).to_be_focused()
    one.keyboard.press("Escape")
    expect(one.get_by_role("dialog")).to_have_count(0)
    expect(page.row(HEALTH.value).get_by_role("button", name="Suspend")).to_be_focused()
    one.keyboard.press("Enter")
    one.keyboard.type("without a mouse, by keyboard")
    press_until(page, "Tab", lambda: focused(page).endswith("Suspend"))
    one.keyboard.press("Enter")
    expect(page.state(HEALTH.value)).to_have_text("Suspended")
    expected = "Suspended by operator@example.com (demo-operator): without a mouse"
    expect(page.row(HEALTH.value)).to_contain_text(expected)
    expect(page.row(HEALTH.value).get_by_role("button", name="Resume")).to_be_focused()


@pytest.mark.usefixtures("busy")
def test_a_summary_shows_the_numbers_in_its_maps(visit: "Open") -> None:
    """Only their lists are folded."""
    summary = visit("viewer").open_result(HEALTH).page.locator(".summary")
    this_run = summary.locator("dl.deep > div", has_text="this run").first
    expect(this_run.get_by_text("received")).to_be_visible()
    expect(this_run.get_by_text("212").first).to_be_visible()
    expect(this_run.get_by_text("north")).not_to_be_visible()
    this_run.get_by_text("operators").first.click()
    expect(this_run.get_by_text("north")).to_be_visible()


@pytest.mark.usefixtures("busy")
def test_a_table_is_sorted_and_opened_by_keyboard(visit: "Open") -> None:
    """In the tab order, the headings come before the rows."""
    page = visit("viewer").open_result(HEALTH)
    grid = page.page.get_by_role("grid")
    expect(grid).to_contain_text("tracker-000000")
    page.page.get_by_label("Search the result").focus()
    press_until(page, "Tab", lambda: focused(page).endswith("battery_voltage"))
    page.page.keyboard.press("Enter")
    heading = page.page.get_by_role("columnheader", name="battery_voltage")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    page.page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    press_until(page, "Shift+Tab", lambda: focused(page).startswith("rows"))
    page.page.keyboard.press("Enter")
    highest = max(pasts.devices(200), key=lambda device: device["battery_voltage"])
    expect(page.page.get_by_role("tree")).to_contain_text(highest["id"])


@pytest.mark.usefixtures("busy")
def test_a_session_sends_requests_only_to_the_stack(visit: "Open", stack: "Addresses", tell: Tell) -> None:
    """The session visits all views without a violation of the content security policy."""
    page = visit("operator")
    hosts = {urlsplit(url).netloc for url in (f"http://{stack.auth}", stack.callables_url, page.base)}
    for show in views(page).values():
        show()
    page.context.set_offline(False)
    page.open_result(HEALTH)
    with page.page.expect_download():
        page.page.get_by_role("button", name="Download JSON").click()
    asked = [urlsplit(request.url) for request in page.requests]
    assert {parts.netloc for parts in asked if parts.scheme != "blob"} == hosts
    tell(f"a session through all views: {len(asked)} requests, all of them to the stack")


def test_the_browser_enforces_the_policy(visit: "Open") -> None:
    """Foreign scripts and requests are blocked and recorded as problems."""
    page = visit("viewer")
    page.page.evaluate(
        """async () => {
          window.refused = [];
          document.addEventListener("securitypolicyviolation", (e) => refused.push(e.effectiveDirective));
          const add = (tag, fields) =>
            document.body.append(Object.assign(document.createElement(tag), fields));
          add("script", { textContent: "window.refused = 'it ran'" });
          add("style", { textContent: "body { display: none }" });
          add("img", { src: "https://example.com/image.png" });
          add("iframe", { src: "https://example.com/" });
          await fetch("https://example.com/").catch(() => refused.push("fetch failed"));
        }"""
    )
    expected = {"script-src-elem", "style-src-elem", "img-src", "frame-src", "connect-src", "fetch failed"}
    wait_for("refusals", lambda: set(page.page.evaluate("window.refused")) == expected)
    wait_for("their problems", lambda: page.page.wait_for_timeout(50) or len(page.problems) >= 5)
    expected = ("Content Security Policy", "a request to elsewhere: https://example.com/")
    assert all(any(each in problem for each in expected) for problem in page.problems), page.problems
    page.problems.clear()


def press_until(page: "Visit", key: str, there: Callable[[], bool]) -> list[bool]:
    """Press a key until a condition holds; return for each step whether the focus is visible."""
    shown = []
    for _ in range(80):
        page.page.keyboard.press(key)
        shown.append(page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'"))
        if there():
            return shown
    raise AssertionError(f"80 times {key} lead nowhere: {focused(page)}")


def focused(page: "Visit") -> str:
    found: str = page.page.evaluate(
        "(({activeElement: it}) => it.getAttribute('href') ?? `${it.className} ${it.textContent}`)(document)"
    )
    return found


@pytest.mark.usefixtures("busy")
def test_viewers_choose_theme_and_reduced_motion(visit: "Open") -> None:
    """The theme is the system's until the switch changes it, also after a reload."""
    page = visit("viewer", color_scheme="dark", reduced_motion="reduce")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.page.evaluate(ground)
    page.page.get_by_label("Theme").select_option("light")
    light = page.page.evaluate(ground)
    assert light != dark
    page.page.reload()
    expect(page.row(HEALTH.value)).to_be_visible()
    assert page.page.evaluate(ground) == light
    expect(page.state("collect_charge_cdrs")).to_have_text("Running")
    assert page.page.evaluate("document.getAnimations().length") == 0


def test_the_page_has_strict_headers(stack: "Addresses") -> None:
    """No inline code, foreign origins, frames or sniffing; hashed files are cached permanently."""
    import urllib.request  # noqa: PLC0415  (loopback.request returns no headers)

    def headers(path: str) -> dict[str, str]:
        with urllib.request.urlopen(f"http://{stack.hosting}{path}") as answer:
            return {name.lower(): value for name, value in answer.headers.items()}

    page = headers("/tasks/collect_devices_health")
    policy = {name: rest for name, *rest in map(str.split, page["content-security-policy"].split(";"))}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert "unsafe" not in page["content-security-policy"]
    assert {f"http://{each}" for each in (stack.auth, stack.functions, stack.storage)} == {
        origin for origin in policy["connect-src"] if origin.startswith("http://")
    }
    assert page["x-content-type-options"] == "nosniff"
    assert page["referrer-policy"] == "strict-origin"
    assert "camera=()" in page["permissions-policy"]
    assert page["cache-control"] == headers("/timeline/")["cache-control"] == "no-cache"
    script = re.search(r'src="(/assets/[^"]+\.js)"', (ROOT / "web/dist/index.html").read_text("utf-8"))
    assert script is not None
    assert headers(script[1])["cache-control"] == "public, max-age=31536000, immutable"
    assert ask(f"http://{stack.hosting}/assets/none.js")[0] == 404
