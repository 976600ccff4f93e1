"""The page in Chromium. Errors and requests to other hosts fail a test."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, Request, Response, expect

from emulators.demo_data import PASSWORD
from shared import firebase
from shared.tasks import TaskName
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
NEEDED = "The page's tests need Chromium, and none was found: .ci/set-up chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Options of a browser context.
SETTINGS: dict[str, Any] = {
    "viewport": {"width": 1440, "height": 900},
    "timezone_id": "Europe/Zurich",
}
#: Elements beyond the screen's width, and those that hide a part of their text without an ellipsis or a
#: scroll bar, unless they are hidden. A view is laid out again within some frames after a change of its size.
OVERFLOWING = """async (width) => {
  const frame = () => new Promise(requestAnimationFrame);
  const wide = () => document.documentElement.scrollWidth > width ? [`wider than ${width} px`] : [];
  const cut = () => [...document.querySelectorAll("body *")]
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0)
    .filter((each) => {
      const { overflowX, textOverflow } = getComputedStyle(each);
      return (overflowX === "hidden" || overflowX === "clip") && textOverflow !== "ellipsis";
    })
    .filter((each) => !each.matches(".hidden, .skip"))
    .map((each) => each.outerHTML.slice(0, 200));
  await frame();
  let found;
  const end = performance.now() + 10_000;
  do {
    await frame();
    found = [...wide(), ...cut()];
  } while (found.length > 0 && performance.now() < end);
  return found;
}"""
#: Timeout in milliseconds, because a function's first process takes seconds to start.
PATIENCE = 60_000


def executable(chromium: BrowserType) -> str | None:
    """Find a browser in the order of `.ci/set-up chromium`."""
    own = chromium.executable_path
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    return found or (own if Path(own).exists() else None)


def launch(chromium: BrowserType, *arguments: str) -> Browser:
    found = executable(chromium)
    assert found is not None, NEEDED
    return chromium.launch(executable_path=found, args=[*ARGUMENTS, *arguments])


class Visit:
    """A user of the page.

    Args:
        context: The user's browser context.
        base: URL of the page.
        hosts: Hosts besides the stack's that the page may send requests to.
    """

    def __init__(self, context: BrowserContext, base: str, hosts: Collection[str] = ()) -> None:
        self.context = context
        self.base = base
        self._hosts = {"127.0.0.1", "localhost", *hosts}
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        #: Errors, console messages and requests to other hosts: a visit ends without any.
        self.problems: list[str] = []
        #: Requests that the page made.
        self.requests: list[Request] = []
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", lambda message: self._log_problem(message.type, message.text))

    def _requested(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        if parts.scheme != "blob" and parts.hostname not in self._hosts:
            self.problems.append(f"a request to elsewhere: {request.url}")

    def _log_problem(self, kind: str, text: str) -> None:
        # The browser logs failed requests, which tests cause on purpose.
        if kind in {"error", "warning"} and "Failed to load resource" not in text:
            self.problems.append(f"console: {text}")

    def sign_in(self, who: str) -> "Visit":
        """Sign in as the demo's viewer or operator, unless the context has remained signed in."""
        self.page.goto(self.base)
        self.page.wait_for_selector("[data-task], form")
        if self.page.locator("form").count() == 0:
            return self
        self.page.get_by_label("E-mail address").fill(f"{who}@example.com")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_selector("[data-task]")
        return self

    def open(self, path: str) -> "Visit":
        """Go to an address of the page."""
        self.page.goto(f"{self.base}{path}")
        self.page.wait_for_selector("[data-task]")
        return self

    def open_result(self, task: TaskName) -> "Visit":
        """Open a task's current result, although an instance may serve a cached one for some seconds."""
        status = firebase.firestore_client().document(f"nx-tasks/{task.value}").get()
        present = status.get("run.result.version")

        def is_shown() -> bool:
            self.open(f"/tasks/{task.value}/result")
            expect(self.page.locator(".records[data-version]")).to_be_visible()
            # Empty if the page shows an error instead, for example for a result that is too large.
            return self.page.locator(".records").get_attribute("data-version") in (present, "")

        wait_for("the current result", is_shown)
        return self

    def row(self, task: str) -> Any:
        """The row of a task in the list of tasks, or the task's own view."""
        return self.page.locator(f"[data-task={task}]")

    def state(self, task: str) -> Any:
        """The state that the page shows for a task."""
        return self.row(task).locator("[data-state]").first

    def token(self) -> str:
        """The Authorization header of the page's last request."""
        sent = [request.all_headers().get("authorization") for request in self.requests]
        return next(header for header in reversed(sent) if header)

    def answered(self, function: str) -> list[Response]:
        """A list that receives the responses of a function from now on."""
        answers: list[Response] = []
        post = f"/{function}"
        self.page.on(
            "response",
            lambda answer: (
                answers.append(answer)
                if answer.url.endswith(post) and answer.request.method == "POST"
                else None
            ),
        )
        return answers

    def overflowing(self, width: int) -> list[str]:
        """What does not fit the current view when the screen has another width, pixels."""
        self.page.set_viewport_size({"width": width, "height": 800})
        found: list[str] = self.page.evaluate(OVERFLOWING, width)
        return found

    def axe(self, scheme: Literal["light", "dark"]) -> dict[str, Any]:
        """The findings of axe on the current view in a colour scheme, by outcome."""
        self.page.emulate_media(color_scheme=scheme)
        if not self.page.evaluate("'axe' in globalThis"):
            self.page.evaluate(AXE.read_text("utf-8"))
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return found


@contextmanager
def visiting(browser: Browser, base: str, *, hosts: Collection[str] = (), **options: Any) -> Iterator[Visit]:
    """Open a browser context for a with block, and check that no problem occurred."""
    context = browser.new_context(**{**SETTINGS, **options})
    try:
        visit = Visit(context, base, hosts)
        yield visit
        assert visit.problems == []
    finally:
        context.close()
