"""Alert policies match the log entries of the code."""

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
#: The policies that match log entries of the product.
OWN = {
    name: policy["conditions"][0]["conditionMatchedLog"]
    for name, policy in POLICIES.items()
    if "jsonPayload." in str(policy["conditions"][0])
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A logger call in the code: its level, its event if that is a literal, and its fields."""

    level: str
    event: str | None
    fields: frozenset[str]

    def is_matched(self, matched: dict[str, Any]) -> bool:
        """Return whether a policy's filter can match the entry."""
        wanted = set(re.findall(r"jsonPayload\.(\w+)", matched["filter"]))
        events = matched_values(matched, "message")
        is_logged = not events if "message" not in wanted else self.event in events
        return (
            is_logged and LEVELS[self.level] >= minimum_level(matched) and wanted - {"message"} <= self.fields
        )


PRODUCT = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]


def entries() -> Iterator[Entry]:
    """All logger calls in the product."""
    trees = [ast.parse(path.read_text("utf-8")) for path in PRODUCT]
    names = {field for tree in trees for field in fields_of_names(tree)}
    for tree in trees:
        passed_on = set(passing_on(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function = call.func
            if not isinstance(function, ast.Attribute) or function.attr not in LEVELS:
                continue
            owner = ast.unparse(function.value)
            if call in passed_on or owner.rpartition(".")[2] not in {"logger", "log"}:
                continue
            fields = {keyword.arg for keyword in call.keywords if keyword.arg}
            if any(ast.unparse(word.value).endswith(".names") for word in call.keywords if not word.arg):
                fields |= names
            if owner.endswith("log"):
                fields |= {"task", "run_id"}  # shared/tasks/runtime/run_logger.py, RunLogger
            event = call.args[0]
            text = event.value if isinstance(event, ast.Constant) else None
            yield Entry(function.attr, text, frozenset(fields))


def passing_on(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls whose event is a parameter of the enclosing function, so that its callers name the event."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        arguments = {argument.arg for argument in function.args.args}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in arguments:
                yield call


def fields_of_names(tree: ast.AST) -> set[str]:
    """The keys of the dict that a property `names` returns, for `**self.names`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "names":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Dict):
                    found |= {key.value for key in inner.keys if isinstance(key, ast.Constant)}
    return found


ENTRIES = list(entries())
ERRORS = [entry for entry in ENTRIES if entry.level == "error"]


def minimum_level(matched: dict[str, Any]) -> int:
    """The minimum level that a filter matches."""
    return LEVELS["error" if "severity>=ERROR" in matched["filter"] else "warning"]


def matched_values(matched: dict[str, Any], field: str) -> list[str]:
    """The values of a field that a filter matches."""
    found = re.search(rf'jsonPayload\.{field}=(\(.*?\)|"[^"]*")(?: AND|$)', matched["filter"])
    return re.findall(r'"([^"]*)"', found[1]) if found else []


def test_logger_calls_are_found() -> None:
    """The other tests have entries to compare."""
    assert len(ENTRIES) > 30
    assert Entry("error", "task not checked", frozenset({"task", "error"})) in ENTRIES


@pytest.mark.parametrize("name", OWN)
def test_each_policy_matches_entries_of_the_code(name: str) -> None:
    """Each event in its filter is logged at a matching level with every field that the policy uses."""
    matched = OWN[name]
    loud = minimum_level(matched)
    wanted = set(re.findall(r"jsonPayload\.(\w+)", matched["filter"])) - {"message"}
    wanted |= {re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", value)[1] for value in labels(matched).values()}
    events = matched_values(matched, "message")
    for event in events:
        calls = [entry for entry in ENTRIES if entry.event == event]
        assert calls, f"nothing logs {event!r}"
        assert [entry for entry in calls if LEVELS[entry.level] < loud or not wanted <= entry.fields] == []
    if not events:
        assert [one for one in ENTRIES if wanted <= one.fields and LEVELS[one.level] >= loud]


@pytest.mark.parametrize("entry", ERRORS, ids=lambda entry: entry.event or "in words of its own")
def test_each_error_entry_is_reported_once(entry: Entry) -> None:
    """Exactly one policy matches each entry at ERROR."""
    assert len([name for name, matched in OWN.items() if entry.is_matched(matched)]) == 1


def test_all_error_calls_are_found() -> None:
    """The number of ERROR calls in the text equals that of the parsed entries and indirect calls."""
    lines = [line for path in PRODUCT for line in path.read_text("utf-8").splitlines()]
    assert len([line for line in lines if re.match(r"\s*[\w.]+\.error\(", line)]) == len(ERRORS) + 1


def labels(matched: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = matched.get("labelExtractors", {})
    return found


def test_each_kind_of_incident_is_reported() -> None:
    """Exactly one policy matches each kind."""
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
                kinds.add(node.value.value)  # These are logged without an Incident.
    matched = [kind for policy in OWN.values() for kind in matched_values(policy, "incident")]
    assert sorted(matched) == sorted(kinds) != []


@pytest.mark.parametrize("name", POLICIES)
def test_each_policy_is_valid_for_cloud_monitoring(name: str) -> None:
    """Its labels are extracted, and a policy for logs has a rate limit."""
    policy = POLICIES[name]
    assert policy["displayName"].startswith("nx-tasks: ")
    assert (policy["combiner"], len(policy["conditions"])) == ("OR", 1)
    assert policy["severity"] in {"CRITICAL", "ERROR", "WARNING"}
    matched = policy["conditions"][0].get("conditionMatchedLog")
    used = set(re.findall(r"log\.extracted_label\.(\w+)", policy["documentation"]["content"]))
    if matched is not None:
        assert used <= labels(matched).keys()
        assert int(policy["alertStrategy"]["notificationRateLimit"]["period"].removesuffix("s")) >= 300
    assert int(policy["alertStrategy"]["autoClose"].removesuffix("s")) >= 1800
    assert "name" not in policy


def test_a_function_that_cannot_respond_is_reported() -> None:
    """The function logs nothing, so the policy matches Cloud Run's request log."""
    matched = POLICIES["function-broken.json"]["conditions"][0]["conditionMatchedLog"]
    assert matched["filter"].split(" AND ") == [
        'resource.type="cloud_run_revision"',
        "severity>=ERROR",
        'logName:"run.googleapis.com%2Frequests"',
        "httpRequest.status>=500",
        "textPayload:*",
    ]


def test_a_missing_watchdog_is_reported() -> None:
    """A watchdog that does not run logs nothing, so the policy counts its successful requests."""
    absent = POLICIES["watchdog-silent.json"]["conditions"][0]["conditionAbsent"]
    assert 'resource.labels.service_name = "watchdog"' in absent["filter"]
    assert 'metric.labels.response_code_class = "2xx"' in absent["filter"]
    assert (ROOT / "functions" / "scheduled" / "watchdog.py").is_file()
