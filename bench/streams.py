"""Cost of a result that a task yields record by record: time compared with a bare upload, and memory."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from bench.report import Measure, interleaved
from shared import firebase
from shared.tasks import TaskEngine, TaskName
from shared.tasks.results import gzipped
from tests.memory import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

TASK = TaskName.collect_charge_cdrs
ROOT = Path(__file__).resolve().parents[1]
#: Records per round, and rounds.
RECORDS, ROUNDS, WARM_UP = 30_000, 9, 2
#: Records of the runs whose memory is measured. The first run is shown for comparison: it is uploaded
#: before a piece of `CHUNK_BYTES` is full.
SIZES = (10_000, 100_000, 1_000_000)


def measures() -> Iterator[Measure]:
    """Measure time in this process, and memory in a new process for each size."""
    yield from _times()
    resident = {f"{size:,} records": _resident(size) / 1e6 for size in SIZES}
    *_, before, last = resident.values()
    yield Measure(
        f"streamed and read back, resident, {SIZES[-1]:,} : {SIZES[-2]:,} records",
        last / before,
        resident,
        unit="MB",
    )


def cdrs(number: int) -> Iterator[dict[str, Any]]:
    """Yield charge detail records like those of operators, 1.5 KB of JSON each, the same in each run."""
    draw = random.Random(1)  # noqa: S311  (not a secret)
    for place in range(number):
        yield {
            "country_code": "DE",
            "party_id": "ABC",
            "id": f"cdr-{place:09d}-{draw.getrandbits(64):016x}",
            "start_date_time": f"2026-10-01T10:{place % 60:02d}:00Z",
            "end_date_time": "2026-10-01T11:00:00Z",
            "session_id": f"{draw.getrandbits(128):032x}",
            "cdr_token": {
                "country_code": "DE",
                "party_id": "EMP",
                "uid": f"{draw.getrandbits(56):014X}",
                "type": "RFID",
                "contract_id": f"DE-EMP-C{place % 100_000:08d}",
            },
            "auth_method": "WHITELIST",
            "cdr_location": {
                "id": f"LOC{place % 5_000}",
                "address": f"Hauptstrasse {place % 200}",
                "city": "Berlin",
                "postal_code": "10115",
                "country": "DEU",
                "coordinates": {"latitude": "52.520008", "longitude": "13.404954"},
                "evse_uid": f"{place % 20_000}",
                "evse_id": f"DE*ABC*E{place % 20_000:06d}",
                "connector_id": "1",
                "connector_standard": "IEC_62196_T2",
                "connector_format": "SOCKET",
                "connector_power_type": "AC_3_PHASE",
            },
            "currency": "EUR",
            "tariffs": [
                {
                    "id": "12",
                    "currency": "EUR",
                    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.45, "step_size": 1}]}],
                    "last_updated": "2026-01-01T00:00:00Z",
                }
            ],
            "charging_periods": [
                {
                    "start_date_time": f"2026-10-01T10:{15 * quarter:02d}:00Z",
                    "dimensions": [
                        {"type": "ENERGY", "volume": round(draw.random() * 10, 3)},
                        {"type": "TIME", "volume": 0.25},
                    ],
                    "tariff_id": "12",
                }
                for quarter in range(4)
            ],
            "total_cost": {"excl_vat": round(draw.random() * 40, 2)},
            "total_energy": round(draw.random() * 60, 3),
            "total_time": 1.973,
            "last_updated": f"2026-10-01T11:{place % 60:02d}:01Z",
        }


def _times() -> Iterator[Measure]:
    records = list(cdrs(RECORDS))
    encoded = orjson.dumps(records)
    blob, engine = firebase.bucket().blob("bench/stream.json"), TaskEngine()

    def bare() -> None:
        blob.upload_from_string(encoded, content_type="application/json")

    def compressed() -> None:
        stored = gzipped.member(gzipped.compress(encoded))
        blob.upload_from_string(stored, content_type="application/json")

    def streamed() -> None:
        _run(engine, iter(records))

    parts = interleaved(
        {"streamed": streamed, "bare": bare, "compressed": compressed}, rounds=ROUNDS, warm_up=WARM_UP
    )
    for name in ("bare", "compressed"):
        yield Measure(
            f"records per second, streamed : {name} upload of their JSON",
            parts[name] / parts["streamed"],
            {"streamed": parts["streamed"], name: parts[name]},
        )


def _run(engine: TaskEngine, records: Iterator[dict[str, Any]]) -> None:
    outcome = engine.execute_task("bench", TASK, lambda: records, {"save_in": "storage", "debug_logs": False})
    if outcome.status != "completed":
        raise RuntimeError(outcome.error)


def _resident(size: int) -> int:
    """Return the peak resident bytes of a process that streams so many records and reads them back."""
    told = subprocess.run(  # noqa: S603  (this module)
        [sys.executable, "-m", "bench.streams", str(size)], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    return int(told.stdout)


def main(size: str) -> None:
    """Stream, read back, and print the peak."""
    engine = TaskEngine()
    _run(engine, cdrs(int(size)))
    if sum(1 for _ in engine.iter_task_data(TASK)) != int(size):
        raise RuntimeError("records were lost")
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
