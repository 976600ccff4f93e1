"""The program: its options, the arguments that commands share, and its exit codes."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperArgument

from cli import completion, rendering
from cli.callables import Caller
from cli.errors import CliError, Exit
from cli.target import Target, target_of
from cli.terminal import replace_unencodable, show, to_json
from cli.version import version

if TYPE_CHECKING:
    from collections.abc import Callable

HELP = """Show and control the tasks of nx-tasks, for people and scripts.

By default, commands use the local stack (`make run`), as operator@example.com or --user. With --project they
use a project; sign in first with `nx-tasks --project PROJECT login`, which sends a link to your e-mail
address. Scripts set NX_API_KEY and NX_REFRESH_TOKEN, or NX_ID_TOKEN; if App Check is enforced, also
NX_APP_CHECK_DEBUG_TOKEN and NX_APP_ID. The functions' region is NX_TASKS_REGION in the file .env.PROJECT of
this checkout, else in the environment, else us-central1.

Times without a zone are in the time zone of this computer; a duration such as 2h or 3d is accepted, too.

Exit codes: 0 done; 1 the followed run failed, and is not tried again, or it was cancelled, or a pipe or a
prompt was closed; 2 invalid command, such as an unknown task; 3 not signed in; 4 not allowed; 5 no such run;
6 not possible in this state: the task is suspended or held by another run, or the run has ended; 7 no answer,
try again; 8 the time to wait is over; 130 Ctrl-C. Results go to standard output, everything else to standard
error. With --json, results are the JSON that the callables return.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(*, requested: bool) -> None:
    if requested:
        write(f"nx-tasks {version()}\n")
        raise typer.Exit


def _complete_task(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a task's name; returns nothing if the service does not respond."""
    with suppress(Exception):
        tasks = caller_of(ctx)("list_tasks")["tasks"]
        return [task["name"] for task in tasks if task["name"].startswith(incomplete)]
    return []


def complete_state(incomplete: str) -> list[str]:
    """Complete a state of the history."""
    return [state for state in rendering.STATES if state.startswith(incomplete)]


Number = TypeVar("Number", bound=float | None)


def at_least(lowest: float) -> Callable[[Number], Number]:
    """Return a check of an option's number, because Typer reports its own limits in words of a library."""

    def check(value: Number) -> Number:
        if value is not None and value < lowest:
            raise typer.BadParameter(f"must be at least {lowest:g}, got {value:g}")
        return value

    return check


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a check that a value is one of these."""

    def check(value: str) -> str:
        if value not in choices:
            raise typer.BadParameter(f"must be one of {', '.join(choices)}, got {value!r}")
        return value

    return check


def starting(*choices: str) -> Callable[[str], list[str]]:
    """Return the completion of a value that is one of these."""
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]


Task = Annotated[str, typer.Argument(metavar="TASK", help="Name of the task.", autocompletion=_complete_task)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[
    str,
    typer.Option("--reason", "-m", metavar="REASON", help="Why; it is recorded in the task's history."),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow", "-f", help="Wait until the run ends and is not tried again, and show its progress."
    ),
]
TimeoutSeconds = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Longest wait with --follow; default: until the run has ended.",
        callback=at_least(1),
    ),
]


@app.callback()
def options(
    project: Annotated[
        str | None,
        typer.Option(metavar="PROJECT", help="Project id; default: the local stack.", envvar="NX_PROJECT"),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="User of the local stack (password: NX_PASSWORD).")
    ] = None,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and the commit, and exit.",
            is_eager=True,
            callback=lambda requested: _print_version(requested=requested),
        ),
    ] = False,
) -> None:
    """Declare the program's options; `caller_of` and `project_of` read them."""


def main() -> None:
    """Run a command, and exit with its code."""
    completion.enable()
    replace_unencodable()
    # The help of an argument would show its Python type, and no option of Typer turns that off.
    TyperArgument.display_type_rich = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        app(prog_name=completion.PROGRAM)
    except CliError as error:
        hint = "; `nx-tasks runs TASK` lists the runs" if error.code is Exit.missing else ""
        show(f"{error}{hint}", stderr=True, style="red")
        sys.exit(error.code)
    except OSError as error:  # a full disk, for example
        show(f"cannot write the output: {error.strerror or error}", stderr=True, style="red")
        sys.exit(Exit.failed)


def caller_of(ctx: typer.Context) -> Caller:
    """Return the caller that the program's options specify."""
    # During completion the callback does not run, so the options are read from the context.
    params = ctx.find_root().params
    return Caller(target_of(params["project"]), params["user"])


def project_of(ctx: typer.Context) -> Target:
    """Return the project that the program's options specify.

    Raises:
        CliError: No project is specified.
    """
    target = target_of(ctx.find_root().params["project"])
    if target.local:
        raise CliError(
            Exit.usage,
            f"{ctx.info_name} needs a project: `nx-tasks --project PROJECT {ctx.info_name}`. "
            "The local stack needs neither a sign-in nor a project; try `nx-tasks tasks`.",
        )
    return target


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    write(to_json(value, indent=2) + "\n")


def write(text: str) -> None:
    """Write to standard output at once, so that a closed pipe is noticed."""
    sys.stdout.write(text)
    sys.stdout.flush()
