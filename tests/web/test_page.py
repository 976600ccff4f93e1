"""What holds for every view: accessible, small, strict, at home on any screen."""

import datetime as dt
import gzip
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from emulators.environment import PROJECT
from emulators.loopback import request as ask
from shared.tasks import TaskName
from tests.web import past as pasts
from tests.web.browsing import ROOT

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open
    from tests.web.past import Past

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations
#: Bytes of script, compressed, before anything is seen (issue 8).
SCRIPT_BUDGET = 150_000
Tell = Callable[[str], None]


@pytest.fixture
def busy(past: "Past", hold: "Hold") -> None:
    """A past with failures, a present with a run at work, and a result with coordinates."""
    past.of(
        HEALTH,
        every=dt.timedelta(minutes=5),
        result=lambda: list(pasts.devices(200)),
        seconds=lambda number: 2 + number % 5,
        fails=lambda number: number in {20, 49},
        summary={
            "count": 200,
            "by_health": {"good": 140, "offline": 60},
            "kinds": [{"kind": "a", "count": 1}],
        },
    )
    spots = [{"id": str(n), "coordinates": {"latitude": 47 + n / 10, "longitude": 8}} for n in range(20)]
    past.of(LOCATIONS, every=dt.timedelta(hours=2), result=lambda: spots, seconds=lambda _: 4, count=3)
    hold(TaskName.collect_charge_cdrs).progress(30, 120, "reading")


def views(page: "Visit") -> dict[str, Callable[[], object]]:
    """Each view by name, with what brings the page there."""
    one = page.page

    def record() -> None:
        page.open(f"/tasks/{HEALTH.value}/result")
        one.get_by_role("grid").press("Enter")
        expect(one.get_by_role("tree")).to_be_visible()

    def trace() -> None:
        page.open(f"/tasks/{HEALTH.value}")
        one.locator(".runs li[data-state=failed] button").first.click()
        expect(one.locator(".trace")).to_be_visible()
        expect(one.locator(".u-wrap canvas").first).to_be_visible()

    def drawing() -> None:
        page.open(f"/tasks/{LOCATIONS.value}/result")
        expect(one.get_by_role("img")).to_be_visible()

    def dialog() -> None:
        page.open("/").row(HEALTH.value).get_by_role("button", name="Suspend").click()
        expect(one.get_by_role("dialog")).to_be_visible()

    def strips() -> None:
        page.open("/")
        expect(page.row(HEALTH.value).get_by_role("option").first).to_be_visible()

    return {"all tasks": strips, "history": trace, "result": record, "drawing": drawing, "dialog": dialog}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.usefixtures("busy")
def test_axe_finds_nothing(visit: "Open", tell: Tell, scheme: str, width: int) -> None:
    """No violation in any view, in both themes, on a desktop and on a phone."""
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.page.goto(page.base)
    expect(page.page.get_by_role("button", name="Sign in")).to_be_visible()
    found = {"sign-in": page.axe()}
    page.sign_in("operator")
    for name, show in views(page).items():
        show()
        found[name] = page.axe()
    wrong = {name: violations for name, each in found.items() if (violations := each["violations"])}
    passed, unsure = (sum(len(each[kind]) for each in found.values()) for kind in ("passes", "incomplete"))
    tell(
        f"axe, {scheme}, {width} px wide: {len(found)} views, {passed} rules passed, "
        f"{sum(map(len, wrong.values()))} broken, {unsure} undecided"
    )
    assert wrong == {}


@pytest.mark.usefixtures("busy")
def test_little_is_loaded_before_something_is_seen(visit: "Open", tell: Tell) -> None:
    """Scripts before the first paint, compressed, are within the budget; charts and results come later."""
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


@pytest.mark.parametrize("width", [360, 1280, 3840])
@pytest.mark.usefixtures("busy")
def test_every_screen_will_do(visit: "Open", width: int) -> None:
    """No view is wider than the window, from 360 pixels to 4K; with 4K letters grow."""
    page = visit("operator", viewport={"width": width, "height": 900})
    for name, show in views(page).items():
        show()
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width, name
    letters = page.page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    assert letters >= (20 if width == 3840 else 15)


@pytest.mark.usefixtures("busy")
def test_the_keyboard_is_enough(visit: "Open") -> None:
    """From the address to a traceback and a dialog without a pointer, the focus always to be seen."""
    page = visit()
    one = page.page
    one.goto(page.base)
    expect(one.get_by_label("E-mail address")).to_be_visible()
    for text in ("operator@example.com", "nx-tasks-demo"):
        one.keyboard.press("Tab")
        one.keyboard.type(text)
    one.keyboard.press("Enter")
    expect(page.row(HEALTH.value)).to_be_visible()
    seen = press_until(page, "Tab", lambda: focused(page) == f"/tasks/{HEALTH.value}")
    assert all(seen), "something had the focus and did not show it"
    one.keyboard.press("Enter")
    expect(one.get_by_role("heading", name=HEALTH.value)).to_be_focused()
    expect(one.locator(".runs li[data-state=failed]").first).to_be_visible()
    press_until(page, "Tab", lambda: "Failed" in focused(page) and "entry" in focused(page))
    one.keyboard.press("Enter")
    expect(one.locator(".trace")).to_be_visible()
    press_until(page, "Shift+Tab", lambda: "Suspend" in focused(page))
    one.keyboard.press("Enter")
    expect(one.get_by_label("Reason")).to_be_focused()
    one.keyboard.type("because")
    one.keyboard.press("Escape")
    expect(one.get_by_role("dialog")).to_have_count(0)
    expect(page.row(HEALTH.value).get_by_role("button", name="Suspend")).to_be_focused()


def press_until(page: "Visit", key: str, there: Callable[[], bool]) -> list[bool]:
    """Press a key until the focus is where it is wanted; return for each stop whether the focus shows."""
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
def test_themes_and_stillness_are_the_viewers_to_choose(visit: "Open") -> None:
    """The system's theme at first, another by the switch and after a reload; reduced motion moves nothing."""
    page = visit("viewer", color_scheme="dark", reduced_motion="reduce")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.page.evaluate(ground)
    page.page.get_by_label("Colours").select_option("Light")
    light = page.page.evaluate(ground)
    assert light != dark
    page.page.reload()
    expect(page.row(HEALTH.value)).to_be_visible()
    assert page.page.evaluate(ground) == light
    expect(page.state("collect_charge_cdrs")).to_have_text("Running")
    assert page.page.evaluate("document.getAnimations().length") == 0


def test_the_page_is_served_strictly(stack: "Addresses") -> None:
    """No inline code, no origin but the emulators', no frame, no sniffing; hashed files are kept for ever."""
    import urllib.request  # noqa: PLC0415  (loopback.request returns no headers)

    def headers(path: str) -> dict[str, str]:
        with urllib.request.urlopen(f"http://{stack.hosting}{path}") as answer:
            return {name.lower(): value for name, value in answer.headers.items()}

    page = headers("/tasks/collect_devices_health")
    policy = {name: rest for name, *rest in map(str.split, page["content-security-policy"].split(";"))}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert "unsafe" not in page["content-security-policy"]
    assert {f"http://{stack.auth}", f"http://{stack.functions}"} == {
        origin for origin in policy["connect-src"] if origin.startswith("http://")
    }
    assert page["x-content-type-options"] == "nosniff"
    assert page["referrer-policy"] == "strict-origin"
    assert "camera=()" in page["permissions-policy"]
    assert page["cache-control"] == "no-cache"
    script = re.search(r'src="(/assets/[^"]+\.js)"', (ROOT / "web/dist/index.html").read_text("utf-8"))
    assert script is not None
    assert headers(script[1])["cache-control"] == "public, max-age=31536000, immutable"
    assert ask(f"http://{stack.hosting}/assets/none.js")[0] == 404


def test_a_wrong_password_is_told(visit: "Open") -> None:
    """The sign-in says what to check, and no more than that."""
    page = visit()
    page.page.goto(page.base)
    page.page.get_by_label("E-mail address").fill("operator@example.com")
    page.page.get_by_label("Password").fill("guess")
    page.page.get_by_role("button", name="Sign in").click()
    expect(page.page.get_by_role("alert")).to_have_text(
        "E-mail address and password don't match. Check both."
    )


def test_a_link_signs_in_whom_it_was_sent_to(visit: "Open", stack: "Addresses") -> None:
    """In a browser that did not ask for it, the page wants the address, too; a link is good once."""
    auth = f"http://{stack.auth}"
    wish = {
        "requestType": "EMAIL_SIGNIN",
        "email": "viewer@example.com",
        "continueUrl": f"http://{stack.hosting}",
    }
    sent = ask(
        f"{auth}/identitytoolkit.googleapis.com/v1/accounts:sendOobCode?key=any", method="POST", body=wish
    )
    assert sent[0] == 200
    codes = ask(f"{auth}/emulator/v1/projects/{PROJECT}/oobCodes")[1]["oobCodes"]
    path = f"/?mode=signIn&apiKey=any&oobCode={codes[-1]['oobCode']}"
    page, again = visit(), visit()
    for each in (page, again):
        each.page.goto(f"{each.base}{path}")
        each.page.get_by_label("E-mail address").fill("viewer@example.com")
        each.page.get_by_role("button", name="Sign in").click()
        if each is page:
            expect(each.row(HEALTH.value)).to_be_visible()
    expect(again.page.get_by_role("alert")).to_contain_text("Ask for a new one")
