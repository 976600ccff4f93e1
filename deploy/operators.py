"""Requests to the next run of `collect_charge_cdrs` about one charge point operator.

Each is a command that writes fields of the operator's document in Firestore, which the run reads
(`shared/collectors/ocpi/requests.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from shared.collectors.ocpi.operators import Name
from shared.collectors.ocpi.requests import COLLECTION
from shared.settings import database_id


def add_commands(commands: Any) -> None:
    """Add the commands to a command line; each sets `request`, which returns its text.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    reading = commands.add_parser(
        "read-operator", help="print the command that makes the next run read an operator's CDRs again"
    )
    dropping = commands.add_parser(
        "drop-operator", help="print the command that makes the next run drop an operator's CDRs"
    )
    for one in (reading, dropping):
        one.add_argument("project", help="project id")
        one.add_argument(
            "operator",
            type=operator_name,
            help="name in NX_OCPI_OPERATORS; the next run logs a warning if no operator has this name",
        )
    reading.add_argument(
        "--from",
        dest="first",
        type=date.fromisoformat,
        required=True,
        metavar="YYYY-MM-DD",
        help="read records that were last updated on this day (UTC) or later",
    )
    reading.set_defaults(request=lambda chosen: read_again(chosen.project, chosen.operator, chosen.first))
    dropping.set_defaults(request=lambda chosen: drop(chosen.project, chosen.operator))


def operator_name(text: str) -> str:
    """Return a name that an operator in NX_OCPI_OPERATORS may have.

    Raises:
        ArgumentTypeError: No operator can have this name.
    """
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(
            f"must be the name of an operator in NX_OCPI_OPERATORS, got {text!r}"
        ) from None


def read_again(project: str, operator: str, first: date) -> str:
    """Return the command that requests that an operator's CDRs are read again.

    Args:
        project: Project id.
        operator: The operator's name.
        first: First day (UTC) of the updates to read.
    """
    return _write(project, operator, read_from=f"{first}T00:00:00Z", read_requested=_now())


def drop(project: str, operator: str) -> str:
    """Return the command that requests that an operator's CDRs are dropped from the next result.

    Args:
        project: Project id.
        operator: The operator's name.
    """
    return _write(project, operator, drop_requested=_now())


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _write(project: str, operator: str, **times: str) -> str:
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    origin = f"http://{emulator}" if emulator else "https://firestore.googleapis.com"
    token = "owner" if emulator else "$(gcloud auth print-access-token)"
    mask = "&".join(f"updateMask.fieldPaths={name}" for name in times)
    documents = f"{origin}/v1/projects/{project}/databases/{database_id()}/documents"
    fields = {name: {"timestampValue": time} for name, time in times.items()}
    words = (
        *("-d", json.dumps({"fields": fields})),
        *("-H", f"x-goog-user-project: {project}"),
        *("-H", "Content-Type: application/json"),
        *("-o", "/dev/null"),
        f"{documents}/{COLLECTION}/{operator}?{mask}",
    )
    # The token is not printed: the shell that runs the command requests it.
    return f'curl --fail-with-body -sS -X PATCH -H "Authorization: Bearer {token}" {shlex.join(words)}'
