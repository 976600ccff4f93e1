"""Cost of a whole run of an empty task, compared with the bare calls that the contract requires."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.report import Measure, interleaved
from shared import firebase
from shared.tasks import TaskEngine, TaskName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Different tasks, because an instance's knowledge of a task is worthless after another has run it.
WARM_TASK, COLD_TASK = TaskName.collect_charge_cdrs, TaskName.collect_charge_locations
DATA = [{"id": "1", "health": "good"}]
ROUNDS, WARM_UP = 300, 150


def measures() -> Iterator[Measure]:
    """Measure each save mode, on an instance that ran the task last and on a new one."""
    for save_in in ("db", "none", "storage"):
        warm = TaskEngine()
        ways = {
            "warm": run(lambda warm=warm: warm, WARM_TASK, save_in),  # type: ignore[misc]
            "cold": run(TaskEngine, COLD_TASK, save_in),
            "bare": bare(save_in),
        }
        parts = interleaved(ways, rounds=ROUNDS, warm_up=WARM_UP)
        for name in ("warm", "cold"):
            shown = {name: parts[name], "bare": parts["bare"]}
            yield Measure(f"run, {save_in}, {name} : bare calls", parts[name] / parts["bare"], shown)


def run(engine: Callable[[], TaskEngine], task: TaskName, save_in: str) -> Callable[[], Any]:
    """Return a function that carries out a whole run of a task that does nothing."""
    options = {"save_in": save_in, "debug_logs": False}
    return lambda: engine().execute_task("bench", task, lambda: DATA, options)


def bare(save_in: str) -> Callable[[], Any]:
    """Return a function that makes only the contract's calls: set, upload for "storage", set with merge."""
    reference = firebase.firestore_client().document("bench/bare")
    blob = firebase.bucket().blob("bench/bare.json")

    def calls() -> None:
        now = datetime.now(UTC)
        reference.set({"source": "bench", "status": "running", "started": now, "timestamp": now, "error": ""})
        data: Any = DATA if save_in == "db" else "no data to save"
        if save_in == "storage":
            blob.upload_from_string(json.dumps(DATA), content_type="application/json")
            data = "https://storage.googleapis.com/signed"
        now = datetime.now(UTC)
        reference.set({"status": "completed", "completed": now, "timestamp": now, "data": data}, merge=True)

    return calls
