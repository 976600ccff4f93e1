"""`firebase deploy`, unmodified, of a copy of this project, to the recorder in Google's place."""

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
#: Seconds for one deployment; it takes a few.
LONGEST = 120
#: Of the developer's environment, what a deployment gets: nothing that steers it, or could reach Google.
INHERITED = ("PATH", "LANG", "TMPDIR", "PYENV_ROOT", "PYENV_VERSION")
#: The runtime that `venv/` has the Python of: firebase-tools runs the functions' discovery with that alone.
RUNTIME = f"python{sys.version_info.major}{sys.version_info.minor}"
ACCOUNT = f"nx-tasks@{PROJECT}.iam.gserviceaccount.com"
READER_ACCOUNT = f"nx-tasks-reader@{PROJECT}.iam.gserviceaccount.com"
OPERATOR_ACCOUNT = f"nx-tasks-operator@{PROJECT}.iam.gserviceaccount.com"
_SETTING = re.compile(r"^(\w+)='?(.*?)'?$", re.MULTILINE)
#: What an operator wrote into `.env.PROJECT`: SMS are sent, so that all secrets are bound.
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
        settings: what `.env.PROJECT` set.
        code: its exit status.
        output: what it told.
        requests: what it asked, in order.
        google: what Google holds after it.
    """

    settings: dict[str, str]
    code: int
    output: str
    requests: list[Request]
    google: Google

    @property
    def region(self) -> str:
        """Where functions and jobs are to be."""
        return self.settings.get("NX_TASKS_REGION", "us-central1")

    @property
    def database(self) -> str:
        """The database that is to have rules, indexes and TTL."""
        return self.settings.get("NX_TASKS_DATABASE", "(default)")

    @cached_property
    def archive(self) -> dict[str, bytes]:
        """The files that were uploaded, by name; empty where nothing was."""
        if not any(request.path == "/uploads/source.zip" for request in self.requests):
            return {}
        with zipfile.ZipFile(io.BytesIO(self.google.archive)) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}

    def asked(self, method: str, *parts: str) -> list[Request]:
        """Return the requests of a method whose address has all these parts."""
        return [
            request
            for request in self.requests
            if request.method == method and all(part in request.host + request.path for part in parts)
        ]


def copy_project(folder: Path, **more: str) -> Path:
    """Copy the checkout without what git ignores, with its virtual environment and an operator's settings.

    Args:
        folder: where to.
        more: further settings.
    """
    copy_files(folder)
    lines = [f"{name}='{value}'\n" for name, value in {**SETTINGS, **more}.items()]
    (folder / f".env.{PROJECT}").write_text("".join(lines), "utf-8")
    _give_pages(folder)
    _name_runtime(folder)
    return folder


def hosting(folder: Path) -> list[dict[str, Any]]:
    """Return what a project's firebase.json says of Hosting; empty where it has none."""
    said = json.loads((folder / "firebase.json").read_text("utf-8")).get("hosting", [])
    return said if isinstance(said, list) else [said]


def _name_runtime(folder: Path) -> None:
    """Have the copy's firebase.json name the Python of this virtual environment."""
    config = json.loads((folder / "firebase.json").read_text("utf-8"))
    for codebase in config["functions"]:
        codebase["runtime"] = RUNTIME
    (folder / "firebase.json").write_text(json.dumps(config, indent=2), "utf-8")


def _give_pages(folder: Path) -> None:
    """Have something to host: the pages that were built, which git ignores, else one in their stead."""
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
        project: its folder.
        google: the project's state at Google, which the deployment changes.
        more: further arguments of `firebase deploy`.
        exported: further variables of the shell that deploys.
    """
    home = project.parent / f"{project.name}-home"
    shutil.rmtree(home, ignore_errors=True)  # it remembers which APIs are enabled
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
