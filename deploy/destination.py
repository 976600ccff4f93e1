"""The region and the Firestore database of a deployment, which `.env.PROJECT` sets.

firebase-tools uses `.env` files only for functions. `firebase.json` makes it run this module before it
deploys each part, so that page, rules and indexes use the same settings:

    python -m deploy.destination functions|firestore CONFIG|hosting
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from emulators import page
from emulators.environment import REGION_AND_DATABASE, settings_in_files

ROOT = Path(__file__).resolve().parents[1]
REGION, DATABASE = "NX_TASKS_REGION", "NX_TASKS_DATABASE"


class DestinationInvalid(RuntimeError):
    """Parts of a deployment would go to different places; the text says how to fix it."""


def destination_of(project: str, *, root: Path = ROOT) -> dict[str, str]:
    """Return NX_TASKS_REGION and NX_TASKS_DATABASE of a deployment to a project.

    Args:
        project: Project id.
        root: Folder with the `.env` files.
    """
    return REGION_AND_DATABASE | settings_in_files(root, ".env", f".env.{project}")


def write_config(project: str, *, root: Path = ROOT) -> Path:
    """Write `firebase.PROJECT.json`, which is firebase.json with the project's database, and return its path.

    Args:
        project: Project id.
        root: Folder with firebase.json.
    """
    written = root / f"firebase.{project}.json"
    config = json.loads((root / "firebase.json").read_text("utf-8"))
    destination = destination_of(project, root=root)
    config["firestore"] |= {
        "database": destination[DATABASE],
        "location": destination[REGION],  # if it does not exist yet and firebase-tools creates it
        "predeploy": config["firestore"]["predeploy"].replace("firebase.json", written.name),
    }
    written.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return written


def check_environment(project: str, *, root: Path = ROOT) -> None:
    """Check that no exported variable changes the destination; functions lack it at run time.

    Raises:
        DestinationInvalid: A variable is exported, and no `.env` file sets it.
    """
    for name, value in destination_of(project, root=root).items():
        exported = os.environ.get(name, value)
        if exported != value and name not in settings_in_files(root, ".env", f".env.{project}"):
            raise DestinationInvalid(
                f"{name}={exported} is exported in this shell, but .env.{project} does not set it: "
                f"write it there, or run `unset {name}`"
            )


def check_database(project: str, config: str, *, root: Path = ROOT) -> None:
    """Check that rules and indexes go to the database that the functions use.

    Args:
        project: Project id.
        config: Name of the configuration file that firebase-tools uses.
        root: Folder of the configuration file.

    Raises:
        DestinationInvalid: They would go to another database.
    """
    database = destination_of(project, root=root)[DATABASE]
    firestore = json.loads((root / config).read_text("utf-8"))["firestore"]
    found = firestore.get("database", REGION_AND_DATABASE[DATABASE])
    if found != database:
        raise DestinationInvalid(
            f"Firestore's rules and indexes would go to the database {found}, but {DATABASE} is {database}: "
            f"run `venv/bin/python -m deploy config {project}`, "
            f"then deploy with --config=firebase.{project}.json"
        )


def main(part: str, *more: str) -> str | None:
    """Prepare one part of the deployment to $GCLOUD_PROJECT; return an error's text, or None."""
    project = os.environ["GCLOUD_PROJECT"]
    try:
        if part == "functions":
            check_environment(project)
        elif part == "firestore":
            check_database(project, *more)
        else:
            page.set_region(ROOT, destination_of(project)[REGION])
    except DestinationInvalid as error:
        return str(error)
    except FileNotFoundError as error:
        return f"{error.filename} does not exist: run `make page`"
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
