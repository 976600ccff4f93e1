"""What firebase.json and firestore.indexes.json have a deployment do. No stack is needed for it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import main
from functions.callable_endpoint import CONCURRENCY

ROOT = Path(__file__).resolve().parents[2]
LISTER = Path(__file__).with_name("deployed_files.mjs")
RESOLVER = Path(__file__).with_name("deployed_functions.mjs")
#: Prints the functions' manifest as firebase-tools is given it.
MANIFEST = """
from firebase_functions.private import serving
print(serving.functions_as_yaml(serving.get_functions()))
"""
PRODUCT = ["functions", "shared"]

#: What may lie beside the product on somebody's machine.
STRAY = [
    ".env",
    ".env.local",
    ".secret.local",
    ".git/config",
    ".stack/logs/functions.log",
    "venv/lib/x.py",
    "node_modules/x/index.js",
    "functions/__pycache__/x.cpython-313.pyc",
    "functions/.env",
    "shared/x.pyc",
    "emulators/stack.py",
    "tests/conftest.py",
    "bench/x.py",
    "cli/x.py",
    "deploy/access.py",
    "docs/x.md",
    "web/index.html",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "requirements.in",
    "requirements-dev.in",
    "requirements-dev.txt",
    "firebase.json",
    "firebase.local.json",
    "firestore.rules",
    "firebase-debug.log",
    "service-account.json",
    "operators.json",
]

Lister = Callable[[Path], set[str]]


def configured(name: str) -> Any:
    return json.loads((ROOT / name).read_text("utf-8"))


@pytest.fixture(scope="module")
def functions() -> dict[str, Any]:
    """The one codebase of functions."""
    (codebase,) = configured("firebase.json")["functions"]
    return dict(codebase)


@pytest.fixture(scope="module")
def deployed(functions: dict[str, Any]) -> Lister:
    """Lists what firebase-tools would deploy from a folder, by its own code."""

    def deployed_from(root: Path) -> set[str]:
        source = root / functions["source"]
        listed = subprocess.run(
            ["node", LISTER, source, *functions["ignore"]], capture_output=True, check=True, text=True
        )
        return set(json.loads(listed.stdout))

    return deployed_from


def test_the_product_and_nothing_else_is_deployed(deployed: Lister) -> None:
    """main.py, requirements.txt and the Python files of functions/ and shared/, all of them."""
    modules = {str(path.relative_to(ROOT)) for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")}
    assert len(modules) > 20
    assert deployed(ROOT) == {"main.py", "requirements.txt"} | modules


def test_what_lies_about_is_not_deployed(deployed: Lister, tmp_path: Path) -> None:
    """Tools, tests, secrets, logs and caches stay at home."""
    for name in ("main.py", *STRAY):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert deployed(tmp_path) == {"main.py"}


def test_an_instance_of_the_callable_takes_many_requests_at_once() -> None:
    """firebase-tools accepts the functions, and gives the callable the whole core that this takes."""
    manifest = subprocess.run(
        [sys.executable, "-c", MANIFEST], cwd=ROOT, capture_output=True, check=True, text=True
    )
    resolved = subprocess.run(
        ["node", RESOLVER], input=manifest.stdout, capture_output=True, check=True, text=True
    )
    functions = json.loads(resolved.stdout)
    assert functions.keys() == set(main.__all__)
    assert functions["get_task_data"] == {"cpu": 1, "concurrency": CONCURRENCY, "availableMemoryMb": 512}


def test_results_are_exempt_from_indexing() -> None:
    """`data` and `run` of a status document have no index: 40,000 entries are its limit (lesson 14)."""
    overrides = {
        (field["collectionGroup"], field["fieldPath"]): field["indexes"]
        for field in configured("firestore.indexes.json")["fieldOverrides"]
    }
    assert overrides["nx-tasks", "data"] == []
    assert overrides["nx-tasks", "run"] == []


def test_the_history_expires() -> None:
    """Firestore's TTL policy removes a run once its `expire_at` has passed."""
    expiring = [
        (field["collectionGroup"], field["fieldPath"])
        for field in configured("firestore.indexes.json")["fieldOverrides"]
        if field.get("ttl")
    ]
    assert expiring == [("nx-runs", "expire_at")]


def test_the_deployed_runtime_and_rules_are_named(functions: dict[str, Any]) -> None:
    """Python 3.13 from the repository's root, and rules for database and bucket."""
    config = configured("firebase.json")
    assert (functions["source"], functions["runtime"]) == (".", "python313")
    firestore = config["firestore"]
    assert (firestore["rules"], firestore["indexes"]) == ("firestore.rules", "firestore.indexes.json")
    assert config["storage"] == {"rules": "storage.rules"}
    assert all((ROOT / name).is_file() for name in ("firestore.rules", "storage.rules"))


def test_the_page_is_deployed_with_a_strict_policy() -> None:
    """Its own code and style, no emulator, no frame; of others' scripts App Check's, and that is all."""
    (policy,) = [
        header["value"]
        for rule in configured("firebase.json")["hosting"]["headers"]
        for header in rule["headers"]
        if header["key"] == "Content-Security-Policy"
    ]
    said = {name: rest for name, *rest in map(str.split, policy.split(";"))}
    assert said["default-src"] == said["frame-ancestors"] == said["form-action"] == ["'none'"]
    recaptcha = ["https://www.google.com/recaptcha/", "https://www.gstatic.com/recaptcha/"]
    assert said["script-src"] == ["'self'", *recaptcha]
    assert said["style-src"] == said["font-src"] == said["img-src"] == ["'self'"]
    assert "unsafe" not in policy
    assert "http:" not in policy


def test_the_pages_packages_come_from_whichever_registry_there_is() -> None:
    """Its lock names versions and hashes, and no host."""
    packages = json.loads((ROOT / "web/package-lock.json").read_text("utf-8"))["packages"]
    assert len(packages) > 50
    assert not [name for name, package in packages.items() if "resolved" in package]
