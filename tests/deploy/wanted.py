"""What this checkout's code wants deployed, read from its functions and specs, and from git.

`tests.deploy.findings` compares it with what arrived: a schedule, say, is written once, in its task's
spec, and may get lost or change anywhere between there and Cloud Scheduler.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import main
from functions import REGION
from functions.callables import CONCURRENCY
from functions.delivery import TIMEOUT_MARGIN_SECONDS
from shared.tasks.specs import registered
from tests.deploy.deploying import ACCOUNT, READER_ACCOUNT, ROOT
from tests.deploy.google import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Callables that change nothing, and run as an account that can't.
READERS = frozenset({"get_task_data"})
#: Cores that firebase-tools gives an instance that serves one request at a time, by its memory in MiB.
PARTS_OF_A_CORE = {128: "0.0833", 256: "0.1666", 512: "0.3333", 1024: "0.5833", 2048: "1"}
#: Seconds for which a callable may work, where its file says nothing: the platform's own default.
MAX_INSTANCES = 10


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
        secrets: names of the secrets that are its environment.
        schedule: of its job, None for a callable.
        time_zone: of the schedule.
    """

    name: str
    account: str
    memory: str
    cpu: str
    concurrency: int
    timeout_seconds: int | None
    secrets: frozenset[str]
    schedule: str | None = None
    time_zone: str | None = None

    @property
    def full_name(self) -> str:
        """Its name in Cloud Functions."""
        return f"projects/{PROJECT}/locations/{REGION}/functions/{self.name}"

    @property
    def service(self) -> str:
        """Its name in Cloud Run."""
        return f"projects/{PROJECT}/locations/{REGION}/services/{self.name.replace('_', '-')}"

    @property
    def job(self) -> str:
        """Its job's name in Cloud Scheduler."""
        return f"projects/{PROJECT}/locations/{REGION}/jobs/firebase-schedule-{self.name}-{REGION}"


@functools.cache
def functions() -> Mapping[str, Function]:
    """Return every function that main.py names, by name."""
    specs = {str(spec.name.value): spec for spec in registered()}
    wanted = {}
    for name in main.__all__:
        endpoint: Any = getattr(main, name).__firebase_endpoint__
        memory = endpoint.availableMemoryMb
        secrets = frozenset(secret["key"] for secret in endpoint.secretEnvironmentVariables or [])
        if endpoint.callableTrigger is not None:
            account = READER_ACCOUNT if name in READERS else ACCOUNT
            wanted[name] = Function(
                name, account, f"{memory}Mi", "1", CONCURRENCY, _or_none(endpoint.timeoutSeconds), secrets
            )
            continue
        spec = specs.get(name)
        wanted[name] = Function(
            name,
            ACCOUNT,
            f"{memory}Mi",
            PARTS_OF_A_CORE[memory],
            1,
            int(spec.deadline_seconds) + TIMEOUT_MARGIN_SECONDS if spec else endpoint.timeoutSeconds,
            secrets,
            spec.schedule if spec else endpoint.scheduleTrigger["schedule"],
            spec.time_zone if spec else str(endpoint.scheduleTrigger["timeZone"]),
        )
    return wanted


def _or_none(value: Any) -> int | None:
    return value if isinstance(value, int) else None  # the SDK's way to say "reset it" is no number


def product() -> Mapping[str, bytes]:
    """Return the files that the source archive is to hold: all of the product, and nothing else."""
    modules = [path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")]
    files = [ROOT / "main.py", ROOT / "requirements.txt", *modules]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in files}
