"""Commands that read: `tasks`, `runs`, `data`, `watch`."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cli import exports, rendering
from cli.app import (
    Json,
    Task,
    app,
    at_least,
    caller_of,
    complete_state,
    one_of,
    print_json,
    starting,
    write,
)
from cli.errors import CliError, Exit
from cli.polling import changes, watch, while_read
from cli.terminal import console, show, to_json, write_to_terminal
from cli.times import time_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.callables import Caller

#: Records that `data` shows by default.
SHOWN_RECORDS = 20
_FORMATS = ("pretty", "json", "ndjson", "csv")
#: The format of a file by the end of its name; otherwise it is JSON.
_FORMAT_OF_SUFFIX = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
#: Runs per request; the callable's own limit.
_PAGE_RUNS = 200
#: What the service returns for a task without a result.
_NO_RESULT = b"[]"


@app.command()
def tasks(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the status of all tasks."""
    answer = caller_of(ctx)("list_tasks")
    if as_json:
        print_json(answer)
    else:
        console().print(rendering.tasks_table(answer["tasks"], rendering.now_of(answer)))


@app.command()
def runs(  # noqa: PLR0913, PLR0917  (each option of the command is a parameter)
    ctx: typer.Context,
    task: Task,
    run_id: Annotated[
        str | None,
        typer.Option("--id", metavar="RUN", help="Show this run with all its fields and its traceback."),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help=f"Show only this state; can be repeated. One of {', '.join(rendering.STATES)}.",
            autocompletion=complete_state,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Show only what started at this time or later: a time, or a duration such as 2h or 3d ago.",
            callback=time_option(ahead=False),
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Show only what started before this time.", callback=time_option(ahead=False)
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Number of entries, newest first.", callback=at_least(1))
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show a task's history: runs, skips, incidents, and operators' actions."""
    unknown = [each for each in state or [] if each not in rendering.STATES]
    if unknown:
        raise CliError(Exit.usage, f"unknown state {unknown[0]}; use one of {', '.join(rendering.STATES)}")
    caller = caller_of(ctx)
    if run_id is not None:
        run = caller("get_run", task_name=task, id=run_id)
        if as_json:
            print_json(run)
        else:
            console().print(*rendering.run_lines(run), sep="\n", soft_wrap=True)
        return
    found = _history(caller, task, set(state or []), limit, since=since, until=until)
    if as_json:
        print_json({"runs": found})
    else:
        console().print(rendering.runs_table(found))


def _history(
    caller: Caller, task: str, states: set[str], limit: int, **time_range: str | None
) -> list[dict[str, Any]]:
    """Return the newest records of a time range in these states, or in any if there are none."""
    time_range = {name: moment for name, moment in time_range.items() if moment is not None}
    # A page of one of these outcomes may have fewer entries, because both are stored as failed.
    size = _PAGE_RUNS if len(states & {"failed", "cancelled"}) == 1 else min(limit, _PAGE_RUNS)
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        page = caller(
            "list_runs", task_name=task, limit=size, outcomes=sorted(states), cursor=cursor, **time_range
        )
        found += page["runs"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found[:limit]


@app.command()
def data(  # noqa: PLR0913, PLR0917  (each option of the command is a parameter)
    ctx: typer.Context,
    task: Task,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the result to this file.")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="Output format; for a file, that of its name's end (.csv, .ndjson or .jsonl), else JSON.",
            metavar="[pretty|json|ndjson|csv]",
            callback=one_of(*_FORMATS),
            autocompletion=starting(*_FORMATS),
        ),
    ] = "pretty",
    limit: Annotated[
        int, typer.Option(metavar="N", help="Number of records in a table.", callback=at_least(1))
    ] = SHOWN_RECORDS,
    details: Annotated[
        bool, typer.Option("--details", help="Print the result's details as JSON instead of its data.")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Keep CSV cells unchanged, even if a spreadsheet would execute them."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read a task's last good result."""
    if details:
        print_json(caller_of(ctx)("get_task_data", task_name=task, details=True))
        return
    if as_json or (out is not None and form == "pretty"):
        form = "json" if out is None or as_json else _FORMAT_OF_SUFFIX.get(out.suffix.lower(), "json")
    with _download_bar() as bar:
        line = bar.add_task(task, total=None)

        def report(done: int, total: int | None) -> None:
            bar.update(line, completed=done, total=total)

        caller = caller_of(ctx)
        with caller.open_data(task, report) as result:
            bar.stop()
            is_empty = result.read(len(_NO_RESULT) + 1).strip() == _NO_RESULT
            result.seek(0)
            _show_data(result, form, out, limit, raw=raw)
    if is_empty:
        _explain_empty(caller, task)


@app.command("watch")
def watch_tasks(
    ctx: typer.Context,
    interval_seconds: Annotated[
        float,
        typer.Option(
            "--every",
            metavar="SECONDS",
            help="Seconds between two requests; at least 0.5.",
            callback=at_least(0.5),
        ),
    ] = 2.0,
    as_json: Json = False,
) -> None:
    """Show the status of all tasks, live, until Ctrl-C. In a pipe or with --json, print each change."""
    answers = while_read(changes(caller_of(ctx), interval_seconds=interval_seconds))
    if not as_json:
        watch(answers, console=console())
        return
    version = None
    for answer in answers:
        if answer["version"] != version:
            version = answer["version"]
            write(to_json(answer) + "\n")


def _explain_empty(caller: Caller, task: str) -> None:
    """State on standard error if a task has no result, because its data is then an empty list."""
    with suppress(CliError):  # The data has been read already.
        for shown in caller("list_tasks")["tasks"]:
            if shown["name"] == task and shown["result"] is None:
                reason = "keeps no result" if shown["save_in"] == "none" else "has no result yet"
                show(f"{task} {reason}", stderr=True)


def _show_data(result: BinaryIO, form: str, out: Path | None, limit: int, *, raw: bool) -> None:
    if form == "pretty":
        value = json.load(result)
        if value in ([], {}):
            show("no records")
        else:
            console().print(rendering.records_table(value, limit))
        return
    csv = partial(exports.write_csv, raw=raw)
    by_format: dict[str, Callable[[BinaryIO, BinaryIO], None]] = {
        "json": exports.copy_json,
        "ndjson": exports.write_ndjson,
        "csv": csv,
    }
    export = by_format[form]
    if out is not None:
        with exports.written(out) as file:
            export(result, file)
        written = f": {rendering.size(out.stat().st_size)}" if out.is_file() else ""
        show(f"{out}{written}", stderr=True)
    elif sys.stdout.isatty():
        with tempfile.TemporaryFile() as text:
            export(result, text)
            text.seek(0)
            write_to_terminal(text, sys.stdout, is_json=form != "csv")
    else:
        export(result, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _download_bar() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    stderr = console(stderr=True)
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
