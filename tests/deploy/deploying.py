"""Deploys a copy of this project with the unmodified `firebase deploy` to a recorder instead of Google."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.deploy.google import PROJECT, Google
from tests.deploy.recorder import Recorder
from tests.support.checkout import copy_files

if TYPE_CHECKING:
    from tests.deploy.recorder import Request

ROOT = Path(__file__).resolve().parents[2]
FIREBASE = ROOT / "emulators" / "node_modules" / ".bin" / "firebase"
#: Timeout of one deployment, seconds.
LONGEST = 120
#: Variables that a deployment inherits; none of them configures it or gives access to Google.
INHERITED = ("PATH", "LANG", "TMPDIR", "PYENV_ROOT", "PYENV_VERSION")
#: The runtime of the Python in `venv/`, which firebase-tools requires for the functions' discovery.
RUNTIME = f"python{sys.version_info.major}{sys.version_info.minor}"
ACCOUNT = f"nx-tasks@{PROJECT}.iam.gserviceaccount.com"
READER_ACCOUNT = f"nx-tasks-reader@{PROJECT}.iam.gserviceaccount.com"
OPERATOR_ACCOUNT = f"nx-tasks-operator@{PROJECT}.iam.gserviceaccount.com"
_SETTING = re.compile(r"^(\w+)='?(.*?)'?$", re.MULTILINE)
#: An operator's `.env.PROJECT`. SMS are enabled, so that all secrets are bound.
SETTINGS = {
    "NX_TASKS_SERVICE_ACCOUNT": ACCOUNT,
    "NX_TASKS_READER_ACCOUNT": READER_ACCOUNT,
    "NX_TASKS_OPERATOR_ACCOUNT": OPERATOR_ACCOUNT,
    "NX_TASKS_CORS_ORIGINS": "https://app.example.com",
    "NX_SMS_DRY_RUN": "off",
    "NX_SMS_REGIONS": "DE,US",
    "NX_SMS_TEXTS": '{"": "RESET"}',
    "NX_TWILIO_ACCOUNT_SID": f"AC{'0' * 32}",
    "NX_TWILIO_MESSAGING_SERVICE_SID": f"MG{'a' * 32}",
}


@dataclass(frozen=True)
class Deployment:
    """One run of `firebase deploy`.

    Attributes:
        settings: The settings of `.env.PROJECT`.
        code: The exit code.
        output: The output.
        requests: The requests in order.
        google: The state of Google's services afterwards.
    """

    settings: dict[str, str]
    code: int
    output: str
    requests: list[Request]
    google: Google

    @property
    def region(self) -> str:
        """The requested region of functions and jobs."""
        return self.settings.get("NX_TASKS_REGION", "us-central1")

    @property
    def database(self) -> str:
        """The requested database for rules, indexes and TTL policies."""
        return self.settings.get("NX_TASKS_DATABASE", "(default)")

    @cached_property
    def archive(self) -> dict[str, bytes]:
        """The uploaded files by name; empty without an upload."""
        if not any(request.path == "/uploads/source.zip" for request in self.requests):
            return {}
        with zipfile.ZipFile(io.BytesIO(self.google.archive)) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}

    def requests_to(self, method: str, *parts: str) -> list[Request]:
        """Return the requests of a method whose address contains all these parts."""
        return [
            request
            for request in self.requests
            if request.method == method and all(part in request.host + request.path for part in parts)
        ]


def copy_project(folder: Path, **more: str) -> Path:
    """Copy the checkout without what git ignores, with its virtual environment and an operator's settings.

    Args:
        folder: The target folder.
        more: Further settings.
    """
    copy_files(folder)
    lines = [f"{name}='{value}'\n" for name, value in {**SETTINGS, **more}.items()]
    (folder / f".env.{PROJECT}").write_text("".join(lines), "utf-8")
    _give_pages(folder)
    _name_runtime(folder)
    return folder


def hosting(folder: Path) -> list[dict[str, Any]]:
    """Return the Hosting entries of a project's firebase.json."""
    hosting_config = json.loads((folder / "firebase.json").read_text("utf-8")).get("hosting", [])
    return hosting_config if isinstance(hosting_config, list) else [hosting_config]


def _name_runtime(folder: Path) -> None:
    """Set the runtime in the copy's firebase.json to the Python of this virtual environment."""
    config = json.loads((folder / "firebase.json").read_text("utf-8"))
    for codebase in config["functions"]:
        codebase["runtime"] = RUNTIME
    (folder / "firebase.json").write_text(json.dumps(config, indent=2), "utf-8")


def _give_pages(folder: Path) -> None:
    """Copy the built pages, which git ignores, or create a placeholder."""
    for site in hosting(folder):
        pages = folder / site["public"]
        if (ROOT / site["public"]).is_dir():
            shutil.copytree(ROOT / site["public"], pages, dirs_exist_ok=True)
        elif not pages.exists():
            pages.mkdir(parents=True)
            (pages / "index.html").write_text("<!doctype html><title>not built</title>", "utf-8")


def deploy(project: Path, google: Google, *more: str, **exported: str) -> Deployment:
    """Deploy everything in a project's firebase.json.

    Args:
        project: The project's folder.
        google: The project's state at Google, which the deployment changes.
        more: Further arguments of `firebase deploy`.
        exported: Further environment variables.
    """
    home = project.parent / f"{project.name}-home"
    shutil.rmtree(home, ignore_errors=True)  # firebase-tools caches the enabled APIs here.
    home.mkdir()
    with Recorder(google.answer, home) as recorder:
        environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **recorder.environment,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "FIREBASE_TOKEN": "a token",
            "CI": "1",
            "NO_UPDATE_NOTIFIER": "1",
            **exported,
        }
        command = [str(FIREBASE), "deploy", "--project", PROJECT, "--non-interactive", *more]
        done = subprocess.run(
            command,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        settings = dict(_SETTING.findall((project / f".env.{PROJECT}").read_text("utf-8")))
        return Deployment(settings, done.returncode, done.stdout, recorder.requests, google)
