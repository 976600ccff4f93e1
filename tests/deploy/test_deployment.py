"""What `firebase deploy` would have Google do, seen at a recorder in Google's place."""

import copy
import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy import wanted
from tests.deploy.deploying import Deployment, deploy, hosting
from tests.deploy.findings import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_arrives_is_what_is_written(
    deployment: Deployment, check: Callable[[Deployment], Iterator[str]]
) -> None:
    """Each check finds nothing; its docstring says what holds then."""
    assert list(check(deployment)) == []


def test_there_is_something_to_check(deployment: Deployment) -> None:
    """Checks that find nothing have functions, jobs, secrets and an archive before them."""
    google = deployment.google
    assert len(google.functions) == len(wanted.functions()) >= 6
    assert len(google.jobs) >= 5
    assert {"secrets/NX_OCPI_OPERATORS", "secrets/NX_TWILIO_AUTH_TOKEN"} <= google.policies.keys()
    assert len(deployment.archive) > 40


def test_a_second_deployment_changes_nothing(deployment: Deployment, again: Deployment) -> None:
    """It ends well, uploads no source, and leaves functions, jobs, policies, rules and fields as they are."""
    assert (again.code, again.google.unknown) == (0, []), again.output
    changing = [
        str(request)
        for request in again.requests
        if request.method != "GET"
        and "firebasehosting" not in request.host  # it makes a version each time
        and not request.path.endswith((":testIamPermissions", ":generateServiceIdentity", ":test", "/token"))
    ]
    # firebase-tools releases the rules in force once more, the same ones.
    assert all("/releases/" in request for request in changing), changing
    kept = ("functions", "jobs", "policies", "releases", "rulesets", "fields", "repositories", "files")
    for name in kept:
        assert getattr(again.google, name) == getattr(deployment.google, name), name


def test_a_removed_task_removes_its_job(project: Path, deployment: Deployment, tmp_path: Path) -> None:
    """A function that main.py names no more is deleted with its job; the others stay."""
    smaller = tmp_path / "project"
    shutil.copytree(project, smaller, symlinks=True)
    main = (smaller / "main.py").read_text("utf-8")
    lines = [line for line in main.splitlines() if "send_reset_sms" not in line]
    (smaller / "main.py").write_text("\n".join(lines), "utf-8")
    removed = deploy(smaller, copy.deepcopy(deployment.google), "--force")
    assert removed.code == 0, removed.output
    function = wanted.functions()["send_reset_sms"]
    assert deployment.google.jobs.keys() - removed.google.jobs.keys() == {function.job}
    assert deployment.google.functions.keys() - removed.google.functions.keys() == {function.full_name}
    job, gone = (
        index for index, request in enumerate(removed.requests) if request.method == "DELETE"
    )  # in this order: no job is left that calls nobody
    assert removed.requests[job].path.endswith(function.job)
    assert removed.requests[gone].path.endswith(function.full_name)


def test_pages_are_released(project: Path, deployment: Deployment) -> None:
    """Each file of Hosting is uploaded, and one version is finished as firebase.json says, and released."""
    sites = hosting(project)
    if not sites:
        pytest.skip("firebase.json has no hosting")
    pages = [file for site in sites for file in (project / site["public"]).rglob("*") if file.is_file()]
    contents = {gzip.decompress(content) for content in deployment.google.files.values()}
    assert contents >= {page.read_bytes() for page in pages if not page.name.startswith(".")}
    finished = deployment.asked("PATCH", "firebasehosting", "/versions/")
    assert [request.body["status"] for request in finished] == ["FINALIZED"] * len(sites)
    assert len(deployment.asked("POST", "firebasehosting", "/releases")) == len(sites)
