"""Log entries: JSON in the cloud, one readable line elsewhere; a log call never fails."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from shared import logger
from tests.support.values import Unprintable


@pytest.fixture(autouse=True)
def _fresh_logger() -> Iterator[None]:
    """The format is chosen at the first entry of a process."""
    known = logging.getLogger("nx-tasks")
    before = list(known.handlers)
    known.handlers.clear()
    yield
    known.handlers[:] = before


def test_in_the_cloud_an_entry_is_json_with_severity_and_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Severity, message, task, run and trace are fields that a query can match."""
    monkeypatch.setenv("K_REVISION", "collect-00001-abc")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    token = logger.trace.set("0" * 32)
    try:
        logger.error("task failed", task="t", run_id="r", duration_seconds=1.5, odd=Unprintable())
    finally:
        logger.trace.reset(token)
    entry = json.loads(capsys.readouterr().out)
    assert entry["severity"] == "ERROR"
    assert entry["message"] == "task failed"
    assert (entry["task"], entry["run_id"], entry["duration_seconds"]) == ("t", "r", 1.5)
    assert entry["logging.googleapis.com/trace"] == f"projects/p/traces/{'0' * 32}"
    assert entry["odd"] == "<Unprintable>"


@pytest.mark.parametrize("odd", ["\ud800", 2**70, {"deep": "\ud800"}])
def test_in_the_cloud_every_value_is_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], odd: object
) -> None:
    """Values that JSON cannot hold are written as text, and no field replaces the severity."""
    monkeypatch.setenv("K_REVISION", "collect-00001-abc")
    logger.error("task failed", error=odd, severity="DEBUG", message="other")
    entry = json.loads(capsys.readouterr().out)
    assert entry["severity"] == "ERROR"
    assert "task failed" in entry["message"]
    assert entry["error"]


def test_locally_an_entry_is_one_readable_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Time, event and fields; what is None is left out, line breaks stay in the line."""
    monkeypatch.setenv("K_REVISION", "1")
    logger.warning("odd %s thing", task="t", error="a\nb", holder=None)
    line = capsys.readouterr().out
    assert line.endswith("WARNING odd %s thing task=t error=a\\nb\n")
    assert line.count("\n") == 1


def test_a_character_that_a_terminal_cannot_show_does_not_fail_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another locale, a lone surrogate or a closed stream, the run continues."""
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    logger.info("straße \ud800", name="日本")
    narrow.seek(0)
    assert "stra\\xdfe \\ud800" in narrow.read()
    narrow.close()
    logger.info("not printed")
