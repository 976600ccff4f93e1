"""Alert policies match what the code logs. No stack is needed for it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.policies import policies
from tests.deploy.deploying import ROOT

LEVELS = {"info": 1, "warning": 2, "error": 3}
POLICIES = policies()
#: Those that match log entries of the product's own.
OWN = {
    name: policy["conditions"][0]["conditionMatchedLog"]
    for name, policy in POLICIES.items()
    if "jsonPayload." in str(policy["conditions"][0])
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A call of the logger in the code: level, its event where that is a literal, its fields."""

    level: str
    event: str | None
    fields: frozenset[str]

    def is_matched(self, matched: dict[str, Any]) -> bool:
        """Whether a policy's filter matches it, whatever is in its fields."""
        wanted = set(re.findall(r"jsonPayload\.(\w+)", matched["filter"]))
        events = said_in(matched, "message")
        said = not events if "message" not in wanted else self.event in events
        return said and LEVELS[self.level] >= loudness(matched) and wanted - {"message"} <= self.fields


PRODUCT = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]


def entries() -> Iterator[Entry]:
    """Every call of the logger in the product."""
    for path in PRODUCT:
        tree = ast.parse(path.read_text("utf-8"))
        spread, passed_on = fields_of_names(tree), set(passing_on(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function = call.func
            if not isinstance(function, ast.Attribute) or function.attr not in LEVELS:
                continue
            owner = ast.unparse(function.value)
            if call in passed_on or owner.rpartition(".")[2] not in {"logger", "log"}:
                continue
            fields = {keyword.arg for keyword in call.keywords if keyword.arg}
            if any(keyword.arg is None for keyword in call.keywords):
                fields |= spread
            if owner.endswith("log"):
                fields |= {"task", "run_id"}  # shared/tasks/runtime/task_run.py, RunLogger
            event = call.args[0]
            said = event.value if isinstance(event, ast.Constant) else None
            yield Entry(function.attr, said, frozenset(fields))


def passing_on(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls whose event is an argument of the function that they are in: entries of its callers."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        arguments = {argument.arg for argument in function.args.args}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in arguments:
                yield call


def fields_of_names(tree: ast.AST) -> set[str]:
    """The keys of what a method `_names` returns: `**self._names()` spreads them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "_names":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Dict):
                    found |= {key.value for key in inner.keys if isinstance(key, ast.Constant)}
    return found


ENTRIES = list(entries())
ERRORS = [entry for entry in ENTRIES if entry.level == "error"]


def loudness(matched: dict[str, Any]) -> int:
    """The level from which on a filter matches."""
    return LEVELS["error" if "severity>=ERROR" in matched["filter"] else "warning"]


def said_in(matched: dict[str, Any], field: str) -> list[str]:
    """The values that a filter wants of a field."""
    found = re.search(rf'jsonPayload\.{field}=(\(.*?\)|"[^"]*")(?: AND|$)', matched["filter"])
    return re.findall(r'"([^"]*)"', found[1]) if found else []


def test_the_calls_are_seen() -> None:
    """What is compared with is there."""
    assert len(ENTRIES) > 30
    assert Entry("error", "task not looked after", frozenset({"task", "error"})) in ENTRIES


@pytest.mark.parametrize("name", OWN)
def test_a_policy_matches_entries_that_the_code_logs(name: str) -> None:
    """Each event in its filter is logged, loud enough, with every field that it matches or tells."""
    matched = OWN[name]
    loud = loudness(matched)
    wanted = set(re.findall(r"jsonPayload\.(\w+)", matched["filter"])) - {"message"}
    wanted |= {re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", said)[1] for said in labels(matched).values()}
    events = said_in(matched, "message")
    for event in events:
        calls = [entry for entry in ENTRIES if entry.event == event]
        assert calls, f"nothing logs {event!r}"
        assert [entry for entry in calls if LEVELS[entry.level] < loud or not wanted <= entry.fields] == []
    if not events:
        assert [one for one in ENTRIES if wanted <= one.fields and LEVELS[one.level] >= loud]


@pytest.mark.parametrize("entry", ERRORS, ids=lambda entry: entry.event or "in words of its own")
def test_an_entry_that_a_person_must_know_of_is_told(entry: Entry) -> None:
    """Each entry at ERROR has a policy that matches it, and only one: it is reported once."""
    assert len([name for name, matched in OWN.items() if entry.is_matched(matched)]) == 1


def test_no_entry_is_overlooked() -> None:
    """As many lines of the product log at ERROR as are looked at, and the one that passes events on."""
    lines = [line for path in PRODUCT for line in path.read_text("utf-8").splitlines()]
    assert len([line for line in lines if re.match(r"\s*[\w.]+\.error\(", line)]) == len(ERRORS) + 1


def labels(matched: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = matched.get("labelExtractors", {})
    return found


def test_each_kind_of_incident_is_told() -> None:
    """Whatever kind of incident the watchdog finds, its policy matches."""
    kinds = set()
    for path in (ROOT / "shared" / "tasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Incident":
                assert isinstance(node.args[0], ast.Constant)
                kinds.add(node.args[0].value)
            if (
                isinstance(node, ast.keyword)
                and node.arg == "incident"
                and isinstance(node.value, ast.Constant)
            ):
                kinds.add(node.value.value)  # logged without an Incident
    assert set(said_in(OWN["incident.json"], "incident")) == kinds != set()


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_one_that_monitoring_takes(name: str) -> None:
    """Labels that it tells are extracted, and one that matches logs says how often it may tell."""
    policy = POLICIES[name]
    assert policy["displayName"].startswith("nx-tasks: ")
    assert (policy["combiner"], len(policy["conditions"])) == ("OR", 1)
    assert policy["severity"] in {"CRITICAL", "ERROR", "WARNING"}
    matched = policy["conditions"][0].get("conditionMatchedLog")
    told = set(re.findall(r"log\.extracted_label\.(\w+)", policy["documentation"]["content"]))
    if matched is not None:
        assert told <= labels(matched).keys()
        assert int(policy["alertStrategy"]["notificationRateLimit"]["period"].removesuffix("s")) >= 300
    assert int(policy["alertStrategy"]["autoClose"].removesuffix("s")) >= 1800
    assert "name" not in policy


def test_a_function_that_answers_nothing_itself_is_told() -> None:
    """It logs nothing: Cloud Run says so in the request's entry, in words that its own answers lack."""
    matched = POLICIES["function-broken.json"]["conditions"][0]["conditionMatchedLog"]
    assert matched["filter"].split(" AND ") == [
        'resource.type="cloud_run_revision"',
        "severity>=ERROR",
        'logName:"run.googleapis.com%2Frequests"',
        "httpRequest.status>=500",
        "textPayload:*",
    ]


def test_the_watchdog_is_watched() -> None:
    """Where it does not run, or can't be loaded, it logs nothing: what it answers well is counted."""
    absent = POLICIES["watchdog-silent.json"]["conditions"][0]["conditionAbsent"]
    assert 'resource.labels.service_name = "watchdog"' in absent["filter"]
    assert 'metric.labels.response_code_class = "2xx"' in absent["filter"]
    assert (ROOT / "functions" / "scheduled" / "watchdog.py").is_file()
