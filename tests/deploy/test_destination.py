"""A deployment to another region and database follows the two settings in every part."""

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
    """The output of `python -m deploy` in a checkout."""
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
    """A checkout with another region and database only in `.env.PROJECT`."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return copy_project(folder, NX_TASKS_REGION=REGION, NX_TASKS_DATABASE=DATABASE)


@pytest.fixture(scope="module")
def elsewhere(moved: Path) -> Deployment:
    """The first deployment of that checkout according to docs/deploy.md."""
    assert command(moved, "config", PROJECT) == [f"firebase.{PROJECT}.json"]
    return deploy(moved, Google(), "--force", CONFIG)


def test_all_resources_are_in_the_configured_location(elsewhere: Deployment) -> None:
    """This includes functions, jobs and their targets, images, rules, indexes and TTL policies."""
    assert findings(elsewhere) == {}
    assert elsewhere.google.functions
    assert all(f"/locations/{REGION}/" in name for name in elsewhere.google.functions)
    assert all(name.endswith(f"-{REGION}") for name in elsewhere.google.jobs)
    (database,) = elsewhere.google.databases
    assert database == f"projects/{PROJECT}/databases/{DATABASE}"
    (made,) = elsewhere.requests_to("POST", "firestore.googleapis.com", "/databases")[:1]
    assert made.body["locationId"] == REGION
    assert f"projects/{PROJECT}/releases/cloud.firestore/{DATABASE}" in elsewhere.google.releases


def test_the_configuration_of_the_page_has_the_region(elsewhere: Deployment) -> None:
    """The uploaded configuration also has App Check's key."""
    contents = [gzip.decompress(content) for content in elsewhere.google.files.values()]
    (config,) = (json.loads(content) for content in contents if b"appCheckSiteKey" in content[:40])
    assert config["region"] == REGION


def test_the_page_of_a_default_deployment_calls_the_default_region(deployment: Deployment) -> None:
    """Earlier uses of the page's build have no effect."""
    contents = [gzip.decompress(content) for content in deployment.google.files.values()]
    (config,) = (json.loads(content) for content in contents if b"appCheckSiteKey" in content[:40])
    assert config["region"] == "us-central1"


def test_jobs_are_created_and_changed_in_that_region(
    moved: Path, elsewhere: Deployment, tmp_path: Path
) -> None:
    """`python -m deploy` reads the region from the same setting as `firebase deploy`."""
    google = copy.deepcopy(elsewhere.google)
    gcloud.run(command(moved, "job-account", PROJECT, "--account=other@example.com"), google.jobs, tmp_path)
    accounts = {job["httpTarget"]["oidcToken"]["serviceAccountEmail"] for job in google.jobs.values()}
    assert accounts == {"other@example.com"}
    made: dict[str, object] = {}
    gcloud.run(command(moved, "paused-jobs", PROJECT, f"--account={ACCOUNT}"), made, tmp_path)
    assert made.keys() < elsewhere.google.jobs.keys()


def test_rules_never_go_to_another_database(moved: Path) -> None:
    """Without the configuration for the database nothing is deployed; the error states how to create it."""
    refused = deploy(moved, Google(), "--force")
    assert refused.code != 0
    assert "rules and indexes would go to the database (default), but NX_TASKS_DATABASE is nx-data" in (
        " ".join(refused.output.split())
    )
    assert f"python -m deploy config {PROJECT}" in refused.output
    assert (refused.google.functions, refused.google.releases, refused.google.files) == ({}, {}, {})


def test_a_region_only_in_the_shell_is_refused(project: Path) -> None:
    """The functions would be in that region but lack the setting at run time."""
    refused = deploy(project, Google(), "--force", NX_TASKS_REGION=REGION)
    assert refused.code != 0
    assert f"NX_TASKS_REGION={REGION} is exported in this shell, but .env.{PROJECT} does not set it" in (
        refused.output
    )
    assert refused.google.functions == {}


def test_git_ignores_the_files_of_a_project() -> None:
    checked = subprocess.run(["git", "check-ignore", f"firebase.{PROJECT}.json"], cwd=ROOT, check=False)
    assert checked.returncode == 0
