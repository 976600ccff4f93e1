"""A hostile operator gets a clear error or has records set aside; no other data changes."""

import gzip
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from shared.collectors import charge_locations
from shared.collectors.ocpi import crawl
from shared.collectors.ocpi.errors import NoOperatorAnswered
from shared.collectors.ocpi.operators import Operator, parse
from shared.collectors.ocpi.transport import Limits
from shared.tasks import TaskName
from tests.collectors.hostile import TOKEN, HttpRequest, hostile, serving
from tests.collectors.ocpi_samples import location
from tests.collectors.runs import FAST, IMPATIENT, new_run

ROOT = Path(__file__).resolve().parents[2]
#: The operator's records in the last good result.
KEPT = location(id="KEPT", nx_operator="hostile")
GOOD = b'{"status_code":1000,"timestamp":"2026-05-05T12:00:00Z","data":['

Lists = Callable[[HttpRequest], None]


def collected(
    operators: list[Operator], limits: Limits, previous: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The result and the summary of a run over these operators."""
    run = new_run(TaskName.collect_charge_locations)
    records = list(charge_locations.collect(operators, lambda: previous, run, limits=limits))
    assert run.summary is not None
    return records, run.summary


def circle(request: HttpRequest) -> None:
    """The next page is this one."""
    request.list([location()], Link=f'<{request.path}>; rel="next"')


def two_pages_in_a_circle(request: HttpRequest) -> None:
    """The next page is the one before."""
    second = "second" in request.query
    request.list([location(id=f"L{second}")], Link=f'</locations{"" if second else "?second=1"}>; rel="next"')


def endless_offsets(request: HttpRequest) -> None:
    """There is always a next page, with a new address and the same content."""
    offset = int(request.query.get("offset", 0)) + 1
    request.list([location()], Link=f'</locations?offset={offset}>; rel="next"')


def link(to: str) -> Lists:
    """The next page is there."""
    return lambda request: request.list([location()], Link=f'<{to}>; rel="next"')


def storm(request: HttpRequest) -> None:
    """Always too many requests."""
    request.body(b"", status=429, Retry_After="86400")


def break_off(request: HttpRequest) -> None:
    """The body is shorter than its Content-Length."""
    request.body(GOOD + json.dumps(location()).encode(), length=1_000_000)
    request.close_connection = True


def break_off_chunked(request: HttpRequest) -> None:
    """The last chunk is missing."""
    request.head(Transfer_Encoding="chunked")
    request.wfile.write(b"%x\r\n%b\r\n" % (len(GOOD), GOOD))
    request.close_connection = True


def cut_json(request: HttpRequest) -> None:
    """The body is complete, but its JSON is not."""
    request.body(GOOD + json.dumps(location()).encode()[:200])


def ocpi_error(code: int, message: str = "out of order") -> Lists:
    """An OCPI error with HTTP status 200."""
    return lambda request: request.envelope(
        {"status_code": code, "status_message": message, "timestamp": "x"}
    )


def padding(request: HttpRequest) -> None:
    """A page of endless spaces."""
    request.head(Content_Length=str(1 << 40))
    request.wfile.write(GOOD)
    while True:
        request.wfile.write(b" " * (1 << 20))


@cache
def packed() -> bytes:
    """Half a megabyte that decompresses to five hundred."""
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    pieces = [packer.compress(GOOD), *(packer.compress(b" " * (1 << 20)) for _ in range(500))]
    return b"".join(pieces) + packer.flush()


def bomb(request: HttpRequest) -> None:
    """A compressed page that is far larger after decompression."""
    request.body(packed(), Content_Encoding="gzip")


def bomb_in_a_bomb(request: HttpRequest) -> None:
    """A few kilobytes, compressed twice, that decompress to five hundred megabytes."""
    request.body(gzip.compress(packed()), Content_Encoding="gzip, gzip")


def trickle(request: HttpRequest) -> None:
    """One byte at a time, slowly."""
    request.head(Content_Length="1000000")
    for _ in range(200):
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.02)


def trickling_headers(request: HttpRequest) -> None:
    """One header at a time, slowly, and no body."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        request.wfile.write(b"X-%d: 1\r\n" % number)
        request.wfile.flush()
        time.sleep(0.02)


def silence(request: HttpRequest) -> None:
    """No response."""
    request.connection.settimeout(10)
    request.connection.recv(1)


def reset(request: HttpRequest) -> None:
    """The connection is closed at once."""
    request.connection.shutdown(socket.SHUT_RDWR)


def raw(answer: bytes) -> Lists:
    """These bytes, then the end."""

    def lists(request: HttpRequest) -> None:
        request.wfile.write(answer)
        request.close_connection = True

    return lists


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        pytest.param(circle, "page 2 repeats an earlier one", id="page links to itself"),
        pytest.param(two_pages_in_a_circle, "page 3 repeats an earlier one", id="pages link to each other"),
        pytest.param(endless_offsets, "page 2 repeats an earlier one", id="endless offsets"),
        pytest.param(
            link("https://127.0.0.1/x"),
            "https://127.0.0.1 is not an origin that may get the token",
            id="other scheme",
        ),
        pytest.param(
            link("//evil.example/x"), "evil.example is not an origin that may get the token", id="other host"
        ),
        pytest.param(link("http://[::1/x"), "is not an origin that may get the token", id="no URL"),
        pytest.param(
            link("file:///etc/passwd"), "file:// is not an origin that may get the token", id="a file"
        ),
        pytest.param(storm, "HTTP 429, after 2 attempts", id="429 storm"),
        pytest.param(break_off, "the response was incomplete, after 2", id="truncated body"),
        pytest.param(break_off_chunked, "the response was incomplete, after 2", id="truncated chunks"),
        pytest.param(
            cut_json, "the response does not follow OCPI: Input data was truncated", id="truncated JSON"
        ),
        pytest.param(ocpi_error(3000), "OCPI status 3000: out of order", id="OCPI 3xxx"),
        pytest.param(ocpi_error(2001), "OCPI status 2001: out of order", id="OCPI 2xxx"),
        pytest.param(ocpi_error(0), "OCPI status 0: out of order", id="OCPI 0"),
        pytest.param(lambda a: a.body(b"<html>"), "the response does not follow OCPI", id="a web page"),
        pytest.param(lambda a: a.body(b""), "the response does not follow OCPI", id="nothing"),
        pytest.param(
            lambda a: a.envelope([]), "the response does not follow OCPI: Expected `object`", id="no envelope"
        ),
        pytest.param(
            lambda a: a.envelope({"data": []}),
            "the response does not follow OCPI: .*`status_code`",
            id="no status",
        ),
        pytest.param(
            lambda a: a.envelope({"data": {}, "status_code": 1000}),
            "`data` does not follow OCPI",
            id="no list",
        ),
        pytest.param(
            lambda a: a.envelope({"data": "", "status_code": 1000}),
            "`data` does not follow OCPI",
            id="text as data",
        ),
        pytest.param(
            lambda a: a.body(b'{"status_code":3000,"status_message":"\xff"}'),
            "OCPI status 3000$",
            id="a message that is not UTF-8",
        ),
        pytest.param(
            lambda a: a.body(b'{"status_code":3000,"status_message":"out of \\ud83d"}'),
            "OCPI status 3000: out of \ufffd",
            id="a message with half a character",
        ),
        pytest.param(
            lambda a: a.body(GOOD + b"0," * 25_000 + b"0]}"),
            "a page must have at most 25000 records, got more",
            id="zeros",
        ),
        pytest.param(
            lambda a: a.list([], Link="next"), "the Link header cannot be parsed at `next`", id="Link"
        ),
        pytest.param(
            lambda a: a.list([], Link='</a>; rel="next'), 'cannot be parsed at `"next`', id="an open quote"
        ),
        pytest.param(
            link(f"/locations?{'a' * 8_000}"),
            "link must have at most 8000 characters, got 80",
            id="a long link",
        ),
        pytest.param(
            lambda a: a.body(GOOD + b"[" * 200_000), "the response does not follow OCPI", id="deep nesting"
        ),
        pytest.param(lambda a: a.body(b"", status=204), "/locations: HTTP 204", id="204"),
        pytest.param(lambda a: a.body(b"no", status=404), "/locations: HTTP 404", id="404"),
        pytest.param(
            lambda a: a.body(b"no", status=301, Location="//evil.example/"), "evil.example", id="redirect"
        ),
        pytest.param(
            lambda a: a.body(b"", status=302, Location=a.path), "more than 3 redirects", id="redirects"
        ),
        pytest.param(
            lambda a: a.body(b"", status=302, Location=f"http://127.0.0.1:{a.server.server_address[1]}x/"),
            "a malformed URL is not an origin that may get the token",
            id="a redirect to no port",
        ),
        pytest.param(
            lambda a: a.body(b"", status=302, Location="/\xff\x80"),
            "more than 3 redirects",
            id="a redirect that is not a text",
        ),
        pytest.param(padding, "a page must have at most 4194304 bytes, got more", id="padding"),
        pytest.param(bomb, "a page must have at most 4194304 bytes, got more", id="a gzip bomb"),
        pytest.param(bomb_in_a_bomb, "a page must have at most 4194304 bytes", id="a bomb in a bomb"),
        pytest.param(
            lambda a: a.body(b"no gzip at all", Content_Encoding="gzip"),
            "could not be decompressed",
            id="no gzip",
        ),
        pytest.param(trickle, "the whole response took too long", id="slow body"),
        pytest.param(trickling_headers, "took too long|no data for too long", id="slow headers"),
        pytest.param(silence, "no data for too long", id="silence"),
        pytest.param(reset, "no connection, or it was lost", id="reset"),
        pytest.param(raw(b"\x00\x01nonsense\r\n\r\n"), "no connection, or it was lost", id="no HTTP"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999), "no connection, or", id="many headers"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 99_999), "no connection, or", id="a long header"),
    ],
)
def test_a_hostile_operator_keeps_its_last_good_records(north: Operator, lists: Lists, reason: str) -> None:
    """The summary has its error; the other operator is collected."""
    packed()
    began = time.monotonic()
    with hostile(lists) as server:
        records, summary = collected(
            [server.operator(), north], IMPATIENT, [KEPT, location(nx_operator="gone")]
        )
        assert len(server.list_requests()) <= 4
    assert time.monotonic() - began < 20
    by_operator = [record["nx_operator"] for record in records]
    assert by_operator.count("north") == summary["count"] - 1 > 200
    assert [record for record in records if record["nx_operator"] != "north"] == [KEPT]
    first = summary["operators"][0]
    assert (first["name"], first["state"], summary["operators_failed"]) == ("hostile", "failed", 1)
    assert summary["kept_of_failed"] == 1
    assert re.search(reason, first["error"]), first["error"]


def test_links_and_redirects_do_not_send_the_token_to_another_port() -> None:
    with hostile(serving(location())) as elsewhere:
        for lists in (
            link(f"{elsewhere.url}/locations"),
            lambda request: request.body(b"", status=307, Location=f"{elsewhere.url}/locations"),
        ):
            with (
                hostile(lists) as server,
                pytest.raises(NoOperatorAnswered, match=f'add "{elsewhere.url}" to its'),
            ):
                collected([server.operator()], IMPATIENT, [])
        assert elsewhere.requests == []


def test_the_origin_that_an_error_suggests_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its port; if no origin can be allowed, the error describes what to do."""

    def failure(url: str) -> str:
        with hostile(link(url)) as server, pytest.raises(NoOperatorAnswered) as failed:
            collected([server.operator()], IMPATIENT, [])
        return str(failed.value)

    entry = {"name": "one", "url": "https://ocpi.example.com/versions", "token": "t"}
    urls = [
        "https://data.example.com/x",
        "https://data.example.com:8443/x",
        "http://[::1]:81/x",
        "//h.example/",
    ]
    for in_cloud in (False, True):
        if in_cloud:
            monkeypatch.setenv("K_REVISION", "collect-00001-abc")
        for url in urls:
            advised = re.search(r'add "(.*)" to its `origins` in NX_OCPI_OPERATORS', failure(url))
            if advised is None:
                assert in_cloud
                assert "ask the operator for an https:// URL" in failure(url)
                assert url.startswith(("http:", "//"))
                continue
            (operator,) = parse(json.dumps([{**entry, "origins": [advised[1]]}]))
            assert operator.may_get_token(urljoin("http://127.0.0.1/", url))
    assert "report it to the operator, because it is not an HTTP URL" in failure("ftp://data.example.com/x")


def test_versions_and_endpoints_do_not_send_the_token_elsewhere() -> None:
    """Neither to another host nor to the same one without TLS."""
    with hostile(serving(location())) as elsewhere, hostile(serving(location())) as server:
        for place in ("versions", "endpoints"):
            for origin in (
                elsewhere.url,
                "https://127.0.0.1",
                f"http://{elsewhere.url[7:]}\\@{server.url[7:]}",
            ):
                server.named = {place: origin}
                with pytest.raises(NoOperatorAnswered, match=r"is not an origin that may get the token"):
                    collected([server.operator()], IMPATIENT, [])
        assert elsewhere.requests == []
        assert server.list_requests() == []


def test_the_token_is_not_sent_to_an_ambiguous_url() -> None:
    """URL parsers disagree on the host before a backslash or an @."""
    with hostile(serving(location())) as elsewhere:
        for between in ("\\@", "\\", "@", "%5C@", "#@", "?@", ";@", " @", "\t@"):
            with hostile(lambda _: None) as server:
                here, there = server.url[7:], elsewhere.url[7:]
                for first, second in ((here, there), (there, here)):
                    server.lists = link(f"http://{first}{between}{second}/locations")
                    with suppress(NoOperatorAnswered):
                        collected([server.operator()], IMPATIENT, [])
        assert elsewhere.requests == []


def test_cookies_are_discarded() -> None:
    """Endless cookies do not fill the memory."""

    def lists(request: HttpRequest) -> None:
        offset = int(request.query.get("offset", 0))
        links = {"Link": f'</locations?offset={offset + 1}>; rel="next"'} if offset < 3 else {}
        request.list([location(id=f"L{offset}")], Set_Cookie=f"c{offset}={'x' * 1000}", **links)

    with hostile(lists) as server:
        assert len(collected([server.operator()], IMPATIENT, [])[0]) == 4
        assert [headers for headers in server.received_headers if "Cookie" in headers] == []


def test_endless_records_do_not_fill_the_disk(north: Operator) -> None:
    """The operator fails, its disk space is freed, and the others are read."""
    draw = random.Random(1)
    limits = replace(FAST, disk_bytes=1 << 20)

    def lists(request: HttpRequest) -> None:
        offset = int(request.query.get("offset", 0)) + 1
        records = [location(id=f"L{offset}-{n}", name=draw.randbytes(40_000).hex()) for n in range(20)]
        request.list(records, Link=f'</locations?offset={offset}>; rel="next"')

    with hostile(lists) as server:
        records, summary = collected([server.operator(), north], limits, [KEPT])
    assert summary["operators"][0]["error"].startswith("sent more records than a run can store")
    assert [record for record in records if record["nx_operator"] != "north"] == [KEPT]
    assert summary["operators"][0]["records"] < 1_000


def test_a_token_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """If an operator returns it, encoded or not, errors, summary and log do not contain it."""

    def lists(request: HttpRequest) -> None:
        header = request.headers["Authorization"]
        request.envelope({"status_code": 3000, "status_message": f"{header} is {TOKEN}"})

    with hostile(lists) as server, pytest.raises(NoOperatorAnswered) as failed:
        collected([server.operator()], IMPATIENT, [])
    assert "OCPI status 3000: Token [token] is [token]" in str(failed.value)

    bad = location(id=TOKEN, evses=[{"status": TOKEN}])
    with hostile(serving(location(), bad)) as server:
        _, summary = collected([server.operator()], FAST, [])
    assert summary["reasons"][0]["record"] == "BE/BEC/[token]"
    assert TOKEN not in json.dumps(summary)
    shown = capsys.readouterr().out
    assert "operator failed" in shown
    assert TOKEN not in shown


def test_all_operators_failing_fails_the_run() -> None:
    """The last good result stays; the error names each operator."""
    with hostile(storm) as first, hostile(cut_json) as second:
        operators = [first.operator("first"), second.operator("second")]
        with pytest.raises(
            NoOperatorAnswered, match=r"first: /locations: HTTP 429.*second: /locations: the response does"
        ):
            collected(operators, IMPATIENT, [KEPT])


def page(*records: bytes) -> Lists:
    """A page of these raw records."""
    return lambda request: request.body(GOOD + b",".join(records) + b"]}")


def broken(field: bytes, value: bytes) -> bytes:
    """A location with this additional field."""
    return json.dumps(location(id="BAD")).encode()[:-1] + b', "%b": %b}' % (field, value)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(broken(b"x", b'"\xff\xfe"'), "text that is not UTF-8", id="invalid UTF-8"),
        pytest.param(broken(b"x\xff", b"1"), "text that is not UTF-8", id="invalid UTF-8 in a name"),
        pytest.param(broken(b"x", b"9" * 30), "beyond 64 bits", id="a large integer"),
        pytest.param(
            broken(b"x", b"9223372036854775808"), "beyond 64 bits", id="the first that is too large"
        ),
        pytest.param(broken(b"x", b"1e999"), "out of range", id="an endless number"),
        pytest.param(broken(b"x", b"[" * 150 + b"]" * 150), "at most 60 nested levels", id="deep"),
        pytest.param(
            broken(b"last_updated", b'"0001-01-01T00:00:00+01:00"'), "outside the years", id="year 0"
        ),
        pytest.param(broken(b"last_updated", b'"yesterday"'), "Invalid RFC3339", id="no date"),
        pytest.param(b"null", "Expected `object`, got `null`", id="null"),
        pytest.param(b"42", "Expected `object`, got `int`", id="a number"),
        pytest.param(b"[]", "Expected `object`, got `array`", id="a list"),
        pytest.param(b"{}", "missing required field", id="nothing in it"),
    ],
)
def test_one_bad_record_is_set_aside(record: bytes, reason: str) -> None:
    """It is counted with its reason; the others are in the result."""
    good = json.dumps(location()).encode()
    with hostile(page(good, record, json.dumps(location(id="LOC2")).encode())) as server:
        records, summary = collected([server.operator()], FAST, [])
    assert [each["id"] for each in records] == ["LOC1", "LOC2"]
    assert summary["set_aside"] == summary["operators"][0]["set_aside"] == 1
    (found,) = summary["reasons"]
    assert reason in found["reason"]
    assert found["record"] in {"BE/BEC/BAD", "?", "?/?/?"}


def test_the_number_and_the_length_of_reasons_are_limited() -> None:
    bad = [location(id="x" * 36, evses=[{"status": "y" * 5000}]) for _ in range(500)]
    with hostile(serving(location(), *bad)) as server:
        records, summary = collected([server.operator()], FAST, [])
    assert (len(records), summary["set_aside"], len(summary["reasons"])) == (1, 500, 5)
    assert len(json.dumps(summary)) < 5_000


@pytest.mark.parametrize("total", ["3", "1", "0", "-5", "many", "9" * 400, "1000000000"])
def test_a_wrong_total_is_accepted_and_reported(total: str) -> None:
    """The received records count; the summary shows the operator's total."""
    with hostile(
        lambda request: request.list([location(), location(id="LOC2")], X_Total_Count=total)
    ) as server:
        records, summary = collected([server.operator()], FAST, [])
    assert [each["id"] for each in records] == ["LOC1", "LOC2"]
    understood = total.isdecimal() and len(total) < 19
    assert summary["operators"][0].get("total_said") == (int(total) if understood else None)
    assert summary["operators_failed"] == 0


def test_duplicates_in_any_order_are_one_record() -> None:
    """The newest wins, across pages; ids ignore case, and the party is part of the key."""
    old, new = "2026-05-01T00:00:00Z", "2026-05-02T00:00:00"
    pages = [
        [location(id="B", name="new", last_updated=new), location(id="a", name="old", last_updated=old)],
        [location(id="b", name="old", last_updated=old), location(id="A", name="new", last_updated=new)],
        [location(id="A", party_id="XYZ", name="another", last_updated=old)],
    ]

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("offset", 0))
        links = {"Link": f'</locations?offset={number + 1}>; rel="next"'} if number < 2 else {}
        request.list(pages[number], **links)

    with hostile(lists) as server:
        records, _ = collected([server.operator()], FAST, [])
    found = [(each["party_id"], each["id"], each["name"]) for each in records]
    assert found == [("BEC", "A", "new"), ("BEC", "B", "new"), ("XYZ", "A", "another")]


@contextmanager
def collecting_elsewhere(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that collects one operator's locations with the limits of production."""
    command = [sys.executable, "-m", "tests.collectors.collecting", "locations", url, TOKEN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("lists", [padding, bomb, bomb_in_a_bomb], ids=["padding", "bomb", "two"])
def test_padding_does_not_fill_the_memory(lists: Lists) -> None:
    """Hundreds of megabytes are refused at the page limit."""
    with hostile(lists) as server, collecting_elsewhere(f"{server.url}/versions") as process:
        report = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
    assert "at most 33554432 bytes" in report["error"]
    assert report["peak_mb"] < 200


def test_many_hostile_operators_do_not_delay_each_other(north: Operator) -> None:
    """More than are read concurrently: each is abandoned on its own, and the good one is read."""
    with hostile(silence) as server:
        operators = [*(server.operator(f"silent{number}") for number in range(crawl.PARALLEL + 1)), north]
        began = time.monotonic()
        records, summary = collected(operators, IMPATIENT, [])
    assert time.monotonic() - began < 15
    assert len(records) > 200
    assert summary["operators_failed"] == crawl.PARALLEL + 1
    assert {thread.name for thread in threading.enumerate() if thread.name.startswith("locations")} == set()


def test_operators_that_send_endlessly_leave_time_for_the_others(north: Operator) -> None:
    """As many as are read concurrently send endlessly; later operators are still read."""

    def lists(request: HttpRequest) -> None:
        offset = int(request.query.get("offset", 0)) + 1
        request.list([location(id=f"L{offset}")], Link=f'</locations?offset={offset}>; rel="next"')

    with hostile(lists) as server:
        endless = [server.operator(f"endless{number}") for number in range(crawl.PARALLEL)]
        run = new_run(TaskName.collect_charge_locations, deadline_seconds=6)
        records = list(charge_locations.collect([*endless, north], list, run, limits=FAST))
    assert {record["nx_operator"] for record in records} == {"north"}
    assert run.summary is not None
    states = {each["name"]: each.get("error", "") for each in run.summary["operators"]}
    assert [states[each.name][:8] for each in [*endless, north]] == ["too slow"] * crawl.PARALLEL + [""]
