"""Commands of the shell session: `login`, `logout`, `completion`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import authentication, completion
from cli.app import app, one_of, project_of, starting, write
from cli.terminal import show


@app.command()
def login(
    ctx: typer.Context,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="Your e-mail address.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", envvar="NX_API_KEY", help="Web API key of the project; not a secret."),
    ] = None,
) -> None:
    """Sign in to a project (--project) with a link sent to your e-mail address."""
    target = project_of(ctx)  # before any prompt
    email = email or str(typer.prompt("Email"))
    api_key = api_key or str(typer.prompt("Web API key (not a secret: the page contains it)"))
    authentication.send_link(target, email, api_key)
    show(f"A link was sent to {email}. Copy its address; do not open it.", stderr=True)
    link = typer.prompt("Link", err=True)
    authentication.sign_in_with_link(target, email, api_key, link)
    show(f"Signed in to {target.project}.", stderr=True)


@app.command()
def logout(ctx: typer.Context) -> None:
    """Sign out of a project (--project)."""
    signed_out = authentication.sign_out(project_of(ctx))
    show("Signed out." if signed_out else "You were not signed in.", stderr=True)


@app.command("completion")
def shell_completion(
    shell: Annotated[
        str,
        typer.Argument(
            metavar="SHELL",
            help="Your shell: bash, zsh or fish.",
            callback=one_of(*completion.SHELLS),
            autocompletion=starting(*completion.SHELLS),
        ),
    ],
) -> None:
    """Print a script that defines `nx-tasks` with completion: eval "$(python -m cli completion bash)"."""
    write(completion.script_for(shell))
