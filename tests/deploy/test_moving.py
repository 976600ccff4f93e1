"""firebase-tools behaves as docs/deploy.md describes for a migration and a change of account."""

import copy
import shutil
from pathlib import Path
from typing import Any

from deploy.jobs import paused, with_account
from shared.settings import region
from tests.deploy import gcloud, wanted
from tests.deploy.deploying import ACCOUNT, Deployment, deploy
from tests.deploy.findings import findings
from tests.deploy.google import PROJECT, Google


def test_paused_jobs_stay_paused(project: Path, tmp_path: Path) -> None:
    """The jobs equal those of a deployment, and functions of other codebases stay."""
    google = Google()
    gcloud.run(paused(PROJECT, ACCOUNT), google.jobs, tmp_path)
    assert {job["state"] for job in google.jobs.values()} == {"PAUSED"}
    before = copy.deepcopy(google.jobs)
    theirs = f"projects/{PROJECT}/locations/{region()}/functions/theirs"
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


def test_the_commands_that_pause_jobs_can_be_repeated(tmp_path: Path) -> None:
    """After an interruption, one job is missing and one is not paused."""
    jobs: dict[str, Any] = {}
    gcloud.run(paused(PROJECT, ACCOUNT), jobs, tmp_path)
    whole = copy.deepcopy(jobs)
    missing, fires, *_ = jobs
    del jobs[missing]
    jobs[fires]["state"] = "ENABLED"
    gcloud.run(paused(PROJECT, ACCOUNT), jobs, tmp_path)
    assert jobs == whole


def test_commands_set_a_changed_account_on_the_jobs(
    project: Path, deployment: Deployment, tmp_path: Path
) -> None:
    """A deployment keeps the old account; the commands change only the account of the project's jobs."""
    other = ACCOUNT.replace("nx-", "other-")
    changed = tmp_path / "project"
    shutil.copytree(project, changed, symlinks=True)
    settings = changed / f".env.{PROJECT}"
    settings.write_text(settings.read_text("utf-8").replace(ACCOUNT, other), "utf-8")
    google = copy.deepcopy(deployment.google)
    ours = [one for one in wanted.functions().values() if one.schedule is not None]
    google.jobs[ours[0].job]["state"] = "PAUSED"
    theirs = f"projects/{PROJECT}/locations/{region()}/jobs/firebase-schedule-theirs-{region()}"
    google.jobs[theirs] = {"name": theirs, "httpTarget": {"oidcToken": {"serviceAccountEmail": ACCOUNT}}}
    before = copy.deepcopy(google.jobs)
    again = deploy(changed, google)
    assert again.code == 0, again.output
    assert google.jobs == before, "firebase-tools changes the account itself now: the page need not"
    gcloud.run(with_account(PROJECT, other), google.jobs, tmp_path)
    for function in ours:
        before[function.job]["httpTarget"]["oidcToken"]["serviceAccountEmail"] = other
        assert google.policies[function.service]["bindings"][0]["members"] == [f"serviceAccount:{other}"]
    assert google.jobs == before
