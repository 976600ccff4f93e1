"""Waiting for what runs do, with live pictures where somebody looks and lines where nobody does."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from cli.errors import CliError, Exit
from cli.shown import now_of, progress_text, refusal_text, tasks_table
from cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from cli.calls import Caller

#: Seconds between two looks at a run.
LOOK_SECONDS = 1.0


def follow(caller: Caller, task: str, run_id: str, *, console: Console, seconds: float) -> dict[str, Any]:
    """Wait for a run to end and return it; a requested run may have yet to start.

    A terminal gets a progress bar, anything else a line per change of the progress.

    Args:
        caller: Calls the functions.
        task: The task.
        run_id: The run.
        console: Shows the progress.
        seconds: Longest wait, in seconds.

    Raises:
        CliError: The run goes on after the wait, or no delivery started it in time, or the service could
            not be reached for so long.
        KeyboardInterrupt: Ctrl-C; the run goes on, and the console says so.
    """
    until = time.monotonic() + seconds
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    reported = refused = None
    try:
        with Progress(
            *columns, *times, console=console, transient=True, disable=not console.is_terminal
        ) as picture:
            line = picture.add_task(printable(task), total=None, said="")
            while True:
                run = _patiently(lambda: caller("get_run", task_name=task, id=run_id), until, console)
                if run["state"] not in {"running", "requested"}:
                    return run
                if run["refused"] and run["refused"]["count"] != refused:
                    refused = run["refused"]["count"]
                    _report(console, f"{task}: {refusal_text(run['refused'])}")
                if run["expires"] and datetime.fromisoformat(run["expires"]) <= datetime.now(UTC):
                    raise CliError(
                        Exit.waiting,
                        f"no delivery of Cloud Scheduler started {run_id} of {task}: run it again",
                    )
                progress = run["progress"] or {}
                text = progress_text(run["progress"])
                picture.update(
                    line, total=progress.get("total"), completed=progress.get("done", 0), said=text
                )
                if not console.is_terminal and text != reported:
                    _report(console, f"{task}: run {run_id} is {run['state']}{text and f': {text}'}")
                    reported = text
                if time.monotonic() >= until:
                    raise CliError(
                        Exit.waiting, f"run {run_id} of {task} {_goes_on(run)} after {seconds:g} s"
                    )
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        _report(console, f"run {run_id} of {task} goes on; `nx-tasks cancel {task} -m WHY` cancels it")
        raise


def _goes_on(run: dict[str, Any]) -> str:
    if run["state"] == "running":
        return "goes on"
    return f"has not begun ({refusal_text(run['refused'])})" if run["refused"] else "has not begun"


def _report(console: Console, text: str) -> None:
    console.print(Text(printable(text)), soft_wrap=True)


def changes(caller: Caller, *, every: float) -> Iterator[dict[str, Any]]:
    """Yield how all tasks stand, now and whenever that is another; the old picture, marked, in an outage.

    Args:
        caller: asks.
        every: seconds between two looks.
    """
    last: dict[str, Any] | None = None
    while True:
        try:
            answer = caller("list_tasks", if_version=last and last["version"])
        except CliError as error:
            if last is None or error.code is not Exit.unavailable:
                raise
            yield {**last, "stale": str(error)}
        else:
            if "not_modified" not in answer:
                last = answer
            elif last is not None:
                last = {**last, "now": answer["now"]}
            if last is not None:
                yield last
        time.sleep(every)


def watch(answers: Iterable[dict[str, Any]], *, console: Console) -> None:
    """Show all tasks, until somebody ends it: a live table, or a new one a change where no terminal is.

    Args:
        answers: how they stand, as `changes` has it.
        console: where.
    """
    if not console.is_terminal:
        shown = None
        for answer in answers:
            present = answer["version"], answer.get("stale")
            if present != shown:
                console.print(_picture(answer))
            shown = present
        return
    with Live(console=console, auto_refresh=False) as picture:
        for answer in answers:
            picture.update(_picture(answer), refresh=True)


def _picture(answer: dict[str, Any]) -> Any:
    table = tasks_table(answer["tasks"], now_of(answer))
    if "stale" in answer:
        table.note = f"stale, as of {answer['now']}: {answer['stale']}"
    return table


def _patiently(ask: Callable[[], dict[str, Any]], until: float, console: Console) -> dict[str, Any]:
    """Ask until there is an answer: a short outage ends no wait, and is told once."""
    said = False
    while True:
        try:
            return ask()
        except CliError as error:
            if error.code is not Exit.unavailable or time.monotonic() >= until:
                raise
            if not said:
                _report(console, f"{error}; asking again")
            said = True
            time.sleep(LOOK_SECONDS)
