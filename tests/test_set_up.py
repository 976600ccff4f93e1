"""`.ci/set-up` on machines with different programs installed."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_for

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "cat", "dirname", "ln", "mkdir", "readlink", "rm", "rmdir", "sh", "sleep", "tail")


def sandbox(
    tmp_path: Path, scripts: dict[str, str], tools: tuple[str, ...] = TOOLS
) -> tuple[Path, list[str | Path], dict[str, str]]:
    """Make a checkout with the set-up script, the given scripts, and a PATH of its `bin` with `tools`.

    Returns:
        The checkout, the command that installs a browser, and its environment, with root as the user.
    """
    root = tmp_path / "root"
    programs = root / "bin"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/set-up", root / ".ci/set-up")
    programs.mkdir()
    for tool in tools:
        (programs / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is missing"))
    for name, lines in {"bin/id": "echo 0", **scripts}.items():
        script = root / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\n{lines}\n")
        script.chmod(0o755)
    return root, [root / ".ci/set-up", "chromium"], {"PATH": str(programs)}


#: Replaces the project's Python: prints the path of Playwright's browser, and may download it.
PYTHON = """case $1 in
-c) echo "$PWD/own" ;;
-m) echo playwright >>asked; {download} ;;
esac"""
STARTS = "printf '#!/bin/sh\\n' >own; chmod +x own"
MISSES_A_LIBRARY = "printf '#!/bin/sh\\nexit 127\\n' >own; chmod +x own"
APT = 'echo apt >>asked; [ "$1" = update ] || {{ {install}; }}'
INSTALLS = "printf '#!/bin/sh\\n' >bin/chromium; chmod +x bin/chromium"


@pytest.mark.parametrize(
    ("present", "download", "install", "user", "asked", "found"),
    [
        pytest.param("CHROMIUM", STARTS, INSTALLS, 0, [], True, id="named"),
        pytest.param("bin/chromium", STARTS, INSTALLS, 0, [], True, id="chromium-on-the-path"),
        pytest.param("bin/google-chrome", STARTS, INSTALLS, 0, [], True, id="chrome-on-the-path"),
        pytest.param("own", STARTS, INSTALLS, 0, [], True, id="playwrights-own"),
        pytest.param("other", STARTS, INSTALLS, 0, ["playwright"], True, id="download"),
        pytest.param("other", "exit 1", INSTALLS, 0, ["playwright", "apt", "apt"], True, id="apt"),
        pytest.param(
            "other", MISSES_A_LIBRARY, INSTALLS, 0, ["playwright", "apt", "apt"], True, id="unusable"
        ),
        pytest.param("other", "exit 1", "exit 1", 0, ["playwright", "apt", "apt"], False, id="nothing-works"),
        pytest.param("other", "exit 1", INSTALLS, 1000, ["playwright"], False, id="not-root"),
    ],
)
def test_an_installed_chromium_is_preferred_to_a_download(
    tmp_path: Path, present: str, download: str, install: str, user: int, asked: list[str], found: bool
) -> None:
    """The order is $CHROMIUM, PATH, Playwright's browser, its download, apt as root, then an error."""
    scripts = {
        "bin/id": f"echo {user}",
        "bin/apt-get": APT.format(install=install),
        "venv/bin/python": PYTHON.format(download=download),
    }
    if present != "CHROMIUM":
        scripts[present] = ":"
    root, command, env = sandbox(tmp_path, scripts, (*TOOLS, "chmod"))
    if present == "CHROMIUM":
        env["CHROMIUM"] = "/chrome"
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) is found, done.stderr
    log = root / "asked"
    assert (log.read_text().split() if log.exists() else []) == asked
    ways = ("CHROMIUM=", "apt-get install chromium", "playwright install")
    assert found or all(way in done.stderr for way in ways)


def test_an_interrupted_install_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C during the set-up ends the processes that it started."""
    installer = "echo $$ >>pid; sleep 600 & echo $! >>pid; wait"
    root, command, env = sandbox(tmp_path, {"bin/apt-get": installer})
    with subprocess.Popen(command, env=env, start_new_session=True) as setting_up:
        pids = root / "pid"
        wait_for("the installer", lambda: pids.exists() and len(pids.read_text().split()) == 2)
        os.killpg(setting_up.pid, signal.SIGINT)
        assert setting_up.wait(60) == 130
    started = [int(pid) for pid in pids.read_text().split()]
    wait_for("the end of the installer", lambda: not any(map(psutil.pid_exists, started)))


def test_concurrent_set_ups_of_a_folder_run_one_after_the_other(tmp_path: Path) -> None:
    """The second one waits for the first; the lock of a killed set-up is removed."""
    works = "echo begin >>log; until [ -e go ]; do sleep 0.1; done; echo end >>log"
    root, command, env = sandbox(tmp_path, {"bin/apt-get": f"{works}; {INSTALLS}"}, (*TOOLS, "chmod"))
    killed = subprocess.Popen(["true"])
    killed.wait()
    lock = root / ".stack/set-up.lock"
    lock.parent.mkdir()
    lock.symlink_to(str(killed.pid))
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
    assert not lock.is_symlink()
