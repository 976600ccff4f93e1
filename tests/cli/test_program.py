"""The program itself: version, help, completion, output width, and errors that need no stack."""

import json
import os
import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

from cli.callables import Caller
from cli.errors import CliError, Exit
from cli.rendering import STATES
from cli.target import Target
from cli.terminal import console
from cli.version import commit, version
from tests.cli.terminal import COMMAND, ROOT


def nx(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_all_files_state_the_same_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert nx("--version").stdout.split()[:2] == ["nx-tasks", version]
    released = re.findall(r"^## (\d+\.\d+\.\d+) ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert released[0] == version
    for folder in ("web", "emulators"):
        for file in ("package.json", "package-lock.json"):
            assert json.loads((ROOT / folder / file).read_text("utf-8"))["version"] == version, (folder, file)


def test_the_page_of_a_copy_in_another_repository_names_no_commit(tmp_path: Path) -> None:
    """As the command line, because the commit of the outer repository is not that of nx-tasks."""
    web = tmp_path / "copy/web"
    web.mkdir(parents=True)
    for file in ("vite.config.ts", "package.json"):
        shutil.copy(ROOT / "web" / file, web / file)
    (web / "node_modules").symlink_to(ROOT / "web/node_modules")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.com")
    for words in (("init", "-q"), ("add", "copy/web/package.json"), ("commit", "-q", "-m", "one")):
        subprocess.run([*git, *words], check=True)
    script = (
        "import { loadConfigFromFile } from 'vite';"
        "const { config } = await loadConfigFromFile({ command: 'build', mode: 'production' });"
        "console.log(config.define.__COMMIT__)"
    )
    node = ["node", "--input-type=module", "-e", script]
    found = [
        subprocess.run(node, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
        for folder in (web, ROOT / "web")
    ]
    assert found == ["null", json.dumps(commit())]


def test_the_version_names_the_commit(tmp_path: Path) -> None:
    """With "+" once a file has changed; a copy without git has the version alone."""
    git = ("git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.com")
    assert commit(tmp_path) is None
    (tmp_path / "file").write_text("one", "utf-8")
    for words in (("init", "-q"), ("add", "file"), ("commit", "-q", "-m", "one")):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert commit(tmp_path) == head[:10]
    (tmp_path / "file").write_text("two", "utf-8")
    assert commit(tmp_path) == f"{head[:10]}+"
    shown = commit()
    assert nx("--version").stdout.rstrip("\n").endswith(f" ({shown})" if shown else version().split()[0])


COMMANDS = (
    "tasks",
    "show",
    "runs",
    "logs",
    "data",
    "watch",
    "run",
    "suspend",
    "resume",
    "cancel",
    "login",
    "logout",
)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("completion",)])
def test_help_has_words_instead_of_types(command: tuple[str, ...]) -> None:
    """A value is named for what it means: REASON, SECONDS, TIME."""
    text = nx(*command, "--help").stdout
    assert "--help" in text
    assert re.findall(r"<\w+|\b(?:TEXT|INTEGER|FLOAT|PATH|Optional|None)\b", text) == []


def test_help_lists_states_and_exit_codes() -> None:
    """Those that `--state` accepts, and those that the program ends with."""
    text = " ".join(nx("runs", "--help").stdout.split())
    assert f"One of {', '.join(STATES)}." in text
    text = " ".join(nx("--help").stdout.split())
    _, _, codes = text.partition("Exit codes: ")
    assert [int(code) for code in re.findall(r"(?:^|; )(\d+) ", codes)] == sorted(Exit)
    assert "or it was cancelled" in codes


def test_typer_still_completes_through_its_private_hook() -> None:
    """`cli/completion.py` imports a private module of typer; see there after an upgrade."""
    asked = {"_NX_TASKS_COMPLETE": "complete_bash", "COMP_WORDS": "nx-tasks su", "COMP_CWORD": "1"}
    completed = nx(**asked)
    why = f"typer {installed_version('typer')} no longer fits cli/completion.py: {completed.stderr}"
    assert completed.stdout.split() == ["suspend"], why


@pytest.mark.parametrize(("columns", "width"), [("90", 90), ("", 200)])
def test_columns_sets_the_width_of_a_pipe(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width


@pytest.mark.parametrize("command", ["login", "logout"])
def test_sign_in_commands_need_a_project(command: str) -> None:
    """The error comes before any prompt and states that the local stack needs no sign-in."""
    failed = nx(command)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"nx-tasks --project PROJECT {command}" in failed.stderr
    assert "The local stack needs neither a sign-in nor a project" in failed.stderr


class _WithoutFunctions(BaseHTTPRequestHandler):
    """Auth accepts the sign-in; the path of a function is answered with the status that it begins with."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_auth = "signInWithPassword" in self.path
        body = json.dumps({"idToken": "token"}).encode() if is_auth else b"no such function"
        self.send_response(200 if is_auth else int(self.path.split("/")[1]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def without_functions() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _WithoutFunctions) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [404, 500])
def test_functions_that_cannot_be_loaded_are_named_as_a_cause(without_functions: str, status: int) -> None:
    """On the local stack, a missing or failing function may be code that cannot be loaded."""
    url = without_functions
    caller = Caller(Target("demo-nx-tasks", f"{url}/{status}", f"{url}/accounts", f"{url}/token", local=True))
    with pytest.raises(CliError, match="the functions cannot be loaded, the console of `make run` shows"):
        caller("list_tasks")


def test_read_task_without_the_sdk_names_the_set_up(tmp_path: Path) -> None:
    """`emulators/read_task.mjs` in a checkout that was not set up prints one sentence, no module trace."""
    script = tmp_path / "emulators/read_task.mjs"
    script.parent.mkdir()
    script.write_bytes((ROOT / "emulators/read_task.mjs").read_bytes())
    failed = subprocess.run(["node", script, "a_task"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr == (
        "the Firebase SDK is not installed in emulators/node_modules; run make run or make demo once\n"
    )


TIME = (
    "'{}': must be a duration such as 2h or 3d, or a time such as '2026-11-30 08:00' or "
    "2026-11-30T08:00:00Z, got '{}'"
)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("runs", "any", "--limit", "0"), "'--limit': must be at least 1, got 0"),
        (("watch", "--every", "0.1"), "'--every': must be at least 0.5, got 0.1"),
        (("run", "any", "-m", "why", "--timeout", "0"), "'--timeout': must be at least 1, got 0"),
        (
            ("data", "any", "--format", "xml"),
            "'--format': must be one of pretty, json, ndjson, csv, got 'xml'",
        ),
        (("runs", "any", "--since", "yesterday"), TIME.format("--since", "yesterday")),
        (("suspend", "any", "-m", "why", "--until", "2x"), TIME.format("--until", "2x")),
        (("completion", "tcsh"), "must be one of bash, zsh, fish, got 'tcsh'"),
    ],
)
def test_an_invalid_value_is_refused_with_the_valid_ones(words: tuple[str, ...], text: str) -> None:
    """In plain words, with exit code 2."""
    failed = nx(*words)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"{text}\n" in failed.stderr
