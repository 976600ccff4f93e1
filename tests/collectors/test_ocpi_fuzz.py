"""Any response of an operator gives a clear error or records that a result can hold."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.collectors import charge_cdrs, charge_locations
from shared.collectors.ocpi.client import OcpiClient
from shared.collectors.ocpi.errors import OcpiError
from shared.collectors.ocpi.transport import Transport
from shared.tasks import TaskName
from shared.tasks.results.normalisation import encode_record
from tests.collectors.hostile import Hostile, HttpRequest, hostile
from tests.collectors.ocpi_samples import cdr, credit, location
from tests.collectors.runs import FAST, new_run

LIMITS = replace(FAST, attempts=2, read_seconds=1, call_seconds=2)
NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
FUZZED = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
#: Parts of URLs and Link headers, valid and invalid.
PARTS = st.sampled_from(
    [b"http://", b"https://", b"//", b"/", b"127.0.0.1", b":", b"@", b"\\", b"%", b"%zz", b"%00",
     b"\xe4", b"\xff", b"\x80", b"\x00", b"\x7f", b"[", b"]", b"::1", b"?", b"#", b"&a=1", b"offset=",
     b" ", b"\t", b"<", b">", b";", b",", b'"', b"rel=", b"next", b"xn--", b"/../", b"locations", b".",
     b"65536", b"-1", b"a" * 300]
)  # fmt: skip
TARGETS = st.builds(
    lambda start, parts: b"".join([start, *parts]),
    st.sampled_from([b"HERE", b""]),
    st.lists(PARTS, max_size=6),
)
#: Status and header of the response that contains such a target.
ANSWERS = st.sampled_from(
    [(200, b"Link: <%b>; rel=next"), (200, b"Link: %b"), (302, b"Location: %b"), (308, b"Location: %b"),
     (200, b"X-Total-Count: 9%b"), (429, b"Retry-After: %b"), (200, b"Content-Encoding: %b"),
     (200, b"Transfer-Encoding: %b"), (204, b"%b: 1"), (999, b"Set-Cookie: %b")]
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    """One server for all examples."""
    with hostile(lambda _: None) as server:
        yield server


@FUZZED
@given(target=TARGETS, answer=ANSWERS)
def test_any_header_at_most_fails_its_operator(
    server: Hostile, target: bytes, answer: tuple[int, bytes]
) -> None:
    """A Link, Location or other header with any bytes gives pages or an error with a reason."""
    status, name = answer
    header = name % target.replace(b"HERE", server.url.encode())

    def lists(request: HttpRequest) -> None:
        body = b'{"status_code":1000,"data":[{"id":%d}]}' % len(server.requests)
        lines = [b"HTTP/1.1 %d X" % status, header, b"Content-Length: %d" % len(body), b"", body]
        request.wfile.write(b"\r\n".join(lines))
        request.close_connection = True

    server.lists = lists
    transport = Transport(server.operator(), LIMITS, time.monotonic() + 20, threading.Event())
    try:
        with suppress(OcpiError):
            for number, _ in enumerate(OcpiClient(transport, "").pages(f"{server.url}/locations")):
                if number == 5:
                    break
    finally:
        transport.close()


#: Replacement bytes.
INSTEAD = st.sampled_from(
    [b"null", b"{}", b"[]", b"-1", b"1e400", b"1e308", b"0.1", b'""', b"true", b"\\ud800",
     b"\\u0000", b"\n", b"\t", b"9" * 25, b'"1970-1-1T00:00:00Z"', b'"0001-01-01T00:00:00+14:00"',
     b'"9999-12-31T23:59:59-14:00"',
     b'"credit":true,', b'"id":"\\n",']
)  # fmt: skip
#: The place, the number of bytes to replace, and the replacement.
MUTATION = st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=3) | INSTEAD)
MUTATIONS = st.lists(MUTATION, min_size=1, max_size=4)


def mutated(records: list[Any], mutations: list[tuple[float, int, bytes]]) -> bytes:
    """A page of these records with some bytes replaced."""
    page = {"status_code": 1000, "data": records}
    content = bytearray(json.dumps(page, separators=(",", ":")).encode())
    for place, length, instead in mutations:
        start = int(place * len(content))
        content[start : start + length] = instead
    return bytes(content)


@FUZZED
@given(mutations=MUTATIONS)
@pytest.mark.parametrize("module", ["locations", "cdrs"])
def test_any_body_gives_a_storable_result_or_fails_the_operator(
    server: Hostile, module: str, mutations: list[tuple[float, int, bytes]]
) -> None:
    """Invalid records are set aside."""
    good = (
        [cdr(id="1"), cdr(id="2"), credit("1-C", "1")] if module == "cdrs" else [location(id="A"), location()]
    )
    body = mutated(good, mutations)
    server.lists = lambda request: request.body(body)
    run = new_run(TaskName(f"collect_charge_{module}"))
    records: Any = charge_locations.collect([server.operator()], list, run, limits=LIMITS)
    if module == "cdrs":
        records = charge_cdrs.collect([server.operator()], list, run, now=NOW, months=13, limits=LIMITS)
    with suppress(OcpiError):
        for place, record in enumerate(records):
            assert json.loads(encode_record(record, place)) == record
        assert run.summary is not None
        assert "could not be read" not in str(run.summary)
