"""Prepares and maintains a deployment, besides `firebase deploy`."""

from __future__ import annotations

import argparse
import os

import main as product
from deploy import access, costs, destination, jobs, operators, page

#: Functions that return commands for the jobs, given a project and an account.
JOB_COMMANDS = {"paused-jobs": jobs.paused, "job-account": jobs.with_account}


def main() -> None:
    """Run the command that the command line specifies."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    granting = commands.add_parser(
        "access", help="print the commands that create the accounts and the queue, and grant roles"
    )
    granting.add_argument("--bucket", help="bucket of large results (default: PROJECT.firebasestorage.app)")
    granting.add_argument("--reader", help=f"NX_TASKS_READER_ACCOUNT (default: {access.READER}@…)")
    granting.add_argument("--operator", help=f"NX_TASKS_OPERATOR_ACCOUNT (default: {access.OPERATOR}@…)")
    pausing = commands.add_parser(
        "paused-jobs", help="print the commands that create each task's job, paused"
    )
    calling = commands.add_parser(
        "job-account", help="print the commands that make jobs call with the account"
    )
    configuring = commands.add_parser(
        "config", help="write firebase.PROJECT.json, with the project's database"
    )
    operators.add_commands(commands)
    for each in (granting, pausing, calling, configuring):
        each.add_argument("project", help="project id")
    for each in (granting, pausing, calling):
        each.add_argument("--account", help=f"NX_TASKS_SERVICE_ACCOUNT (default: {access.TASKS}@…)")
    costing = commands.add_parser("costs", help="print what a deployment costs")
    costing.add_argument(
        "--run-seconds", type=float, default=costs.RUN_SECONDS.value, help="seconds that a run takes"
    )
    commands.add_parser("page", help="write the generated parts of docs/deploy.md")
    chosen = parser.parse_args()
    if "project" in chosen:
        os.environ.update(destination.destination_of(chosen.project))
    if chosen.command == "access":
        bucket = chosen.bucket or f"{chosen.project}.firebasestorage.app"
        accounts = access.addresses(
            chosen.project, tasks=chosen.account, reader=chosen.reader, operator=chosen.operator
        )
        print("\n".join(access.commands(chosen.project, bucket, product.__all__, accounts)))
    elif chosen.command in JOB_COMMANDS:
        account = chosen.account or access.addresses(chosen.project)[access.TASKS]
        print("\n".join(JOB_COMMANDS[chosen.command](chosen.project, account)))
    elif "request" in chosen:
        print(chosen.request(chosen))
    elif chosen.command == "config":
        print(destination.write_config(chosen.project).name)
    elif chosen.command == "costs":
        print(costs.tables(chosen.run_seconds))
    else:
        page.PAGE.write_text(page.updated(page.PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
