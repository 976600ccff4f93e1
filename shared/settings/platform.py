"""What the platform says: the project, its bucket, the cloud or this machine, the memory there is."""

from __future__ import annotations

import json
import os

from shared.settings.declared import Setting, SettingInvalid, SettingMissing

REGION = Setting(
    name="NX_TASKS_REGION",
    meaning="region of all functions and their Cloud Scheduler jobs, where page and command line call them",
    wanted="a region of Google Cloud that has Cloud Functions and Cloud Scheduler: `europe-west1`",
    parse=str,
    pattern="[a-z]+(-[a-z]+)+[0-9]+",
    counts_in="every function",
    default="us-central1",
)
DATABASE = Setting(
    name="NX_TASKS_DATABASE",
    meaning="id of the Firestore database with status documents, history, devices and outbox",
    wanted="the id of a Firestore database: `(default)`, or 4 to 63 lower-case letters, digits and hyphens",
    parse=str,
    pattern=r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]",
    counts_in="every function",
    default="(default)",
)
BUCKET = Setting(
    name="NX_TASKS_BUCKET",
    meaning="bucket of large results",
    wanted="the name of a Cloud Storage bucket",
    parse=str,
    counts_in="every function",
    default_told="the project's default bucket",
)
#: Where control groups tell a container's limit, of version 2 and of version 1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def project_id() -> str:
    """Return the Google Cloud project's id.

    Raises:
        SettingMissing: neither variable of Google's nor Firebase's configuration names one.
    """
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT")
    project = project or _firebase_config().get("projectId")
    if not project:
        raise SettingMissing("no project: set GOOGLE_CLOUD_PROJECT to the Google Cloud project's id")
    return project


def bucket_name() -> str:
    """Return the name of the bucket that keeps large results: NX_TASKS_BUCKET, else the project's default.

    Raises:
        SettingMissing: NX_TASKS_BUCKET is unset and Firebase's configuration names no bucket.
    """
    return BUCKET.value() or _firebase_config().get("storageBucket") or BUCKET.required()


def region() -> str:
    """Return the region of all functions and jobs: NX_TASKS_REGION, else us-central1."""
    return REGION.required()


def database_id() -> str:
    """Return the id of the Firestore database: NX_TASKS_DATABASE, else `(default)`."""
    return DATABASE.required()


def storage_emulator() -> str | None:
    """Return the base URL of a Storage emulator, as Google's own clients find it, or None in the cloud."""
    host = _emulator("STORAGE_EMULATOR_HOST")
    if host is None:
        return None
    return host if "://" in host else f"http://{host}"


def scheduler_url() -> str:
    """Return the base URL of Cloud Scheduler, or of its emulator at CLOUD_SCHEDULER_EMULATOR_HOST."""
    host = _emulator("CLOUD_SCHEDULER_EMULATOR_HOST")
    return "https://cloudscheduler.googleapis.com" if host is None else f"http://{host}"


def _emulator(variable: str) -> str | None:
    check_emulators()
    return os.environ.get(variable) or None


def in_cloud() -> bool:
    """Tell whether this process is an instance of Cloud Run.

    Cloud Run names a revision on every instance; the Functions emulator calls it "1". The
    answer rests on that and not on an emulator's variable, so that none of those, left in a
    deployment's settings, can switch anything off.
    """
    return os.environ.get("K_REVISION", "1") != "1"


def check_emulators() -> None:
    """Refuse a variable in the cloud that would send a client to an emulator.

    With one, firebase-admin would accept unsigned tokens, the Firestore client would send every request
    elsewhere without credentials, and the Storage client would send credentials elsewhere. An instance
    checks at its start, so that Cloud Run keeps the revision before, and before it makes any client.

    Raises:
        SettingInvalid: the text names every such variable.
    """
    if not in_cloud():
        return
    found = [name for name, value in os.environ.items() if value and _is_emulators(name)]
    if found:
        raise SettingInvalid(
            f"{', '.join(sorted(found))} must not be set in the cloud: it sends requests to an emulator. "
            "Remove it from the .env files and deploy again"
        )


def _is_emulators(variable: str) -> bool:
    """Tell whether a client goes elsewhere because of this variable, by the name that all emulators' have."""
    return (
        variable.endswith("_EMULATOR_HOST") or variable == "API_ENDPOINT_OVERRIDE"
    )  # Storage reads that, too


def memory_bytes() -> int:
    """Return the memory that this instance has: its container's limit, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _MEMORY_LIMITS:
        try:
            with open(limit, encoding="ascii") as file:  # noqa: PTH123  (pathlib is not free to import)
                return min(int(file.read()), machine)
        except (OSError, ValueError):  # no such hierarchy here, or "max"
            continue
    return machine


def _firebase_config() -> dict[str, str]:
    """Return what Firebase tells a function of its project; empty where there is none."""
    text = os.environ.get("FIREBASE_CONFIG", "")
    if not text.startswith("{"):  # it may also name a file, which deployed functions never use
        return {}
    config: dict[str, str] = json.loads(text)
    return config
