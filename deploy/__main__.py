"""`python -m deploy`: what to do in a project beside `firebase deploy`."""

from __future__ import annotations

import argparse
import os

import main as product
from deploy import access, costs, destination, jobs, operators, page

#: Commands that print what becomes of the jobs, of a project and an account.
PRINTED = {"paused-jobs": jobs.paused, "job-account": jobs.called_as}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    granting = commands.add_parser("access", help="print the commands that make the accounts and grant roles")
    granting.add_argument("--bucket", help="that of large results; PROJECT.firebasestorage.app")
    granting.add_argument("--reader", help=f"NX_TASKS_READER_ACCOUNT; {access.READER}@…")
    granting.add_argument("--operator", help=f"NX_TASKS_OPERATOR_ACCOUNT; {access.OPERATOR}@…")
    pausing = commands.add_parser("paused-jobs", help="print the commands that make each task's job, paused")
    calling = commands.add_parser("job-account", help="print the commands that have jobs call as the account")
    configuring = commands.add_parser("config", help="write firebase.PROJECT.json, for a project's database")
    operators.add_commands(commands)
    for one in (granting, pausing, calling, configuring):
        one.add_argument("project", help="the project's id")
    for one in (granting, pausing, calling):
        one.add_argument("--account", help=f"NX_TASKS_SERVICE_ACCOUNT; {access.TASKS}@…")
    costing = commands.add_parser("costs", help="print what a deployment costs")
    costing.add_argument(
        "--run-seconds", type=float, default=costs.RUN_SECONDS.value, help="how long a run takes"
    )
    commands.add_parser("page", help="write the generated parts of docs/deploy.md")
    said = parser.parse_args()
    if "project" in said:
        os.environ.update(destination.destination_of(said.project))
    if said.command == "access":
        bucket = said.bucket or f"{said.project}.firebasestorage.app"
        accounts = access.addresses(
            said.project, tasks=said.account, reader=said.reader, operator=said.operator
        )
        print("\n".join(access.commands(said.project, bucket, product.__all__, accounts)))
    elif said.command in PRINTED:
        account = said.account or access.addresses(said.project)[access.TASKS]
        print("\n".join(PRINTED[said.command](said.project, account)))
    elif "request" in said:
        print(said.request(said))
    elif said.command == "config":
        print(destination.write_config(said.project).name)
    elif said.command == "costs":
        print(costs.tables(said.run_seconds))
    else:
        page.PAGE.write_text(page.written(page.PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
