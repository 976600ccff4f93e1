"""What a deployment does with firebase.json and firestore.indexes.json; needs no stack."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import main
from functions.callable_endpoint import CONCURRENCY

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
LISTER = Path(__file__).with_name("deployed_files.mjs")
RESOLVER = Path(__file__).with_name("deployed_functions.mjs")
#: Prints the functions' manifest as firebase-tools receives it.
MANIFEST = """
from firebase_functions.private import serving
print(serving.functions_as_yaml(serving.get_functions()))
"""
PRODUCT = ["functions", "shared"]

#: Files that may exist beside the product on a developer's machine.
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
    """The single functions codebase."""
    (codebase,) = configured("firebase.json")["functions"]
    return dict(codebase)


@pytest.fixture(scope="module")
def deployed(functions: dict[str, Any]) -> Lister:
    """Lists the files that firebase-tools would deploy from a folder, with its own code."""

    def deployed_from(root: Path) -> set[str]:
        source = root / functions["source"]
        listed = subprocess.run(
            ["node", LISTER, source, *functions["ignore"]], capture_output=True, check=True, text=True
        )
        return set(json.loads(listed.stdout))

    return deployed_from


def test_only_the_product_is_deployed(deployed: Lister) -> None:
    """main.py, requirements.txt and all Python files of functions/ and shared/."""
    modules = {str(path.relative_to(ROOT)) for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")}
    assert len(modules) > 20
    assert deployed(ROOT) == {"main.py", "requirements.txt"} | modules


def test_stray_files_are_not_deployed(deployed: Lister, tmp_path: Path) -> None:
    """Tools, tests, secrets, logs and caches."""
    for name in ("main.py", *STRAY):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert deployed(tmp_path) == {"main.py"}


def test_the_callable_is_deployed_with_its_concurrency() -> None:
    """firebase-tools accepts the functions and gives the callable the full core that this requires."""
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
    """An index of `data` or `run` would limit a status document to 40,000 entries (lesson 14).

    An index of a log's lines would cost more than the log.
    """
    overrides = {
        (field["collectionGroup"], field["fieldPath"]): field["indexes"]
        for field in configured("firestore.indexes.json")["fieldOverrides"]
    }
    assert overrides["nx-tasks", "data"] == []
    assert overrides["nx-tasks", "run"] == []
    assert overrides["nx-log", "lines"] == []


def test_the_run_history_expires() -> None:
    """Firestore's TTL policy removes run records, what runs remembered, and logs, after `expire_at`."""
    expiring = [
        (field["collectionGroup"], field["fieldPath"])
        for field in configured("firestore.indexes.json")["fieldOverrides"]
        if field.get("ttl")
    ]
    assert expiring == [(group, "expire_at") for group in ("nx-runs", "nx-steps", "nx-log")]


def test_runtime_and_rules_are_configured(functions: dict[str, Any]) -> None:
    """Python 3.13 from the repository's root, and rules for database and bucket."""
    config = configured("firebase.json")
    assert (functions["source"], functions["runtime"]) == (".", "python313")
    firestore = config["firestore"]
    assert (firestore["rules"], firestore["indexes"]) == ("firestore.rules", "firestore.indexes.json")
    assert config["storage"] == {"rules": "storage.rules"}
    assert all((ROOT / name).is_file() for name in ("firestore.rules", "storage.rules"))


def test_the_page_has_a_strict_content_security_policy() -> None:
    """Only its own code and style, no frames; the only foreign scripts are App Check's."""
    (policy,) = [
        header["value"]
        for rule in configured("firebase.json")["hosting"]["headers"]
        for header in rule["headers"]
        if header["key"] == "Content-Security-Policy"
    ]
    policies = {name: rest for name, *rest in map(str.split, policy.split(";"))}
    assert policies["default-src"] == policies["frame-ancestors"] == policies["form-action"] == ["'none'"]
    recaptcha = ["https://www.google.com/recaptcha/", "https://www.gstatic.com/recaptcha/"]
    assert policies["script-src"] == ["'self'", *recaptcha]
    assert policies["style-src"] == policies["font-src"] == policies["img-src"] == ["'self'"]
    assert "unsafe" not in policy
    assert "http:" not in policy


def test_the_lock_file_of_the_page_names_no_registry() -> None:
    """It has versions and hashes, so that any registry can be used."""
    packages = json.loads((ROOT / "web/package-lock.json").read_text("utf-8"))["packages"]
    assert len(packages) > 50
    assert not [name for name, package in packages.items() if "resolved" in package]
