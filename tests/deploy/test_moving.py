"""What docs/deploy.md says of moving over, and of another account, is what firebase-tools does."""

import copy
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from deploy.jobs import paused
from shared.settings import REGION
from tests.deploy import wanted
from tests.deploy.deploying import ACCOUNT, Deployment, deploy
from tests.deploy.findings import findings
from tests.deploy.google import PROJECT, Google


def made_by(create: str) -> dict[str, Any]:
    """The job that `gcloud scheduler jobs create http` makes, and `pause` pauses."""
    _, _, _, _, _, name, *words = shlex.split(create)
    said = dict(re.fullmatch(r"--([a-z-]+)=(.*)", word).groups() for word in words)
    return {
        "name": f"projects/{said['project']}/locations/{said['location']}/jobs/{name}",
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
        "state": "PAUSED",
    }


def test_jobs_that_are_paused_before_stay_so(project: Path) -> None:
    """They are as a deployment would make them, and none of another codebase's functions is removed."""
    google = Google()
    commands = list(paused(PROJECT, ACCOUNT))
    for create, pause in zip(commands[::2], commands[1::2], strict=True):
        job = made_by(create)
        assert pause.startswith(f"gcloud scheduler jobs pause {job['name'].rpartition('/')[2]} ")
        google.jobs[job["name"]] = job
    before = copy.deepcopy(google.jobs)
    theirs = f"projects/{PROJECT}/locations/{REGION}/functions/theirs"
    google.functions[theirs] = {
        "name": theirs,
        "environment": "GEN_2",
        "state": "ACTIVE",
        "labels": {"deployment-tool": "cli-firebase"},
        "buildConfig": {"runtime": "nodejs22", "entryPoint": "theirs"},
        "serviceConfig": {"service": theirs, "uri": "https://theirs.example.com"},
    }
    moved = deploy(project, google, "--force")
    assert moved.code == 0, moved.output
    assert {name: google.jobs[name] for name in before} == before
    assert theirs in google.functions
    del google.functions[theirs]
    assert findings(moved) == {}
    others = {one.job for one in wanted.functions().values() if one.schedule} - before.keys()
    assert others == {wanted.functions()["watchdog"].job}


def test_another_account_takes_new_jobs(project: Path, deployment: Deployment, tmp_path: Path) -> None:
    """Where the jobs were removed before, they are made anew, and call as the functions' account."""
    changed = tmp_path / "project"
    shutil.copytree(project, changed, symlinks=True)
    settings = changed / f".env.{PROJECT}"
    settings.write_text(
        settings.read_text("utf-8").replace(ACCOUNT, ACCOUNT.replace("nx-", "other-")), "utf-8"
    )
    google = copy.deepcopy(deployment.google)
    google.jobs.clear()
    again = deploy(changed, google)
    assert again.code == 0, again.output
    other = ACCOUNT.replace("nx-", "other-")
    for function in (one for one in wanted.functions().values() if one.schedule is not None):
        assert google.jobs[function.job]["httpTarget"]["oidcToken"]["serviceAccountEmail"] == other
        assert google.policies[function.service]["bindings"][0]["members"] == [f"serviceAccount:{other}"]
