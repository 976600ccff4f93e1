"""What `firebase deploy` would have Google do, seen at a recorder in Google's place."""

import copy
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy import deploying, findings, wanted
from tests.deploy.deploying import (
    ACCOUNT,
    OPERATOR_ACCOUNT,
    READER_ACCOUNT,
    ROOT,
    Deployment,
    copy_project,
    deploy,
    hosting,
)
from tests.deploy.findings import CHECKS
from tests.deploy.google import PROJECT, Google


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
    )  # in this order: no job is left without its function
    assert removed.requests[job].path.endswith(function.job)
    assert removed.requests[gone].path.endswith(function.full_name)


def test_the_first_deployment_of_the_page_is_one(tmp_path: Path) -> None:
    """With the settings that docs/deploy.md writes and no others: accounts are as it says, no SMS is sent."""
    checkout = copy_project(tmp_path / "checkout")
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    said = page.partition("cat >.env.$PROJECT <<END\n")[2].partition("END\n")[0].replace("$PROJECT", PROJECT)
    said = said.replace("$REGION", "us-central1").replace("$DATABASE", "(default)")
    (checkout / f".env.{PROJECT}").write_text(said, "utf-8")
    settings = dict(line.split("=", 1) for line in said.splitlines())
    assert settings == {
        "NX_TASKS_REGION": "us-central1",
        "NX_TASKS_DATABASE": "(default)",
        "NX_TASKS_SERVICE_ACCOUNT": ACCOUNT,
        "NX_TASKS_READER_ACCOUNT": READER_ACCOUNT,
        "NX_TASKS_OPERATOR_ACCOUNT": OPERATOR_ACCOUNT,
    }
    first = deploy(checkout, Google(), "--force")
    assert (first.code, first.google.unknown) == (0, []), first.output
    assert first.google.functions.keys() == {one.full_name for one in wanted.functions().values()}
    for function in wanted.functions().values():
        service = first.google.functions[function.full_name]["serviceConfig"]
        own = {name: value for name, value in service["environmentVariables"].items() if name[:3] == "NX_"}
        bound = {secret["key"] for secret in service["secretEnvironmentVariables"]}
        assert (own, service["serviceAccountEmail"]) == (settings, function.account), function.name
        assert bound == function.secrets - {"NX_TWILIO_AUTH_TOKEN"}, function.name
    callers = {job["httpTarget"]["oidcToken"]["serviceAccountEmail"] for job in first.google.jobs.values()}
    assert callers == {ACCOUNT}
    assert [*findings.only_callables_are_public(first), *findings.clients_are_denied(first)] == []


def test_pages_are_released(project: Path, deployment: Deployment) -> None:
    """Each file of Hosting is uploaded and no other, and one version is finished and released."""
    (site,) = hosting(project)
    folder = project / site["public"]
    pages = {file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")}
    listed = [request.body["files"] for request in deployment.asked("POST", ":populateFiles")]
    names = {name for files in listed for name in files}
    assert names == {f"/{page.relative_to(folder)}" for page in pages} >= {"/index.html"}
    assert not {name for name in names if name.endswith((".map", ".ts", ".tsx"))}
    contents = {gzip.decompress(content) for content in deployment.google.files.values()}
    assert contents == {page.read_bytes() for page in pages}
    (finished,) = deployment.asked("PATCH", "firebasehosting", "/versions/")
    assert finished.body["status"] == "FINALIZED"
    assert len(deployment.asked("POST", "firebasehosting", "/releases")) == 1


def test_pages_are_served_strictly(deployment: Deployment) -> None:
    """Hosting's headers allow only the page's own scripts, and no frames."""
    (finished,) = deployment.asked("PATCH", "firebasehosting", "/versions/")
    config = finished.body["config"]
    headers = {each.get("glob", "without a hash"): each["headers"] for each in config["headers"]}
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["**"]["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    google = "https://www.google.com/recaptcha/", "https://www.gstatic.com/recaptcha/"
    assert set(policy["script-src"].split()) == {"'self'", *google}
    assert policy["style-src"] == policy["img-src"] == policy["font-src"] == "'self'"
    assert not {word for said in policy.values() for word in said.split()} & {
        "*",
        "'unsafe-inline'",
        "https:",
    }
    assert headers["**"]["X-Content-Type-Options"] == "nosniff"
    assert headers["/assets/**"]["Cache-Control"].endswith("immutable")
    assert headers["without a hash"] == {"Cache-Control": "no-cache"}
    assert config["rewrites"] == [{"glob": "/tasks/**", "path": "/index.html"}]


def test_a_copy_is_deployed_with_the_virtual_environments_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is not the runtime of firebase.json: firebase-tools runs the discovery with it."""
    deployed = json.loads((ROOT / "firebase.json").read_text("utf-8"))
    monkeypatch.setattr(deploying, "RUNTIME", "python311")
    copied = json.loads((copy_project(tmp_path / "project") / "firebase.json").read_text("utf-8"))
    for codebase in deployed["functions"]:
        assert codebase["runtime"] != "python311"
        codebase["runtime"] = "python311"
    assert copied == deployed
