"""`make screenshots`: saves screenshots of the page on the local stack in docs/screenshots."""

import datetime as dt
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from emulators import demo_data
from emulators.demo import Demo
from emulators.environment import Addresses
from shared import tasks
from shared.tasks import TaskName
from tests.web.browsing import NEEDED, PATIENCE, ROOT, Visit, executable, launch, visiting
from tests.web.held import held_run
from tests.web.past import Past, clear

FOLDER = ROOT / "docs/screenshots"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
CDRS, LOCATIONS = TaskName.collect_charge_cdrs, TaskName.collect_charge_locations
HEALTH, SMS = TaskName.collect_devices_health, TaskName.send_reset_sms


def main() -> None:
    stack = Addresses.from_environment()
    results = real_results(stack)
    with busy_day(results), sync_playwright() as playwright:
        if executable(playwright.chromium) is None:
            sys.exit(NEEDED)
        expect.set_options(timeout=PATIENCE)
        browser = launch(playwright.chromium)
        for scheme in ("light", "dark"):
            with visiting(
                browser, f"http://{stack.hosting}", viewport=DESKTOP, color_scheme=scheme
            ) as desktop:
                show_desktop(desktop.sign_in("operator"), scheme)
            options = {"viewport": PHONE, "color_scheme": scheme, "device_scale_factor": 2, "has_touch": True}
            with visiting(browser, f"http://{stack.hosting}", **options) as phone:
                show_phone(phone.sign_in("operator"), scheme)
        browser.close()


def real_results(stack: Addresses) -> dict[TaskName, Any]:
    """Return the results and summaries of the demo's tasks after runs by Cloud Scheduler."""
    demo_data.seed(dt.datetime.now(dt.UTC))
    Demo(stack, [task.value for task in TaskName]).run_all()
    return {
        task: (tasks.get_task_data(task), tasks.get_task_result(task, include_data=False).summary)
        for task in TaskName
    }


@contextmanager
def busy_day(results: dict[TaskName, Any]) -> Iterator[None]:
    """Create a history for each task, with one running, one failed and one suspended task."""
    for task in TaskName:
        clear(task)
    past = Past(dt.datetime.now(dt.UTC))

    def lived(task: TaskName, minutes: float, **options: Any) -> None:
        result, summary = results[task]
        past.of(task, every=dt.timedelta(minutes=minutes), result=lambda: result, summary=summary, **options)

    lived(CDRS, 60, save_in="storage", seconds=lambda n: 41 + n * 7 % 13 + n / 2, fails=lambda n: n == 17,
          last=dt.timedelta(minutes=58))  # fmt: skip
    lived(LOCATIONS, 120, save_in="storage", seconds=lambda n: 18 + n * 5 % 7 + 30 * (n == 31),
          fails=lambda n: n in {9, 10, 49}, last=dt.timedelta(minutes=2))  # fmt: skip
    lived(HEALTH, 5, seconds=lambda n: 2.1 + n * 3 % 5 / 4, last=dt.timedelta(minutes=2))
    lived(
        SMS,
        60,
        save_in="none",
        seconds=lambda n: 0.8 + n * 11 % 6 / 5,
        count=44,
        last=dt.timedelta(minutes=34),
    )
    tasks.suspend_task(SMS, by="operator@example.com", reason="Twilio changes our numbers until noon")
    with held_run(CDRS, results[CDRS][0], "firebase-schedule-collect_charge_cdrs-us-central1") as run:
        for number in range(1, 13):
            run.log("info", "page read", operator="north", page=number, records=200 + number * 7 % 9)
        run.log(
            "warning", "record set aside", operator="north", record="CH/NXN/CDR002391", reason="no end time"
        )
        run.log("error", "page not read", operator="south", page=1, status=503, attempt=2)
        run.log("info", "page read", operator="south", page=1, records=212)
        run.progress(2480, 3996, "reading north")
        yield


def show_desktop(visit: Visit, scheme: str) -> None:
    page = visit.page
    wait_for_tasks(page)
    keep(page, f"tasks-{scheme}", height=720)
    visit.open(f"/tasks/{LOCATIONS.value}")
    page.locator(".runs li[data-state=failed] button").first.click()
    page.wait_for_selector(".trace")
    page.wait_for_selector(".u-wrap canvas")
    keep(page, f"history-{scheme}", height=860)
    visit.open_result(LOCATIONS)
    page.wait_for_selector(".rows .cells")
    keep(page, f"result-{scheme}", height=1080)
    show_log(visit, scheme)
    show_timeline(visit, scheme)


def show_log(visit: Visit, scheme: str) -> None:
    page = visit.page
    visit.open(f"/tasks/{CDRS.value}")
    page.locator(".runs li[data-state=running] .entry").click()
    page.wait_for_selector(".log [data-level=error]")
    page.locator(".log").scroll_into_view_if_needed()
    keep(page, f"log-{scheme}", part=".runs li[data-state=running]")


def show_timeline(visit: Visit, scheme: str) -> None:
    visit.page.goto(f"{visit.base}/timeline")
    visit.page.wait_for_selector(".timeline[aria-busy=false] canvas")
    keep(visit.page, f"timeline-{scheme}", height=620)


def show_phone(visit: Visit, scheme: str) -> None:
    wait_for_tasks(visit.page)
    keep(visit.page, f"phone-{scheme}")


def wait_for_tasks(page: Page) -> None:
    """Wait until the page shows every task completely."""
    page.wait_for_selector(f"[data-task={CDRS.value}] .working progress[value]")
    for task in TaskName:
        page.wait_for_selector(f"[data-task={task.value}] .bar")


def keep(page: Page, name: str, height: int | None = None, part: str | None = None) -> None:
    """Save a screenshot of the page, or of a part of it."""
    if height is not None:
        page.set_viewport_size({"width": DESKTOP["width"], "height": height})
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("() => document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
    shown = page.screenshot() if part is None else page.locator(part).screenshot()
    taken = Image.open(io.BytesIO(shown)).convert("RGB")
    path = FOLDER / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with_few_colours(taken).save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB\n")


def with_few_colours(image: Image.Image) -> Image.Image:
    """Reduce an image to 256 colours, keeping the most frequent ones exactly."""
    counted: list[Any] = sorted(image.getcolors(image.width * image.height) or [], reverse=True)
    frequent = [part for _, colour in counted[:192] for part in colour]
    rest = image.quantize(64, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent, *rest[: 64 * 3]])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
