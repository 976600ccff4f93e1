"""The command `show`: one task, with its schedule, its last run, its suspension and its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002  (Typer reads the annotations)
from rich.text import Text

from cli import lateness, rendering, times
from cli.app import Json, Task, app, caller_of, print_json
from cli.errors import CliError, Exit
from cli.terminal import console, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cli.callables import Caller

#: States of runs, in contrast to those of other records of a history.
_RUNS = ("completed", "failed", "running")
#: Width of the column of labels.
_LABEL_WIDTH = 14


@app.command("show")
def show_task(ctx: typer.Context, task: Task, as_json: Json = False) -> None:
    """Show one task: schedule, last run and error, what comes next, suspension, and result."""
    caller = caller_of(ctx)
    answer = caller("list_tasks")
    found = {each["name"]: each for each in answer["tasks"]}
    if task not in found:
        raise CliError(Exit.usage, f"unknown task {task}; use one of {', '.join(found)}")
    last = _last_run(caller, task)
    if as_json:
        print_json({"now": answer["now"], "task": found[task], "last_run": last})
        return
    lines = _lines(found[task], last, rendering.now_of(answer))
    shown = (Text.assemble((f"{label:<{_LABEL_WIDTH}}", "bold"), text) for label, text in lines)
    console().print(*shown, sep="\n", soft_wrap=True)


def _last_run(caller: Caller, task: str) -> dict[str, Any] | None:
    """Return the last run with all its fields; None if there was none."""
    listed = caller("list_runs", task_name=task, states=list(_RUNS), limit=1)["runs"]
    return caller("get_run", task_name=task, id=listed[0]["id"]) if listed else None


def _lines(
    task: dict[str, Any], run: dict[str, Any] | None, now: datetime
) -> Iterator[tuple[str, str | Text]]:
    """Yield the lines as labels and texts; a fact that does not hold has no line."""
    yield "task", task["name"]
    yield "status", rendering.state_text(rendering.task_status(task))
    if task["schedule"] is None:
        yield "schedule", "none"
    else:
        yield "schedule", f"{task['schedule']} in {task['time_zone']}"
        yield "next tick", "none" if task["next_run"] is None else times.full(task["next_run"], seconds=False)
    yield "deadline", rendering.duration(task["deadline_seconds"])
    if (suspended := task["suspended"]) is not None:
        yield "suspended", _suspension(suspended)
    if run is not None:
        yield from _run_lines(run, task["name"])
    yield "result", _result(task, now)
    if late := lateness.words(task, now):
        yield "lateness", Text(late, style="yellow")
    if task["problem"]:
        yield "problem", Text(printable(task["problem"]), style="bold red")


def _suspension(suspended: dict[str, Any]) -> str:
    by = f"by {suspended['by']} " if suspended["by"] else ""
    reason = f": {suspended['reason']}" if suspended["reason"] else ""
    until = (
        f"until {times.full(suspended['until'])}"
        if suspended.get("until")
        else "until an operator resumes it"
    )
    return printable(f"{by}since {times.full(suspended['at'])}, {until}{reason}")


def _run_lines(run: dict[str, Any], task: str) -> Iterator[tuple[str, str | Text]]:
    state = rendering.run_state(run)
    took = (
        f" after {rendering.duration(run['duration_seconds'])}" if run["duration_seconds"] is not None else ""
    )
    attempt = f", attempt {run['attempt']}" if run["attempt"] else ""
    yield "last run", Text.assemble(rendering.state_text(state), f"{took}{attempt}, ", printable(run["id"]))
    yield "started", times.full(run["started"])
    if (requested := run["requested"]) is not None:
        yield "requested", rendering.actor_text(requested)
    if state == "running" and (activity := rendering.activity_text(run)):
        yield "activity", activity
    for label, failure in (("error", run["error"]), ("last failure", run["last_failure"])):
        if failure:
            yield label, Text(printable(rendering.error_text(failure)), style="red")
    if following := rendering.next_attempt_text(run.get("next_attempt")):
        yield "next", f"{following}; to stop it: nx-tasks cancel {task} -m REASON"
    elif run.get("not_retried"):
        yield "next", f"no further attempt: {run['not_retried']}"


def _result(task: dict[str, Any], now: datetime) -> str:
    result = task["result"]
    if task["save_in"] == "none":
        return "not kept"
    if result is None:
        return "none yet"
    published, age = times.full(result["completed"]), rendering.age(result["completed"], now)
    return f"{rendering.result_text(result, in_full=True)}, published {published}, {age} ago"
