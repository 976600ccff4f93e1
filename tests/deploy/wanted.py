"""What this checkout's code wants deployed, read from its functions and specs, and from git.

`tests.deploy.findings` compares it with what arrived: a schedule, say, is written once, in its task's
spec, and may get lost or change anywhere between there and Cloud Scheduler.
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
from functions.scheduled_endpoint import TIMEOUT_MARGIN_SECONDS
from tests.deploy.deploying import ACCOUNT, OPERATOR_ACCOUNT, READER_ACCOUNT, ROOT, SETTINGS
from tests.deploy.google import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Callables that change nothing, and run as an account that can't.
READERS = frozenset({"get_run", "get_task_data", "list_runs", "list_tasks"})
#: Callables that change something, and run as an account without secrets.
OPERATORS = frozenset({"cancel_run", "resume_task", "run_task", "suspend_task"})
#: Cores that firebase-tools gives an instance that serves one request at a time, by its memory in MiB.
PARTS_OF_A_CORE = {128: "0.0833", 256: "0.1666", 512: "0.3333", 1024: "0.5833", 2048: "1"}


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it is wanted.

    Attributes:
        name: of the function, its entry point and its task.
        account: the address of the service account that it runs as.
        memory: as Cloud Functions writes it, "512Mi".
        cpu: cores, "0.3333".
        concurrency: requests that an instance has at once.
        timeout_seconds: None: the platform's default, 60.
        max_instances: at most so many at once.
        secrets: names of the secrets that are its environment.
        schedule: of its job, None for a callable.
        time_zone: of the schedule.
        region: of the function and its job.
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


#: Prints, as JSON, what each function says of itself.
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
    """Return every function that main.py names, by name, as it is with the settings that are deployed.

    Args:
        region: where it is to be deployed.
    """
    told = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "GOOGLE_CLOUD_PROJECT": PROJECT, **SETTINGS},
        capture_output=True,
        text=True,
        check=True,
    )
    described = (json.loads(line) for line in told.stdout.splitlines())
    return {said["name"]: _wanted(said, region) for said in described}


def _wanted(said: dict[str, Any], region: str) -> Function:
    serves = said["callable"]
    deadline = said["deadline"]
    return Function(
        said["name"],
        account=_account(said["name"]),
        memory=f"{said['memory']}Mi",
        cpu="1" if serves else PARTS_OF_A_CORE[said["memory"]],
        concurrency=CONCURRENCY if serves else 1,
        timeout_seconds=said["timeout"] if deadline is None else int(deadline) + TIMEOUT_MARGIN_SECONDS,
        max_instances=said["most"],
        secrets=frozenset(said["secrets"]),
        schedule=None if serves else said["schedule"],
        time_zone=None if serves else said["zone"],
        region=region,
    )


def _account(function: str) -> str:
    if function in OPERATORS:
        return OPERATOR_ACCOUNT
    return READER_ACCOUNT if function in READERS else ACCOUNT


def product() -> Mapping[str, bytes]:
    """Return the files that the source archive is to hold: all of the product, and nothing else."""
    modules = [path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")]
    files = [ROOT / "main.py", ROOT / "requirements.txt", *modules]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in files}
