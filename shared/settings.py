"""Where this deployment runs and what it is called, read from the environment.

Firebase sets most of it on a deployed function, the local stack sets all of it. This module
reads nothing at import, so that discovery and tests need no environment.
"""

from __future__ import annotations

import json
import os


class SettingMissing(RuntimeError):
    """A setting that the product can't do without is absent; the text names the variable."""


class SettingInvalid(RuntimeError):
    """A setting has a value that means nothing; the text names the variable and what it may be."""


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
    bucket = os.environ.get("NX_TASKS_BUCKET") or _firebase_config().get("storageBucket")
    if not bucket:
        raise SettingMissing("no bucket: set NX_TASKS_BUCKET to the Cloud Storage bucket that keeps results")
    return bucket


def storage_emulator() -> str | None:
    """Return the base URL of a Storage emulator, as Google's own clients find it, or None in the cloud."""
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if not host or in_cloud():
        return None
    return host if "://" in host else f"http://{host}"


def in_cloud() -> bool:
    """Tell whether this process is an instance of Cloud Run.

    Cloud Run names a revision on every instance; the Functions emulator calls it "1". The
    answer rests on that and not on an emulator's variable, so that none of those, left in a
    deployment's settings, can switch anything off.
    """
    return os.environ.get("K_REVISION", "1") != "1"


def app_check() -> bool:
    """Tell whether callers must show an App Check token: NX_TASKS_APP_CHECK, "on" unless it says "off".

    Raises:
        SettingInvalid: it says neither.
    """
    said = os.environ.get("NX_TASKS_APP_CHECK", "on")
    if said not in {"on", "off"}:
        raise SettingInvalid(f"NX_TASKS_APP_CHECK is {said!r}: set it to on or off")
    return said == "on"


def _firebase_config() -> dict[str, str]:
    """Return what Firebase tells a function of its project; empty where there is none."""
    text = os.environ.get("FIREBASE_CONFIG", "")
    if not text.startswith("{"):  # it may also name a file, which deployed functions never use
        return {}
    config: dict[str, str] = json.loads(text)
    return config
