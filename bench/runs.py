"""What a whole run of an empty task costs, beside the bare calls that the contract's original makes."""

from __future__ import annotations

import json
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bench.report import Measure, interleaved
from shared import firebase
from shared.tasks import TaskEngine, TaskName
from shared.tasks.backends.storage import Objects
from shared.tasks.runtime.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A task of its own each: what one instance remembers is worth nothing once another ran the task.
WARM_TASK, COLD_TASK = TaskName.collect_charge_cdrs, TaskName.collect_charge_locations
INLINE_TASK = TaskName.collect_devices_health
DATA = [{"id": "1", "health": "good"}]
ROUNDS, WARM_UP = 300, 150
#: A run in the database is to cost no more than the original's calls.
AIM = 1.0


def measures() -> Iterator[Measure]:
    """Measure each save mode, on an instance that ran the task last and on one that did not."""
    inline = on_the_callers_thread()
    for save_in in ("db", "none", "storage"):
        stored = Stored()
        warm = TaskEngine(objects=stored)
        ways = {
            "warm": run(lambda warm=warm: warm, WARM_TASK, save_in),  # type: ignore[misc]
            "cold": run(TaskEngine, COLD_TASK, save_in),
            "bare": bare(save_in),
        }
        if save_in == "db":
            ways["inline"] = run(lambda: inline, INLINE_TASK, save_in)
        parts = interleaved(ways, rounds=ROUNDS, warm_up=WARM_UP)
        # In Storage the mirror is a second object: the figure stands with its parts.
        limit = AIM if save_in == "db" else None
        for name in ("warm", "cold"):
            shown = {name: parts[name], "bare": parts["bare"]}
            shown |= stored.medians() if name == "warm" else {}
            ratio = parts[name] / parts["bare"]
            yield Measure(
                f"run, {save_in}, {name} : bare calls", ratio, limit if name == "warm" else None, shown
            )
        if save_in == "db":
            shown = {"inline": parts["inline"], "bare": parts["bare"]}
            ratio = parts["inline"] / parts["bare"]
            yield Measure("run, db, warm, on the caller's thread : bare calls", ratio, None, shown)


class Inline(Workers):
    """Has each call made at once, by whoever hands it over: what a thread of its own costs is left out."""

    def hand(self, call: Callable[[], None]) -> None:
        """Make the call."""
        call()


def on_the_callers_thread() -> TaskEngine:
    """Return an engine whose tasks work on their caller's thread, where no deadline holds."""
    engine = TaskEngine()
    engine._parts = replace(engine._parts, workers=Inline())  # noqa: SLF001  (no engine of the product's is so)
    return engine


class Stored(Objects):
    """The bucket, with a watch on what a run asks of it."""

    def __init__(self) -> None:
        super().__init__(firebase.bucket)
        self._taken: dict[str, list[float]] = {}

    def write(self, *arguments: Any, **options: Any) -> Any:
        """Upload, timed."""
        return self._timed("upload", lambda: super(Stored, self).write(*arguments, **options))

    def metadata(self, *arguments: Any, **options: Any) -> Any:
        """Look at the mirror, timed."""
        return self._timed("look at mirror", lambda: super(Stored, self).metadata(*arguments, **options))

    def copy(self, *arguments: Any, **options: Any) -> Any:
        """Copy to the mirror, timed."""
        return self._timed("copy to mirror", lambda: super(Stored, self).copy(*arguments, **options))

    def medians(self) -> dict[str, float]:
        """What each took, milliseconds."""
        return {name: statistics.median(taken[WARM_UP:]) for name, taken in self._taken.items()}

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = call()
        self._taken.setdefault(name, []).append((time.perf_counter() - began) * 1000)
        return done


def run(engine: Callable[[], TaskEngine], task: TaskName, save_in: str) -> Callable[[], Any]:
    """A whole run of a task that does nothing."""
    options = {"save_in": save_in, "debug_logs": False}
    return lambda: engine().execute_task("bench", task, lambda: DATA, options)


def bare(save_in: str) -> Callable[[], Any]:
    """The contract's calls and nothing else: set, upload where Storage keeps the result, set with merge."""
    reference = firebase.firestore_client().document("bench/original")
    blob = firebase.bucket().blob("bench/original.json")

    def original() -> None:
        now = datetime.now(UTC)
        reference.set({"source": "bench", "status": "running", "started": now, "timestamp": now, "error": ""})
        data: Any = DATA if save_in == "db" else "no data to save"
        if save_in == "storage":
            blob.upload_from_string(json.dumps(DATA), content_type="application/json")
            data = "https://storage.googleapis.com/signed"
        now = datetime.now(UTC)
        reference.set({"status": "completed", "completed": now, "timestamp": now, "data": data}, merge=True)

    return original
