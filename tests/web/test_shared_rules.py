"""Rules that the page and the command line both have lead to the same values; no browser is needed."""

import datetime as dt
import json
import subprocess
from itertools import product
from typing import Any
from urllib.parse import unquote

import pytest

from cli import lateness
from cli.cloud_logging import first_time, log_url
from tests.web.browsing import ROOT

pytestmark = pytest.mark.programs

NOW = dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC)
#: Evaluates the page's functions for the values on standard input.
SCRIPT = """
import { json } from "node:stream/consumers";
import { runnerImport } from "vite";
const { tasks, runs } = await json(process.stdin);
const load = (name) => runnerImport(`${process.cwd()}/src/${name}.ts`, { configFile: false });
const { freshness } = (await load("schedule")).module;
const { logsUrl } = (await load("cloud-logging")).module;
const late = tasks.map(({ now, ...task }) => freshness(task, task.result.completed, now).words);
console.log(JSON.stringify({ late, links: runs.map((run) => logsUrl("some-project", "a_task", run)) }));
"""


def ago(minutes: float) -> str:
    return (NOW - dt.timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tasks() -> list[dict[str, Any]]:
    """Results of all ages, also where a millisecond decides whether a run is late."""
    schedules = [[], [30], [30, 90, 150, 210], [5, 10, 15, 60, 1500]]
    ids = ["tick", "request", "x", None]
    ages, durations = (0, 1, 4.9, 27, 31.7, 61, 95, 200, 3000), (0.2, 1, 25, 90)
    results = [
        {"completed": completed, "tick": tick, "run_id": run_id}
        for completed, tick, run_id in product(ages, durations, ids)
    ]
    found = []
    for ticks, result, seconds in product(schedules, results, (60, 86_400)):
        tick = ago(result["completed"] + result["tick"]).replace("Z", "000Z")
        run_id = {"tick": tick, "request": f"request-{tick}", "x": "0a1b"}.get(result["run_id"])
        found.append(
            {
                "recent_ticks": [ago(minutes) for minutes in ticks],
                "deadline_seconds": seconds,
                "next_run": ago(-30),
                "suspended": None,
                "result": {"completed": ago(result["completed"]), "run_id": run_id},
                "now": NOW.timestamp() * 1000,
            }
        )
    at_limit = {**found[0], "recent_ticks": [ago(31.5), ago(91.5)], "deadline_seconds": 1800}
    at_limit["result"] = {"completed": ago(61.5), "run_id": None}  # a run takes 30 min, and 90 s are allowed
    found += [{**at_limit, "now": at_limit["now"] + milliseconds} for milliseconds in (-1, 0, 1)]
    return [*found, {**at_limit, "now": at_limit["now"] + 1, "suspended": {"at": ago(1), "until": None}}]


def runs() -> list[dict[str, Any]]:
    """Runs with each of the times, in both forms, and ids with characters of the query language."""
    times = [None, ago(5), "2026-11-24T12:26:00Z", "2026-11-24T12:24:59.123456Z"]
    return [
        {"id": run_id, "scheduled_for": tick, "requested": at and {"at": at}, "started": started}
        for run_id, tick, at, started in product(
            ("2026-11-24T12:00:00.000000Z", 'a"; ?&#\\é'), times, times, times
        )
    ]


def test_the_page_and_the_command_line_compute_the_same() -> None:
    """How late a result is, and the link to the log entries of a run."""
    sent = {"tasks": tasks(), "runs": runs()}
    command = ["node", "--input-type=module", "--eval", SCRIPT]
    done = subprocess.run(
        command, cwd=ROOT / "web", input=json.dumps(sent), capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for task, words in zip(sent["tasks"], found["late"], strict=True):
        expected = lateness.words(task, dt.datetime.fromtimestamp(task["now"] / 1000, dt.UTC))
        assert (words if words.endswith(" late") else "") == expected, task
    assert {"1 run late", "1 or more runs late", "2 runs late", "on time"} <= set(found["late"])
    assert found["late"][-4:] == ["on time", "on time", "1 run late", "not updated while suspended"]
    for run, link in zip(sent["runs"], found["links"], strict=True):
        assert unquote(link) == unquote(log_url("some-project", "a_task", run["id"], first_time(run)))
