"""Who may do what in the project: every role, per service account and resource, stated here and nowhere else.

`python -m deploy access PROJECT` makes commands of it, docs/deploy.md a table, and
`tests/deploy/test_access.py` compares it with what functions run as and what arrives.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

#: Accounts of the functions, by the first part of their addresses.
TASKS = "nx-tasks"
READER = "nx-tasks-reader"
OPERATOR = "nx-tasks-operator"
#: The project's default compute account, which builds functions.
BUILDER = "PROJECT_NUMBER-compute"
BUILDER_ADDRESS = "$PROJECT_NUMBER-compute@developer.gserviceaccount.com"

ACCOUNTS = {
    TASKS: "scheduled functions",
    READER: "callables that only read: what they are sent comes from outside",
    OPERATOR: "callables that change something: they are reached from outside, too, and read no secret",
}


@dataclass(frozen=True, slots=True)
class OwnRole:
    """A role of this project's own, where Google's narrowest is too wide.

    Attributes:
        title: what it is for.
        permissions: all that it has.
    """

    title: str
    permissions: tuple[str, ...]


SCHEDULER_ROLE = "nxTasksScheduler"
SIGNER_ROLE = "nxTasksSigner"
OWN_ROLES = {
    # Google's is Cloud Scheduler's administrator.
    SCHEDULER_ROLE: OwnRole(
        "nx-tasks: run, pause and resume jobs",
        (
            "cloudscheduler.jobs.enable",
            "cloudscheduler.jobs.get",
            "cloudscheduler.jobs.pause",
            "cloudscheduler.jobs.run",
        ),
    ),
    # Google's makes tokens of the account, too, which outlive the request that they were stolen in.
    SIGNER_ROLE: OwnRole("nx-tasks: sign URLs", ("iam.serviceAccounts.signBlob",)),
}

#: Callables that change what a task does, where they are deployed.
STEERING = ("run_task", "suspend_task", "resume_task", "cancel_run")


@dataclass(frozen=True, slots=True)
class Grant:
    """One role of one account.

    Attributes:
        account: one of the names above.
        role: as IAM calls it, or one of OWN_ROLES.
        on: "project", "bucket", "itself" (the account), "secret NAME", or "scheduled functions".
        why: what needs it.
        by_deploy: `firebase deploy` grants it.
        needed_by: functions of which one must be deployed; empty: always.
    """

    account: str
    role: str
    on: str
    why: str
    by_deploy: bool = False
    needed_by: tuple[str, ...] = ()

    def is_needed(self, deployed: Collection[str]) -> bool:
        """Tell whether a function is deployed that needs it."""
        return not self.needed_by or not set(self.needed_by).isdisjoint(deployed)


GRANTS = (
    Grant(TASKS, "roles/datastore.user", "project", "reads and writes status, history, outbox and devices"),
    # On the whole bucket: listing is judged on it, and so is whether a missing object is "not found" or
    # "forbidden"; a condition on objects' names denies both.
    Grant(TASKS, "roles/storage.objectUser", "bucket", "reads, writes, lists and removes stored results"),
    Grant(
        TASKS,
        SIGNER_ROLE,
        "itself",
        "`signBlob`: the URL in `data` is signed by IAM, there is no key",
    ),
    Grant(
        TASKS,
        "roles/secretmanager.secretAccessor",
        "secret NX_OCPI_OPERATORS",
        "charge point operators and their tokens",
        by_deploy=True,
    ),
    Grant(
        TASKS,
        "roles/secretmanager.secretAccessor",
        "secret NX_TWILIO_AUTH_TOKEN",
        "sends reset SMS",
        by_deploy=True,
    ),
    Grant(
        TASKS, "roles/run.invoker", "scheduled functions", "Cloud Scheduler calls them as it", by_deploy=True
    ),
    Grant(
        TASKS,
        SCHEDULER_ROLE,
        "project",
        "runs, pauses and resumes jobs",
        needed_by=("run_task", "suspend_task", "resume_task", "watchdog"),
    ),
    Grant(
        TASKS,
        "roles/firebaseauth.viewer",
        "project",
        "asks whether a caller's token was revoked, if NX_TASKS_OPERATOR_ACCOUNT is not set",
        needed_by=STEERING,
    ),
    Grant(READER, "roles/datastore.viewer", "project", "reads status, history and results"),
    Grant(READER, "roles/storage.objectViewer", "bucket", "reads stored results"),
    Grant(
        READER,
        SIGNER_ROLE,
        "itself",
        "`signBlob`: an answer too large is handed over as a URL for 15 minutes",
    ),
    Grant(
        OPERATOR, "roles/datastore.user", "project", "reads and writes status and history", needed_by=STEERING
    ),
    Grant(OPERATOR, SCHEDULER_ROLE, "project", "runs, pauses and resumes jobs", needed_by=STEERING),
    Grant(
        OPERATOR,
        "roles/firebaseauth.viewer",
        "project",
        "asks whether a caller's token was revoked",
        needed_by=STEERING,
    ),
    Grant(
        BUILDER,
        "roles/cloudbuild.builds.builder",
        "project",
        "builds functions, where the organisation gives default accounts no role",
    ),
)


def addresses(
    project: str, *, tasks: str | None = None, reader: str | None = None, operator: str | None = None
) -> dict[str, str]:
    """Return the addresses of the functions' accounts, by their names above.

    Args:
        project: the project's id.
        tasks: the address of TASKS, where it is called otherwise.
        reader: that of READER.
        operator: that of OPERATOR.
    """
    said = {TASKS: tasks, READER: reader, OPERATOR: operator}
    return {name: one or f"{name}@{project}.iam.gserviceaccount.com" for name, one in said.items()}


def commands(
    project: str, bucket: str, deployed: Collection[str], accounts: Mapping[str, str]
) -> Iterator[str]:
    """Return the commands of gcloud that make the accounts and grant what `firebase deploy` does not.

    They may be run again: what is there stays.

    Args:
        project: the project's id.
        bucket: that of large results.
        deployed: names of the functions that are.
        accounts: as `addresses` has them. Those that the project can't make must be there.
    """
    for account, what in ACCOUNTS.items():
        name, _, place = accounts[account].partition("@")
        there = _gcloud("iam", "service-accounts", "describe", accounts[account], project=project)
        if place == f"{project}.iam.gserviceaccount.com":
            shown = f"--display-name={what}"
            make = _gcloud("iam", "service-accounts", "create", name, shown, project=project)
            yield f"{there} >/dev/null 2>&1 || {make}"
        else:
            yield f"{there} >/dev/null"
    grants = [grant for grant in GRANTS if grant.is_needed(deployed) and not grant.by_deploy]
    needed = {grant.role for grant in grants}
    yield from (_role(name, own, project) for name, own in OWN_ROLES.items() if name in needed)
    yield f"PROJECT_NUMBER=$({_gcloud('projects', 'describe', project, '--format=value(projectNumber)')})"
    for grant in grants:
        yield _grant(grant, project, bucket, accounts.get(grant.account, BUILDER_ADDRESS))


def _role(name: str, own: OwnRole, project: str) -> str:
    said = (f"--title={own.title}", f"--permissions={','.join(own.permissions)}")
    role = ("iam", "roles")
    make = _gcloud(*role, "create", name, *said, project=project)
    update = _gcloud(*role, "update", name, *said, "--quiet", project=project)
    there = _gcloud(*role, "describe", name, project=project)
    return f"if {there} >/dev/null 2>&1; then {update}; else {make}; fi"


def _grant(grant: Grant, project: str, bucket: str, address: str) -> str:
    role = f"projects/{project}/roles/{grant.role}" if grant.role in OWN_ROLES else grant.role
    member = f'--member="serviceAccount:{address}"'
    resource = {
        "project": ("projects", "add-iam-policy-binding", project),
        "bucket": ("storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}"),
        "itself": ("iam", "service-accounts", "add-iam-policy-binding", address),
    }[grant.on]
    more = () if grant.on == "bucket" else ("--condition=None",)
    command = _gcloud(*resource, f"--role={role}", *more, project=None if grant.on == "project" else project)
    return f"{command} {member} >/dev/null"


def _gcloud(*words: str, project: str | None = None) -> str:
    said = ["gcloud", *words]
    if project is not None:
        said.append(f"--project={project}")
    return shlex.join(said)
