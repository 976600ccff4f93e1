"""`firebase deploy` sends the expected requests, which a recorder receives instead of Google."""

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
def test_the_deployment_matches_the_code(
    deployment: Deployment, check: Callable[[Deployment], Iterator[str]]
) -> None:
    """No check finds a problem."""
    assert list(check(deployment)) == []


def test_the_checks_have_input(deployment: Deployment) -> None:
    """The deployment has functions, jobs, secrets and an archive."""
    google = deployment.google
    assert len(google.functions) == len(wanted.functions()) >= 6
    assert len(google.jobs) >= 5
    assert {"secrets/NX_OCPI_OPERATORS", "secrets/NX_TWILIO_AUTH_TOKEN"} <= google.policies.keys()
    assert len(deployment.archive) > 40


def test_a_second_deployment_changes_nothing(deployment: Deployment, again: Deployment) -> None:
    """It succeeds, uploads no source, and keeps functions, jobs, policies, rules and fields."""
    assert (again.code, again.google.unknown) == (0, []), again.output
    changing = [
        str(request)
        for request in again.requests
        if request.method != "GET"
        and "firebasehosting" not in request.host  # Each deployment creates a version of Hosting.
        and not request.path.endswith((":testIamPermissions", ":generateServiceIdentity", ":test", "/token"))
    ]
    # firebase-tools releases the same rules again.
    assert all("/releases/" in request for request in changing), changing
    kept = ("functions", "jobs", "policies", "releases", "rulesets", "fields", "repositories", "files")
    for name in kept:
        assert getattr(again.google, name) == getattr(deployment.google, name), name


def test_a_removed_task_removes_its_job(project: Path, deployment: Deployment, tmp_path: Path) -> None:
    """A function that is no longer in main.py is deleted with its job; the others stay."""
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
    )  # In this order, no job remains without its function.
    assert removed.requests[job].path.endswith(function.job)
    assert removed.requests[gone].path.endswith(function.full_name)


def test_the_documented_first_deployment_works(tmp_path: Path) -> None:
    """The settings in docs/deploy.md suffice; they set the documented accounts and send no SMS."""
    checkout = copy_project(tmp_path / "checkout")
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    env = page.partition("cat >.env.$PROJECT <<END\n")[2].partition("END\n")[0].replace("$PROJECT", PROJECT)
    env = env.replace("$REGION", "us-central1").replace("$DATABASE", "(default)")
    (checkout / f".env.{PROJECT}").write_text(env, "utf-8")
    settings = dict(line.split("=", 1) for line in env.splitlines())
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
    """Exactly the files of Hosting are uploaded, and one version is finalized and released."""
    (site,) = hosting(project)
    folder = project / site["public"]
    pages = {file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")}
    listed = [request.body["files"] for request in deployment.requests_to("POST", ":populateFiles")]
    names = {name for files in listed for name in files}
    assert names == {f"/{page.relative_to(folder)}" for page in pages} >= {"/index.html", "/404.html"}
    assert not {name for name in names if name.endswith((".map", ".ts", ".tsx"))}
    contents = {gzip.decompress(content) for content in deployment.google.files.values()}
    assert contents == {page.read_bytes() for page in pages}
    (finished,) = deployment.requests_to("PATCH", "firebasehosting", "/versions/")
    assert finished.body["status"] == "FINALIZED"
    assert len(deployment.requests_to("POST", "firebasehosting", "/releases")) == 1


def test_pages_have_strict_headers(deployment: Deployment) -> None:
    """Hosting's headers allow only the page's own scripts, and no frames."""
    (finished,) = deployment.requests_to("PATCH", "firebasehosting", "/versions/")
    config = finished.body["config"]
    headers = {each.get("glob", "without a hash"): each["headers"] for each in config["headers"]}
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["**"]["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    google = "https://www.google.com/recaptcha/", "https://www.gstatic.com/recaptcha/"
    assert set(policy["script-src"].split()) == {"'self'", *google}
    assert policy["style-src"] == policy["img-src"] == policy["font-src"] == "'self'"
    assert not {word for sources in policy.values() for word in sources.split()} & {
        "*",
        "'unsafe-inline'",
        "https:",
    }
    assert headers["**"]["X-Content-Type-Options"] == "nosniff"
    assert headers["/assets/**"]["Cache-Control"].endswith("immutable")
    assert headers["without a hash"] == {"Cache-Control": "no-cache"}
    assert config["rewrites"] == [
        {"glob": glob, "path": "/index.html"} for glob in ("/tasks/**", "/timeline", "/timeline/")
    ]


def test_a_copy_is_deployed_with_the_virtual_environments_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This also holds for another runtime in firebase.json, because the discovery runs with that Python."""
    deployed = json.loads((ROOT / "firebase.json").read_text("utf-8"))
    monkeypatch.setattr(deploying, "RUNTIME", "python311")
    copied = json.loads((copy_project(tmp_path / "project") / "firebase.json").read_text("utf-8"))
    for codebase in deployed["functions"]:
        assert codebase["runtime"] != "python311"
        codebase["runtime"] = "python311"
    assert copied == deployed
