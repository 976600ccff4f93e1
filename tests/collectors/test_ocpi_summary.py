"""Summaries fit into a run."""

from typing import Any

from shared.collectors.ocpi.summary import MAX_BYTES, fit
from shared.tasks import TaskName
from shared.tasks.runtime.task_run import MAX_SUMMARY_BYTES
from tests.collectors.runs import new_run


def test_what_fits_is_left_alone() -> None:
    """Nothing is left out, and nothing says so."""
    summary: dict[str, Any] = {"count": 1, "rows": [1, 2], "reasons": []}
    assert fit(summary, ["reasons", "rows"]) == summary


def test_what_is_needed_least_goes_first() -> None:
    """Reasons before rows, the last of each first; how many went is said, and a run takes the rest."""
    rows = [{"month": f"{2026 - number // 12}-{number % 12:02}", "cost": "9" * 40} for number in range(240)]
    fitted = fit({"count": 1, "rows": rows, "reasons": ["x" * 100] * 20}, ["reasons", "rows"])
    assert fitted["reasons"] == []
    assert fitted["left_out"] == {"reasons": 20, "rows": 240 - len(fitted["rows"])}
    assert fitted["rows"] == rows[: len(fitted["rows"])]
    assert len(fitted["rows"]) > 80
    assert MAX_BYTES < MAX_SUMMARY_BYTES
    run = new_run(TaskName.collect_charge_cdrs)
    run.summarise(fitted)
    assert run.summary == fitted
