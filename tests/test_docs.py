"""README and docs/ agree with the code that they describe and with the code that cites them."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cli.errors import Exit
from shared.collectors.sms_tally import KINDS
from shared.tasks import TaskName, TaskRun, TaskSpec
from shared.tasks.testing import RecordedRun, interrupted, leg_ending
from tests.model import test_leg_rules, test_rules

ROOT = Path(__file__).resolve().parents[1]
DOCS = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
FOLDERS = ("bench", "cli", "deploy", "emulators", "functions", "shared", "tests")
#: The product's code, whose names occur in the pages.
SOURCES = [path for folder in ("functions", "shared") for path in sorted((ROOT / folder).rglob("*.py"))]
#: README and the pages of the documentation.
ALL_PAGES = (*sorted(path.name for path in ROOT.glob("*.md")), *sorted(map(str, DOCS)))
PAGES = ("docs/contract.md", "docs/protocol.md", "docs/glossary.md", "docs/architecture.md")
#: A citation in a docstring or comment. The right form is the page's path, a comma, and the heading.
CITATION = re.compile(
    r'(?P<page>(docs/)?\b(contract|protocol)(\.md)?)(?P<comma>[,:])\s+(?P<quote>[`"]+)(?P<section>[^`"]+)[`"]',
    re.IGNORECASE,
)
#: A citation of rows of the table "What the TypeScript helper does differently".
LESSONS = re.compile(r"\blessons? (\d+(?:(?:, | and )\d+)*)")


@cache
def headings(page: str) -> frozenset[str]:
    """The headings of a page, without the marks of code."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return frozenset(found.replace("`", "") for found in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE))


@cache
def anchors(page: str) -> frozenset[str]:
    """The possible targets of a link into a page: explicit anchors, and headings as GitHub names them."""
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}
    return frozenset(slugs | {*re.findall('<a id="(.+?)">', (ROOT / page).read_text("utf-8"))})


@cache
def prose() -> tuple[tuple[str, str], ...]:
    """The place and text of each comment and triple-quoted text in all Python files."""
    paths = [
        ROOT / "main.py",
        *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))),
    ]
    return tuple(found for path in paths if "node_modules" not in path.parts for found in _prose(path))


def unknown_names(names: Iterable[str]) -> set[str]:
    """Names with an underscore or an inner capital that are not in the product's code."""
    code = "\n".join(path.read_text("utf-8") for path in SOURCES)
    telling = {name for name in names if "_" in name or re.search("[a-z][A-Z]", name)}
    return telling - set(re.findall(r"\w+", code))


def _prose(path: Path) -> Iterator[tuple[str, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        is_docstring = token.type == tokenize.STRING and token.string.endswith('"""')
        if is_docstring or token.type == tokenize.COMMENT:
            text = str(ast.literal_eval(token.string)) if is_docstring else token.string
            yield f"{path.relative_to(ROOT)}:{token.start[0]}", " ".join(text.split())


def test_each_citation_names_a_heading_that_exists() -> None:
    """Citations have one form, so that this test finds renamed headings."""
    cited = [(place, citation) for place, text in prose() for citation in CITATION.finditer(text)]
    assert len(cited) > 30
    wrong = [
        f"{place}: {citation[0]}"
        for place, citation in cited
        if citation["page"] not in PAGES
        or (citation["comma"], citation["quote"]) != (",", '"')
        or citation["section"] not in headings(citation["page"])
    ]
    assert wrong == []


def test_each_cited_lesson_is_in_the_table() -> None:
    """Tests cite rows of the table "What the TypeScript helper does differently" by number."""
    rows = set(
        re.findall(r"^\| (\d+) \|", (ROOT / "docs/contract.md").read_text("utf-8"), flags=re.MULTILINE)
    )
    cited = {
        number
        for _, text in prose()
        for found in LESSONS.findall(text)
        for number in re.findall(r"\d+", found)
    }
    assert len(cited) > 20
    assert cited <= rows


def test_each_rule_of_the_model_has_its_anchor() -> None:
    """The anchor of the rule `OWN` in tests/model/test_rules.py is `rule-own`; no other anchors exist."""
    rules: list[str] = []
    for module in (test_rules, test_leg_rules):
        texts = {rule for rule, *_ in module.LEFT_OUT}
        names = [name for name, value in vars(module).items() if isinstance(value, str) and value in texts]
        assert len(names) == len(texts)
        rules += names
    found = re.findall('<a id="(.+?)">', (ROOT / "docs/protocol.md").read_text("utf-8"))
    assert sorted(found) == sorted(f"rule-{name.lower().replace('_', '-')}" for name in rules)


@pytest.mark.parametrize("page", ALL_PAGES)
def test_each_relative_link_has_a_target(page: str) -> None:
    """Linked files, sections and pictures exist."""
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)
    pictures = re.findall(r'(?:src|srcset)="(?!https?:)([^"]+)"', text)
    for file, part in [*links, *((picture, "") for picture in pictures)]:
        target = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert target.exists(), file
        assert not part or part in anchors(str(target.relative_to(ROOT))), f"{file}#{part}"


def test_each_page_can_be_reached_from_readme() -> None:
    """README links each page directly, because it is the index of the documentation."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [str(page) for page in DOCS if f"]({page})" not in readme] == []


def test_readme_is_short() -> None:
    """Details belong in docs/."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_no_text_claims_exactly_once_execution() -> None:
    """Execution is at least once (docs/contract.md, "Guarantees")."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "exactly" not in project["description"]
    for page in ALL_PAGES:
        text = (ROOT / page).read_text("utf-8").lower()
        assert set(re.findall(r"(\w+) exactly once", text)) <= {"not"}, page


def test_the_version_is_the_latest_in_the_changelog() -> None:
    """The entry follows "Unreleased" and has a date."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(project['version'])} - \d{{4}}-\d\d-\d\d", titles[1])


@pytest.mark.programs
def test_the_example_of_a_task_s_test_passes(tmp_path: Path) -> None:
    """The example is in docs/api.md."""
    section = (ROOT / "docs/api.md").read_text("utf-8").partition("### Test a task\n")[2]
    (tmp_path / "test_example.py").write_text(
        section.partition("```python\n")[2].partition("```")[0], "utf-8"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    done = subprocess.run(
        [*command, tmp_path / "test_example.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_example_of_a_run_of_hours_continues() -> None:
    """The example in docs/api.md has each record once, over three legs and a crash."""
    section = (ROOT / "docs/api.md").read_text("utf-8").partition("### Runs of hours\n")[2]
    listed: list[int] = []
    names: dict[str, Any] = {
        "TaskRun": TaskRun,
        "Iterator": Iterator,
        "Any": Any,
        "list_operators": lambda: listed.append(1) or ["a", "b", "c"],  # type: ignore[func-returns-value]
        "fetch_records": lambda operator: [operator, operator.upper()],
    }
    exec(section.partition("```python\n")[2].partition("```")[0], names)
    collect = names["collect"]
    run = RecordedRun(TaskName.collect_charge_cdrs)
    with leg_ending(run, at=1):
        run.execute(collect)
    with interrupted(run, at=2):
        run.execute(collect)
    with leg_ending(run, at=2):
        run.execute(collect)
    assert run.execute(collect) == ["a", "A", "b", "B", "c", "C"]
    assert (run.leg, len(listed)) == (3, 1)


def test_each_count_of_the_reset_sms_is_explained() -> None:
    """The table in docs/tasks/reset-sms.md has each field of the task's summary."""
    page = (ROOT / "docs/tasks/reset-sms.md").read_text("utf-8").partition("## The summary\n")[2]
    found = re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)
    assert sorted(found) == sorted({*KINDS, "devices", "dry_run", "health", "silent", "unknown_ever"})


def test_the_fields_of_a_task_s_spec_are_documented() -> None:
    """docs/api.md lists each field with its unit and its default."""
    section = (
        (ROOT / "docs/api.md").read_text("utf-8").partition("field of `TaskSpec`")[2].partition("\n\n")[0]
    )
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == [
        each.name for each in fields(TaskSpec)
    ]


def test_the_exit_codes_of_the_command_line_are_documented() -> None:
    """docs/cli.md lists each exit code."""
    section = (ROOT / "docs/cli.md").read_text("utf-8").partition("### Exit codes\n")[2]
    codes = re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)
    assert [int(code) for code in codes] == sorted(Exit)


@pytest.mark.parametrize("page", ["docs/contract.md", "docs/protocol.md", "docs/architecture.md"])
def test_each_file_and_name_in_a_page_exists(page: str) -> None:
    """A name with an underscore or an inner capital is in the code."""
    text = (ROOT / page).read_text("utf-8")
    paths = set(re.findall(rf"`((?:docs|web|{'|'.join(FOLDERS)})/[\w./-]*)`", text))
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    found = re.findall(r"`([A-Za-z_.]+)`", text)
    assert unknown_names(name for each in found for name in each.split(".")) == set()


def test_the_names_in_the_diagrams_of_the_tour_exist() -> None:
    """Participants are files; names with an underscore or an inner capital are in the code."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    diagrams = re.findall(r"```mermaid\nsequenceDiagram\n(.*?)```", text, flags=re.DOTALL)
    assert len(diagrams) == 3
    files = [f"/{path.relative_to(ROOT)}" for path in SOURCES]
    for diagram in diagrams:
        named = re.findall(r"[\w/]+\.py", diagram)
        assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
        assert unknown_names(re.findall(r"\w+", re.sub(r"\S+\.py", "", diagram))) == set()


def test_the_tour_names_the_tests_of_each_rule() -> None:
    """Each rule of docs/protocol.md is in the table of promises in docs/architecture.md."""
    rules = set(re.findall('<a id="(rule-.+?)">', (ROOT / "docs/protocol.md").read_text("utf-8")))
    table = (ROOT / "docs/architecture.md").read_text("utf-8").partition("| promise |")[2]
    assert rules == set(re.findall(r"protocol\.md#(rule-[\w-]+)", table))
