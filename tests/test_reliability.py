"""The report on the reliability tests is complete and never shows a failure as a success."""

from pathlib import Path

import pytest

from tests.reliability import PAGE, PARTS, ROOT, Trial, by_part, machine, page, summary

pytest_plugins = ["pytester"]

CONFTEST = """
from tests.reliability import Reliability

def pytest_addoption(parser):
    parser.addoption("--full", action="store_true")

def pytest_configure(config):
    config.pluginmanager.register(Reliability(config))
"""
MODEL = """
import pytest

@pytest.mark.parametrize("name", ["two ticks", "TTL"])
def test_nothing_is_broken(name, record_property):
    record_property("states", 1234)
    record_property("bounds", "1 step")

@pytest.mark.parametrize("rule", ["by_token_alone"])
def test_each_rule_left_out_is_found(rule): pass
"""
FAULTS = """
import pytest

@pytest.fixture
def calls(): {setup}

def test_a_run_makes_the_expected_calls(record_property):
    record_property("calls", ("db", ["BatchGetDocuments", "Commit"]))

@pytest.mark.parametrize("at", [1, 2])
def test_a_fault_is_survived(at, calls, record_property):
    record_property("fault", ("db", at, "kill"))
    assert {body}
"""
RACES = """
def test_deliveries(record_property):
    for each in {"race": "fifty", "rounds": 200, "deliveries": 10000, "outcomes": {"busy": 9800}}.items():
        record_property(*each)
"""


@pytest.fixture
def session(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with tests of all three parts and an unrelated test."""
    pytester.makeconftest(CONFTEST)
    write(pytester.path, model=MODEL, faults=faults(), races=RACES)
    (pytester.path / "tests/test_other.py").write_text("def test_it(): pass")
    return pytester


def write(root: Path, **parts: str) -> None:
    for part, text in parts.items():
        path = root / PARTS[part]
        path = path if path.suffix else path / f"test_{part}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def faults(*, setup: str = "return 1", body: str = "True") -> str:
    return FAULTS.format(setup=setup, body=body)


def test_each_session_prints_a_summary(session: pytest.Pytester) -> None:
    output = session.runpytest_inprocess("tests").stdout.str()
    assert "faults injected 2, survived 2: all" in output
    assert "configurations explored 2, unbroken 2: all; 2,468 states" in output
    assert "rules left out 1, found 1: all" in output
    assert "races run 1, survived 1: all; 200 rounds, 10,000 deliveries" in output
    assert not (session.path / PAGE).exists()


def test_a_full_session_writes_the_page(session: pytest.Pytester) -> None:
    """The tables have one row per faulty call, race, configuration and rule."""
    session.inline_run("--full", "tests")
    written = (session.path / PAGE).read_text("utf-8")
    for row in (
        "faults injected 2, survived 2: all",
        "| run | call | kill |",
        "| db | 1 BatchGetDocuments | survived |",
        "| db | 2 Commit | survived |",
        "| fifty | 200 | 10,000 | busy 9,800 | survived |",
        "| TTL | 1 step | 1,234 | nothing broken |",
        "| by token alone | found |",
    ):
        assert row in written.splitlines()
    assert "NOT" not in written


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (
            {"body": "at == 1"},
            ["faults injected 2, survived 1: NOT all", "| db | 2 Commit | **NOT SURVIVED** |"],
        ),
        ({"setup": "assert 0"}, ["not survived: tests/faults/test_faults.py::test_a_fault_is_survived[2]"]),
        ({"setup": "yield; assert 0"}, ["faults injected 2, survived 0: NOT all"]),
    ],
)
def test_a_failure_in_any_phase_counts_as_not_survived(
    session: pytest.Pytester, broken: dict[str, str], expected: list[str]
) -> None:
    write(session.path, faults=faults(**broken))
    session.inline_run("--full", "tests")
    written = (session.path / PAGE).read_text("utf-8").splitlines()
    assert set(expected) <= set(written)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tests/faults", "tests/model"],
        ["tests", "-k", "not 2"],
        ["tests/faults/test_faults.py::test_a_fault_is_survived", "tests/model", "tests/engine"],
        ["tests", "-x"],
    ],
)
def test_a_partial_session_does_not_write_the_page(session: pytest.Pytester, arguments: list[str]) -> None:
    """Partial means some of the parts, a selection of tests, or an early end."""
    write(session.path, faults=faults(body="at == 2"))
    session.inline_run("--full", *arguments)
    assert not (session.path / PAGE).exists()


def test_a_race_that_failed_early_reports_no_rounds() -> None:
    race = Trial("tests/engine/test_races.py::test_x", {"race": "x"}, ran=True, failed=True)
    trials = by_part([race])
    assert next(summary(trials)) == "races run 1, survived 0: NOT all; 0 rounds, 0 deliveries"
    assert "| x |  |  |  | **NOT SURVIVED** |" in page(trials, [])


def test_the_machine_is_described_without_paths() -> None:
    description = dict(machine())
    assert {"date", "machine", "Python", "firebase-tools", "Firestore", "Storage"} <= description.keys()
    assert not any(str(ROOT) in value for value in description.values())
