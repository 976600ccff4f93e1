"""`python -m tests`, which `make test` runs, combines the results of several processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import FIREBASE, TESTS, exit_code, follow, needs_two_stacks, within


@pytest.mark.parametrize(
    ("without", "on_stack", "combined"),
    [(0, 0, 0), (1, 0, 1), (0, 1, 1), (5, 0, 0), (0, 5, 0), (5, 1, 1), (5, 5, 5), (2, 1, 2), (0, -9, -9)],
)
def test_a_failure_in_either_process_is_a_failure(without: int, on_stack: int, combined: int) -> None:
    """A process without tests is a failure only if the other has none either."""
    assert exit_code([without, on_stack]) == combined


def test_the_last_output_of_a_process_is_printed(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = tmp_path / "log"
    program = "import sys; print('first', flush=True); sys.stdin.read(); print('last')"
    with (
        log.open("wb") as out,
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=out) as half,
    ):
        assert half.stdin is not None
        half.stdin.close()
        follow(log, half)
    assert capfdbinary.readouterr().out == b"first\nlast\n"


@pytest.mark.parametrize(
    ("arguments", "two"),
    [
        ([], True),
        (["tests"], True),
        (["-x", "tests/web", "tests/engine/test_ticks.py"], True),
        (["tests/engine", "--shuffle", "7"], False),
        (["tests/web", "tests/cli/test_looking.py::test_watch_is_a_live_table"], False),
    ],
)
def test_a_second_stack_starts_only_if_tests_need_it(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], two: bool
) -> None:
    """A selection of tests that needs one stack does not copy the checkout."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    assert needs_two_stacks(arguments) is two


@pytest.mark.parametrize(
    ("arguments", "restricted"),
    [
        ([], ["tests/cli", "tests/web"]),
        (["-x", "tests", "--shuffle", "7"], ["-x", "--shuffle", "7", "tests/cli", "tests/web"]),
        (["tests/web/test_log.py::test_it"], ["tests/web/test_log.py::test_it"]),
    ],
)
def test_all_tests_are_restricted_to_the_folders_of_a_process(
    arguments: list[str], restricted: list[str]
) -> None:
    """Other selections remain as they are."""
    assert within(("cli", "web"), arguments) == restricted


def test_the_tests_that_start_firebase_tools_are_in_their_folders() -> None:
    """Elsewhere, no process would run them."""
    mark = "pytestmark = pytest.mark." + "firebase"
    marked = [path for path in TESTS.rglob("test_*.py") if mark in path.read_text("utf-8")]
    assert len(marked) >= 2
    assert {path.relative_to(TESTS).parts[0] for path in marked} <= set(FIREBASE)
