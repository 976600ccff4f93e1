"""The commands, each with what it takes and how its outcome is told."""

from __future__ import annotations

import errno
import json
import select
import sys
import tempfile
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cli import completion, exports, identity, shown
from cli.calls import Caller
from cli.errors import CliError, Exit
from cli.following import changes, follow, watch
from cli.target import Target, target_of
from cli.terminal import console, replace_unencodable, show, to_json, write_to_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Records of a result that are shown where nobody says how many.
SHOWN_RECORDS = 20
#: Seconds that a followed run may take: longer than any task's deadline.
FOLLOW_SECONDS = 1800.0

HELP = """What tasks do, and changes to that: from the shell, for people and scripts.

Speaks to the local stack (`make run`), as operator@example.com or --user; with --project to a project, once
you have signed in there: `--project P login` sends a link to your e-mail address. Scripts set NX_API_KEY and
NX_REFRESH_TOKEN, or NX_ID_TOKEN; where App Check is on, NX_APP_CHECK_DEBUG_TOKEN and NX_APP_ID.
The functions' region is NX_TASKS_REGION of the file .env.PROJECT in this checkout, else of the environment,
else us-central1.

Exit codes: 0 done; 1 the followed run did not complete, or a pipe or a prompt was closed; 2 the command
means nothing (no such task, say); 3 not signed in; 4 not allowed; 5 no such run; 6 not in this state
(suspended, held, ended); 7 no answer, try again; 8 the wait is over; 130 Ctrl-C. What was asked for goes to
standard output, all else to standard error. With --json it is JSON, as the callables have it.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _complete_task(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a task's name; a shell shows nothing where nobody answers."""
    with suppress(Exception):
        tasks = _caller(ctx)("list_tasks")["tasks"]
        return [task["name"] for task in tasks if task["name"].startswith(incomplete)]
    return []


def _complete_state(incomplete: str) -> list[str]:
    return [state for state in shown.STATES if state.startswith(incomplete)]


Task = Annotated[str, typer.Argument(help="name of the task", autocompletion=_complete_task)]
Json = Annotated[bool, typer.Option("--json", help="answer with JSON")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="why; it is recorded with the change")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="wait for the run to end, and show how far it is")
]
Timeout = Annotated[float, typer.Option(help="seconds to follow", min=1)]


@app.callback()
def options(
    project: Annotated[
        str | None, typer.Option(help="a project's id; without it, the local stack", envvar="NX_PROJECT")
    ] = None,
    user: Annotated[str | None, typer.Option(help="who, on the local stack (password: NX_PASSWORD)")] = None,
) -> None:
    """Take where and as whom to speak; _caller reads it."""


@app.command()
def tasks(ctx: typer.Context, as_json: Json = False) -> None:
    """Show all tasks at a glance."""
    answer = _caller(ctx)("list_tasks")
    if as_json:
        _print_json(answer)
    else:
        console().print(shown.tasks_table(answer["tasks"], shown.now_of(answer)))


@app.command()
def runs(
    ctx: typer.Context,
    task: Task,
    run_id: Annotated[str | None, typer.Option("--id", help="one run, with all there is to know")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="only these; may be given again", autocompletion=_complete_state),
    ] = None,
    limit: Annotated[int, typer.Option(help="how many, the newest", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Show a task's history: runs, skips, incidents, and what people changed."""
    unknown = [each for each in state or [] if each not in shown.STATES]
    if unknown:
        raise CliError(
            Exit.usage, f"there is no state {unknown[0]}; a state is one of {', '.join(shown.STATES)}"
        )
    caller = _caller(ctx)
    if run_id is not None:
        run = caller("get_run", task_name=task, id=run_id)
        if as_json:
            _print_json(run)
        else:
            console().print(*shown.run_lines(run), sep="\n", soft_wrap=True)
        return
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        page = caller(
            "list_runs", task_name=task, limit=min(limit - len(found), 200), states=state or [], cursor=cursor
        )
        found += page["runs"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if as_json:
        _print_json({"runs": found})
    else:
        console().print(shown.runs_table(found))


@app.command()
def data(  # noqa: PLR0913, PLR0917  (each option of the command is a parameter)
    ctx: typer.Context,
    task: Task,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write it to this file")] = None,
    form: Annotated[
        Literal["pretty", "json", "csv"], typer.Option("--format", help="how; a file is never pretty")
    ] = "pretty",
    limit: Annotated[int, typer.Option(help="records that pretty shows", min=1)] = SHOWN_RECORDS,
    details: Annotated[
        bool, typer.Option("--details", help="the result's details instead of its data, as JSON")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="keep CSV cells as they are, even those that a spreadsheet would execute"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read a task's last good result."""
    if details:
        _print_json(_caller(ctx)("get_task_data", task_name=task, details=True))
        return
    if as_json or (out is not None and form == "pretty"):
        form = "csv" if out is not None and out.suffix == ".csv" and not as_json else "json"
    with _download() as picture:
        line = picture.add_task(task, total=None)

        def tell(done: int, total: int | None) -> None:
            picture.update(line, completed=done, total=total)

        with _caller(ctx).open_data(task, tell) as read:
            picture.stop()
            _show_data(read, form, out, limit, raw=raw)


@app.command()
def run(
    ctx: typer.Context,
    task: Task,
    reason: Reason,
    wait: Follow = False,
    timeout: Timeout = FOLLOW_SECONDS,
    as_json: Json = False,
) -> None:
    """Run a task now, through Cloud Scheduler."""
    caller = _caller(ctx)
    if wait:
        show(f"{task}: waiting for Cloud Scheduler to start the run", stderr=True)
    try:
        answer = caller("run_task", task_name=task, reason=reason)
    except KeyboardInterrupt:
        how = f"`nx-tasks cancel {task} -m WHY` cancels it"
        show(f"the run of {task} was requested and may still start; {how}", stderr=True)
        raise
    outcome = answer["outcome"]
    if outcome in {"started", "requested"} and wait:
        answer["run"] = follow(
            caller, task, answer["run"]["id"], console=console(stderr=True), seconds=timeout
        )
        outcome = answer["outcome"] = "started"
    if as_json:
        _print_json(answer)
    else:
        show(_run_line(task, outcome, answer["run"]))
    if outcome == "busy":
        raise CliError(Exit.refused, f"another run holds {task}: nothing was started")
    if outcome == "requested":
        refused = answer["run"]["refused"]
        why = f" ({shown.refusal_text(refused)})" if refused else ""
        raise CliError(
            Exit.waiting,
            f"Cloud Scheduler accepted the request, and no run of {task} has begun yet{why}: "
            f"see `nx-tasks runs {task} --id {answer['run']['id']}`",
        )
    if wait:
        _check_completed(answer["run"])


@app.command()
def suspend(ctx: typer.Context, task: Task, reason: Reason, as_json: Json = False) -> None:
    """Suspend a task: its ticks are skipped until somebody resumes it. A run at work finishes."""
    _steer(_caller(ctx), "suspend_task", task, reason, as_json=as_json)


@app.command()
def resume(ctx: typer.Context, task: Task, reason: Reason, as_json: Json = False) -> None:
    """Resume a task that was suspended."""
    _steer(_caller(ctx), "resume_task", task, reason, as_json=as_json)


@app.command()
def cancel(
    ctx: typer.Context,
    task: Task,
    reason: Reason,
    run_id: Annotated[
        str | None, typer.Option("--id", help="the run; without it, the one at work or to be tried again")
    ] = None,
    wait: Follow = False,
    timeout: Timeout = FOLLOW_SECONDS,
    as_json: Json = False,
) -> None:
    """Cancel a run: its task is told at its next look, and nothing it returns is published."""
    caller = _caller(ctx)
    run_id = run_id or _to_cancel(caller, task)
    answer = caller("cancel_run", task_name=task, id=run_id, reason=reason)
    outcome = answer["outcome"]
    if outcome == "cancelling" and wait:
        answer["run"] = follow(caller, task, run_id, console=console(stderr=True), seconds=timeout)
    if as_json:
        _print_json(answer)
    else:
        show(_run_line(task, outcome, answer["run"]))
    if outcome == "ended":
        raise CliError(Exit.refused, f"run {run_id} of {task} had ended before")


@app.command("watch")
def watch_tasks(
    ctx: typer.Context,
    every: Annotated[float, typer.Option(help="seconds between two looks", min=0.5)] = 2.0,
    as_json: Json = False,
) -> None:
    """Show all tasks, live, until Ctrl-C. In a pipe, or with --json, a table or a line a change."""
    answers = _while_read(changes(_caller(ctx), every=every))
    if not as_json:
        watch(answers, console=console())
        return
    version = None
    for answer in answers:
        if answer["version"] != version:
            version = answer["version"]
            _write(to_json(answer) + "\n")


@app.command()
def login(
    ctx: typer.Context,
    email: Annotated[str, typer.Option(prompt=True, help="your e-mail address")],
    api_key: Annotated[
        str,
        typer.Option(
            prompt="Web API key (no secret: the page has it)", envvar="NX_API_KEY", help="of the project"
        ),
    ],
) -> None:
    """Sign in to a project with a link that is sent to your e-mail address."""
    target = _project(ctx)
    identity.send_link(target, email, api_key)
    show(f"A link was sent to {email}. Copy its address; do not open it.", stderr=True)
    link = typer.prompt("Link", err=True)
    identity.sign_in_with_link(target, email, api_key, link)
    show(f"Signed in to {target.project}.", stderr=True)


@app.command()
def logout(ctx: typer.Context) -> None:
    """Forget who is signed in to a project."""
    show("Signed out." if identity.sign_out(_project(ctx)) else "You were not signed in.", stderr=True)


@app.command("completion")
def shell_completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="your shell")],
) -> None:
    """Print what makes it `nx-tasks`, completed by Tab: eval "$(python -m cli completion bash)"."""
    _write(completion.script_for(shell))


def main() -> None:
    """Run a command, and exit with its code."""
    completion.enable()
    replace_unencodable()
    try:
        app(prog_name=completion.PROGRAM)
    except CliError as error:
        hint = "; `nx-tasks runs TASK` lists the runs" if error.code is Exit.missing else ""
        show(f"{error}{hint}", stderr=True, style="red")
        sys.exit(error.code)
    except OSError as error:  # a full disk, for example
        show(f"the output could not be written: {error.strerror or error}", stderr=True, style="red")
        sys.exit(Exit.failed)


def _caller(ctx: typer.Context) -> Caller:
    """Return who calls what, by the program's own options: where a shell completes, they are all there is."""
    said = ctx.find_root().params
    return Caller(target_of(said["project"]), said["user"])


def _steer(caller: Caller, function: str, task: str, reason: str, *, as_json: bool) -> None:
    answer = caller(function, task_name=task, reason=reason)
    if as_json:
        _print_json(answer)
        return
    suspended = answer["task"]["suspended"] is not None
    if answer["changed"]:
        show(f"{task}: {'suspended' if suspended else 'resumed'}")
    else:
        show(f"{task}: {'suspended' if suspended else 'not suspended'}, as before")


def _while_read(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass answers on while somebody reads what is made of them: the next write may be hours away.

    Raises:
        BrokenPipeError: nobody does.
    """
    pipe = select.poll()
    pipe.register(sys.stdout, 0)
    for answer in answers:
        yield answer
        if any(events & select.POLLERR for _, events in pipe.poll(0)):
            raise BrokenPipeError(errno.EPIPE, "nobody reads it")


def _to_cancel(caller: Caller, name: str) -> str:
    answer = caller("list_tasks")
    tasks = {task["name"]: task for task in answer["tasks"]}
    if name not in tasks:
        raise CliError(Exit.usage, f"there is no task {name}; a task is one of {', '.join(tasks)}")
    run, retries = tasks[name]["run"], tasks[name]["retries"]
    now = shown.now_of(answer)
    if run is None and retries and now < datetime.fromisoformat(retries["until"]):
        run = retries
    if run is None:
        run = _open_request(caller, name, now)
    if run is None:
        raise CliError(Exit.refused, f"no run of {name} is at work, and none that failed may be tried again")
    return str(run["id"])


def _open_request(caller: Caller, name: str, now: datetime) -> dict[str, Any] | None:
    """Return the run that was requested last, while no delivery has started it and one may come."""
    for asked in caller("list_runs", task_name=name, limit=1, states=["requested"])["runs"]:
        run: dict[str, Any] = caller("get_run", task_name=name, id=asked["holder"])
        if run["expires"] and now < datetime.fromisoformat(run["expires"]):
            return run
    return None


def _check_completed(run: dict[str, Any]) -> None:
    if run["state"] != "completed":
        said = run["error"] or {"type": run["state"], "message": str(shown.remark(run))}
        raise CliError(Exit.failed, f"the run {run['state']}: {said.get('type')}: {said.get('message')}")


def _project(ctx: typer.Context) -> Target:
    target = target_of(ctx.find_root().params["project"])
    if target.local:
        again = f"`--project P {ctx.info_name}`"
        raise CliError(Exit.usage, f"name a project: {again}; nobody signs in to the local stack")
    return target


def _run_line(task: str, outcome: str, run: dict[str, Any] | None) -> str:
    if run is None:
        return f"{task}: {outcome}"
    return f"{task}: {outcome}, run {run['id']} {run['state']} ({shown.duration(run['duration_seconds'])})"


def _show_data(read: BinaryIO, form: str, out: Path | None, limit: int, *, raw: bool) -> None:
    if form == "pretty":
        result = json.load(read)
        if result in ([], {}):
            show("no records")
        else:
            console().print(shown.records_table(result, limit))
        return
    write = partial(exports.write_csv, raw=raw) if form == "csv" else exports.copy_json
    if out is not None:
        with exports.written(out) as file:
            write(read, file)
        written = f": {shown.size(out.stat().st_size)}" if out.is_file() else ""
        show(f"{out}{written}", stderr=True)
    elif sys.stdout.isatty():
        with tempfile.TemporaryFile() as text:
            write(read, text)
            text.seek(0)
            write_to_terminal(text, sys.stdout, is_json=form == "json")
    else:
        write(read, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _download() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    on = console(stderr=True)
    return Progress(*columns, console=on, transient=True, disable=not on.is_terminal)


def _print_json(value: Any) -> None:
    _write(to_json(value, indent=2) + "\n")


def _write(text: str) -> None:
    """Write to standard output, and notice at once if nobody reads it any more."""
    sys.stdout.write(text)
    sys.stdout.flush()
