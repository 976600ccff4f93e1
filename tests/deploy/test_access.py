"""The roles in the code, the deployment, the service accounts and the printed commands agree."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import main
from deploy.access import (
    ACCOUNTS,
    CHANGE_CALLABLES,
    GRANTS,
    OPERATOR,
    OWN_ROLES,
    READER,
    SCHEDULER_ROLE,
    SIGNER_ROLE,
    TASKS,
    Grant,
    addresses,
    commands,
)
from deploy.policies import FOLDER
from shared import settings
from tests.deploy import wanted
from tests.deploy.deploying import ACCOUNT, ROOT, Deployment
from tests.deploy.google import BUCKET, PROJECT


def granted_by_commands(tmp_path: Path, deployed: list[str], **accounts: str) -> list[list[str]]:
    """The arguments of each gcloud call, recorded by a fake gcloud that runs the commands."""
    tools, calls = tmp_path / "bin", tmp_path / "calls"
    tools.mkdir()
    (tools / "gcloud").write_text(
        '#!/bin/sh\nprintf "%s\\t" "$@" >>"$CALLS"; echo >>"$CALLS"\n'
        '[ "$1 $2" = "projects describe" ] && echo 123456789012\n'
        '[ "$3" != describe ] || [ "$4" = "$THERE" ]\n'
    )
    (tools / "gcloud").chmod(0o755)
    script = "\n".join(commands(PROJECT, BUCKET, deployed, addresses(PROJECT, **accounts)))
    there = "123456789012-compute@developer.gserviceaccount.com"
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "THERE": there}
    subprocess.run(["bash", "-e", "-c", script], env=environment, check=True)
    return [line.rstrip("\t").split("\t") for line in calls.read_text("utf-8").splitlines()]


def test_functions_run_as_the_created_accounts(deployment: Deployment) -> None:
    """Each account of a function has roles; each account with roles runs or builds a function."""
    addresses = {f"{name}@{PROJECT}.iam.gserviceaccount.com" for name in ACCOUNTS}
    used = {one["serviceConfig"]["serviceAccountEmail"] for one in deployment.google.functions.values()}
    assert used == addresses
    assert {grant.account for grant in GRANTS} >= set(ACCOUNTS)


def test_a_deployment_grants_the_documented_roles(deployment: Deployment) -> None:
    """It grants access to secrets and the right to call scheduled functions, and nothing else."""
    arrived = set()
    for name, policy in deployment.google.policies.items():
        for binding in policy["bindings"]:
            for member in set(binding["members"]) - {"allUsers"}:
                account = member.removeprefix("serviceAccount:").partition("@")[0]
                on = (
                    name.replace("secrets/", "secret ") if "/services/" not in name else "scheduled functions"
                )
                arrived.add((account, binding["role"], on))
    assert arrived == {(grant.account, grant.role, grant.resource) for grant in GRANTS if grant.by_deploy}


def test_the_commands_grant_the_other_roles(tmp_path: Path) -> None:
    """They create each account and grant each other role only on its own resource."""
    calls = granted_by_commands(tmp_path, list(main.__all__))
    made = [call[3] for call in calls if call[:3] == ["iam", "service-accounts", "create"]]
    assert made == list(ACCOUNTS)
    given = []
    for call in (call for call in calls if "add-iam-policy-binding" in call):
        on = call[call.index("add-iam-policy-binding") + 1]
        options = dict(word.partition("=")[::2] for word in call if word.startswith("--"))
        given.append((options["--member"].removeprefix("serviceAccount:"), options["--role"], on))
    assert sorted(given) == sorted(
        (address(grant), role(grant), resource(grant))
        for grant in GRANTS
        if not grant.by_deploy and grant.is_needed(main.__all__)
    )


def test_accounts_may_have_other_names(tmp_path: Path) -> None:
    """Accounts in the settings get the same roles; existing accounts are not created again."""
    named = {
        "tasks": "123456789012-compute@developer.gserviceaccount.com",
        "reader": f"looks@{PROJECT}.iam.gserviceaccount.com",
        "operator": f"acts@{PROJECT}.iam.gserviceaccount.com",
    }
    calls = granted_by_commands(tmp_path, list(main.__all__), **named)
    assert [call[3] for call in calls if call[:3] == ["iam", "service-accounts", "create"]] == [
        "looks",
        "acts",
    ]
    members = {word for call in calls for word in call if word.startswith("--member=")}
    assert members == {f"--member=serviceAccount:{address}" for address in named.values()}


def address(grant: Grant) -> str:
    if grant.account not in ACCOUNTS:
        return "123456789012-compute@developer.gserviceaccount.com"
    return f"{grant.account}@{PROJECT}.iam.gserviceaccount.com"


def role(grant: Grant) -> str:
    return f"projects/{PROJECT}/roles/{grant.role}" if grant.role in OWN_ROLES else grant.role


def resource(grant: Grant) -> str:
    return {
        "project": PROJECT,
        "bucket": f"gs://{BUCKET}",
        "queue": "nx-runs",
        "itself": address(grant),
    }[grant.resource]


def test_the_queue_of_long_runs_retries_for_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is created in the region of the functions, before its role is granted."""
    monkeypatch.setenv("NX_TASKS_REGION", "europe-west1")
    calls = granted_by_commands(tmp_path, list(main.__all__))
    create, bind = [
        call
        for call in calls
        if call[:2] == ["tasks", "queues"] and call[2] in {"create", "add-iam-policy-binding"}
    ]
    assert create[2:4] == ["create", "nx-runs"]
    assert {"--max-attempts=100", "--min-backoff=30s", "--max-backoff=900s"} < set(create)
    assert bind[2:4] == ["add-iam-policy-binding", "nx-runs"]
    for call in (create, bind):
        assert {"--location=europe-west1", f"--project={PROJECT}"} < set(call)


def test_control_of_jobs_has_its_own_role(tmp_path: Path) -> None:
    """The role allows running, pausing and resuming jobs, but not creating, changing or deleting them."""
    calls = granted_by_commands(tmp_path, [*main.__all__, *CHANGE_CALLABLES])
    made = {call[3]: call for call in calls if call[:3] == ["iam", "roles", "create"]}
    wanted = ",".join(f"cloudscheduler.jobs.{verb}" for verb in ("enable", "get", "pause", "run"))
    assert f"--permissions={wanted}" in made[SCHEDULER_ROLE]
    assert made.keys() == OWN_ROLES.keys()
    role = f"--role=projects/{PROJECT}/roles/nxTasksScheduler"
    assert [call for call in calls if role in call and f"--member=serviceAccount:{TASKS}@" in " ".join(call)]


def test_the_account_of_readers_can_only_read() -> None:
    """It has no role for writing, for secrets or for calling functions."""
    roles = {(grant.role, grant.resource) for grant in GRANTS if grant.account == READER}
    assert roles == {
        ("roles/datastore.viewer", "project"),
        ("roles/storage.objectViewer", "bucket"),
        (SIGNER_ROLE, "itself"),
    }
    assert {
        name for name, one in wanted.functions().items() if one.account.startswith(f"{READER}@")
    } == wanted.READERS
    assert set(settings.READER_ACCOUNT.affects.split(", ")) == wanted.READERS


def test_the_account_of_operator_callables_cannot_read_secrets() -> None:
    """It can read and write documents, run jobs and look up users."""
    roles = {(grant.role, grant.resource) for grant in GRANTS if grant.account == OPERATOR}
    assert roles == {
        ("roles/datastore.user", "project"),
        (SCHEDULER_ROLE, "project"),
        ("roles/firebaseauth.viewer", "project"),
    }
    assert {
        name for name, one in wanted.functions().items() if one.account.startswith(f"{OPERATOR}@")
    } == set(CHANGE_CALLABLES)
    assert set(settings.OPERATOR_ACCOUNT.affects.split(", ")) == set(CHANGE_CALLABLES)
    assert not [name for name in CHANGE_CALLABLES if wanted.functions()[name].secrets]


def test_callables_run_as_the_default_account_without_a_setting() -> None:
    """The settings for the accounts of readers and operators are optional."""
    names = (*CHANGE_CALLABLES, *wanted.READERS)
    printed = subprocess.run(
        [sys.executable, "-c", f"import main\nfor name in {names}: print({ACCOUNT_OF})"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "NX_TASKS_SERVICE_ACCOUNT": ACCOUNT,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == [ACCOUNT] * len(names)


ACCOUNT_OF = "getattr(main, name).__firebase_endpoint__.serviceAccountEmail"


def test_no_account_has_a_basic_or_administrator_role() -> None:
    """Signing and acting as an account are granted only on the account itself."""
    for grant in GRANTS:
        assert "admin" not in grant.role.lower()
        assert grant.role not in {"roles/owner", "roles/editor", "roles/viewer"}
        assert "TokenCreator" not in grant.role
        assert (grant.resource == "itself") == (grant.role in {SIGNER_ROLE, "roles/iam.serviceAccountUser"})
        assert grant.role != "roles/iam.serviceAccountUser" or grant.account == TASKS
    assert OWN_ROLES[SIGNER_ROLE].permissions == ("iam.serviceAccounts.signBlob",)


def test_roles_in_messages_are_roles_that_the_project_grants() -> None:
    """Error messages and alert policies name only roles of the access model."""
    files = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py"), *FOLDER.glob("*.json")]
    named = {
        role for path in files for role in re.findall(r"roles/\w+\.\w+|\bnxTasks\w+", path.read_text("utf-8"))
    }
    assert {SCHEDULER_ROLE, SIGNER_ROLE} <= named <= {grant.role for grant in GRANTS}
