"""The command `logs`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cli.app import Follow, Json, Task, TimeoutSeconds, app, caller_of, print_json, write
from cli.cloud_logging import first_time, log_url
from cli.errors import CliError, Exit
from cli.polling import check_completed, follow_attempts, while_read
from cli.rendering import run_state
from cli.target import target_of
from cli.terminal import console, printable, show, to_json

if TYPE_CHECKING:
    from cli.callables import Caller

#: States of runs that have started.
_STARTED = ("running", "completed", "failed")
_STYLES = {"warning": "yellow", "error": "bold red"}


@app.command()
def logs(
    ctx: typer.Context,
    task: Task,
    run_id: Annotated[
        str | None, typer.Option("--id", metavar="RUN", help="The run; default: the one that started last.")
    ] = None,
    wait: Follow = False,
    timeout_seconds: TimeoutSeconds = None,
    as_json: Json = False,
) -> None:
    """Print what a run has logged: its last 200 lines. With --follow, also new ones until the run ends."""
    caller = caller_of(ctx)
    run_id = run_id or _last_run(caller, task)
    printer = _Printer(as_json=as_json)
    run: dict[str, Any] | None = None
    if not wait:
        run = caller("get_run", task_name=task, id=run_id)
        _show_link(ctx, task, run)
        log = _log_of(run, task)
        if as_json:
            print_json(log)
        else:
            printer.print(log)
        if not log["lines"]:
            state = "has not started" if run["state"] == "requested" else "has logged nothing"
            show(f"run {run_id} of {task} {state}", stderr=True)
        return
    answers = follow_attempts(
        caller, task, run_id, console=console(stderr=True), timeout_seconds=timeout_seconds
    )
    for answer in while_read(answers):
        if run is None:
            _show_link(ctx, task, answer)
        run = answer
        printer.print(_log_of(run, task))
    if run is not None:
        show(f"{task}: run {run_id} {run_state(run)}", stderr=True)
        check_completed(run)


def _last_run(caller: Caller, task: str) -> str:
    for run in caller("list_runs", task_name=task, limit=1, states=list(_STARTED))["runs"]:
        return str(run["id"])
    raise CliError(Exit.missing, f"{task} has not run yet")


def _log_of(run: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the log of a run; an empty one if the run was requested and has not started."""
    log: dict[str, Any] | None = run["log"]
    if log is not None:
        return log
    if run["state"] == "requested" and run["expires"]:
        return {"lines": [], "lost": 0, "lost_is_exact": True}
    if run["state"] not in _STARTED:
        is_request = run["state"] == "requested"
        fix = f"nx-tasks logs {task} --id {run['holder']}" if is_request else f"nx-tasks runs {task}"
        raise CliError(
            Exit.missing, f"{run['id']} of {task} is not a run, but a record of: {run['state']}; see `{fix}`"
        )
    raise CliError(
        Exit.denied, f"Only operators, and viewers who may read the result of {task}, may see its log."
    )


def _show_link(ctx: typer.Context, task: str, run: dict[str, Any]) -> None:
    """Show where Cloud Logging has all lines of a run, unless it is a run of the local stack."""
    target = target_of(ctx.find_root().params["project"])
    if not target.local:
        show(f"all lines: {log_url(target.project, task, run['id'], first_time(run))}", stderr=True)


class _Printer:
    """Prints the lines of a log that it has not printed before.

    Args:
        as_json: Whether each line is printed as a JSON object.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: dict[str, Any] | None = None

    def print(self, log: dict[str, Any]) -> None:
        """Print the new lines, and on standard error how many lines are missing where."""
        lines = log["lines"]
        missing = [_missing(before, line) for before, line in zip([None, *lines], lines, strict=False)]
        if self._last is None and not log["lost_is_exact"]:
            show("lines of earlier attempts are not shown", stderr=True)
        if lines and self._last is None:
            missing[0] = log["lost"] - sum(missing[1:])  # these may also be lines of earlier attempts
        elif lines:
            missing[0] = _missing(self._last, lines[0])
        last = None if self._last is None else _place(self._last)
        for count, line in zip(missing, lines, strict=True):
            if last is not None and _place(line) <= last:
                continue
            if count > 0:
                show(f"{count} {'line is' if count == 1 else 'lines are'} missing here", stderr=True)
            self._print_line(line)
            self._last = line

    def _print_line(self, line: dict[str, Any]) -> None:
        if self._as_json:
            write(to_json(line) + "\n")
            return
        moment = datetime.fromisoformat(line["at"]).astimezone().isoformat(" ", "milliseconds")
        text = printable(line["text"]).replace("\n", "\\n")
        style = _STYLES.get(line["level"], "")
        level = Text(f"{printable(line['level']).upper():7}", style)
        console().print(Text.assemble((moment, "dim"), " ", level, " ", text), soft_wrap=True)


def _place(line: dict[str, Any]) -> tuple[int, int, int]:
    return line["attempt"], line["leg"], line["number"]


def _missing(before: dict[str, Any] | None, line: dict[str, Any]) -> int:
    """Return how many lines of a leg are missing before a line."""
    is_next = before is not None and _place(before)[:2] == _place(line)[:2]
    number: int = line["number"]
    return number - 1 - (before["number"] if before is not None and is_next else 0)
