"""Configuration of the Functions emulator, and the functions' manifest."""

import json
import sys
from pathlib import Path

from emulators import page
from emulators.errors import StackError
from emulators.loopback import request
from emulators.processes import Part, log_end

#: The functions' manifest, in the project's folder.
MANIFEST = Path(".stack/functions.json")
#: A scheduled function whose label of this name is "false" is not a task: it has no status document and no
#: result. Deployments keep the label.
TASK_LABEL = "nx-task"


def write_config(root: Path, *, with_storage: bool) -> Path:
    """Write firebase.local.json: firebase.json with this machine's Python and access to the emulators.

    Args:
        root: The project's folder.
        with_storage: Whether firebase-tools starts the Storage emulator.

    Raises:
        StackError: There is a package.json beside main.py.
    """
    config = json.loads((root / "firebase.json").read_text("utf-8"))
    for codebase in config["functions"]:
        if (root / codebase["source"] / "package.json").exists():
            raise StackError(
                "There is a package.json beside main.py. firebase-tools then treats the functions as\n"
                "Node.js and refuses a Python runtime, also in a deployment. Move package.json elsewhere."
            )
        codebase["runtime"] = f"python{sys.version_info.major}{sys.version_info.minor}"
    page.let_call(config, "auth", "functions", "storage")
    if not with_storage:
        del config["emulators"]["storage"]
    written = root / "firebase.local.json"
    written.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return written


def names_in(manifest: Path) -> set[str]:
    """Return the functions' names in a manifest."""
    return set(json.loads(manifest.read_text("utf-8"))["endpoints"])


def tasks_in(manifest: Path) -> list[str]:
    """Return the tasks' names in a manifest: scheduled functions that TASK_LABEL does not exclude."""
    endpoints = json.loads(manifest.read_text("utf-8"))["endpoints"]
    return sorted(
        name
        for name, endpoint in endpoints.items()
        if "scheduleTrigger" in endpoint and (endpoint.get("labels") or {}).get(TASK_LABEL) != "false"
    )


def omissions_in(manifest: Path) -> list[str]:
    """Return the omissions in a manifest, one sentence each, such as a task without a function."""
    omissions: list[str] = json.loads(manifest.read_text("utf-8"))["omissions"]
    return omissions


def are_loaded(address: str, names: set[str], emulators: Part) -> bool:
    """Return whether the Functions emulator serves these functions.

    Args:
        address: Host and port of the Functions emulator.
        names: Names of the functions.
        emulators: The firebase-tools process, whose log reports failures.

    Raises:
        StackError: The Functions emulator could not load the functions.
    """
    status, answer = request(f"http://{address}/backends")
    backends = answer["backends"] if status == 200 else []
    if names <= {trigger["name"] for backend in backends for trigger in backend["functionTriggers"]}:
        return True
    if "Failed to load function" in emulators.log.read_text("utf-8", "replace"):
        raise StackError(f"The Functions emulator cannot load the functions.\n{log_end(emulators.log)}")
    return False
