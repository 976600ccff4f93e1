"""The log of an opened run: live while the task works, with levels, times, search and copy."""

import datetime as dt
import re
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from playwright.sync_api import Locator, expect

from shared.tasks import TaskName, TaskRun, execute_task
from tests.functions.callable_protocol import reading_app
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open

HEALTH = TaskName.collect_devices_health
KEPT_LINES = 200


def opened(page: "Visit", run_id: str) -> Locator:
    """Open a run by its address, and return its log."""
    page.open(f"/tasks/{HEALTH.value}?run={run_id}")
    return page.page.locator(".panel .log")


def logged(count: int, *, fails: bool = False) -> str:
    """Run a task that logs lines of every level; return the run's id."""

    def works(run: TaskRun) -> list[int]:
        for number in range(count):
            run.log.info("page read", number=number)
        run.log.warning("page repeated", operator="north")
        run.log.error("page lost", operator="south")
        if fails:
            raise ValueError("no answer")
        return [1]

    return execute_task("test", HEALTH, works).run_id


def test_the_log_is_live_while_a_run_works(visit: "Open", hold: "Hold") -> None:
    """Lines appear without a reload, the newest stays in view, and the last ones come with the end."""
    run = hold(HEALTH)
    page = visit("viewer").open(f"/tasks/{HEALTH.value}")
    page.page.locator(".runs li[data-state=running] .entry").click()
    log = page.page.locator(".runs .log")
    expect(log).to_contain_text("The task has logged nothing yet.")
    for number in range(60):
        run.log("info", "page read", number=number)
    run.progress(1, 3)
    lines = log.locator("[data-level]")
    expect(lines).to_have_count(60)
    expect(log).to_contain_text("60 lines, live")
    log.scroll_into_view_if_needed()
    expect(lines.last).to_be_in_viewport()
    run.log("warning", "page repeated", operator="north")
    run.progress(2, 3)
    expect(lines).to_have_count(61)
    expect(lines.last).to_contain_text("warning page repeated operator=north")
    expect(lines.last).to_be_in_viewport()
    answers = page.answered("get_run")

    def is_unchanged() -> bool:
        page.page.evaluate("dispatchEvent(new Event('online'))")  # asks again at once
        page.page.wait_for_timeout(50)
        return any("not_modified" in answer.json()["result"] for answer in answers)

    wait_for("an answer without the log, which has not changed", is_unchanged)
    expect(lines).to_have_count(61)
    run.log("error", "page lost")
    run.end()
    expect(lines).to_have_count(62)
    expect(log).not_to_contain_text("live")


def test_lines_have_levels_and_times_with_a_zone(visit: "Open") -> None:
    """Local times with milliseconds, and the zone; a line's time has date and zone when it is pointed at."""
    log = opened(visit("viewer"), logged(1))
    line = log.locator("[data-level=error]")
    expect(line).to_contain_text("error page lost operator=south")
    time = line.locator("time")
    at = dt.datetime.fromisoformat(time.get_attribute("datetime") or "").astimezone(ZoneInfo("Europe/Zurich"))
    expect(time).to_have_text(re.compile(rf"{at:%H:%M:%S}\.\d\d\d$"))
    expect(time).to_have_attribute("title", re.compile(rf"{at.year}.* CES?T|{at.year}.* GMT\+[12]"))
    expect(log).to_contain_text(re.compile(r"Times are (CES?T|GMT\+[12]) \(Europe/Zurich\)\."))


def test_the_log_is_searched_filtered_and_copied(visit: "Open") -> None:
    """Levels and words select lines; a search without hits is answered; the shown lines are copied."""
    page = visit("viewer", permissions=["clipboard-read", "clipboard-write"])
    log = opened(page, logged(30))
    lines = log.locator("[data-level]")
    log.get_by_label("Levels").select_option("Warnings and errors")
    expect(lines).to_have_text([re.compile("page repeated"), re.compile("page lost")])
    log.get_by_label("Search the log").fill("SOUTH lost")
    expect(lines).to_have_count(1)
    expect(log.get_by_role("status").first).to_have_text("1 of 32 lines")
    log.get_by_role("button", name="Copy log").click()
    expect(log).to_contain_text("Copied.")
    copied = page.page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00) ERROR page lost operator=south", copied)
    log.get_by_label("Search the log").fill("west")
    expect(log).to_contain_text("No line matches the search and the levels.")
    log.get_by_role("button", name="Show all lines").click()
    expect(lines).to_have_count(32)


def test_dropped_lines_are_counted(visit: "Open") -> None:
    """The page states how many lines are not kept, and where they are missing."""
    log = opened(visit("viewer"), logged(KEPT_LINES + 10))
    expect(log.locator("[data-level]")).to_have_count(KEPT_LINES)
    expect(log).to_contain_text("12 earlier lines are not kept")
    expect(log.locator(".lines p").first).to_have_text("12 lines not kept")


def test_lines_of_attempts_are_separated(visit: "Open") -> None:
    """The second attempt's lines follow those of the first one."""
    tick = {"scheduled_for": dt.datetime.now(dt.UTC)}

    def works(run: TaskRun) -> list[int]:
        run.log.info("began", attempt=run.attempt)
        return [1 // (run.attempt - 1)]

    first, second = (execute_task("test", HEALTH, works, tick) for _ in range(2))
    assert (first.status, second.status, first.run_id) == ("failed", "completed", second.run_id)
    log = opened(visit("viewer"), first.run_id)
    expect(log.locator(".lines p")).to_have_text(
        [re.compile("began attempt=1"), "attempt 2", re.compile("began attempt=2")]
    )


def test_a_run_without_a_log_is_described(visit: "Open") -> None:
    log = opened(visit("viewer"), execute_task("test", HEALTH, lambda: [1]).run_id)
    expect(log).to_contain_text("The task logged nothing.")
    expect(log.get_by_role("link")).to_have_count(0)  # the local stack is not in Cloud Logging


def test_users_without_a_role_see_no_log(visit: "Open") -> None:
    """They see the run, and the page neither shows nor receives its log."""
    run_id = logged(1)
    with reading_app("reading-app@example.com", HEALTH):
        page = visit("reading-app")
        answers = page.answered("get_run")
        page.open(f"/tasks/{HEALTH.value}?run={run_id}")
        expect(page.page.locator(".panel .facts")).to_contain_text(run_id)
        expect(page.page.locator(".log")).to_have_count(0)
        assert {answer.json()["result"]["log"] for answer in answers} == {None}
