"""Discovery finds the functions' sources, warns of missing parts, and shows errors."""

import subprocess
import sys
from pathlib import Path

import pytest

import main
from emulators.discovery import omissions, sources
from emulators.stack import ROOT
from shared.tasks import TaskName
from shared.tasks.specs import registered
from tests.deploy.wanted import product

pytestmark = pytest.mark.programs


def test_every_task_has_a_function_and_every_function_is_deployed() -> None:
    """A failure names the task or function and states what to add."""
    functions = {name for name, value in vars(main).items() if hasattr(value, "__firebase_endpoint__")}
    scheduled = {spec.name.value for spec in registered()} & functions
    found = omissions(ROOT, list(TaskName), scheduled, functions, main.__all__)
    assert not found, "\n".join(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with the files of two functions."""
    for file in (
        "functions/scheduled/mine.py",
        "functions/callable/ask.py",
        "functions/scheduled/__init__.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def test_a_complete_project_has_no_warning(folder: Path) -> None:
    """A scheduled function without a task causes no warning."""
    assert omissions(folder, ["mine"], ["mine"], ["mine", "ask"], ["mine", "ask"]) == []


def test_missing_parts_are_warnings_with_instructions(folder: Path) -> None:
    """Parts are a task's function, a function's import in main.py, and its name in `__all__`."""
    task, file, name = omissions(folder, ["mine", "more"], [], ["ask"], [])
    assert task.startswith(
        "The task more has no function: write functions/scheduled/more.py, then import more"
    )
    assert (
        file == "functions/scheduled/mine.py is not deployed: import mine in main.py and add it to __all__."
    )
    assert name == "main.py imports ask, but its __all__ lacks it: add it."


def test_sources_are_the_deployed_files() -> None:
    """The watched and checked files are those of the source archive."""
    python = {name for name in product() if name.endswith(".py")}
    assert {str(file.relative_to(ROOT)) for file in sources(ROOT)} == python


def test_an_error_is_shown_with_the_projects_own_lines(tmp_path: Path) -> None:
    """Frames of libraries and of the discovery are omitted."""
    (tmp_path / "firebase.json").write_text('{"functions": [{"ignore": []}]}', "utf-8")
    (tmp_path / "main.py").write_text("import helper\n", "utf-8")
    (tmp_path / "helper.py").write_text("import json\n\njson.loads('{')\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "emulators.discovery", tmp_path / "out"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    frames = [line.split('"')[1] for line in done.stderr.splitlines() if line.startswith('  File "')]
    assert frames == [str(tmp_path / "main.py"), str(tmp_path / "helper.py")]
    assert done.stderr.splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")
