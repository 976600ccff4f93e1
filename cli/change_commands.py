"""Commands that change what tasks do: `run`, `suspend`, `resume`, `cancel`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import rendering
from cli.app import Follow, Json, Reason, Task, TimeoutSeconds, app, caller_of, print_json
from cli.errors import CliError, Exit
from cli.polling import check_completed, follow
from cli.terminal import console, show
from cli.times import time_option

if TYPE_CHECKING:
    from cli.callables import Caller


@app.command()
def run(
    ctx: typer.Context,
    task: Task,
    reason: Reason,
    wait: Follow = False,
    timeout_seconds: TimeoutSeconds = None,
    as_json: Json = False,
) -> None:
    """Run a task now, through Cloud Scheduler."""
    caller = caller_of(ctx)
    if wait:
        show(f"{task}: waiting for Cloud Scheduler to start the run", stderr=True)
    try:
        answer = caller("run_task", task_name=task, reason=reason)
    except KeyboardInterrupt:
        hint = f"to cancel it: `nx-tasks cancel {task} -m REASON`"
        show(f"the run of {task} was requested and may still start; {hint}", stderr=True)
        raise
    outcome = answer["outcome"]
    if outcome in {"started", "requested"} and wait:
        answer["run"] = follow(
            caller, task, answer["run"]["id"], console=console(stderr=True), timeout_seconds=timeout_seconds
        )
        outcome = answer["outcome"] = "started"
    if as_json:
        print_json(answer)
    else:
        show(_outcome_line(task, outcome, answer["run"]))
    if outcome == "busy":
        raise CliError(Exit.refused, f"another run holds {task}; no run was started")
    if outcome == "requested":
        refused = answer["run"]["refused"]
        why = f" ({rendering.refusal_text(refused)})" if refused else ""
        raise CliError(
            Exit.waiting,
            f"Cloud Scheduler accepted the request, but no run of {task} has started yet{why}; "
            f"see `nx-tasks runs {task} --id {answer['run']['id']}`",
        )
    if wait:
        check_completed(answer["run"])


@app.command()
def suspend(
    ctx: typer.Context,
    task: Task,
    reason: Reason,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the watchdog resumes the task: a time, or a duration such as 2h or 3d; "
            "default: an operator resumes it.",
            callback=time_option(ahead=True),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Suspend a task: its ticks are skipped until it is resumed. The current run finishes."""
    caller = caller_of(ctx)
    _show_suspension(caller("suspend_task", task_name=task, reason=reason, until=until), task, as_json)


@app.command()
def resume(ctx: typer.Context, task: Task, reason: Reason, as_json: Json = False) -> None:
    """Resume a suspended task."""
    _show_suspension(caller_of(ctx)("resume_task", task_name=task, reason=reason), task, as_json)


@app.command()
def cancel(
    ctx: typer.Context,
    task: Task,
    reason: Reason,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="RUN",
            help="The run; default: the current run, or the failed one that may be retried.",
        ),
    ] = None,
    wait: Follow = False,
    timeout_seconds: TimeoutSeconds = None,
    as_json: Json = False,
) -> None:
    """Cancel a run, or stop the retries of one that failed.

    A run stops at its next progress report, or at once between two legs. A failed run is not tried again.
    """
    caller = caller_of(ctx)
    run_id = run_id or _run_to_cancel(caller, task)
    answer = caller("cancel_run", task_name=task, id=run_id, reason=reason)
    outcome = answer["outcome"]
    if outcome == "cancelling" and wait:
        answer["run"] = follow(
            caller, task, run_id, console=console(stderr=True), timeout_seconds=timeout_seconds
        )
    if as_json:
        print_json(answer)
    else:
        show(_outcome_line(task, outcome, answer["run"]))
    if outcome == "ended":
        raise CliError(Exit.refused, f"run {run_id} of {task} has already ended")


def _show_suspension(answer: dict[str, Any], task: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    until = rendering.suspension_text(answer["task"])
    suspended = f"suspended {until}".strip() if answer["task"]["suspended"] is not None else None
    if answer["changed"]:
        show(f"{task}: {suspended or 'resumed'}")
    else:
        show(f"{task}: {f'already {suspended}' if suspended else 'not suspended'}; nothing changed")


def _run_to_cancel(caller: Caller, name: str) -> str:
    answer = caller("list_tasks")
    tasks = {task["name"]: task for task in answer["tasks"]}
    if name not in tasks:
        raise CliError(Exit.usage, f"unknown task {name}; use one of {', '.join(tasks)}")
    run, retries = tasks[name]["run"], tasks[name]["retries"]
    now = rendering.now_of(answer)
    if run is None and retries and now < datetime.fromisoformat(retries["until"]):
        run = retries
    if run is None:
        run = _open_request(caller, name, now)
    if run is None:
        raise CliError(
            Exit.refused, f"nothing to cancel: {name} has no current run and no run that may be retried"
        )
    return str(run["id"])


def _open_request(caller: Caller, name: str, now: datetime) -> dict[str, Any] | None:
    """Return the last requested run if no delivery has started it yet and it has not expired."""
    for request in caller("list_runs", task_name=name, limit=1, states=["requested"])["runs"]:
        run: dict[str, Any] = caller("get_run", task_name=name, id=request["holder"])
        if run["expires"] and now < datetime.fromisoformat(run["expires"]):
            return run
    return None


def _outcome_line(task: str, outcome: str, run: dict[str, Any] | None) -> str:
    if run is None:
        return f"{task}: {outcome}"
    state = rendering.run_state(run)
    took = "" if run["duration_seconds"] is None else f" after {rendering.duration(run['duration_seconds'])}"
    if outcome in {"started", "cancelled"} or (outcome == "cancelling" and state != "running"):
        word = "started" if state == "running" else state
        return f"{task}: run {run['id']} {word}{took}"
    return f"{task}: {outcome}, run {run['id']} {state}{took}"
