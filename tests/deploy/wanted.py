"""The expected deployment, read from this checkout's functions and specs and from git.

`tests.deploy.findings` compares it with the deployed resources. For example, the schedule in a
task's spec could be lost or changed on its way to Cloud Scheduler.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.callable_endpoint import CONCURRENCY
from shared.tasks.specs import LONGEST_TIMEOUT_SECONDS, TIMEOUT_MARGIN_SECONDS
from tests.deploy.deploying import ACCOUNT, OPERATOR_ACCOUNT, READER_ACCOUNT, ROOT, SETTINGS
from tests.deploy.google import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Callables that only read and run as an account without write access.
READERS = frozenset({"get_run", "get_task_data", "list_runs", "list_tasks", "list_timeline"})
#: Callables that write and run as an account without access to secrets.
OPERATORS = frozenset({"cancel_run", "resume_task", "run_task", "suspend_task"})
#: Cores that firebase-tools assigns to an instance with concurrency 1, by memory in MiB.
PARTS_OF_A_CORE = {128: "0.0833", 256: "0.1666", 512: "0.3333", 1024: "0.5833", 2048: "1"}


@dataclass(frozen=True, slots=True)
class Function:
    """An expected function.

    Attributes:
        name: Name of the function, its entry point and its task.
        account: Address of its service account.
        memory: Memory in the format of Cloud Functions, for example "512Mi".
        cpu: Cores, for example "0.3333".
        concurrency: Maximum of concurrent requests per instance.
        timeout_seconds: Timeout, seconds; None for the platform's default, 60.
        max_instances: Maximum of concurrent instances.
        secrets: Names of the secrets in its environment.
        schedule: Schedule of its job; None for a callable.
        time_zone: Time zone of the schedule.
        region: Region of the function and its job.
    """

    name: str
    account: str
    memory: str
    cpu: str
    concurrency: int
    timeout_seconds: int | None
    max_instances: int
    secrets: frozenset[str]
    schedule: str | None = None
    time_zone: str | None = None
    region: str = "us-central1"

    @property
    def full_name(self) -> str:
        """Its name in Cloud Functions."""
        return f"projects/{PROJECT}/locations/{self.region}/functions/{self.name}"

    @property
    def service(self) -> str:
        """Its name in Cloud Run."""
        return f"projects/{PROJECT}/locations/{self.region}/services/{self.name.replace('_', '-')}"

    @property
    def job(self) -> str:
        """Its job's name in Cloud Scheduler."""
        return f"projects/{PROJECT}/locations/{self.region}/jobs/firebase-schedule-{self.name}-{self.region}"


#: Prints the description of each function as JSON.
DESCRIBE = """
import json, main
from shared.tasks.specs import registered

specs = {str(spec.name.value): spec for spec in registered()}
for name in main.__all__:
    endpoint = getattr(main, name).__firebase_endpoint__
    trigger, spec = endpoint.scheduleTrigger or {}, specs.get(name)
    print(json.dumps({
        "name": name,
        "memory": endpoint.availableMemoryMb,
        "timeout": endpoint.timeoutSeconds if isinstance(endpoint.timeoutSeconds, int) else None,
        "most": endpoint.maxInstances,
        "secrets": [secret["key"] for secret in endpoint.secretEnvironmentVariables or []],
        "callable": endpoint.callableTrigger is not None,
        "schedule": spec.schedule if spec else trigger.get("schedule"),
        "zone": spec.time_zone if spec else str(trigger.get("timeZone")),
        "deadline": spec and spec.deadline_seconds,
    }))
"""


@functools.cache
def functions(region: str = "us-central1") -> Mapping[str, Function]:
    """Return every function in main.py by name, with the deployed settings.

    Args:
        region: The region of the deployment.
    """
    printed = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "GOOGLE_CLOUD_PROJECT": PROJECT, **SETTINGS},
        capture_output=True,
        text=True,
        check=True,
    )
    described = (json.loads(line) for line in printed.stdout.splitlines())
    return {description["name"]: _expected(description, region) for description in described}


def _expected(description: dict[str, Any], region: str) -> Function:
    serves = description["callable"]
    deadline = description["deadline"]
    return Function(
        description["name"],
        account=_account(description["name"]),
        memory=f"{description['memory']}Mi",
        cpu="1" if serves else PARTS_OF_A_CORE[description["memory"]],
        concurrency=CONCURRENCY if serves else 1,
        timeout_seconds=description["timeout"]
        if deadline is None
        else min(int(deadline) + TIMEOUT_MARGIN_SECONDS, LONGEST_TIMEOUT_SECONDS),
        max_instances=description["most"],
        secrets=frozenset(description["secrets"]),
        schedule=None if serves else description["schedule"],
        time_zone=None if serves else description["zone"],
        region=region,
    )


def _account(function: str) -> str:
    if function in OPERATORS:
        return OPERATOR_ACCOUNT
    return READER_ACCOUNT if function in READERS else ACCOUNT


def product() -> Mapping[str, bytes]:
    """Return the expected files of the source archive: the product and nothing else."""
    modules = [path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")]
    files = [ROOT / "main.py", ROOT / "requirements.txt", *modules]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in files}
