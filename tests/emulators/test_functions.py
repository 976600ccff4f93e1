"""The configuration for the emulators, and what is read in the functions' manifest."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from emulators import functions
from emulators.stack import ROOT


def test_a_scheduled_function_is_a_task_unless_its_label_says_no(tmp_path: Path) -> None:
    """Callables are none, nor is a scheduled function with the label nx-task at "false"."""
    trigger = {"scheduleTrigger": {"schedule": "* * * * *"}}
    endpoints = {
        "task": trigger | {"labels": {}},
        "another": trigger,
        "watchdog": trigger | {"labels": {"nx-task": "false"}},
        "get_task_data": {"callableTrigger": {}, "labels": {}},
    }
    (tmp_path / "functions.json").write_text(json.dumps({"endpoints": endpoints}), "utf-8")
    assert functions.tasks_in(tmp_path / "functions.json") == ["another", "task"]


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_the_emulators_run_the_functions_with_the_virtual_environments_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minor: int
) -> None:
    """Whatever runtime firebase.json names, which stays as it is: only the copy is rewritten."""
    deployed = (ROOT / "firebase.json").read_text("utf-8")
    (tmp_path / "firebase.json").write_text(deployed, "utf-8")
    monkeypatch.setattr(functions, "sys", SimpleNamespace(version_info=SimpleNamespace(major=3, minor=minor)))
    local = json.loads(functions.write_config(tmp_path, with_storage=True).read_text("utf-8"))
    assert [codebase["runtime"] for codebase in local["functions"]] == [f"python3{minor}"]
    assert (tmp_path / "firebase.json").read_text("utf-8") == deployed
