"""Checks of a deployment. Each check yields a sentence per problem.

Checks compare the state at Google with the checkout's code (`tests.deploy.wanted`).
"""

from __future__ import annotations

import ast
import json
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from shared.tasks.specs import MIN_BACKOFF_SECONDS, RETRY_COUNT
from tests.deploy import wanted
from tests.deploy.deploying import RUNTIME
from tests.deploy.google import BUCKET, PROJECT, SECRET_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.deploy.deploying import Deployment

#: Size limit of the source archive, bytes.
LARGEST_ARCHIVE = 1_000_000
#: The only permitted rule.
DENIAL = "allow read, write: if false;"
#: Composite indexes, by collection: the history of one state, newest first.
INDEXES = {"nx-runs": [("state", "ASCENDING"), ("started", "DESCENDING")]}
#: Fields of Firestore that have no index, and whether a document expires at them.
FIELDS = {
    ("nx-tasks", "data"): False,
    ("nx-tasks", "run"): False,
    ("nx-runs", "expire_at"): True,
    ("nx-runs", "checkpoint"): False,
    ("nx-runs", "legs"): False,
    ("nx-runs", "progress"): False,
    ("nx-steps", "expire_at"): True,
    ("nx-steps", "value"): False,
    ("nx-log", "expire_at"): True,
    ("nx-log", "lines"): False,
}


def everything_was_understood(deployment: Deployment) -> Iterator[str]:
    """The deployment succeeded, and the recorder supports all its requests."""
    if deployment.code:
        yield f"it ended with {deployment.code}: {deployment.output[-2000:]}"
    yield from (f"not supported by the recorder: {request}" for request in deployment.google.unknown)


def functions_are_as_written(deployment: Deployment) -> Iterator[str]:
    """Exactly the expected functions exist, each with its region, account, resources and timeout."""
    actual, expected = deployment.google.functions, wanted.functions(deployment.region)
    names = {function.full_name: function for function in expected.values()}
    yield from (f"{name}: not deployed" for name in names.keys() - actual.keys())
    yield from (f"{name}: not expected" for name in actual.keys() - names.keys())
    for name in names.keys() & actual.keys():
        function, body = names[name], actual[name]
        build, service = body["buildConfig"], body["serviceConfig"]
        yield from _differences(
            function.name,
            ("runtime", build["runtime"], RUNTIME),
            ("entry point", build["entryPoint"], function.name),
            ("memory", service["availableMemory"], function.memory),
            ("CPU", service["availableCpu"], function.cpu),
            ("time-out", service["timeoutSeconds"], function.timeout_seconds),
            ("concurrency", service["maxInstanceRequestConcurrency"], function.concurrency),
            ("most instances", service["maxInstanceCount"], function.max_instances),
            ("fewest instances", service["minInstanceCount"], None),
            ("service account", service["serviceAccountEmail"], function.account),
            ("ingress", service["ingressSettings"], None),
            ("kind", _kind(body["labels"]), "callable" if function.schedule is None else "scheduled"),
        )


def _kind(labels: dict[str, str]) -> str:
    kinds = [label.removeprefix("deployment-") for label, value in labels.items() if value == "true"]
    return " and ".join(kinds) or "HTTPS"


def environments_are_as_written(deployment: Deployment) -> Iterator[str]:
    """Each function gets the deployment's settings, Firebase's variables, and its secrets by reference."""
    for function in wanted.functions(deployment.region).values():
        body = deployment.google.functions.get(function.full_name)
        if body is None:
            continue
        actual = body["serviceConfig"]["environmentVariables"]
        source = f"projects/{PROJECT}/locations/{function.region}/services/{function.name}"
        firebase = {
            "EVENTARC_CLOUD_EVENT_SOURCE": source,
            "FIREBASE_CONFIG": json.dumps(
                {"projectId": PROJECT, "storageBucket": BUCKET}, separators=(",", ":")
            ),
            "FUNCTION_REGION": function.region,
            "FUNCTION_TARGET": function.name,
            "GCLOUD_PROJECT": PROJECT,
            "LOG_EXECUTION_ID": "true",
        }
        secrets = [
            {"key": name, "secret": name, "projectId": PROJECT, "version": SECRET_VERSION}
            for name in sorted(function.secrets)
        ]
        bound = body["serviceConfig"]["secretEnvironmentVariables"]
        yield from _differences(
            function.name,
            ("environment", actual, {**deployment.settings, **firebase}),
            ("secrets", sorted(bound, key=lambda one: str(one["key"])), secrets),
        )


def secrets_are_restricted(deployment: Deployment) -> Iterator[str]:
    """Only the accounts of the functions that a secret is bound to can read it."""
    users: dict[str, set[str]] = {}
    for function in wanted.functions(deployment.region).values():
        for secret in function.secrets:
            users.setdefault(f"secrets/{secret}", set()).add(f"serviceAccount:{function.account}")
    policies = {name: p for name, p in deployment.google.policies.items() if name.startswith("secrets/")}
    for name in users.keys() | policies.keys():
        actual = _bindings(policies.get(name, {}))
        yield from _differences(
            name, ("readers", actual, {"roles/secretmanager.secretAccessor": users.get(name, set())})
        )


def jobs_are_as_written(deployment: Deployment) -> Iterator[str]:
    """Each scheduled function, and no other, has a job, which calls it as the function's account."""
    jobs = deployment.google.jobs
    expected = {
        one.job: one for one in wanted.functions(deployment.region).values() if one.schedule is not None
    }
    yield from (f"{name}: there is no such job" for name in expected.keys() - jobs.keys())
    yield from (f"{name}: not expected" for name in jobs.keys() - expected.keys())
    for name in expected.keys() & jobs.keys():
        function, job = expected[name], jobs[name]
        target = job["httpTarget"]
        deployed = deployment.google.functions.get(function.full_name, {})
        yield from _differences(
            f"{function.name}'s job",
            ("schedule", job["schedule"], function.schedule),
            ("time zone", job["timeZone"], function.time_zone),
            (
                "retries",
                job["retryConfig"],
                {"retryCount": RETRY_COUNT, "minBackoffDuration": f"{MIN_BACKOFF_SECONDS}s"},
            ),
            ("attempt deadline", job["attemptDeadline"], f"{function.timeout_seconds}s"),
            ("method", target["httpMethod"], "POST"),
            ("target", target["uri"], deployed.get("url")),
            ("identity", target["oidcToken"]["serviceAccountEmail"], function.account),
        )


def only_callables_are_public(deployment: Deployment) -> Iterator[str]:
    """Callables are public; only its own account, which its job uses, may call a scheduled function."""
    policies = {name: p for name, p in deployment.google.policies.items() if "/services/" in name}
    invokers = {}
    for function in wanted.functions(deployment.region).values():
        member = "allUsers" if function.schedule is None else f"serviceAccount:{function.account}"
        invokers[function.service] = {"roles/run.invoker": {member}}
    for name in sorted(invokers.keys() | policies.keys()):
        actual = _bindings(policies.get(name, {}))
        yield from _differences(name.rpartition("/")[2], ("who may call", actual, invokers.get(name, {})))


def clients_are_denied(deployment: Deployment) -> Iterator[str]:
    """The rules for database and bucket deny all access by clients."""
    google = deployment.google
    # Only the release of a database other than the default one has an id.
    own = f"/{deployment.database}".removesuffix("/(default)")
    services = (f"cloud.firestore{own}", f"firebase.storage/{BUCKET}")
    names = [f"projects/{PROJECT}/releases/{service}" for service in services]
    yield from _differences("rules", ("released for", sorted(google.releases), sorted(names)))
    for name in names:
        source = google.rulesets.get(google.releases.get(name, {}).get("rulesetName"), {"files": []})
        text = "".join(file["content"] for file in source["files"])
        rules = re.findall(r"^\s*(allow\b.*)$", text, re.MULTILINE)
        yield from _differences(name, ("rules", rules, [DENIAL]))
        if "=**}" not in text:
            yield f"{name}: does not match every path"


def fields_are_as_written(deployment: Deployment) -> Iterator[str]:
    """Results and steps' values have no index, records and steps expire; there is one composite index."""
    actual = {}
    database = f"projects/{PROJECT}/databases/{deployment.database}"
    named = {*deployment.google.fields, *deployment.google.indexes}
    elsewhere = [name for name in named if not name.startswith(f"{database}/")]
    yield from _differences("Firestore", ("indexes of other databases", elsewhere, []))
    yield from _differences(
        "Firestore", ("databases that were made", deployment.google.databases, {database})
    )
    for name, field in deployment.google.fields.items():
        _, _, group, _, path = name.rsplit("/", 4)
        yield from _differences(f"{group}.{path}", ("indexes", field["indexConfig"], {"indexes": []}))
        actual[group, path] = "ttlConfig" in field
    yield from _differences("Firestore", ("fields, and whether they expire a document", actual, FIELDS))
    indexes = {
        name.rsplit("/", 3)[1]: [(field["fieldPath"], field["order"]) for field in index["fields"][:-1]]
        for name, index in deployment.google.indexes.items()
    }
    yield from _differences("Firestore", ("composite indexes", indexes, INDEXES))


def archive_is_the_product(deployment: Deployment) -> Iterator[str]:
    """The archive contains exactly main.py, requirements.txt, functions/ and shared/, below 1 MB."""
    actual, expected = deployment.archive, wanted.product()
    yield from (f"{name}: not in the archive" for name in expected.keys() - actual.keys())
    yield from (f"{name}: does not belong in the archive" for name in actual.keys() - expected.keys())
    yield from (
        f"{name}: differs in the archive"
        for name in expected.keys() & actual.keys()
        if actual[name] != expected[name]
    )
    if len(deployment.google.archive) >= LARGEST_ARCHIVE:
        yield f"the archive has {len(deployment.google.archive):,} bytes"


def requirements_are_complete(deployment: Deployment) -> Iterator[str]:
    """Every package that the product imports is pinned in requirements.txt."""
    files = deployment.archive
    pinned = set(
        re.findall(r"^([A-Za-z0-9._-]+)==", files.get("requirements.txt", b"").decode(), re.MULTILINE)
    )
    pinned = {_normal(name) for name in pinned}
    known = metadata.packages_distributions()
    own = {name.partition("/")[0].removesuffix(".py") for name in files}
    for name, content in sorted(files.items()):
        for module in sorted(_imported(content) if name.endswith(".py") else ()):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in own:
                continue
            if not pinned & {_normal(distribution) for distribution in known.get(top, ())}:
                yield f"{name} imports {module}, which requirements.txt lacks"


def _imported(content: bytes) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module))
    return found


def images_are_cleaned_up(deployment: Deployment) -> Iterator[str]:
    """Images of earlier deployments are removed after a day, because they are the largest cost."""
    repository = f"projects/{PROJECT}/locations/{deployment.region}/repositories/gcf-artifacts"
    policies = deployment.google.repositories.get(repository, {}).get("cleanupPolicies", {})
    yield from _differences("images", ("policies", set(policies), {"firebase-functions-cleanup"}))
    for policy in policies.values():
        actual = policy["action"], policy["condition"]["olderThan"]
        yield from _differences("images", ("clean-up", actual, ("DELETE", "86400s")))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _bindings(policy: dict[str, Any]) -> dict[str, set[str]]:
    return {binding["role"]: set(binding["members"]) for binding in policy.get("bindings", ())}


def _differences(what: str, *facts: tuple[str, object, object]) -> Iterator[str]:
    yield from (
        f"{what}: {name} is {actual!r}, not {expected!r}"
        for name, actual, expected in facts
        if actual != expected
    )


CHECKS: tuple[Callable[[Deployment], Iterator[str]], ...] = (
    everything_was_understood,
    functions_are_as_written,
    environments_are_as_written,
    secrets_are_restricted,
    jobs_are_as_written,
    only_callables_are_public,
    clients_are_denied,
    fields_are_as_written,
    archive_is_the_product,
    requirements_are_complete,
    images_are_cleaned_up,
)


def findings(deployment: Deployment) -> dict[str, list[str]]:
    """Return the problems by check, without checks that find none."""
    found = {check.__name__: list(check(deployment)) for check in CHECKS}
    return {name: texts for name, texts in found.items() if texts}
