"""CONTRIBUTING lists the packages and lock files of the project."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_each_package_of_the_engine_is_listed() -> None:
    """CONTRIBUTING lists the packages and single modules; a package's docstring lists its modules."""
    engine = ROOT / "shared/tasks"
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = text.partition("Inside the engine:")[2].partition("\n\n|")[2]
    rows = [line.partition("|")[2].partition("|")[0] for line in table.partition("\n\n")[0].splitlines()]
    shown = sorted(name.strip("/") for row in rows for name in re.findall("`(.+?)`", row))
    packages = [path.parent for path in engine.glob("*/__init__.py")]
    modules = [path.stem for path in engine.glob("*.py") if path.stem != "__init__"]
    assert shown == sorted([*modules, *(package.name for package in packages)])
    for package in packages:
        listed = set(re.findall("`([a-z_]+)`", (package / "__init__.py").read_text("utf-8")))
        assert {path.stem for path in package.glob("*.py")} - {"__init__"} <= listed, package


def test_every_lock_file_is_audited_and_kept_up_to_date() -> None:
    """CI reports vulnerabilities in each without gating on it; Dependabot updates each, and the actions."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    audit = workflow["jobs"]["audit"]
    assert audit["continue-on-error"] is True
    assert all("needs" not in job for job in workflow["jobs"].values())
    runs = [(step.get("working-directory", "."), step["run"]) for step in audit["steps"] if "run" in step]
    (pip_audit,) = (run for _, run in runs if "pip-audit" in run)
    assert set(re.findall(r"-r (\S+)", pip_audit)) == {path.name for path in ROOT.glob("requirements*.txt")}
    packages = {path.parent.name for path in ROOT.glob("*/package-lock.json")}
    assert {folder for folder, run in runs if "npm audit" in run} == packages
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text("utf-8"))["updates"]
    updated = {
        (update["package-ecosystem"], folder.strip("/"))
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
    }
    assert updated == {("pip", ""), ("github-actions", ""), *(("npm", name) for name in packages)}
