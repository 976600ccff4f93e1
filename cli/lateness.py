"""How late a task's result is, compared with the ticks of its schedule, as the page computes it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

#: By how much a run may exceed the duration of the last one before its result counts as late.
GRACE = timedelta(seconds=90)
#: The tick or the time of the request in a run's id.
_TICK = re.compile(r"(?:request-)?(\d{4}-\d\d-\d\dT[\d:.]+Z)")


def late_runs(task: dict[str, Any], now: datetime) -> tuple[int, bool]:
    """Return how many runs a task's result is late, and whether that is at least the number of known ticks.

    The next run may take as long from its tick to its result as the last one did, which may be several ticks.
    A suspended task is not late.

    Args:
        task: The task, as `list_tasks` returns it.
        now: The server's time.
    """
    result, ticks = task["result"], [datetime.fromisoformat(tick) for tick in task.get("recent_ticks") or ()]
    if task.get("suspended") or not result or not result.get("completed") or not ticks:
        return 0, False
    published = datetime.fromisoformat(result["completed"])
    of_run = _TICK.fullmatch(result.get("run_id") or "")
    before = [tick for tick in ticks if tick <= published]
    tick = datetime.fromisoformat(of_run[1]) if of_run else before[0] if before else published
    took = min(published - tick, timedelta(seconds=task["deadline_seconds"]))
    late = sum(1 for each in ticks if each > published and each + took + GRACE < now)
    return late, late == len(ticks)


def words(task: dict[str, Any], now: datetime) -> str:
    """Return how late a task's result is as text; empty if it is on time."""
    count, is_all = late_runs(task, now)
    if count == 0:
        return ""
    if is_all:
        return f"{count} or more runs late"
    return "1 run late" if count == 1 else f"{count} runs late"
