"""`gcloud scheduler jobs` as far as `python -m deploy` prints it, on the jobs that a recorded project has.

It refuses what the service refuses: to make a job that is there, to pause one that is paused. Run as a
program it is gcloud itself; the jobs are then a JSON file, $JOBS.
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
    """Run commands as the page pipes them, `bash -e`, and change the jobs as they do.

    Args:
        commands: a line each.
        jobs: by full name.
        folder: an empty one, or that of an earlier call.
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
    """Do one command; return the text of its failure, None where it worked."""
    said = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    plain = [word for word in words if not word.startswith("--") and word != "http"]
    group, kind, verb, job = plain
    if (group, kind) != ("scheduler", "jobs"):
        return f"nothing here does {words}"
    held = Path(os.environ["JOBS"])
    jobs = json.loads(held.read_text("utf-8"))
    name = f"projects/{said['project']}/locations/{said['location']}/jobs/{job}"
    if (name in jobs) == (verb == "create"):
        return f"{verb}: {name} is {'there' if name in jobs else 'not there'}"
    if verb == "create":
        jobs[name] = _made(name, said)
    elif verb == "describe":
        sys.stdout.write(f"{jobs[name].get('state', 'ENABLED')}\n")
    elif verb == "pause":
        if jobs[name].get("state") == "PAUSED":
            return f"{name} must be ENABLED"
        jobs[name]["state"] = "PAUSED"
    elif verb == "update":
        jobs[name]["httpTarget"]["oidcToken"]["serviceAccountEmail"] = said["oidc-service-account-email"]
    else:
        return f"nothing here does {verb}"
    held.write_text(json.dumps(jobs), "utf-8")
    return None


def _made(name: str, said: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "schedule": said["schedule"],
        "timeZone": said["time-zone"],
        "attemptDeadline": said["attempt-deadline"],
        "retryConfig": {
            "retryCount": int(said["max-retry-attempts"]),
            "minBackoffDuration": said["min-backoff"],
        },
        "httpTarget": {
            "uri": said["uri"],
            "httpMethod": said["http-method"].upper(),
            "oidcToken": {"serviceAccountEmail": said["oidc-service-account-email"]},
        },
        "state": "ENABLED",
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
