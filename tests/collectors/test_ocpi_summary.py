"""Summaries are shortened to fit into a run record."""

from typing import Any

from shared.collectors.ocpi.summary import MAX_BYTES, fit
from shared.tasks import TaskName
from shared.tasks.runtime.task_run import MAX_SUMMARY_BYTES
from tests.collectors.runs import new_run


def test_a_summary_that_fits_is_unchanged() -> None:
    summary: dict[str, Any] = {"count": 1, "rows": [1, 2], "reasons": []}
    assert fit(summary, ["reasons", "rows"]) == summary


def test_the_least_important_elements_are_left_out_first() -> None:
    """Reasons before rows, the last of each first; `left_out` has their number."""
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
