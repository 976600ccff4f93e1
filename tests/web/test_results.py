"""The view of a result: search without hits, positions, and numbers."""

import datetime as dt
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from shared.tasks import TaskName, execute_task
from tests.web import past as pasts

if TYPE_CHECKING:
    from tests.web.conftest import Open

HEALTH, LOCATIONS = TaskName.collect_devices_health, TaskName.collect_charge_locations


def test_a_search_without_hits_has_a_note_in_place_of_the_rows(visit: "Open") -> None:
    """It names the search and the filter, and a button clears both."""
    execute_task("test", HEALTH, lambda: list(pasts.devices(40)))
    execute_task("test", LOCATIONS, lambda: {"sums": {"DE": 12}})
    page = visit("viewer")
    one = page.open_result(HEALTH).page
    one.get_by_role("button", name=re.compile("^offline")).click()
    one.get_by_label("Search the result").fill("tracker-none")
    expect(one.locator(".nohits")).to_contain_text("No record with health offline contains “tracker-none”.")
    expect(one.get_by_role("grid").get_by_role("row")).to_have_count(1)  # the headings
    one.get_by_role("button", name="Clear search and filter").click()
    expect(one.get_by_role("grid")).to_have_attribute("aria-rowcount", "41")
    page.open_result(LOCATIONS)
    one.get_by_label("Search the result").fill("FR")
    expect(one.locator(".nohits")).to_contain_text("No field contains “FR”.")
    one.get_by_role("button", name="Clear the search").click()
    expect(one.get_by_role("tree")).to_contain_text("DE")


#: Counts the pixels near the centre of the drawing that have the colour of each kind in the legend.
PIXELS = """() => {
  const canvas = document.querySelector(".canvas canvas");
  const [x, y] = [canvas.width / 2, canvas.height / 2];
  const { data } = canvas.getContext("2d").getImageData(x - 8, y - 8, 16, 16);
  const near = (one, other) => one.every((part, index) => Math.abs(part - other[index]) < 40);
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number).slice(0, 3);
  const sheet = numbers(getComputedStyle(canvas).backgroundColor);
  return [...document.querySelectorAll(".kind")].map((kind) => {
    const ink = numbers(getComputedStyle(kind, "::before").backgroundColor);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      const share = data[at + 3] / 255;
      const shown = sheet.map((part, index) => part * (1 - share) + data[at + index] * share);
      const wanted = sheet.map((part, index) => part * 0.25 + ink[index] * 0.75);
      if (near(shown, wanted)) count += 1;
    }
    return count;
  });
}"""


def test_no_operator_hides_another_at_the_same_place(visit: "Open") -> None:
    """A place with records of several operators is drawn in the colours of all of them."""
    records = [
        {"id": f"{operator}-{number}", "nx_operator": operator, "name": f"{operator} {number}",
         "coordinates": {"latitude": "47.3", "longitude": "8.5"}}
        for operator in ("north", "south", "west")
        for number in range(5)
    ]  # fmt: skip
    execute_task("test", LOCATIONS, lambda: records)
    page = visit("viewer").open_result(LOCATIONS).page
    drawing = page.get_by_role("img", name=re.compile("^15 points"))
    expect(drawing).to_be_visible()
    page.wait_for_function(f"() => ({PIXELS})().every((count) => count > 5)")
    box = drawing.bounding_box()
    assert box is not None
    drawing.hover(position={"x": box["width"] / 2, "y": box["height"] / 2})
    expect(page.locator(".canvas .hint")).to_contain_text("and 14 more at this place")


def test_the_legend_at_rest_shows_the_last_run(visit: "Open", past: pasts.Past) -> None:
    """Without the pointer on a chart, its legend has the values of the last point."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda n: 2 + n, count=5)
    page = visit("viewer").open(f"/tasks/{HEALTH.value}").page
    values = page.locator(".charts figure").first.locator(".u-legend .u-value")
    expect(values.nth(1)).to_have_text("6.0 s")
    plot = page.locator(".u-over").first
    plot.hover(position={"x": 2, "y": 20})
    expect(values.nth(1)).to_have_text("2.0 s")
    page.mouse.move(0, 0)
    expect(values.nth(1)).to_have_text("6.0 s")


#: Counts the pixels of the last chart that have the colour of its line.
DRAWN = """() => {
  const figure = [...document.querySelectorAll(".charts figure")].at(-1);
  const canvas = figure.querySelector("canvas");
  const marker = figure.querySelectorAll(".u-marker")[1];
  const ink = getComputedStyle(marker).borderColor.match(/[\\d.]+/g).map(Number).slice(0, 3);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    const near = ink.every((part, index) => Math.abs(part - data[at + index]) < 30);
    if (near && data[at + 3] > 200) count += 1;
  }
  return count;
}"""


def test_a_chart_shows_a_single_run(visit: "Open", past: pasts.Past) -> None:
    """A line needs two runs, so the only one with a result is a point."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=1)
    assert execute_task("test", HEALTH, lambda: 1 / 0).status == "failed"
    page = visit("viewer").open(f"/tasks/{HEALTH.value}").page
    expect(page.locator(".charts figcaption").last).to_contain_text("1 run")
    page.wait_for_function(f"() => ({DRAWN})() > 20")


def test_numbers_are_formatted_alike(visit: "Open", past: pasts.Past) -> None:
    """Counts of the overview, the history and a summary have the same separators, and no digit is lost."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1] * 1234, seconds=lambda _: 1,
            count=1, summary={"records": 1234567, "share": 0.12345})  # fmt: skip

    def fails(run: object) -> None:
        run.progress(2480, 39960, "reading")  # type: ignore[attr-defined]
        raise ValueError("no answer")

    assert execute_task("test", HEALTH, fails).status == "failed"
    page = visit("viewer")
    expect(page.row(HEALTH.value)).to_contain_text("1,234 records")
    page.open(f"/tasks/{HEALTH.value}").page.locator(".runs li[data-state=failed] button").click()
    expect(page.page.locator(".runs .facts")).to_contain_text("2,480 of 39,960 reading")
    page.open_result(HEALTH)
    expect(page.page.locator(".summary")).to_contain_text(re.compile("records1,234,567.*share0.12345"))
