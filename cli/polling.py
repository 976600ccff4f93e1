"""Waits for runs and watches tasks: a live display in a terminal, lines elsewhere."""

from __future__ import annotations

import errno
import select
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from cli.errors import CliError, Exit
from cli.rendering import (
    activity_text,
    error_text,
    failure_text,
    next_attempt_text,
    now_of,
    refusal_text,
    remark,
    run_state,
    tasks_table,
)
from cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from cli.callables import Caller
    from cli.tables import FittingTable

#: Seconds between two requests for a run.
POLL_SECONDS = 1.0
#: Longest outage of the service while a run is followed without a timeout, in seconds.
OUTAGE_SECONDS = 1800.0


def follow(
    caller: Caller, task: str, run_id: str, *, console: Console, timeout_seconds: float | None
) -> dict[str, Any]:
    """Wait for a run to end and return it; a requested run may not have started yet.

    A run that failed has not ended while it will be tried again. A terminal gets a progress bar, anything
    else one line per change of the progress.

    Args:
        caller: Calls the functions.
        task: Name of the task.
        run_id: Id of the run.
        console: Shows the progress.
        timeout_seconds: Longest wait, in seconds; None to wait until the run has ended.

    Raises:
        CliError: The run has not ended within the timeout, no delivery started it in time, or the service was
            unavailable until the timeout, or for `OUTAGE_SECONDS`.
        KeyboardInterrupt: Ctrl-C. The run continues.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[progress]}", markup=False),
    )
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    reported = refused = None
    run: dict[str, Any] = {}
    try:
        with Progress(
            *columns, *times, console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            line = bar.add_task(printable(task), total=None, progress="")
            for run in follow_attempts(
                caller, task, run_id, console=console, timeout_seconds=timeout_seconds
            ):
                if run["state"] not in {"running", "requested"}:
                    bar.update(line, total=None, progress=next_attempt_text(run.get("next_attempt")))
                    continue
                if run["refused"] and run["refused"]["count"] != refused:
                    refused = run["refused"]["count"]
                    _report(console, f"{task}: {refusal_text(run['refused'])}")
                progress = run["progress"] or {}
                text = activity_text(run)
                bar.update(
                    line, total=progress.get("total"), completed=progress.get("done", 0), progress=text
                )
                if not console.is_terminal and text != reported:
                    _report(console, f"{task}: run {run_id} is {run['state']}{text and f': {text}'}")
                    reported = text
    except KeyboardInterrupt:
        _report(
            console, f"run {run_id} of {task} continues; to cancel it: `nx-tasks cancel {task} -m REASON`"
        )
        raise
    return run


def follow_attempts(
    caller: Caller, task: str, run_id: str, *, console: Console, timeout_seconds: float | None
) -> Iterator[dict[str, Any]]:
    """Yield a run after each request, until it has ended and is not tried again.

    Args:
        caller: Calls the functions.
        task: Name of the task.
        run_id: Id of the run, which may not have started yet.
        console: Shows failures that are followed by another attempt.
        timeout_seconds: Longest wait, in seconds; None to wait until the run has ended.

    Raises:
        CliError: As for `follow`.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    reported = ""
    run: dict[str, Any] = {}
    while True:
        get_run = partial(caller, "get_run", task_name=task, id=run_id, if_version=run.get("version"))
        answer = _retried(get_run, deadline, console)
        if "not_modified" not in answer:
            run = answer
        yield run
        is_tried_again = run["state"] == "failed" and run.get("next_attempt") is not None
        if run["state"] not in {"running", "requested"} and not is_tried_again:
            return
        failure = _failure_before_next_attempt(run)
        if failure and failure != reported:
            _report(console, f"{task}: run {run_id}{failure}")
        reported = failure
        _check_request(run, task)
        if deadline is not None and time.monotonic() >= deadline:
            raise CliError(
                Exit.waiting, f"run {run_id} of {task} {_unfinished(run)} after {timeout_seconds:g} s"
            )
        time.sleep(POLL_SECONDS)


def check_completed(run: dict[str, Any]) -> None:
    """Raise CliError unless a run that has ended has completed."""
    state = run_state(run)
    if state == "completed":
        return
    text = error_text(run["error"]) if run["error"] else str(remark(run))
    if state == "cancelled":
        raise CliError(Exit.failed, f"the run was {text}")
    raise CliError(Exit.failed, f"the run {state}: {text}")


def while_read(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass answers on until standard output is closed, because the next write may be hours away.

    Raises:
        BrokenPipeError: The reader closed the pipe.
    """
    pipe = select.poll()
    pipe.register(sys.stdout, 0)
    for answer in answers:
        yield answer
        # Linux reports POLLERR for a pipe without a reader, macOS POLLHUP.
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in pipe.poll(0)):
            raise BrokenPipeError(errno.EPIPE, "standard output is closed")


def _failure_before_next_attempt(run: dict[str, Any]) -> str:
    """Return the failure of a run or of its leg, and the attempt that follows; empty if nothing failed."""
    following = next_attempt_text(run.get("next_attempt"))
    if run["state"] == "failed":
        return f" failed: {error_text(run['error'])}; {following}"
    failure = failure_text(run)
    return failure and f": {'; '.join(filter(None, [failure, following]))}"


def _check_request(run: dict[str, Any], task: str) -> None:
    """Raise CliError if a requested run was not started in time."""
    if run["expires"] and datetime.fromisoformat(run["expires"]) <= datetime.now(UTC):
        raise CliError(
            Exit.waiting,
            f"no delivery of Cloud Scheduler started run {run['id']} of {task}; run it again",
        )


def _unfinished(run: dict[str, Any]) -> str:
    if run["state"] == "running":
        return "is still running"
    if run["state"] == "failed":
        return f"failed, and {next_attempt_text(run['next_attempt'])} has not started"
    return f"has not started ({refusal_text(run['refused'])})" if run["refused"] else "has not started"


def _report(console: Console, text: str) -> None:
    console.print(Text(printable(text)), soft_wrap=True)


def changes(caller: Caller, *, interval_seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the status of all tasks after each request; during an outage the last one, marked as stale.

    Args:
        caller: Calls the functions.
        interval_seconds: Seconds between two requests.
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
        time.sleep(interval_seconds)


def watch(answers: Iterable[dict[str, Any]], *, console: Console) -> None:
    """Show all tasks until Ctrl-C: as a live table in a terminal, else as one table per change.

    Args:
        answers: Answers as `changes` yields them.
        console: Shows the tables.
    """
    if not console.is_terminal:
        shown = None
        for answer in answers:
            state = answer["version"], answer.get("stale")
            if state != shown:
                console.print(_table(answer))
            shown = state
        return
    with Live(console=console, auto_refresh=False) as live:
        for answer in answers:
            live.update(_table(answer), refresh=True)


def _table(answer: dict[str, Any]) -> FittingTable:
    table = tasks_table(answer["tasks"], now_of(answer))
    if "stale" in answer:
        table.note = f"stale since {answer['now']}: {answer['stale']}"
    return table


def _retried(ask: Callable[[], dict[str, Any]], deadline: float | None, console: Console) -> dict[str, Any]:
    """Retry while the service is unavailable, until the deadline; report the first failure."""
    deadline = time.monotonic() + OUTAGE_SECONDS if deadline is None else deadline
    reported = False
    while True:
        try:
            return ask()
        except CliError as error:
            if error.code is not Exit.unavailable or time.monotonic() >= deadline:
                raise
            if not reported:
                _report(console, f"{error}; trying again")
            reported = True
            time.sleep(POLL_SECONDS)
