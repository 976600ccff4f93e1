"""The service accounts of a project, their roles, and the queue of long runs; nothing else states them.

`python -m deploy access PROJECT` prints commands that create them, and docs/deploy.md shows the roles.
`tests/deploy/test_access.py` compares them with what a deployment grants, and with the functions' accounts.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.settings import region
from shared.tasks.backends.leg_queue import QUEUE
from shared.tasks.documents.legs import LEG_BACKOFF_SECONDS, LONGEST_LEG_BACKOFF_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

#: First parts of the addresses of the functions' accounts.
TASKS = "nx-tasks"
READER = "nx-tasks-reader"
OPERATOR = "nx-tasks-operator"
#: The project's default compute account, which builds functions.
BUILDER = "PROJECT_NUMBER-compute"
BUILDER_ADDRESS = "$PROJECT_NUMBER-compute@developer.gserviceaccount.com"

ACCOUNTS = {
    TASKS: "scheduled functions",
    READER: "callables that only read. They receive requests from outside",
    OPERATOR: "callables that change something. They receive requests from outside, and read no secret",
}


@dataclass(frozen=True, slots=True)
class OwnRole:
    """A custom role, because Google's narrowest predefined role grants too much.

    Attributes:
        title: Purpose of the role.
        permissions: All permissions of the role.
    """

    title: str
    permissions: tuple[str, ...]


SCHEDULER_ROLE = "nxTasksScheduler"
SIGNER_ROLE = "nxTasksSigner"
OWN_ROLES = {
    # The predefined role is Cloud Scheduler's administrator.
    SCHEDULER_ROLE: OwnRole(
        "nx-tasks: run, pause and resume jobs",
        (
            "cloudscheduler.jobs.enable",
            "cloudscheduler.jobs.get",
            "cloudscheduler.jobs.pause",
            "cloudscheduler.jobs.run",
        ),
    ),
    # The predefined role also creates tokens, which stay valid after the request that leaks them.
    SIGNER_ROLE: OwnRole("nx-tasks: sign URLs", ("iam.serviceAccounts.signBlob",)),
}

#: Retries of the queue: each Cloud Task is delivered until it succeeds, for up to a day. The first ten take
#: more than an hour (`shared.tasks.documents.legs.MAX_TRIES`).
QUEUE_OPTIONS = (
    "--max-attempts=100",
    f"--min-backoff={LEG_BACKOFF_SECONDS}s",
    f"--max-backoff={LONGEST_LEG_BACKOFF_SECONDS}s",
)

#: Callables that change what a task does.
CHANGE_CALLABLES = ("run_task", "suspend_task", "resume_task", "cancel_run")


@dataclass(frozen=True, slots=True)
class Grant:
    """A role of an account on a resource.

    Attributes:
        account: One of the names above.
        role: Name in IAM, or a key of OWN_ROLES.
        resource: "project", "bucket", "queue", "itself" (the account), "secret NAME", or "scheduled
            functions".
        purpose: What the account does with the role.
        by_deploy: Whether `firebase deploy` grants it.
        needed_by: Functions of which at least one must be deployed; empty for no condition.
    """

    account: str
    role: str
    resource: str
    purpose: str
    by_deploy: bool = False
    needed_by: tuple[str, ...] = ()

    def is_needed(self, deployed: Collection[str]) -> bool:
        """Return whether a deployed function needs the role."""
        return not self.needed_by or not set(self.needed_by).isdisjoint(deployed)


GRANTS = (
    Grant(TASKS, "roles/datastore.user", "project", "reads and writes status, history, outbox and devices"),
    # On the whole bucket, because a condition on objects' names denies listing, and reports a missing object
    # as forbidden instead of not found.
    Grant(TASKS, "roles/storage.objectUser", "bucket", "reads, writes, lists and removes stored results"),
    Grant(
        TASKS,
        SIGNER_ROLE,
        "itself",
        "signs the URL in `data` through IAM (`signBlob`), because the account has no key",
    ),
    Grant(
        TASKS,
        "roles/secretmanager.secretAccessor",
        "secret NX_OCPI_OPERATORS",
        "reads charge point operators and their tokens",
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
        TASKS,
        "roles/run.invoker",
        "scheduled functions",
        "calls them, from Cloud Scheduler and Cloud Tasks",
        by_deploy=True,
    ),
    Grant(TASKS, SCHEDULER_ROLE, "project", "runs, pauses and resumes jobs, and reads which URL they call"),
    Grant(TASKS, "roles/cloudtasks.enqueuer", "queue", "creates the Cloud Tasks that continue long runs"),
    # Cloud Tasks authenticates as the account of the job, and requires that its caller may act as it.
    Grant(
        TASKS,
        "roles/iam.serviceAccountUser",
        "itself",
        "creates Cloud Tasks that call functions as this account",
    ),
    Grant(
        TASKS,
        "roles/firebaseauth.viewer",
        "project",
        "checks whether a caller's token was revoked, if NX_TASKS_OPERATOR_ACCOUNT is not set",
        needed_by=CHANGE_CALLABLES,
    ),
    Grant(READER, "roles/datastore.viewer", "project", "reads status, history and results"),
    Grant(READER, "roles/storage.objectViewer", "bucket", "reads stored results"),
    Grant(
        READER,
        SIGNER_ROLE,
        "itself",
        "signs URLs of results that are too large for an answer (`signBlob`), valid for 15 minutes",
    ),
    Grant(
        OPERATOR,
        "roles/datastore.user",
        "project",
        "reads and writes status and history",
        needed_by=CHANGE_CALLABLES,
    ),
    Grant(OPERATOR, SCHEDULER_ROLE, "project", "runs, pauses and resumes jobs", needed_by=CHANGE_CALLABLES),
    Grant(
        OPERATOR,
        "roles/firebaseauth.viewer",
        "project",
        "checks whether a caller's token was revoked",
        needed_by=CHANGE_CALLABLES,
    ),
    Grant(
        BUILDER,
        "roles/cloudbuild.builds.builder",
        "project",
        "builds functions, if the organisation gives default accounts no role",
    ),
)


def addresses(
    project: str, *, tasks: str | None = None, reader: str | None = None, operator: str | None = None
) -> dict[str, str]:
    """Return the addresses of the functions' accounts, by the names above.

    Args:
        project: Project id.
        tasks: Address of the account of scheduled functions; None for the default.
        reader: Address of the account of callables that only read; None for the default.
        operator: Address of the account of callables that change something; None for the default.
    """
    chosen = {TASKS: tasks, READER: reader, OPERATOR: operator}
    return {name: address or f"{name}@{project}.iam.gserviceaccount.com" for name, address in chosen.items()}


def commands(
    project: str, bucket: str, deployed: Collection[str], accounts: Mapping[str, str]
) -> Iterator[str]:
    """Yield gcloud commands that create accounts and queue, and grant what `firebase deploy` does not.

    The commands may run again; they keep what exists.

    Args:
        project: Project id.
        bucket: Bucket of large results.
        deployed: Names of the deployed functions.
        accounts: Addresses, from `addresses`. Accounts of other projects must exist.
    """
    for account, users in ACCOUNTS.items():
        name, _, place = accounts[account].partition("@")
        describe = _gcloud("iam", "service-accounts", "describe", accounts[account], project=project)
        if place == f"{project}.iam.gserviceaccount.com":
            shown = f"--display-name={users}"
            create = _gcloud("iam", "service-accounts", "create", name, shown, project=project)
            yield f"{describe} >/dev/null 2>&1 || {create}"
        else:
            yield f"{describe} >/dev/null"
    yield _queue(project)
    grants = [grant for grant in GRANTS if grant.is_needed(deployed) and not grant.by_deploy]
    needed = {grant.role for grant in grants}
    yield from (_role(name, own, project) for name, own in OWN_ROLES.items() if name in needed)
    yield f"PROJECT_NUMBER=$({_gcloud('projects', 'describe', project, '--format=value(projectNumber)')})"
    for grant in grants:
        yield _grant(grant, project, bucket, accounts.get(grant.account, BUILDER_ADDRESS))


def _role(name: str, own: OwnRole, project: str) -> str:
    options = (f"--title={own.title}", f"--permissions={','.join(own.permissions)}", "--quiet")
    return _create_or_update("iam", "roles", name, (f"--project={project}",), options)


def _queue(project: str) -> str:
    place = (f"--location={region()}", f"--project={project}")
    return _create_or_update("tasks", "queues", QUEUE, place, QUEUE_OPTIONS)


def _create_or_update(
    group: str, kind: str, name: str, place: tuple[str, ...], options: tuple[str, ...]
) -> str:
    describe = _gcloud(group, kind, "describe", name, *place)
    update = _gcloud(group, kind, "update", name, *options, *place)
    create = _gcloud(group, kind, "create", name, *options, *place)
    return f"if {describe} >/dev/null 2>&1; then {update}; else {create}; fi"


def _grant(grant: Grant, project: str, bucket: str, address: str) -> str:
    role = f"projects/{project}/roles/{grant.role}" if grant.role in OWN_ROLES else grant.role
    member = f'--member="serviceAccount:{address}"'
    resource = {
        "project": ("projects", "add-iam-policy-binding", project),
        "bucket": ("storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}"),
        "queue": ("tasks", "queues", "add-iam-policy-binding", QUEUE, f"--location={region()}"),
        "itself": ("iam", "service-accounts", "add-iam-policy-binding", address),
    }[grant.resource]
    # Without it, gcloud asks for a condition if the policy has any.
    more = ("--condition=None",) if grant.resource in {"project", "itself"} else ()
    command = _gcloud(
        *resource, f"--role={role}", *more, project=None if grant.resource == "project" else project
    )
    return f"{command} {member} >/dev/null"


def _gcloud(*words: str, project: str | None = None) -> str:
    command = ["gcloud", *words]
    if project is not None:
        command.append(f"--project={project}")
    return shlex.join(command)
