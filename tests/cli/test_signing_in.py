"""Signing in as in a project, at the Auth emulator; and completion, in a real shell."""

import stat
import subprocess
from pathlib import Path

import pytest

from cli import authentication
from cli.callables import Caller
from cli.errors import CliError, Exit
from cli.target import Target, target_of
from emulators.environment import Addresses
from shared.tasks import TaskName
from tests.cli.conftest import Run, emulated_codes

OPERATOR = "operator@example.com"


@pytest.fixture
def project(nx: Run, stack: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The local stack, spoken to as a project is."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    local = target_of(None)
    return Target("some-project", local.functions, local.accounts, local.tokens)


def test_a_link_signs_in_until_sign_out(project: Target, stack: Addresses, tmp_path: Path) -> None:
    """The session is a file that only its owner can read; signing out removes it."""
    authentication.send_link(project, OPERATOR, "key")
    link = emulated_codes(stack)[-1]["oobLink"]
    authentication.sign_in_with_link(project, OPERATOR, "key", link)
    kept = tmp_path / "nx-tasks/some-project.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(Caller(project)("list_tasks")["tasks"]) == len(TaskName)
    with pytest.raises(CliError) as used:
        authentication.sign_in_with_link(project, OPERATOR, "key", link)
    assert used.value.code is Exit.signed_out
    assert authentication.sign_out(project)
    with pytest.raises(CliError, match="`nx-tasks --project some-project login`") as out:
        Caller(project)("list_tasks")
    assert out.value.code is Exit.signed_out


def test_bash_completes_commands_and_tasks(nx: Run) -> None:
    """With the script that `completion` prints, for the name in it."""
    script = nx("completion", "bash").stdout
    asked = """
    complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nx_tasks; echo "${COMPREPLY[*]}"; }
    complete_words nx-tasks su
    complete_words nx-tasks data collect_d
    complete_words nx-tasks --project some-project data collect_d
    nx-tasks --help | head -1
    """
    bash = subprocess.run(["bash", "-c", script + asked], cwd="/", capture_output=True, text=True, check=True)
    lines = bash.stdout.splitlines()
    assert lines[:3] == ["suspend", TaskName.collect_devices_health, ""]
    assert lines[3].startswith("Usage: nx-tasks ")
