"""What the Functions emulator and Cloud Scheduler are told: this venv's runtime, the functions' manifest."""

import json
import sys
from pathlib import Path

from emulators import page
from emulators.errors import StackError
from emulators.loopback import request
from emulators.processes import Part, log_end

#: The functions' manifest, in the project's folder.
MANIFEST = Path(".stack/functions.json")
#: A scheduled function with this label at "false" is no task: it has no status document and no result.
#: Deployments keep labels: firebase-tools adds its own ones to them.
TASK_LABEL = "nx-task"


def write_config(root: Path, *, with_storage: bool) -> Path:
    """Write firebase.local.json: firebase.json for this machine, with its Python and a page that calls here.

    Args:
        root: The project's folder.
        with_storage: Whether firebase-tools is to start Storage.

    Raises:
        StackError: A package.json lies beside main.py.
    """
    config = json.loads((root / "firebase.json").read_text("utf-8"))
    for codebase in config["functions"]:
        if (root / codebase["source"] / "package.json").exists():
            raise StackError(
                "There is a package.json in the functions' source folder. firebase-tools takes them for\n"
                "Node.js then and refuses a Python runtime, in a deployment, too. Move it elsewhere."
            )
        codebase["runtime"] = f"python{sys.version_info.major}{sys.version_info.minor}"
    if not with_storage:
        del config["emulators"]["storage"]
    page.let_call(config, "auth", "functions")
    written = root / "firebase.local.json"
    written.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return written


def names_in(manifest: Path) -> set[str]:
    """The functions' names in a discovered manifest."""
    return set(json.loads(manifest.read_text("utf-8"))["endpoints"])


def tasks_in(manifest: Path) -> list[str]:
    """The tasks' names in a discovered manifest: the scheduled functions, unless TASK_LABEL says no."""
    endpoints = json.loads(manifest.read_text("utf-8"))["endpoints"]
    return sorted(
        name
        for name, endpoint in endpoints.items()
        if "scheduleTrigger" in endpoint and (endpoint.get("labels") or {}).get(TASK_LABEL) != "false"
    )


def omissions_in(manifest: Path) -> list[str]:
    """What looks forgotten in a discovered manifest, a sentence each: a task without a function, say."""
    omissions: list[str] = json.loads(manifest.read_text("utf-8"))["omissions"]
    return omissions


def are_loaded(address: str, names: set[str], emulators: Part) -> bool:
    """Whether the Functions emulator serves these functions yet.

    Args:
        address: Its host and port.
        names: The functions' names.
        emulators: firebase-tools, which says in its log where it gave up.

    Raises:
        StackError: It gave up; shows why.
    """
    status, answer = request(f"http://{address}/backends")
    backends = answer["backends"] if status == 200 else []
    if names <= {trigger["name"] for backend in backends for trigger in backend["functionTriggers"]}:
        return True
    if "Failed to load function" in emulators.log.read_text("utf-8", "replace"):
        raise StackError(f"The Functions emulator cannot load the functions.\n{log_end(emulators.log)}")
    return False
