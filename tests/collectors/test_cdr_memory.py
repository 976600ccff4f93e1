"""A million CDRs: merged and collected in memory that does not grow with them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.collectors.hostile import TOKEN, Asked, hostile
from tests.collectors.ocpi_samples import cdr

ROOT = Path(__file__).resolve().parents[2]
PAGE = 250
#: Stands in a record for its number.
PLACE = "NUMBER"


def counting(total: int) -> Callable[[Asked], None]:
    """So many CDRs of 1.5 kB in an order that is no order, 250 a page."""
    said = json.dumps(cdr(id=PLACE, remark="x" * 200, session_id=PLACE))

    def lists(asked: Asked) -> None:
        offset = int(asked.query.get("offset", 0))
        numbers = (number * 7_919 % total for number in range(offset, min(offset + PAGE, total)))
        page = ",".join(said.replace(PLACE, f"NEW{number:09}") for number in numbers)
        following = {"Link": f'</cdrs?offset={offset + PAGE}>; rel="next"'} if offset + PAGE < total else {}
        envelope = f'{{"status_code":1000,"timestamp":"2026-05-05T12:00:00Z","data":[{page}]}}'
        asked.body(envelope.encode(), X_Total_Count=str(total), X_Limit=str(PAGE), **following)

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
    """Under 200 MB, with the limits of production; every record is there, each once."""
    said = collected("cdrs", known, fresh)
    record_property("collected", f"{known + fresh} CDRs in {said['seconds']:.0f} s, {said['peak_mb']:.0f} MB")
    assert said["peak_mb"] < 200


@pytest.mark.parametrize(
    ("known", "fresh"), [(20_000, 10_000), pytest.param(1_000_000, 20_000, marks=pytest.mark.full)]
)
@pytest.mark.usefixtures("clean_firestore")
def test_memory_does_not_grow_with_the_result(
    known: int, fresh: int, record_property: Callable[[str, object], None]
) -> None:
    """Under 300 MB, the last result read from Storage and the next one written there."""
    said = collected("published", known, fresh)
    record_property("published", f"{known + fresh} CDRs in {said['seconds']:.0f} s, {said['peak_mb']:.0f} MB")
    assert said["peak_mb"] < 300


def collected(module: str, known: int, fresh: int) -> Any:
    """What a collection in a process of its own tells; so many CDRs were known, and so many are new."""
    with hostile(counting(fresh)) as server:
        url = f"{server.url}/versions"
        command = [sys.executable, "-m", "tests.collectors.collecting", module, url, TOKEN, str(known)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=1_800)
    said = json.loads(ran.stdout.splitlines()[-1])
    assert (said["count"], said["error"]) == (known + fresh, "")
    assert (said["summary"]["credits"], said["summary"]["credited"]) == (known // 50, known // 50)
    return said
