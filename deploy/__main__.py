"""`python -m deploy`: what to do in a project beside `firebase deploy`."""

from __future__ import annotations

import argparse

import main as product
from deploy import access, costs, jobs, page


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    granting = commands.add_parser("access", help="print the commands that make the accounts and grant roles")
    granting.add_argument("project", help="the project's id")
    granting.add_argument("--bucket", help="that of large results; PROJECT.firebasestorage.app")
    pausing = commands.add_parser("paused-jobs", help="print the commands that make each task's job, paused")
    pausing.add_argument("project", help="the project's id")
    costing = commands.add_parser("costs", help="print what a deployment costs")
    costing.add_argument(
        "--run-seconds", type=float, default=costs.RUN_SECONDS.value, help="how long a run takes"
    )
    commands.add_parser("page", help="write the generated parts of docs/deploy.md anew")
    said = parser.parse_args()
    if said.command == "access":
        bucket = said.bucket or f"{said.project}.firebasestorage.app"
        print("\n".join(access.commands(said.project, bucket, product.__all__)))
    elif said.command == "paused-jobs":
        account = f"{access.TASKS}@{said.project}.iam.gserviceaccount.com"
        print("\n".join(jobs.paused(said.project, account)))
    elif said.command == "costs":
        print(costs.tables(said.run_seconds))
    else:
        page.PAGE.write_text(page.written(page.PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
