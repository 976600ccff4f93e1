"""The tasks in README work without an error or a warning when its steps are followed in a copy."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.deploying import ROOT, copy_project

pytestmark = pytest.mark.programs

#: Tests that check the declared tasks and how their code is loaded.
JUDGES = (
    "tests/emulators/test_discovery.py",
    "tests/functions/test_cold_start.py",
    "tests/deploy/test_page.py::test_the_generated_parts_are_up_to_date",
    "tests/rules/test_parameters.py::test_every_setting_is_declared_and_documented",
)


#: The files of README's steps and of its complete task.
FILES = (
    "shared/collectors/my_task.py",
    "functions/scheduled/my_task.py",
    "tests/collectors/test_my_task.py",
)
EXAMPLE = FILES[-1]
COMPLETE = "functions/scheduled/count_devices.py"
PYTEST = ("pytest", "-p", "no:cacheprovider", "-m", "not stack")


def rewrite(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(before) == 1, f"{file} has {before!r} {text.count(before)} times"
    file.write_text(text.replace(before, after), "utf-8")


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with README's two example tasks, added step by step."""
    project = copy_project(tmp_path_factory.mktemp("readme"))
    readme = (ROOT / "README.md").read_text("utf-8")
    complete = readme.partition("## A complete task\n")[2].partition("\n## ")[0]
    section = readme.partition("## Write a task\n")[2].partition("\n## ")[0]
    (member,) = re.findall(r"^1\. .*`(my_task = .*?)`\.$", section, re.MULTILINE)
    files = re.findall(r"in `([\w/]+\.py)`[^`]*\n    ```python\n(.*?)    ```\n", section, re.DOTALL)
    assert [name for name, _ in files] == list(FILES)
    assert "4. In `main.py`, add its import and its name in `__all__`." in section
    (count_devices,) = re.findall(r"```python\n(.*?)```\n", complete, re.DOTALL)
    assert "`functions/scheduled/count_devices.py`" in complete

    names = project / "shared/tasks/contract.py"
    members = f'\n    {member}\n    count_devices = "count_devices"'
    rewrite(names, "\n\n\nclass TaskStatus", f"{members}\n\n\nclass TaskStatus")
    (project / COMPLETE).write_text(count_devices, "utf-8")
    for name, content in files:
        (project / name).write_text(re.sub(r"^ {4}", "", content, flags=re.MULTILINE), "utf-8")
    main = project / "main.py"
    following = "from functions.scheduled.send_reset_sms import"
    for task in ("count_devices", "my_task"):
        rewrite(main, following, f"from functions.scheduled.{task} import {task}\n{following}")
    rewrite(main, '    "get_run",\n', '    "count_devices",\n    "get_run",\n')
    rewrite(main, '    "resume_task",\n', '    "my_task",\n    "resume_task",\n')
    return project


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in the copy, without this session's stack."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(project), "NX_TASKS_REGION": "us-central1"}
    python = [project / "venv/bin/python", "-m", *command]
    return subprocess.run(python, cwd=project, env=environment, capture_output=True, text=True, check=False)


def discovered(project: Path) -> list[str]:
    done = run(project, "emulators.discovery", "found.json")
    assert done.returncode == 0, done.stderr
    omissions: list[str] = json.loads((project / "found.json").read_text("utf-8"))["omissions"]
    return omissions


def test_the_checks_of_tasks_and_the_test_of_the_example_pass(added: Path) -> None:
    """They need no stack and no step beyond those in README, not even `make docs`."""
    done = run(added, *PYTEST, "-v", *JUDGES, EXAMPLE)
    assert done.returncode == 0, done.stdout
    for each in (*JUDGES, EXAMPLE):
        assert re.search(rf"^{re.escape(each)}\S* PASSED", done.stdout, re.MULTILINE), done.stdout


def test_a_wrong_record_fails_the_test_of_the_example(added: Path) -> None:
    collector = added / "shared/collectors/my_task.py"
    text = collector.read_text("utf-8")
    try:
        rewrite(collector, "cursor.value < 3", "cursor.value < 2")
        assert run(added, *PYTEST, EXAMPLE).returncode == 1
    finally:
        collector.write_text(text, "utf-8")


def test_the_linter_accepts_the_examples(added: Path) -> None:
    files = ("main.py", "shared/tasks/contract.py", *FILES, COMPLETE)
    for command in (("format", "--check"), ("check",)):
        done = run(added, "ruff", *command, *files)
        assert done.returncode == 0, done.stdout


def test_the_complete_task_is_short() -> None:
    """It has at most twelve lines."""
    complete = (ROOT / "README.md").read_text("utf-8").partition("## A complete task\n")[2]
    assert len(complete.partition("```python\n")[2].partition("```")[0].splitlines()) == 12


def test_a_forgotten_step_is_a_warning(added: Path) -> None:
    """All steps give no warning; without the last or the third step, the warning names the missing part."""
    assert discovered(added) == []
    main, function = added / "main.py", added / "functions/scheduled/my_task.py"
    texts = [file.read_text("utf-8") for file in (main, function)]
    try:
        main.write_text("".join(line for line in texts[0].splitlines(True) if "my_task" not in line), "utf-8")
        (warning,) = discovered(added)
        assert warning.startswith("functions/scheduled/my_task.py is not deployed: import my_task in main.py")
        function.unlink()
        (warning,) = discovered(added)
        assert warning.startswith("The task my_task has no function: write functions/scheduled/my_task.py")
    finally:
        for file, text in zip((main, function), texts, strict=True):
            file.write_text(text, "utf-8")
