"""Tables and lines that the commands print."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from cli import lateness, times
from cli.exports import cell, rows_of
from cli.tables import FittingTable
from cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLES = {
    "completed": "green",
    "running": "cyan",
    "failed": "bold red",
    "cancelled": "magenta",
    "suspended": "yellow",
    "missed_tick": "bold red",
    "lost_leg": "yellow",
    "skipped": "yellow",
    "cancelling": "magenta",
    "resumed": "green",
    "requested": "dim",
    "refused": "yellow",
    "overdue_original": "yellow",
}
#: Type of the error of a cancelled run, whose message names the operator.
CANCELLED_TYPE = "RunCancelled"
#: Characters of an error in the table of tasks; `runs --id` shows all of it.
MAX_ERROR_LENGTH = 160
#: States of the records of a history, as `run_state` returns them.
STATES = tuple(_STYLES)
#: Matches lines of a traceback for calls of the engine or of a library (`shared/tasks/trace.py`).
_OTHER_CODE = re.compile(r" *\[(engine|library)\] ")
#: Fields of a run, and of its parts, that are times.
_TIMES = {
    "scheduled_for", "started", "completed", "until", "expires", "at", "again", "deadline", "waiting_since",
    "expected_by",
}  # fmt: skip
#: Fields of a run that `run_lines` shows at the end, in words of their own.
_IN_LINES_BELOW = {"error", "last_failure", "next_attempt", "not_retried", "outcome", "log"}
#: Fields that come first, because databases return fields in no useful order.
_FIRST = ("id", "name")
_MAX_CELL_LENGTH = 60


def tasks_table(tasks: Iterable[dict[str, Any]], now: datetime) -> FittingTable:
    """Return a table of all tasks."""
    zone = times.zone()
    next_run = f"NEXT RUN ({zone})"
    table = FittingTable(
        "TASK", "STATUS", "ACTIVITY", "RESULT", "AGE", "LATE", "SCHEDULE", next_run, "PROBLEM",
        long=("ACTIVITY", "PROBLEM"), optional=("SCHEDULE", "RESULT", next_run, "AGE", "LATE"),
    )  # fmt: skip
    for task in tasks:
        result = task["result"] or {}
        table.add(
            task["name"],
            state_text(task_status(task)),
            _activity(task),
            "no result kept" if task.get("save_in") == "none" else result_text(result),
            age(result.get("completed"), now),
            Text(lateness.words(task, now).removesuffix(" late"), style="yellow"),
            schedule(task),
            times.in_column(task["next_run"], zone, seconds=False),
            Text(_line(task["problem"] or ""), style="bold red"),
        )
    return table


def runs_table(runs: Iterable[dict[str, Any]]) -> FittingTable:
    """Return a table of a history, newest first."""
    zone = times.zone()
    table = FittingTable(
        f"STARTED ({zone})", "STATE", "DURATION", "RESULT", "REMARK", "ID",
        long=("REMARK",), optional=("RESULT", "DURATION", "ID"),
    )  # fmt: skip
    for run in runs:
        table.add(
            times.in_column(run["started"], zone),
            state_text(run_state(run)),
            duration(run["duration_seconds"]),
            result_text(run["result"] or {}),
            remark(run),
            Text(printable(run["id"]), style="dim", no_wrap=True),
        )
    return table


def run_lines(run: dict[str, Any]) -> list[Text]:
    """Return all fields of a run as lines."""
    fields = {name: _local(name, value) for name, value in run.items() if name not in _IN_LINES_BELOW}
    fields["state"] = run_state(run)
    if run_state(run) == "cancelled":  # then these are the operator's
        fields["cancelled"] = actor_text({name: fields.pop(name, None) for name in ("by", "reason")})
    checkpoint = dict(fields.pop("checkpoint", None) or {})
    positions = checkpoint.pop("positions", {})
    fields |= {"checkpoint": checkpoint or None}
    fields |= {f"position of {name}": position for name, position in positions.items()}
    lines = [
        Text.assemble((printable(f"{name}: "), "bold"), _value(value))
        for name, value in fields.items()
        if value is not None
    ]
    following = next_attempt_text(run.get("next_attempt")).removeprefix("attempt ")
    if following or run.get("not_retried"):
        text = following or f"none, because {run['not_retried']}"
        lines.append(Text.assemble(("next attempt: ", "bold"), text))
    lines += _failure_lines("error", run["error"], style="red")
    lines += _failure_lines("last failure, tried again", run.get("last_failure"), style="yellow")
    return lines


def actor_text(actor: dict[str, Any]) -> str:
    """Return who acted, when and why; callers without a role receive no reason."""
    at, reason = actor.get("at"), actor.get("reason")
    return printable(
        f"by {actor['by']}{f' at {times.full(at)}' if at else ''}{f': {reason}' if reason else ''}"
    )


def _local(name: str, value: Any) -> Any:
    """Return a field of a run with its times in the local zone; ids may look like times."""
    if isinstance(value, dict) and "by" in value:
        return actor_text(value)
    if isinstance(value, dict):
        return {inner: _local(inner, each) for inner, each in value.items()}
    is_time = isinstance(value, str) and name in _TIMES
    return times.full(value) if is_time else value


def _failure_lines(label: str, failure: dict[str, Any] | None, *, style: str) -> list[Text]:
    if not failure:
        return []
    trace = printable(failure.get("traceback") or "").splitlines()
    return [
        Text.assemble((f"{label}: ", "bold"), (printable(error_text(failure)), style)),
        *(Text(line, style="dim" if _OTHER_CODE.match(line) else "") for line in trace),
    ]


def records_table(result: Any, limit: int) -> FittingTable:
    """Return a table of the first `limit` records of a result."""
    records = rows_of(result)
    rows = records[:limit]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    table = FittingTable(*columns, optional=columns[:0:-1])
    for row in rows:
        table.add(*(_short(row.get(name)) for name in columns))
    if len(records) > len(rows):
        table.note = f"{len(records) - len(rows)} more records; --format json or csv prints all"
    return table


def run_state(run: dict[str, Any]) -> str:
    """Return a run's state; a run that an operator cancelled is `cancelled`."""
    return str(run.get("outcome") or run["state"])


def task_status(task: dict[str, Any]) -> str | None:
    """Return a task's status; it is `cancelled` after a run that an operator cancelled."""
    status: str | None = task["status"]
    return task.get("outcome") or status if status == "failed" else status


def schedule(task: dict[str, Any]) -> str:
    """Return a task's schedule, with its zone unless that is UTC; empty if it has none."""
    zone = task.get("time_zone")
    is_utc = zone in {None, "Etc/UTC", "UTC"}
    return f"{task.get('schedule') or ''} {'' if is_utc else zone}".strip()


def next_attempt_text(attempt: dict[str, Any] | None) -> str:
    """Return which attempt of a failed run follows, and about when; empty if there is none."""
    if not attempt:
        return ""
    when = f", about {times.full(attempt['at'])}" if attempt["at"] else ""
    return f"attempt {attempt['number']} of {attempt['of']}{when}"


def state_text(state: str | None) -> Text:
    """Return a state as a coloured word."""
    return Text(printable(state or "never ran"), style=_STYLES.get(state or "", "dim"))


def error_text(error: dict[str, Any]) -> str:
    """Return an error as text; for a cancelled run, who cancelled it and why."""
    message = str(error.get("message"))
    return message if error.get("type") == CANCELLED_TYPE else f"{error.get('type')}: {message}"


def remark(run: dict[str, Any]) -> Text:
    """Return what a run does, or the reason for its outcome."""
    if run["error"]:
        return Text(_line(error_text(run["error"])), style="red")
    if run["refused"]:
        reason = refusal_text(run["refused"])
    elif run["requested"]:
        by, why = run["requested"]["by"], run["requested"]["reason"]
        reason = f"requested by {by}{why and f': {why}'}"
    else:
        until = f"until {times.full(run['until'])}" if run.get("until") else ""
        parts = [run["reason"] or "", f"by {run['by']}" if run["by"] else "", until, run["holder"] or ""]
        reason = ", ".join(filter(None, parts))
    activity = activity_text(run) if run["state"] == "running" else legs_text(run)
    return Text(_line("; ".join(filter(None, [activity, failure_text(run), reason]))))


def suspension_text(task: dict[str, Any]) -> str:
    """Return until when a suspended task is suspended; empty if an operator must resume it."""
    until = (task.get("suspended") or {}).get("until")
    return f"until {times.full(until)}" if until else ""


def refusal_text(refused: dict[str, Any]) -> str:
    """Return how many deliveries of a run were refused, why, and when the next one comes."""
    count, again = refused["count"], refused["again"]
    deliveries = "1 delivery" if count == 1 else f"{count} deliveries"
    follows = f"next delivery after {times.full(again)}" if again else "no further delivery"
    return _line(f"{deliveries} refused: {refused['reason']}; {follows}")


def legs_text(run: dict[str, Any]) -> str:
    """Return the leg of a long run that is under way or awaited; for an ended run, the number of legs."""
    legs = run.get("legs")
    if not legs:
        return ""
    number = legs["number"]
    if run.get("state", "running") != "running":
        return "1 leg" if number == 1 else f"{number} legs"
    if legs["waiting_since"] is None:
        return f"leg {number}"
    since, by = times.full(legs["waiting_since"]), times.full(legs["expected_by"])
    return f"waiting for leg {number} since {since}, expected by {by}"


def failure_text(run: dict[str, Any]) -> str:
    """Return the failure of a leg that is tried again; empty if there is none."""
    failure = run.get("last_failure")
    return f"last failure, tried again: {error_text(failure)}" if failure else ""


def activity_text(run: dict[str, Any]) -> str:
    """Return what a running run does: its leg and the progress of all legs."""
    return ", ".join(filter(None, [legs_text(run), progress_text(run["progress"])]))


def progress_text(progress: dict[str, Any] | None) -> str:
    """Return a run's progress as text."""
    if not progress:
        return ""
    done, total = progress["done"], progress["total"]
    share = f"{done} of {total} ({done * 100 // total} %)" if total else str(done)
    return _line(f"{share} {progress['message'] or ''}")


def duration(duration_seconds: float | None) -> str:
    """Return a duration as text, in the page's form."""
    if duration_seconds is None:
        return "-"
    if duration_seconds < 0.95:
        return f"{max(duration_seconds, 0):.2f} s"
    if duration_seconds < 10:
        return f"{duration_seconds:.1f} s"
    minutes, left = divmod(round(duration_seconds), 60)
    if minutes == 0:
        return f"{left} s"
    return f"{minutes} min {left} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def age(moment: str | None, now: datetime) -> str:
    """Return the time since a moment, in one unit."""
    if moment is None:
        return "-"
    seconds = max((now - datetime.fromisoformat(moment)).total_seconds(), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(size_bytes: int | None) -> str:
    """Return a size in bytes as text."""
    if size_bytes is None:
        return "-"
    for unit_bytes, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes} B"


def now_of(answer: dict[str, Any]) -> datetime:
    """Return the server's time, which ages are relative to."""
    return datetime.fromisoformat(answer["now"]) if "now" in answer else datetime.now(UTC)


def _activity(task: dict[str, Any]) -> str:
    run = task["run"]
    if run is None:
        error = task["error"] if task["state"] == "failed" else None
        shown = _line(error.removeprefix(f"{CANCELLED_TYPE}: "), MAX_ERROR_LENGTH) if error else ""
        return "; ".join(
            filter(None, [suspension_text(task), next_attempt_text(task.get("next_attempt")), shown])
        )
    cancelled = f"cancellation requested by {run['cancel']['by']}" if run["cancel"] else ""
    failed, following = (
        _line(failure_text(run), MAX_ERROR_LENGTH),
        next_attempt_text(task.get("next_attempt")),
    )
    return "; ".join(filter(None, [cancelled, activity_text(run) or "running", failed, following]))


def result_text(result: dict[str, Any], *, in_full: bool = False) -> str:
    """Return a result's number of records and size as text, in full or for a narrow column."""
    if not result:
        return "-"
    count = result.get("count")
    shown = size(result.get("size_bytes"))
    if count is None:
        return shown
    noun = " record" if count == 1 else " records"
    return f"{count}{noun if in_full else ''} in {shown}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_line(name)} {_short(item)}" for name, item in value.items() if item is not None)
    return printable(str(value))


def _short(value: Any) -> str:
    text = _line(cell(value))
    return text if len(text) <= _MAX_CELL_LENGTH else f"{text[: _MAX_CELL_LENGTH - 1]}…"


def _line(text: str, limit: int | None = None) -> str:
    line = printable(" ".join(text.split()))
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1]}…"
