"""The `gcloud scheduler jobs` commands that `python -m deploy` prints, for a recorded project's jobs.

Like the service, it refuses to create an existing job or to pause a paused one. As a program it
replaces gcloud and reads the jobs from the JSON file $JOBS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def run(commands: Iterable[str], jobs: dict[str, Any], folder: Path) -> None:
    """Run commands with `bash -e`, as docs/deploy.md does, and apply their changes to the jobs.

    Args:
        commands: The commands, one per line.
        jobs: The jobs by full name.
        folder: An empty folder, or that of an earlier call.
    """
    held, tool = folder / "jobs.json", folder / "gcloud"
    held.write_text(json.dumps(jobs), "utf-8")
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n', "utf-8")
    tool.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "JOBS": str(held)}
    subprocess.run(["bash", "-e"], input="\n".join(commands), env=environment, text=True, check=True)
    changed = json.loads(held.read_text("utf-8"))
    jobs.clear()
    jobs.update(changed)


def main(*words: str) -> str | None:
    """Run one command; return its error message, or None if it succeeded."""
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    plain = [word for word in words if not word.startswith("--") and word != "http"]
    group, kind, verb, job = plain
    if (group, kind) != ("scheduler", "jobs"):
        return f"nothing here does {words}"
    held = Path(os.environ["JOBS"])
    jobs = json.loads(held.read_text("utf-8"))
    name = f"projects/{options['project']}/locations/{options['location']}/jobs/{job}"
    if (name in jobs) == (verb == "create"):
        return f"{verb}: {name} is {'there' if name in jobs else 'not there'}"
    if verb == "create":
        jobs[name] = _made(name, options)
    elif verb == "describe":
        sys.stdout.write(f"{jobs[name].get('state', 'ENABLED')}\n")
    elif verb == "pause":
        if jobs[name].get("state") == "PAUSED":
            return f"{name} must be ENABLED"
        jobs[name]["state"] = "PAUSED"
    elif verb == "update":
        jobs[name]["httpTarget"]["oidcToken"]["serviceAccountEmail"] = options["oidc-service-account-email"]
    else:
        return f"nothing here does {verb}"
    held.write_text(json.dumps(jobs), "utf-8")
    return None


def _made(name: str, options: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "schedule": options["schedule"],
        "timeZone": options["time-zone"],
        "attemptDeadline": options["attempt-deadline"],
        "retryConfig": {
            "retryCount": int(options["max-retry-attempts"]),
            "minBackoffDuration": options["min-backoff"],
        },
        "httpTarget": {
            "uri": options["uri"],
            "httpMethod": options["http-method"].upper(),
            "oidcToken": {"serviceAccountEmail": options["oidc-service-account-email"]},
        },
        "state": "ENABLED",
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
