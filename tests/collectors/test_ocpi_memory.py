"""A few kilobytes on the wire take no more memory than a large page of good records."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.collectors.hostile import TOKEN, Hostile, HttpRequest, hostile
from tests.collectors.ocpi_samples import cdr, location

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
#: A little less than the page limit.
PAGE_BYTES = 31 << 20
HEAD = b'{"status_code":1000,"data":'
RECORD_BYTES = (1 << 20) - 3_000

Lists = Callable[[HttpRequest], None]


def many(value: bytes, size: int = PAGE_BYTES) -> bytes:
    """A JSON array that repeats this value."""
    return b"[" + (value + b",") * (size // (len(value) + 1)) + value + b"]"


@cache
def packed(data: bytes) -> bytes:
    """A compressed envelope with this data."""
    return gzip.compress(HEAD + data + b"}")


def answering(data: bytes) -> Lists:
    """A response with this data, compressed to about a thousandth."""
    body = packed(data)
    assert len(body) < len(data) / 100
    return lambda request: request.body(body, Content_Encoding="gzip")


def collected(module: str, *servers: Hostile) -> list[Any]:
    """The reports of collections, one after the other in a process, with the limits of production."""
    urls = ",".join(f"{server.url}/versions" for server in servers)
    command = [sys.executable, "-m", "tests.collectors.collecting", module, urls, TOKEN]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    reports = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"count"')]
    assert len(reports) == len(servers)
    return reports


@pytest.mark.parametrize(
    ("module", "value"),
    [
        ("locations", b"0"),
        ("locations", b"[]"),
        ("locations", b"[[[[]]]]"),
        ("cdrs", b'{"":0}'),
        pytest.param("cdrs", b"null", marks=pytest.mark.full),
    ],
)
def test_a_page_of_tiny_values_does_not_fill_the_memory(module: str, value: bytes) -> None:
    """It is refused at the first record too many, before records become Python objects."""
    with hostile(answering(many(value))) as server:
        (report,) = collected(module, server)
    assert "at most 25000 records" in report["error"]
    assert report["peak_mb"] < 200


@pytest.mark.parametrize(
    ("module", "value"),
    [
        ("locations", b"[[[[]]]]"),
        ("cdrs", b'{"":0}'),
        pytest.param("cdrs", b"[[[[]]]]", marks=pytest.mark.full),
        pytest.param("locations", b"0", marks=pytest.mark.full),
    ],
)
def test_a_record_of_tiny_values_does_not_fill_the_memory(module: str, value: bytes) -> None:
    """A record as large as a page is set aside unread; smaller ones are read one at a time."""
    good = cdr(x="X") if module == "cdrs" else location(x="X")
    record = json.dumps(good).encode()
    full = record.replace(b'"X"', many(value, RECORD_BYTES))
    pages = {
        "huge": b"[%b,%b]" % (record, record.replace(b'"X"', many(value, PAGE_BYTES - 10_000))),
        "nothing but": b"[%b,%b]" % (record, many(value, PAGE_BYTES - 10_000)),
        "many": b"[" + (many(value, RECORD_BYTES) + b",") * 30 + record + b"]",
        "good": b"[%b,%b]" % (full, full.replace(b'"id": "', b'"id": "B', 1)),
    }
    with ExitStack() as running:
        servers = [running.enter_context(hostile(answering(page))) for page in pages.values()]
        reports = collected(module, *servers)
    for name, report in zip(pages, reports, strict=True):
        assert report["error"] == ""
        assert report["count"] == (2 if name == "good" else 1)
        counts = report["summary"]["this_run"] if module == "cdrs" else report["summary"]
        assert counts["set_aside"] == {"huge": 1, "nothing but": 1, "many": 30, "good": 0}[name]
    assert reports[-1]["peak_mb"] < 200


@pytest.mark.parametrize("where", ["versions", "endpoints", "message", "surrogates"])
def test_metadata_and_repaired_text_do_not_fill_the_memory(where: str) -> None:
    """Versions, endpoints, a status message, and text that must be repaired."""
    entry = b'{"version":"","identifier":"","role":"","url":""}'
    text = b'"' + b"\\ud83d" * (PAGE_BYTES // 6) + b'"'
    data = {
        "versions": many(entry),
        "endpoints": b'{"endpoints":' + many(entry) + b"}",
        "message": b'[],"status_message":' + text,
        "surrogates": b"[" + text + b"]",
    }[where]

    def answer(request: HttpRequest) -> None:
        if request.route == {"versions": "/versions", "endpoints": "/2.2.1"}.get(where, "/locations"):
            request.body(packed(data), Content_Encoding="gzip")
        else:
            Hostile.answer(server, request)

    with hostile(lambda _: None) as server:
        server.answer = answer  # type: ignore[method-assign]
        (report,) = collected("locations", server)
    assert ("at most 25000 records" in report["error"]) == (where in {"versions", "endpoints"})
    assert report["peak_mb"] < 200
