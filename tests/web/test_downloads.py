"""Downloads of a result on the page: formats, cells that a spreadsheet would execute, and large results."""

import csv
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from cli import exports
from shared.tasks import TaskName, execute_task
from tests.support.formulas import FORMULAS
from tests.waiting import PAUSE_SECONDS
from tests.web import past as pasts
from tests.web.browsing import launch, visiting

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.conftest import Open

#: Successive tests read different tasks, because an instance may serve a cached result for some seconds.
HEALTH, CDRS = TaskName.collect_devices_health, TaskName.collect_charge_cdrs
BYTE_ORDER_MARK = "\ufeff".encode()
#: The names of the formats on the page, and the end of the file's name.
FORMATS = {
    "JSON": "json",
    "NDJSON, a record per line": "ndjson",
    "CSV for spreadsheets": "csv",
    "CSV, unchanged": "csv",
}


def downloaded(page: Page, task: TaskName, form: str) -> bytes:
    """Download the shown result of a task in a format."""
    page.get_by_label("Format of the download").select_option(form)
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Download ")).click()
    assert download.value.suggested_filename == f"{task.value}.{FORMATS[form]}"
    return Path(download.value.path()).read_bytes()


def exported(export: Callable[..., None], stored: bytes, **options: bool) -> bytes:
    """Return what the command line exports."""
    target = io.BytesIO()
    export(io.BytesIO(stored), target, **options)
    return target.getvalue()


RESULTS: dict[str, Any] = {
    "records": [
        {"id": 2**53 + 1, "name": 'Zürich, "HB"\n充電', "on": True, "float": 1e22, "small": 0.00001},
        {"id": -5, "name": None, "nested": {"a": [1, "x,y", 2**60 + 1]}, "=late": "\U0001f50b"},
        "no map",
        [1, 2],
        {"": ""},
    ],
    "map": {"a": 1, "=b": {"c": []}, "d": '\\"'},
    "empty list": [],
    "empty map": {},
    "number": 0,
    "text": "",
    "formulas": [
        *({"n": -5, "a": text, text: {text: [text]}} for text in (*FORMULAS, "5+A1", "5")),
        {"n": -5, "a": 5, "b": True},
        {"n": "-", "a": "5+"},
    ],
}


@pytest.mark.parametrize(
    ("task", "result"), list(zip(cycle([HEALTH, CDRS]), RESULTS, strict=False)), ids=RESULTS
)
def test_a_download_equals_the_command_line_s_export(visit: "Open", task: TaskName, result: str) -> None:
    """In every format and for every kind of result, but for the byte order mark."""
    assert execute_task("test", task, lambda: RESULTS[result]).status == "completed"
    page = visit("operator").open_result(task).page
    stored = downloaded(page, task, "JSON")
    assert json.loads(stored) == RESULTS[result]
    assert downloaded(page, task, "NDJSON, a record per line") == exported(exports.write_ndjson, stored)
    table = exported(exports.write_csv, stored)
    assert downloaded(page, task, "CSV for spreadsheets") == (table and BYTE_ORDER_MARK + table)
    assert downloaded(page, task, "CSV, unchanged") == exported(exports.write_csv, stored, raw=True)


def test_a_spreadsheet_executes_no_cell(visit: "Open") -> None:
    """Formulas in text and headings get an apostrophe unless the CSV is unchanged; numbers stay numbers."""
    execute_task("test", CDRS, lambda: [{"=h": text, "n": -5} for text in FORMULAS])
    page = visit("operator").open_result(CDRS).page

    def rows(form: str) -> list[list[str]]:
        return list(csv.reader(io.StringIO(downloaded(page, CDRS, form).decode("utf-8-sig"), newline="")))

    assert rows("CSV for spreadsheets") == [["'=h", "n"], *([text, "-5"] for text in FORMULAS.values())]
    expect(page.get_by_text("A spreadsheet may execute")).to_have_count(0)
    assert rows("CSV, unchanged") == [["=h", "n"], *([text, "-5"] for text in FORMULAS)]
    expect(page.get_by_text("A spreadsheet may execute text of this file.")).to_be_visible()


def test_the_page_can_be_searched_during_a_download(visit: "Open") -> None:
    """A download that waits for the service does not block the page, and can be cancelled and repeated."""
    execute_task("test", HEALTH, lambda: list(pasts.devices(300)))
    page = visit("operator").open_result(HEALTH).page
    held: list[Route] = []
    page.route("**/get_task_data", lambda route: held.append(route))  # noqa: PLW0108  (Playwright marks it)
    page.get_by_role("button", name="Download JSON").click()
    expect(page.get_by_role("button", name="Cancel download")).to_be_visible()
    page.get_by_label("Search the result").fill("tracker-000042")
    expect(page.get_by_text("1 of 300 records")).to_be_visible()
    page.get_by_role("button", name="Cancel download").click()
    expect(page.get_by_role("button", name="Download JSON")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.unroute("**/get_task_data")
    assert json.loads(downloaded(page, HEALTH, "JSON")) == list(pasts.devices(300))


def test_a_broken_connection_fails_a_download(visit: "Open") -> None:
    """The page shows the error, and the download can be repeated."""
    execute_task("test", CDRS, lambda: [{"n": 1}])
    page = visit("operator").open_result(CDRS).page
    page.route("**/get_task_data", lambda route: route.abort())
    page.get_by_role("button", name="Download JSON").click()
    expect(page.get_by_role("alert")).to_have_text("Download failed: Cannot reach the service.")
    page.unroute("**/get_task_data")
    assert json.loads(downloaded(page, CDRS, "JSON")) == [{"n": 1}]
    expect(page.get_by_role("alert")).to_have_count(0)


#: Size of the large result in megabytes: several times what the page grows by, whatever the size.
LARGE_MB = 180
#: Limits the garbage that accumulates, so that it does not hide a copy of the result.
SMALL_HEAP = "--js-flags=--max-heap-size=24"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of processes from /proc")
def test_a_large_result_is_never_in_the_page_s_memory(
    past: "pasts.Past", browser: Browser, stack: "Addresses", tell: Callable[[str], None]
) -> None:
    """The process of the page grows by less than half the file, so it holds no copy at any time."""
    record = {"id": 1, "text": "a text of some length, " * 180, "=x": -1}
    count = LARGE_MB * 1_000_000 // len(json.dumps(record))

    def works() -> Iterator[dict[str, Any]]:
        for _ in range(count):
            yield record

    def small(route: Route) -> None:  # for the view, which holds the records that it shows
        if "if_version" not in (route.request.post_data or ""):
            return route.continue_()
        shown = {"version": "small", "completed": None, "stale": False, "data": [record]}
        return route.fulfill(json={"result": shown}, headers={"access-control-allow-origin": "*"})

    task = TaskName.collect_charge_locations
    assert execute_task("test", task, works, {"save_in": "storage"}).status == "completed"
    with (
        launch(browser.browser_type, SMALL_HEAP) as lean,
        visiting(lean, f"http://{stack.hosting}") as viewer,
    ):
        page = viewer.page
        page.route("**/get_task_data", small)
        viewer.sign_in("viewer").open(f"/tasks/{task.value}/result")
        expect(page.get_by_role("grid")).to_be_visible()
        page.get_by_label("Format of the download").select_option("NDJSON, a record per line")
        with renderer_growth(lean) as growth, page.expect_download(timeout=180_000) as download:
            page.get_by_role("button", name="Download NDJSON").click()
        written = Path(download.value.path()).stat().st_size
    megabytes = [size / 1e6 for size in (written, growth[0])]
    tell("NDJSON of {:.0f} MB downloaded: the page's process grew by {:.0f} MB at most".format(*megabytes))
    assert written > LARGE_MB * 900_000
    assert growth[0] < written / 2


@contextmanager
def renderer_growth(browser: Browser) -> Iterator[list[int]]:
    """Yield a list with the growth of the renderers' resident memory at its peak, in bytes."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    status = [Path(f"/proc/{each['id']}/status") for each in processes if each["type"] == "renderer"]
    assert status

    def resident() -> int:
        found = (re.search(r"VmRSS:\s+(\d+) kB", path.read_text("utf-8")) for path in status if path.exists())
        return sum(int(match[1]) * 1024 for match in found if match)

    before, peak, over = resident(), [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            peak[0] = max(peak[0], resident() - before)
            time.sleep(PAUSE_SECONDS)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        over.set()
        watching.join()
