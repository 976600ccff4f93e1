"""Loads the functions as firebase-tools does, in a separate process, and writes their manifest.

`python -m emulators.discovery FILE` prints the error and exits with 1 if they cannot be loaded. The stack's
own process never imports the product.
"""

import fnmatch
import importlib
import json
import os
import sys
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path

from emulators.environment import PROJECT

#: Folders in which each file defines the function of its name.
_FOLDERS = ("functions/scheduled", "functions/callable")


def sources(root: Path) -> Iterator[Path]:
    """Yield the Python files that a deployment uploads and the Functions emulator watches.

    Args:
        root: The project's folder, with firebase.json.
    """
    ignored = [
        name
        for each in json.loads((root / "firebase.json").read_text("utf-8"))["functions"]
        for name in each["ignore"]
    ]
    for entry in sorted(root.iterdir()):
        if not any(fnmatch.fnmatch(entry.name, pattern) for pattern in ignored):
            yield from sorted(entry.rglob("*.py")) if entry.is_dir() else [entry] * (entry.suffix == ".py")


def omissions(
    root: Path,
    tasks: Collection[str],
    scheduled: Collection[str],
    imported: Collection[str],
    exported: Collection[str],
) -> list[str]:
    """Return a sentence for each task without a function and each function that main.py does not deploy.

    Args:
        root: The project's folder.
        tasks: Names of all tasks.
        scheduled: Names of the scheduled functions that main.py imports.
        imported: Names of all functions that main.py imports.
        exported: Names in main.py's `__all__`.
    """
    files = {file.stem: folder for folder in _FOLDERS for file in (root / folder).glob("[!_]*.py")}
    found_omissions = [
        f"The task {task} has no function: write functions/scheduled/{task}.py, then import {task} in "
        "main.py and add it to __all__."
        for task in sorted(set(tasks) - set(scheduled) - files.keys())
    ]
    found_omissions += [
        f"{files[name]}/{name}.py is not deployed: import {name} in main.py and add it to __all__."
        for name in sorted(files.keys() - set(imported))
    ]
    found_omissions += [
        f"main.py imports {name}, but its __all__ lacks it: add it."
        for name in sorted(set(imported) - set(exported))
    ]
    return found_omissions


def discover(root: Path) -> dict[str, object]:
    """Load main.py and return the manifest of its functions, with their `omissions`.

    Raises:
        Exception: Any error that loading main.py raises; SyntaxError also for files that it imports later.
    """
    for file in sources(root):
        compile(file.read_bytes(), file, "exec", dont_inherit=True)

    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415  (the stack imports this module without it)
    from firebase_functions.private import serving  # noqa: PLC0415  (takes time; syntax errors come first)

    loaded = serving.get_functions()  # type: ignore[no-untyped-call]
    endpoints = yaml.safe_load(serving.functions_as_yaml(loaded))["endpoints"]
    names = sys.modules.get("shared.tasks.contract")  # not imported in a project without this engine
    found_omissions = []
    if names is not None:
        exported = importlib.import_module("main").__all__
        scheduled = [name for name, endpoint in endpoints.items() if "scheduleTrigger" in endpoint]
        found_omissions = omissions(root, list(names.TaskName), scheduled, endpoints, exported)
    return {
        "project": PROJECT,
        "location": os.environ["NX_TASKS_REGION"],
        "endpoints": endpoints,
        "omissions": found_omissions,
    }


def describe(error: BaseException, root: Path) -> str:
    """Return an error as Python prints it, reduced to the project's own frames.

    Args:
        error: The error that loading the functions raised.
        root: The project's folder.
    """
    explained = traceback.TracebackException.from_exception(error)
    own = [
        f
        for f in explained.stack
        if Path(f.filename).is_relative_to(root) and "venv" not in Path(f.filename).parts
    ]
    explained.stack = traceback.StackSummary.from_list([f for f in own if f.filename != __file__])
    return "".join(explained.format(chain=False))


def main(file: str) -> int:
    """Write the manifest to a file; return the exit code."""
    root = Path.cwd()
    try:
        manifest = discover(root)
    except Exception as error:  # noqa: BLE001  (loading the code may raise anything)
        sys.stderr.write(describe(error, root))
        return 1
    Path(file).write_text(json.dumps(manifest, indent=2), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
