"""`.ci/set-up` on a machine whose programs the test chooses."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "cat", "dirname", "id", "mkdir", "rm", "sh", "sleep", "tail")


def sandbox(tmp_path: Path, scripts: dict[str, str]) -> tuple[Path, list[str | Path], dict[str, str]]:
    """Make a checkout with the script alone, and a PATH of `TOOLS` and these scripts, whose user is root.

    Returns:
        The checkout, the command that installs a browser, and its environment.
    """
    root, programs = tmp_path / "root", tmp_path / "bin"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/set-up", root / ".ci/set-up")
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is missing"))
    (programs / "id").unlink()
    for name, lines in {"id": "echo 0", **scripts}.items():
        (programs / name).write_text(f"#!/bin/sh\n{lines}\n")
        (programs / name).chmod(0o755)
    return root, [root / ".ci/set-up", "chromium"], {"PATH": str(programs)}


@pytest.mark.parametrize(
    ("installed", "installs"), [("chromium", False), ("google-chrome", False), ("", True)]
)
def test_chromium_is_installed_only_where_no_browser_is_found(
    tmp_path: Path, installed: str, installs: bool
) -> None:
    """The script looks for a program on the PATH, and its own function of that name does not count."""
    root, command, env = sandbox(tmp_path, {"apt-get": 'echo "$@" >>apt', installed or "other": ":"})
    subprocess.run(command, env=env, check=True, timeout=60)
    asked = root / "apt"
    assert asked.exists() is installs
    assert not installs or "chromium" in asked.read_text()


def test_an_interrupted_install_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C during the set-up ends what it started, so that the next start does not meet it."""
    installer = "echo $$ >>pid; sleep 600 & echo $! >>pid; wait"
    root, command, env = sandbox(tmp_path, {"apt-get": installer})
    with subprocess.Popen(command, env=env, start_new_session=True) as setting_up:
        pids = root / "pid"
        wait_for("the installer", lambda: pids.exists() and len(pids.read_text().split()) == 2)
        os.killpg(setting_up.pid, signal.SIGINT)
        assert setting_up.wait(60) == 130
    started = [int(pid) for pid in pids.read_text().split()]
    wait_for("the end of the installer", lambda: not any(map(psutil.pid_exists, started)))


def test_two_set_ups_of_one_folder_run_one_after_the_other(tmp_path: Path) -> None:
    """The second one waits for the first; the lock of a killed set-up is removed."""
    installer = "echo begin >>log; until [ -e go ]; do sleep 0.1; done; echo end >>log"
    root, command, env = sandbox(tmp_path, {"apt-get": installer})
    killed = subprocess.Popen(["true"])
    killed.wait()
    (root / ".stack/set-up.lock").mkdir(parents=True)
    (root / ".stack/set-up.lock/pid").write_text(f"{killed.pid}\n")
    log = root / "log"
    with (
        subprocess.Popen(command, env=env) as first,
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as second,
    ):
        assert second.stdout is not None
        wait_for("the first install", log.exists)
        (root / "go").touch()
        assert (first.wait(60), second.wait(60)) == (0, 0)
    lines = log.read_text().split()
    assert lines == ["begin", "end"] * (len(lines) // 2)
    assert not (root / ".stack/set-up.lock").exists()
