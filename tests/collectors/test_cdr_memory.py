"""A million CDRs are merged and collected in constant memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.collectors.hostile import TOKEN, HttpRequest, hostile
from tests.collectors.ocpi_samples import cdr

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
PAGE = 250
#: Placeholder for a record's number.
PLACE = "NUMBER"


def counting(total: int) -> Callable[[HttpRequest], None]:
    """A list of `total` CDRs of 1.5 kB in a shuffled order, 250 per page."""
    template = json.dumps(cdr(id=PLACE, remark="x" * 200, session_id=PLACE))

    def lists(request: HttpRequest) -> None:
        offset = int(request.query.get("offset", 0))
        numbers = (number * 7_919 % total for number in range(offset, min(offset + PAGE, total)))
        page = ",".join(template.replace(PLACE, f"NEW{number:09}") for number in numbers)
        following = {"Link": f'</cdrs?offset={offset + PAGE}>; rel="next"'} if offset + PAGE < total else {}
        envelope = f'{{"status_code":1000,"timestamp":"2026-05-05T12:00:00Z","data":[{page}]}}'
        request.body(envelope.encode(), X_Total_Count=str(total), X_Limit=str(PAGE), **following)

    return lists


@pytest.mark.parametrize(
    ("known", "fresh"),
    [
        (20_000, 10_000),
        pytest.param(1_000_000, 20_000, marks=pytest.mark.full),
        pytest.param(20_000, 1_000_000, marks=pytest.mark.full),
    ],
)
def test_memory_does_not_grow_with_the_records(
    known: int, fresh: int, record_property: Callable[[str, object], None]
) -> None:
    """The peak is below 200 MB with the limits of production; each record is there once."""
    report = collected("cdrs", known, fresh)
    record_property(
        "collected", f"{known + fresh} CDRs in {report['seconds']:.0f} s, {report['peak_mb']:.0f} MB"
    )
    assert report["peak_mb"] < 200


@pytest.mark.parametrize(
    ("known", "fresh"), [(1_000, 20_000), pytest.param(20_000, 1_000_000, marks=pytest.mark.full)]
)
def test_memory_does_not_grow_with_the_records_of_earlier_legs(
    known: int, fresh: int, record_property: Callable[[str, object], None]
) -> None:
    """The peak is below 200 MB when each leg replays what those before it have read."""
    report = collected("legs", known, fresh)
    record_property("legs", f"{known + fresh} CDRs in {report['seconds']:.0f} s, {report['peak_mb']:.0f} MB")
    assert report["peak_mb"] < 200


@pytest.mark.parametrize(
    ("known", "fresh"), [(20_000, 10_000), pytest.param(1_000_000, 20_000, marks=pytest.mark.full)]
)
@pytest.mark.usefixtures("clean_firestore")
def test_memory_does_not_grow_with_the_result(
    known: int, fresh: int, record_property: Callable[[str, object], None]
) -> None:
    """The peak is below 300 MB when the last result is read from Storage and the next is written there."""
    report = collected("published", known, fresh)
    record_property(
        "published", f"{known + fresh} CDRs in {report['seconds']:.0f} s, {report['peak_mb']:.0f} MB"
    )
    assert report["peak_mb"] < 300


def collected(module: str, known: int, fresh: int) -> Any:
    """The report of a collection in its own process, with `known` old and `fresh` new CDRs."""
    with hostile(counting(fresh)) as server:
        url = f"{server.url}/versions"
        command = [sys.executable, "-m", "tests.collectors.collecting", module, url, TOKEN, str(known)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=1_800)
    report = json.loads(ran.stdout.splitlines()[-1])
    assert (report["count"], report["error"]) == (known + fresh, "")
    assert (report["summary"]["credits"], report["summary"]["credited"]) == (known // 50, known // 50)
    return report
