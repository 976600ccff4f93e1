"""What is read in the functions' manifest."""

import json
from pathlib import Path

from emulators import functions


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
