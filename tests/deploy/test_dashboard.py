"""The log-based metrics match what the code logs, and the dashboard charts each of them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.policies import dashboard, metrics
from shared.tasks import TaskEngine, TaskRun, TaskSpec, specs
from shared.tasks.serving.read_counts import LOG_SECONDS
from tests.deploy.deploying import ROOT
from tests.deploy.log_entries import Entry, extract, is_matched, recorded
from tests.support.world import TASK, HandClock, World

METRICS = metrics()
TILES = dashboard()["mosaicLayout"]["tiles"]
CHARTS: dict[str, Any] = {tile["widget"]["title"]: tile["widget"]["xyChart"] for tile in TILES}
USER = "logging.googleapis.com/user/"
#: Labels of Cloud Run's own metrics by which charts group.
CLOUD_RUN_LABELS = {"response_code_class"}


def queries() -> Iterator[dict[str, Any]]:
    for chart in CHARTS.values():
        yield from (each["timeSeriesQuery"] for each in chart["dataSets"])


def filters() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the metric type and the query of each data set that filters time series."""
    for query in queries():
        if "timeSeriesFilter" in query:
            found = query["timeSeriesFilter"]
            yield re.findall(r'metric\.type="([^"]*)"', found["filter"])[0], found


def sums() -> Iterator[str]:
    """Yield the name of each metric that a PromQL query adds up."""
    names = {f"logging_googleapis_com:user_{name.replace('-', '_')}_sum": name for name in METRICS}
    for query in queries():
        for used in re.findall(r"\w+:\w+", query.get("prometheusQuery", "")):
            yield names[used]


def is_distribution(name: str) -> bool:
    return bool(METRICS[name]["metricDescriptor"]["valueType"] == "DISTRIBUTION")


def labels_of(name: str) -> set[str]:
    return {label["key"] for label in METRICS[name]["metricDescriptor"].get("labels", [])}


@pytest.fixture
def entries(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """What is logged when runs complete, fail, are cancelled and die, and when results are read."""
    monkeypatch.setattr(specs, "REGISTERED", {TASK: TaskSpec(TASK, "*/5 * * * *", max_age_seconds=30)})
    clock = HandClock()
    engine = TaskEngine(clock=clock)

    def fails() -> None:
        raise OSError("connection lost")

    def cancels(run: TaskRun) -> None:
        TaskEngine().cancel_run(TASK, run.run_id, by="operator@example.com", reason="a test")
        run.progress(1)

    with recorded() as found:
        for task in (lambda: ["a result"], cancels, fails):
            engine.execute_task("test", TASK, task)
        for _ in range(3):
            assert engine.get_task_data(TASK) == ["a result"]
        clock.ahead += LOG_SECONDS
        assert TaskEngine().get_task_data(TASK) == engine.get_task_data(TASK)
        dead = {"run.state": "running", "run.lease_until": datetime.now(UTC) - timedelta(hours=1)}
        world.database.document(f"nx-tasks/{TASK.value}").update(dead)
        assert engine.watch_tasks()
    return found


def test_each_metric_is_extracted_from_what_is_logged(entries: list[Entry]) -> None:
    """Every filter matches an entry, every extractor finds a value, and numbers are numbers."""
    outcomes: list[str] = []
    for name, metric in METRICS.items():
        matched = [entry for entry in entries if is_matched(metric["filter"], entry)]
        assert matched, f"nothing that is logged matches {name}"
        for entry in matched:
            for label, extractor in metric.get("labelExtractors", {}).items():
                assert extract(extractor, entry), f"{name}: no {label} in {entry}"
            if is_distribution(name):
                assert isinstance(extract(metric["valueExtractor"], entry), int | float), name
        if name == "nx-tasks-runs":
            outcomes = [extract(metric["labelExtractors"]["outcome"], entry) for entry in matched]
    assert outcomes == ["completed", "cancelled", "failed"]
    served = next(one["jsonPayload"] for one in entries if one["jsonPayload"]["message"] == "results served")
    assert (served["reads"], served["cache_hits"], served["fetches"]) == (4, 3, 0)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_valid_for_cloud_logging(name: str) -> None:
    """Its labels have extractors, and a distribution has a value and buckets."""
    metric = METRICS[name]
    assert re.fullmatch("nx-tasks-[a-z-]+", name)
    assert "name" not in metric  # gcloud gets it from the command
    assert metric["metricDescriptor"]["metricKind"] == "DELTA"
    assert labels_of(name) == metric.get("labelExtractors", {}).keys()
    assert len(labels_of(name)) <= 10
    assert is_distribution(name) == ("valueExtractor" in metric) == ("bucketOptions" in metric)


def test_the_dashboard_charts_each_metric() -> None:
    """And no metric that nothing creates."""
    charted = {kind.removeprefix(USER) for kind, _ in filters() if kind.startswith(USER)} | {*sums()}
    assert charted == METRICS.keys()


@pytest.mark.parametrize(("kind", "query"), [*filters()])
def test_each_query_fits_its_metric(kind: str, query: dict[str, Any]) -> None:
    """It groups and filters by labels that the metric has, and takes percentiles only of distributions."""
    how = query["aggregation"]
    name = kind.removeprefix(USER)
    own = kind.startswith(USER)
    used = {*re.findall(r"metric\.label\.(\w+)", " ".join([query["filter"], *how["groupByFields"]]))}
    assert used <= (labels_of(name) if own else CLOUD_RUN_LABELS)
    if own:
        is_count = how["crossSeriesReducer"] == "REDUCE_SUM"
        assert (how["perSeriesAligner"], is_count) == ("ALIGN_DELTA", not is_distribution(name))
    else:
        (service,) = re.findall(r'resource\.label\.service_name="([^"]*)"', query["filter"])
        assert (ROOT / "functions/callable" / f"{service.replace('-', '_')}.py").is_file()


def test_sums_are_taken_of_distributions_only() -> None:
    assert all(is_distribution(name) for name in sums())


def test_the_tiles_do_not_overlap() -> None:
    """Each cell of the layout belongs to one tile."""
    cells = [
        (x, y)
        for tile in TILES
        for x in range(tile.get("xPos", 0), tile.get("xPos", 0) + tile["width"])
        for y in range(tile.get("yPos", 0), tile.get("yPos", 0) + tile["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < dashboard()["mosaicLayout"]["columns"]


def test_the_page_states_what_each_chart_answers() -> None:
    """In the order of the dashboard, and each metric has its file in the folder of the command."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    section = page.partition("## 7. Dashboard")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([A-Z][^|]*) \|", section, re.MULTILINE) == [*CHARTS]
    assert "deploy/metrics/*.json" in section
    assert "deploy/dashboard.json" in section
