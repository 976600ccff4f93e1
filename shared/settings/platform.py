"""The platform: project, region, database, bucket, emulators, and the memory of the instance."""

from __future__ import annotations

import json
import math
import os

from shared.settings.declared import Setting, SettingInvalid, SettingMissing

REGION = Setting(
    name="NX_TASKS_REGION",
    meaning="region of all functions and their Cloud Scheduler jobs; page and command line call it",
    expected="a Google Cloud region with Cloud Functions, Scheduler and Tasks, such as `europe-west1`",
    parse=str,
    pattern="[a-z]+(-[a-z]+)+[0-9]+",
    affects="every function",
    default="us-central1",
)
DATABASE = Setting(
    name="NX_TASKS_DATABASE",
    meaning="id of the Firestore database with status documents, history, devices and outbox",
    expected="the id of a Firestore database: `(default)`, or 4 to 63 lower-case letters, digits and hyphens",
    parse=str,
    pattern=r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]",
    affects="every function",
    default="(default)",
)
BUCKET = Setting(
    name="NX_TASKS_BUCKET",
    meaning="bucket of large results",
    expected="the name of a Cloud Storage bucket",
    parse=str,
    affects="every function",
    default_text="the project's default bucket",
)
#: Length of a leg of a long run, in seconds. Cloud Tasks waits 1,800 s for the response to a delivery.
LEG_SECONDS = 1500.0
#: Variable that shortens the legs on the local stack.
LEG_VARIABLE = "NX_LEG_SECONDS"
#: Files with a container's memory limit, in control groups of version 2 and 1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def project_id() -> str:
    """Return the Google Cloud project's id.

    Raises:
        SettingMissing: No project is set in GOOGLE_CLOUD_PROJECT, GCLOUD_PROJECT or FIREBASE_CONFIG.
    """
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT")
    project = project or _firebase_config().get("projectId")
    if not project:
        raise SettingMissing("no project is set; set GOOGLE_CLOUD_PROJECT to a Google Cloud project's id")
    return project


def bucket_name() -> str:
    """Return the bucket of large results: NX_TASKS_BUCKET, or the project's default bucket.

    Raises:
        SettingMissing: NX_TASKS_BUCKET is not set, and FIREBASE_CONFIG has no default bucket.
    """
    return BUCKET.value() or _firebase_config().get("storageBucket") or BUCKET.required()


def region() -> str:
    """Return the region of all functions and jobs: NX_TASKS_REGION, or us-central1."""
    return REGION.required()


def database_id() -> str:
    """Return the id of the Firestore database: NX_TASKS_DATABASE, or `(default)`."""
    return DATABASE.required()


def storage_emulator() -> str | None:
    """Return the base URL of the Storage emulator, from STORAGE_EMULATOR_HOST; None if it is not set."""
    host = _local("STORAGE_EMULATOR_HOST")
    if host is None:
        return None
    return host if "://" in host else f"http://{host}"


def scheduler_url() -> str:
    """Return the base URL of Cloud Scheduler, or of its emulator at CLOUD_SCHEDULER_EMULATOR_HOST."""
    host = _local("CLOUD_SCHEDULER_EMULATOR_HOST")
    return "https://cloudscheduler.googleapis.com" if host is None else f"http://{host}"


def tasks_url() -> str:
    """Return the URL of Cloud Tasks' API, or of its emulator at CLOUD_TASKS_EMULATOR_HOST."""
    host = _local("CLOUD_TASKS_EMULATOR_HOST")
    # The emulator's paths have no version.
    return "https://cloudtasks.googleapis.com/v2/" if host is None else f"http://{host}/"


def leg_seconds() -> float:
    """Return the length of a leg in seconds: LEG_SECONDS, or NX_LEG_SECONDS on the local stack.

    Raises:
        SettingInvalid: NX_LEG_SECONDS is set in the cloud, or is not a number up to LEG_SECONDS.
    """
    text = _local(LEG_VARIABLE)
    if text is None:
        return LEG_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LEG_SECONDS:
        raise SettingInvalid(
            f"{LEG_VARIABLE} must be a number of seconds above 0 and up to {LEG_SECONDS:g}, got {text!r}"
        )
    return seconds


def _local(variable: str) -> str | None:
    check_emulators()
    return os.environ.get(variable) or None


def in_cloud() -> bool:
    """Return whether this process is an instance of Cloud Run.

    Cloud Run sets K_REVISION on every instance; the Functions emulator sets it to "1". Variables of emulators
    do not count, so that one left in a deployment's settings cannot switch a check off.
    """
    return os.environ.get("K_REVISION", "1") != "1"


def check_emulators() -> None:
    """Refuse variables in the cloud that are for the local stack, such as an emulator's.

    With one, firebase-admin would accept unsigned tokens, the Firestore client would send every request
    elsewhere without credentials, and the Storage client would send credentials elsewhere. An instance
    checks at its start, so that Cloud Run keeps the previous revision, and before it creates any client.

    Raises:
        SettingInvalid: Such variables are set; the text names all of them.
    """
    if not in_cloud():
        return
    found = [name for name, value in os.environ.items() if value and _is_local(name)]
    if found:
        raise SettingInvalid(
            f"{', '.join(sorted(found))} must not be set in the cloud, only on the local stack; "
            "remove it from the .env files and deploy again"
        )


def _is_local(variable: str) -> bool:
    """Return whether this variable makes a client use an emulator, or shortens legs."""
    # The Storage client also reads API_ENDPOINT_OVERRIDE.
    return variable.endswith("_EMULATOR_HOST") or variable in {"API_ENDPOINT_OVERRIDE", LEG_VARIABLE}


def memory_bytes() -> int:
    """Return the memory of this instance, in bytes: the container's limit, or the machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _MEMORY_LIMITS:
        try:
            with open(limit, encoding="ascii") as file:  # noqa: PTH123  (importing pathlib takes time)
                return min(int(file.read()), machine)
        except (OSError, ValueError):  # no such file, or "max" for no limit
            continue
    return machine


def _firebase_config() -> dict[str, str]:
    """Return the configuration that Firebase sets on a function; empty if there is none."""
    text = os.environ.get("FIREBASE_CONFIG", "")
    if not text.startswith("{"):  # It may also be the path of a file; on deployed functions it is JSON.
        return {}
    config: dict[str, str] = json.loads(text)
    return config
