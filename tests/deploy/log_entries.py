"""Log entries as Cloud Logging gets them, and the parts of its language that the metrics use."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared import logger

_CLAUSE = re.compile(r'(?P<field>[\w.]+)(?P<operator>=|>=|>|:)(?P<value>\(.*?\)|"[^"]*"|\*|\d+|true|false)')
_EXTRACTOR = re.compile(r'(?:REGEXP_)?EXTRACT\((?P<field>[\w.]+)(?:, "(?P<pattern>.*)")?\)')

Entry = dict[str, Any]


@contextmanager
def recorded() -> Iterator[list[Entry]]:
    """Record what the product logs in the block, formatted as in the cloud."""
    entries: list[Entry] = []
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logger._CloudFormatter())
    logging.getLogger("nx-tasks").addHandler(handler)
    try:
        yield entries
    finally:
        logging.getLogger("nx-tasks").removeHandler(handler)
        for line in written.getvalue().splitlines():
            payload = json.loads(line)
            severity = payload.pop("severity")
            entries.append(
                {"resource.type": "cloud_run_revision", "severity": severity, "jsonPayload": payload}
            )


def is_matched(log_filter: str, entry: Entry) -> bool:
    """Return whether a filter matches an entry. It knows only clauses that are joined by AND."""
    clauses = log_filter.split(" AND ")
    parsed = [_CLAUSE.fullmatch(clause) for clause in clauses]
    assert all(parsed), f"a clause of {log_filter!r} is not understood"
    return all(_holds(entry, **found.groupdict()) for found in parsed if found)


def _holds(entry: Entry, field: str, operator: str, value: str) -> bool:
    actual = value_of(entry, field)
    if operator == ":":
        assert value == "*"
        return actual is not None
    if value in {"true", "false"}:
        assert operator == "="
        return actual is (value == "true")
    if operator == "=":
        return actual in re.findall(r'"([^"]*)"', value)
    return actual is not None and (actual >= float(value) if operator == ">=" else actual > float(value))


def extract(extractor: str, entry: Entry) -> Any:
    """Return what an extractor finds in an entry; None if it finds nothing."""
    found = _EXTRACTOR.fullmatch(extractor)
    assert found, f"{extractor!r} is not understood"
    value = value_of(entry, found["field"])
    if found["pattern"] is None or value is None:
        return value
    matched = re.search(found["pattern"], str(value))
    return matched and matched[1]


def value_of(entry: Entry, field: str) -> Any:
    """Return a field of an entry, such as `jsonPayload.task`; None if it has none."""
    if field in entry:
        return entry[field]
    first, _, rest = field.partition(".")
    return entry[first].get(rest)
