"""The emulators' configuration and the functions' manifest."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from emulators import functions
from emulators.stack import ROOT


def test_a_scheduled_function_is_a_task_unless_its_label_is_false(tmp_path: Path) -> None:
    """Callables and scheduled functions with the label nx-task="false" are not tasks."""
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
    """Only the copy of firebase.json is changed to that runtime."""
    deployed = (ROOT / "firebase.json").read_text("utf-8")
    (tmp_path / "firebase.json").write_text(deployed, "utf-8")
    monkeypatch.setattr(functions, "sys", SimpleNamespace(version_info=SimpleNamespace(major=3, minor=minor)))
    local = json.loads(functions.write_config(tmp_path, with_storage=True).read_text("utf-8"))
    assert [codebase["runtime"] for codebase in local["functions"]] == [f"python3{minor}"]
    assert (tmp_path / "firebase.json").read_text("utf-8") == deployed
