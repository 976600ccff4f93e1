"""A deployment to another region and another database: every part follows the two settings."""

import copy
import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy import gcloud
from tests.deploy.deploying import ACCOUNT, ROOT, Deployment, copy_project, deploy
from tests.deploy.findings import findings
from tests.deploy.google import PROJECT, Google

REGION, DATABASE = "europe-west1", "nx-data"
CONFIG = f"--config=firebase.{PROJECT}.json"


def command(project: Path, *words: str) -> list[str]:
    """What `python -m deploy` prints in a checkout, whatever the shell exports."""
    done = subprocess.run(
        [project / "venv/bin/python", "-m", "deploy", *words],
        cwd=project,
        env={"PATH": os.environ["PATH"], "NX_TASKS_REGION": "asia-east1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose `.env.PROJECT` names another region and another database, and nothing else does."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return copy_project(folder, NX_TASKS_REGION=REGION, NX_TASKS_DATABASE=DATABASE)


@pytest.fixture(scope="module")
def elsewhere(moved: Path) -> Deployment:
    """What arrived when it was deployed for the first time, as docs/deploy.md says."""
    assert command(moved, "config", PROJECT) == [f"firebase.{PROJECT}.json"]
    return deploy(moved, Google(), "--force", CONFIG)


def test_everything_is_where_the_settings_say(elsewhere: Deployment) -> None:
    """Functions, jobs, their targets, images, rules, indexes and TTL policies: each check finds nothing."""
    assert findings(elsewhere) == {}
    assert elsewhere.google.functions
    assert all(f"/locations/{REGION}/" in name for name in elsewhere.google.functions)
    assert all(name.endswith(f"-{REGION}") for name in elsewhere.google.jobs)
    (database,) = elsewhere.google.databases
    assert database == f"projects/{PROJECT}/databases/{DATABASE}"
    (made,) = elsewhere.asked("POST", "firestore.googleapis.com", "/databases")[:1]
    assert made.body["locationId"] == REGION
    assert f"projects/{PROJECT}/releases/cloud.firestore/{DATABASE}" in elsewhere.google.releases


def test_the_page_is_told_the_region(elsewhere: Deployment) -> None:
    """Its configuration, as it is uploaded, has it, and keeps App Check's key."""
    contents = [gzip.decompress(content) for content in elsewhere.google.files.values()]
    (config,) = (json.loads(content) for content in contents if b"appCheckSiteKey" in content[:40])
    assert config["region"] == REGION


def test_the_page_of_a_default_deployment_calls_the_default_region(deployment: Deployment) -> None:
    """Whatever the page's build was used for before."""
    contents = [gzip.decompress(content) for content in deployment.google.files.values()]
    (config,) = (json.loads(content) for content in contents if b"appCheckSiteKey" in content[:40])
    assert config["region"] == "us-central1"


def test_jobs_are_made_and_changed_there(moved: Path, elsewhere: Deployment, tmp_path: Path) -> None:
    """`python -m deploy` reads the region where `firebase deploy` does."""
    google = copy.deepcopy(elsewhere.google)
    gcloud.run(command(moved, "job-account", PROJECT, "--account=other@example.com"), google.jobs, tmp_path)
    accounts = {job["httpTarget"]["oidcToken"]["serviceAccountEmail"] for job in google.jobs.values()}
    assert accounts == {"other@example.com"}
    made: dict[str, object] = {}
    gcloud.run(command(moved, "paused-jobs", PROJECT, f"--account={ACCOUNT}"), made, tmp_path)
    assert made.keys() < elsewhere.google.jobs.keys()


def test_rules_never_go_to_another_database(moved: Path) -> None:
    """Without the configuration of the project's database nothing is deployed; the error says how to."""
    refused = deploy(moved, Google(), "--force")
    assert refused.code != 0
    assert "rules and indexes would go to the database (default), but NX_TASKS_DATABASE is nx-data" in (
        " ".join(refused.output.split())
    )
    assert f"python -m deploy config {PROJECT}" in refused.output
    assert (refused.google.functions, refused.google.releases, refused.google.files) == ({}, {}, {})


def test_a_region_that_is_only_exported_is_refused(project: Path) -> None:
    """The functions would be there, and would not have the setting at run time."""
    refused = deploy(project, Google(), "--force", NX_TASKS_REGION=REGION)
    assert refused.code != 0
    assert f"NX_TASKS_REGION={REGION} is exported in this shell, but .env.{PROJECT} does not set it" in (
        refused.output
    )
    assert refused.google.functions == {}


def test_what_is_written_for_a_project_is_ignored_by_git() -> None:
    """The checkout stays clean."""
    told = subprocess.run(["git", "check-ignore", f"firebase.{PROJECT}.json"], cwd=ROOT, check=False)
    assert told.returncode == 0
