"""Prose follows the writing guide of CONTRIBUTING: it contains no forbidden phrase."""

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/forbidden_phrases.toml"
#: Files and folders whose prose is checked. Add one when its prose is clean.
CLEAN = (
    ".ci",
    ".github",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "bench",
    "cli",
    "deploy",
    "docs",
    "emulators",
    "functions",
    "main.py",
    "shared/collectors",
    "shared/firebase.py",
    "shared/logger.py",
    "shared/settings",
    "shared/tasks/__init__.py",
    "shared/tasks/admin",
    "shared/tasks/backends",
    "shared/tasks/clock.py",
    "shared/tasks/contract.py",
    "shared/tasks/cron.py",
    "shared/tasks/documents",
    "shared/tasks/engine.py",
    "shared/tasks/errors.py",
    "shared/tasks/failure.py",
    "shared/tasks/options.py",
    "shared/tasks/protocol",
    "shared/tasks/results",
    "shared/tasks/runtime",
    "shared/tasks/serving",
    "shared/tasks/specs.py",
    "shared/tasks/trace.py",
    "tests/bench",
    "tests/cli",
    "tests/client",
    "tests/collectors",
    "tests/deploy",
    "tests/emulators",
    "tests/engine",
    "tests/faults",
    "tests/functions",
    "tests/model",
    "tests/rules",
    "tests/shared",
    "tests/soak",
    "tests/support",
    "tests/web",
    "web",
)
#: Generated files and files of other projects.
LEFT_OUT = ("LICENSE", "docs/performance.md", "docs/reliability.md", "docs/scale.md")
LEFT_OUT_NAMES = (
    "package-lock.json",
    "requirements.txt",
    "requirements-dev.txt",
    LIST.name,
    Path(__file__).name,
)
#: A space of a phrase: white space without an empty line.
GAP = r"(?:[^\S\n]+|[^\S\n]*\n[^\S\n]*)"
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
TEXT = {
    ".cjs",
    ".css",
    ".html",
    ".ini",
    ".js",
    ".json",
    ".mjs",
    ".toml",
    ".ts",
    ".tsx",
    ".txt",
    ".yaml",
    ".yml",
    "",
}


@cache
def forbidden() -> list[tuple[re.Pattern[str], str]]:
    """Each forbidden phrase with what to write instead."""
    entries = tomllib.loads(LIST.read_text("utf-8"))["phrase"]
    return [
        (
            re.compile(each["pattern"].replace(" ", GAP), re.IGNORECASE),
            f"{each['reason']}; write: {each['write']}",
        )
        for each in entries
    ]


def files(place: str) -> Iterator[Path]:
    """The files of a place that Git knows, without those left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", place], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        left_out = name in LEFT_OUT or path.name in LEFT_OUT_NAMES or path.suffix == ".png"
        if not left_out and path.is_file():
            yield path


def prose(name: str, source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each piece of prose in a file; identifiers and code are not prose."""
    suffix = Path(name).suffix
    if suffix == ".py":
        yield from python_prose(source)
    elif suffix == ".md":
        # Fenced code keeps its lines, so that line numbers stay right.
        source = re.sub(
            r"^ *```.*?^ *```",
            lambda found: "\n" * found[0].count("\n"),
            source,
            flags=re.MULTILINE | re.DOTALL,
        )
        yield 1, re.sub(r"`[^`\n]*`", "``", source)
    elif suffix in TEXT:
        yield 1, source


def python_prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments, joined where they continue, and strings of several words."""
    comments = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    block: list[tuple[int, str]] = []
    for line, text in comments:
        if block and line != block[-1][0] + 1:
            yield block[0][0], "\n".join(each for _, each in block)
            block = []
        block.append((line, text.lstrip("#: ")))
    if block:
        yield block[0][0], "\n".join(each for _, each in block)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, re.sub(r"`[^`\n]*`", "``", node.value)


def findings(name: str, source: str) -> list[str]:
    """Each forbidden phrase in a file, with its place and what to write instead."""
    found = []
    for line, text in prose(name, source):
        for pattern, instead in forbidden():
            for match in pattern.finditer(text):
                place = line + text.count("\n", 0, match.start())
                found.append(f"{name}:{place}: {' '.join(match[0].split())!r} {instead}")
    return found


@pytest.mark.parametrize("place", CLEAN)
def test_prose_has_no_forbidden_phrase(place: str) -> None:
    """tests/forbidden_phrases.toml has the phrases, the reasons, and what to write instead."""
    checked = list(files(place))
    assert checked, f"{place} has no file"
    found = [
        each for path in checked for each in findings(str(path.relative_to(ROOT)), path.read_text("utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", '"""Whoever calls."""\n'),
        ("a.py", "x = 1  # for\n# nobody\n"),
        ("a.py", 'log(f"the {task} is\\n told")\n'),
        ("a.py", "# the caller is\n# told\n"),
        ("a.md", "One function a task.\n"),
        ("a.tsx", "<p>Nobody reads.</p>\n"),
    ],
)
def test_forbidden_phrases_are_found(name: str, source: str) -> None:
    """In docstrings, comments, strings, pages and the web page, across line breaks, too."""
    assert len(findings(name, source)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", "nobody = wish(anew)\n"),
        ("a.md", "Call `nobody()`.\n\n```python\nwhoever = 1\n```\n"),
        ("a.md", "The rows are all the same size. One function per task. This is not a list.\n"),
    ],
)
def test_identifiers_and_plain_sentences_pass(name: str, source: str) -> None:
    """Code is not prose."""
    assert findings(name, source) == []


def test_a_finding_names_place_phrase_and_replacement() -> None:
    """The line is that of the phrase."""
    (finding,) = findings("a.md", "Fine.\n\nRead it anew.\n")
    assert finding == "a.md:3: 'anew' is archaic; write: again"
