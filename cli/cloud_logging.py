"""The link to the log entries of a run in Cloud Logging; `web/src/cloud-logging.ts` has the same rules."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import quote


def log_filter(task: str, run_id: str, since: str | None = None) -> str:
    """Return the filter for the log entries of a run, in Cloud Logging's query language.

    Args:
        task: Name of the task.
        run_id: Id of the run.
        since: Time before the first entry, RFC 3339. Without it, the Logs Explorer shows the last hour.
    """
    fields = {"jsonPayload.task": task, "jsonPayload.run_id": run_id}
    lines = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join([*lines, *([] if since is None else [f'timestamp>="{since}"'])])


def log_url(project: str, task: str, run_id: str, since: str | None = None) -> str:
    """Return the address of the Logs Explorer with the entries that `log_filter` finds in a project."""
    query = quote(log_filter(task, run_id, since), safe="")
    return f"https://console.cloud.google.com/logs/query;query={query}?project={quote(project, safe='')}"


def first_time(run: dict[str, Any]) -> str | None:
    """Return the time before the first entry of a run, RFC 3339; None if it is not known.

    Args:
        run: The run, as `get_run` returns it.
    """
    times = [run["scheduled_for"], (run["requested"] or {}).get("at"), run["started"]]
    return min((moment for moment in times if moment), key=datetime.fromisoformat, default=None)
