"""The console's messages about changed code while the stack runs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.reloads import Reloads
from emulators.stack import ROOT

pytestmark = pytest.mark.programs

MAIN = """
from firebase_functions import scheduler_fn

@scheduler_fn.on_schedule(schedule="every 5 minutes")
def tick(event):
    import later
"""


@pytest.fixture(scope="module")
def discovered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small project after its discovery by a stack."""
    project = tmp_path_factory.mktemp("discovered")
    (project / ".stack").mkdir()
    (project / "firebase.json").write_text('{"functions": [{"ignore": ["venv", ".*"]}]}', "utf-8")
    (project / "later.py").write_text("1\n", "utf-8")
    (project / "main.py").write_text(MAIN, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("NX_TASKS_REGION", "us-central1")
        discover = [sys.executable, "-m", "emulators.discovery", ".stack/functions.json"]
        subprocess.run(discover, cwd=project, check=True)
        yield project


@pytest.fixture
def project(discovered: Path, tmp_path: Path) -> Path:
    """A copy of the project for one test."""
    return Path(shutil.copytree(discovered, tmp_path, dirs_exist_ok=True))


def news(reloads: Reloads) -> list[str]:
    """Return the messages after a change has settled."""
    return [*reloads.messages(), *reloads.messages()]


@pytest.mark.parametrize("file", ["main.py", "later.py"])
def test_broken_code_and_its_repair_are_reported_once(project: Path, file: str) -> None:
    """This includes files that are only imported while a task runs."""
    reloads = Reloads(project)
    assert news(reloads) == []
    good = (project / file).read_text("utf-8")
    (project / file).write_text(f"{good}def broken(:\n", "utf-8")
    error, advice = news(reloads)
    assert error.startswith("The changed code cannot be loaded:\n")
    assert error.endswith("  | SyntaxError: invalid syntax")
    assert f'File "{project / file}", line {len(good.splitlines()) + 1}' in error
    assert "keep running the old code" in advice
    assert news(reloads) == []
    (project / file).write_text(good, "utf-8")
    assert news(reloads) == ["The code can be loaded again. Functions use it from their next run."]
    assert news(reloads) == []


def test_an_error_while_loading_is_reported(project: Path) -> None:
    """Any error that prevents loading is reported, besides syntax errors."""
    reloads = Reloads(project)
    (project / "main.py").write_text(f"import no_such_module\n{MAIN}", "utf-8")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in news(reloads)[0]


def test_a_change_is_checked_after_it_has_settled(project: Path) -> None:
    """A half-written file causes no message."""
    reloads = Reloads(project)
    (project / "main.py").write_text("def half(", "utf-8")
    assert list(reloads.messages()) == []
    (project / "main.py").write_text(f"{MAIN}\n# whole", "utf-8")
    assert news(reloads) == []


def test_a_schedule_that_requires_a_restart_is_reported(project: Path) -> None:
    """Cloud Scheduler reads the schedules when the stack starts."""
    reloads = Reloads(project)
    (project / "main.py").write_text(MAIN.replace("5 minutes", "10 minutes"), "utf-8")
    expected = "The schedule of tick is new or has changed; restart `make run` to apply it."
    assert news(reloads) == [expected]
    (project / "main.py").write_text(MAIN, "utf-8")
    assert news(reloads) == []


def test_a_change_with_missing_parts_causes_a_warning(project: Path) -> None:
    """Only new warnings are printed."""
    checked = project / ".stack/functions.json"
    found = json.loads(checked.read_text("utf-8"))
    assert found["omissions"] == []
    (project / "functions/scheduled").mkdir(parents=True)
    names = project / "shared/tasks/contract.py"
    names.parent.mkdir(parents=True)
    names.write_text("TaskName = ['tick']\n", "utf-8")
    for package in (names.parent, names.parents[1]):
        (package / "__init__.py").touch()
    reloads = Reloads(project)
    (project / "main.py").write_text(f"import shared.tasks.contract\n__all__ = []\n{MAIN}", "utf-8")
    assert news(reloads) == ["Warning: main.py imports tick, but its __all__ lacks it: add it."]
    (project / "later.py").write_text("2\n", "utf-8")
    assert news(reloads) == []
