"""An operator that does its worst: a clear error or a record set aside, and everybody's data as it was."""

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
from tests.collectors.hostile import TOKEN, Asked, hostile, serving
from tests.collectors.ocpi_samples import location
from tests.collectors.runs import FAST, IMPATIENT, new_run

ROOT = Path(__file__).resolve().parents[2]
#: What the operator had in the last good result.
KEPT = location(id="KEPT", nx_operator="hostile")
GOOD = b'{"status_code":1000,"timestamp":"2026-05-05T12:00:00Z","data":['

Lists = Callable[[Asked], None]


def collected(
    operators: list[Operator], limits: Limits, previous: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The result and the summary of a run over these operators."""
    run = new_run(TaskName.collect_charge_locations)
    records = list(charge_locations.collect(operators, lambda: previous, run, limits=limits))
    assert run.summary is not None
    return records, run.summary


def circle(asked: Asked) -> None:
    """The next page is this one."""
    asked.list([location()], Link=f'<{asked.path}>; rel="next"')


def two_pages_in_a_circle(asked: Asked) -> None:
    """The next page is the one before."""
    second = "second" in asked.query
    asked.list([location(id=f"L{second}")], Link=f'</locations{"" if second else "?second=1"}>; rel="next"')


def endless_offsets(asked: Asked) -> None:
    """There is always a next page with a new address, and always the same on it."""
    offset = int(asked.query.get("offset", 0)) + 1
    asked.list([location()], Link=f'</locations?offset={offset}>; rel="next"')


def link(to: str) -> Lists:
    """The next page is there."""
    return lambda asked: asked.list([location()], Link=f'<{to}>; rel="next"')


def storm(asked: Asked) -> None:
    """Too many requests, for ever."""
    asked.body(b"", status=429, Retry_After="86400")


def break_off(asked: Asked) -> None:
    """The body has fewer bytes than were said."""
    asked.body(GOOD + json.dumps(location()).encode(), length=1_000_000)
    asked.close_connection = True


def break_off_chunked(asked: Asked) -> None:
    """The last chunk never comes."""
    asked.head(Transfer_Encoding="chunked")
    asked.wfile.write(b"%x\r\n%b\r\n" % (len(GOOD), GOOD))
    asked.close_connection = True


def cut_json(asked: Asked) -> None:
    """The body has all its bytes, and they stop in the middle."""
    asked.body(GOOD + json.dumps(location()).encode()[:200])


def ocpi_error(code: int, message: str = "out of order") -> Lists:
    """HTTP says that all is well, OCPI does not."""
    return lambda asked: asked.envelope({"status_code": code, "status_message": message, "timestamp": "x"})


def padding(asked: Asked) -> None:
    """A page with spaces and no end."""
    asked.head(Content_Length=str(1 << 40))
    asked.wfile.write(GOOD)
    while True:
        asked.wfile.write(b" " * (1 << 20))


@cache
def packed() -> bytes:
    """Half a megabyte that becomes five hundred."""
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    pieces = [packer.compress(GOOD), *(packer.compress(b" " * (1 << 20)) for _ in range(500))]
    return b"".join(pieces) + packer.flush()


def bomb(asked: Asked) -> None:
    """A page that is small on the wire alone."""
    asked.body(packed(), Content_Encoding="gzip")


def bomb_in_a_bomb(asked: Asked) -> None:
    """A few kilobytes that become half a megabyte that becomes five hundred."""
    asked.body(gzip.compress(packed()), Content_Encoding="gzip, gzip")


def trickle(asked: Asked) -> None:
    """A byte now and then."""
    asked.head(Content_Length="1000000")
    for _ in range(200):
        asked.wfile.write(b" ")
        asked.wfile.flush()
        time.sleep(0.02)


def trickling_headers(asked: Asked) -> None:
    """A header now and then, and never a body."""
    asked.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        asked.wfile.write(b"X-%d: 1\r\n" % number)
        asked.wfile.flush()
        time.sleep(0.02)


def silence(asked: Asked) -> None:
    """Nothing at all."""
    asked.connection.settimeout(10)
    asked.connection.recv(1)


def reset(asked: Asked) -> None:
    """The connection is torn off."""
    asked.connection.shutdown(socket.SHUT_RDWR)


def raw(answer: bytes) -> Lists:
    """These bytes, and the end."""

    def lists(asked: Asked) -> None:
        asked.wfile.write(answer)
        asked.close_connection = True

    return lists


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        pytest.param(circle, "lead in circles: page 2", id="page links to itself"),
        pytest.param(two_pages_in_a_circle, "lead in circles: page 3", id="pages link to each other"),
        pytest.param(endless_offsets, "lead in circles: page 2", id="endless offsets"),
        pytest.param(
            link("https://127.0.0.1/x"), "https://127.0.0.1, which may not be sent", id="other scheme"
        ),
        pytest.param(link("//evil.example/x"), "evil.example, which may not be sent", id="other host"),
        pytest.param(link("http://[::1/x"), "may not be sent the token", id="no URL"),
        pytest.param(link("file:///etc/passwd"), "file://, which may not be sent", id="a file"),
        pytest.param(storm, "HTTP 429, after 2 attempts", id="429 storm"),
        pytest.param(break_off, "the answer broke off, after 2", id="truncated body"),
        pytest.param(break_off_chunked, "the answer broke off, after 2", id="truncated chunks"),
        pytest.param(cut_json, "no OCPI answer: Input data was truncated", id="truncated JSON"),
        pytest.param(ocpi_error(3000), "OCPI status 3000: out of order", id="OCPI 3xxx"),
        pytest.param(ocpi_error(2001), "OCPI status 2001: out of order", id="OCPI 2xxx"),
        pytest.param(ocpi_error(0), "OCPI status 0: out of order", id="OCPI 0"),
        pytest.param(lambda a: a.body(b"<html>"), "no OCPI answer", id="a web page"),
        pytest.param(lambda a: a.body(b""), "no OCPI answer", id="nothing"),
        pytest.param(lambda a: a.envelope([]), "no OCPI answer: Expected `object`", id="no envelope"),
        pytest.param(lambda a: a.envelope({"data": []}), "no OCPI answer: .*`status_code`", id="no status"),
        pytest.param(
            lambda a: a.envelope({"data": {}, "status_code": 1000}),
            "`data` is not as OCPI requires",
            id="no list",
        ),
        pytest.param(
            lambda a: a.envelope({"data": "", "status_code": 1000}),
            "`data` is not as OCPI requires",
            id="text as data",
        ),
        pytest.param(
            lambda a: a.body(b'{"status_code":3000,"status_message":"\xff"}'),
            "OCPI status 3000$",
            id="a message that is no UTF-8",
        ),
        pytest.param(
            lambda a: a.body(b'{"status_code":3000,"status_message":"out of \\ud83d"}'),
            "OCPI status 3000: out of \ufffd",
            id="a message with half a character",
        ),
        pytest.param(
            lambda a: a.body(GOOD + b"0," * 25_000 + b"0]}"),
            "more than 25000 records on one page",
            id="zeros",
        ),
        pytest.param(
            lambda a: a.list([], Link="next"), "the Link header cannot be parsed at `next`", id="Link"
        ),
        pytest.param(
            lambda a: a.list([], Link='</a>; rel="next'), 'cannot be parsed at `"next`', id="an open quote"
        ),
        pytest.param(lambda a: a.body(GOOD + b"[" * 200_000), "no OCPI answer", id="deep nesting"),
        pytest.param(lambda a: a.body(b"", status=204), "/locations: HTTP 204", id="204"),
        pytest.param(lambda a: a.body(b"no", status=404), "/locations: HTTP 404", id="404"),
        pytest.param(
            lambda a: a.body(b"no", status=301, Location="//evil.example/"), "evil.example", id="redirect"
        ),
        pytest.param(
            lambda a: a.body(b"", status=302, Location=a.path), "redirects again and again", id="redirects"
        ),
        pytest.param(
            lambda a: a.body(b"", status=302, Location=f"http://127.0.0.1:{a.server.server_address[1]}x/"),
            "leads to nowhere, which may not be sent",
            id="a redirect to no port",
        ),
        pytest.param(
            lambda a: a.body(b"", status=302, Location="/\xff\x80"),
            "redirects again",
            id="a redirect that is no text",
        ),
        pytest.param(padding, "more than 4194304 bytes", id="padding"),
        pytest.param(bomb, "more than 4194304 bytes", id="a gzip bomb"),
        pytest.param(bomb_in_a_bomb, "more than 4194304 bytes", id="a bomb in a bomb"),
        pytest.param(
            lambda a: a.body(b"no gzip at all", Content_Encoding="gzip"),
            "can't be decompressed",
            id="no gzip",
        ),
        pytest.param(trickle, "took too long as a whole", id="slow body"),
        pytest.param(trickling_headers, "took too long as a whole|silent", id="slow headers"),
        pytest.param(silence, "silent for too long", id="silence"),
        pytest.param(reset, "no connection, or it broke off", id="reset"),
        pytest.param(raw(b"\x00\x01nonsense\r\n\r\n"), "no connection, or it broke off", id="no HTTP"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999), "no connection, or", id="many headers"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 99_999), "no connection, or", id="a long header"),
    ],
)
def test_a_hostile_operator_keeps_its_last_good_records(north: Operator, lists: Lists, reason: str) -> None:
    """What it did is told, its records of the last result stay, and the other operator is collected."""
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


def test_a_token_goes_nowhere_else() -> None:
    """Neither a Link nor a redirect takes it to another port of the same host."""
    with hostile(serving(location())) as elsewhere:
        for lists in (
            link(f"{elsewhere.url}/locations"),
            lambda asked: asked.body(b"", status=307, Location=f"{elsewhere.url}/locations"),
        ):
            with (
                hostile(lists) as server,
                pytest.raises(NoOperatorAnswered, match=f'add "{elsewhere.url}" to its'),
            ):
                collected([server.operator()], IMPATIENT, [])
        assert elsewhere.asked == []


def test_an_origin_that_is_advised_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its port, and by the setting that the error names; where none would be, it says what to do."""

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
            assert operator.may_ask(urljoin("http://127.0.0.1/", url))
    assert "report it to the operator: it is not an HTTP URL" in failure("ftp://data.example.com/x")


def test_discovery_takes_no_token_elsewhere() -> None:
    """Neither a version nor a module's endpoint does, be it another host's or the same without TLS."""
    with hostile(serving(location())) as elsewhere, hostile(serving(location())) as server:
        for place in ("versions", "endpoints"):
            for origin in (
                elsewhere.url,
                "https://127.0.0.1",
                f"http://{elsewhere.url[7:]}\\@{server.url[7:]}",
            ):
                server.named = {place: origin}
                with pytest.raises(NoOperatorAnswered, match=r"leads to .* which may not be sent the token"):
                    collected([server.operator()], IMPATIENT, [])
        assert elsewhere.asked == []
        assert server.list_requests() == []


def test_a_url_that_two_parsers_read_differently_takes_no_token() -> None:
    """Before a backslash or an @, one finds a host where the other finds a name or a path."""
    with hostile(serving(location())) as elsewhere:
        for between in ("\\@", "\\", "@", "%5C@", "#@", "?@", ";@", " @", "\t@"):
            with hostile(lambda _: None) as server:
                here, there = server.url[7:], elsewhere.url[7:]
                for first, second in ((here, there), (there, here)):
                    server.lists = link(f"http://{first}{between}{second}/locations")
                    with suppress(NoOperatorAnswered):
                        collected([server.operator()], IMPATIENT, [])
        assert elsewhere.asked == []


def test_no_cookie_is_kept() -> None:
    """An operator that sets them without end fills no memory, and gets none back."""

    def lists(asked: Asked) -> None:
        offset = int(asked.query.get("offset", 0))
        links = {"Link": f'</locations?offset={offset + 1}>; rel="next"'} if offset < 3 else {}
        asked.list([location(id=f"L{offset}")], Set_Cookie=f"c{offset}={'x' * 1000}", **links)

    with hostile(lists) as server:
        assert len(collected([server.operator()], IMPATIENT, [])[0]) == 4
        assert [headers for headers in server.headers_seen if "Cookie" in headers] == []


def test_records_without_end_fill_no_disk(north: Operator) -> None:
    """Who sends more than a run has room for has failed, its disk is given back, and others are read."""
    draw = random.Random(1)
    limits = replace(FAST, disk_bytes=1 << 20)

    def lists(asked: Asked) -> None:
        offset = int(asked.query.get("offset", 0)) + 1
        records = [location(id=f"L{offset}-{n}", name=draw.randbytes(40_000).hex()) for n in range(20)]
        asked.list(records, Link=f'</locations?offset={offset}>; rel="next"')

    with hostile(lists) as server:
        records, summary = collected([server.operator(), north], limits, [KEPT])
    assert summary["operators"][0]["error"].startswith("sent more records than a run has room for")
    assert [record for record in records if record["nx_operator"] != "north"] == [KEPT]
    assert summary["operators"][0]["records"] < 1_000


def test_no_token_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """An operator that sends it back, encoded or not, finds it in no error, summary or log."""

    def lists(asked: Asked) -> None:
        said = asked.headers["Authorization"]
        asked.envelope({"status_code": 3000, "status_message": f"{said} is {TOKEN}"})

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
    """No result is made of what was kept: the last good one stays, and the error tells of each."""
    with hostile(storm) as first, hostile(cut_json) as second:
        operators = [first.operator("first"), second.operator("second")]
        with pytest.raises(
            NoOperatorAnswered, match=r"first: /locations: HTTP 429.*second: /locations: no OCPI"
        ):
            collected(operators, IMPATIENT, [KEPT])


def page(*records: bytes) -> Lists:
    """A page of these records, as they are."""
    return lambda asked: asked.body(GOOD + b",".join(records) + b"]}")


def broken(field: bytes, value: bytes) -> bytes:
    """A location that has this, too."""
    return json.dumps(location(id="BAD")).encode()[:-1] + b', "%b": %b}' % (field, value)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(broken(b"x", b'"\xff\xfe"'), "no UTF-8", id="invalid UTF-8"),
        pytest.param(broken(b"x\xff", b"1"), "no UTF-8", id="invalid UTF-8 in a name"),
        pytest.param(broken(b"x", b"9" * 30), "beyond 64 bits", id="a large integer"),
        pytest.param(
            broken(b"x", b"9223372036854775808"), "beyond 64 bits", id="the first that is too large"
        ),
        pytest.param(broken(b"x", b"1e999"), "out of range", id="an endless number"),
        pytest.param(broken(b"x", b"[" * 150 + b"]" * 150), "more than 60 levels", id="deep"),
        pytest.param(
            broken(b"last_updated", b'"0001-01-01T00:00:00+01:00"'), "beyond all calendars", id="year 0"
        ),
        pytest.param(broken(b"last_updated", b'"yesterday"'), "Invalid RFC3339", id="no date"),
        pytest.param(b"null", "Expected `object`, got `null`", id="null"),
        pytest.param(b"42", "Expected `object`, got `int`", id="a number"),
        pytest.param(b"[]", "Expected `object`, got `array`", id="a list"),
        pytest.param(b"{}", "missing required field", id="nothing in it"),
    ],
)
def test_one_bad_record_is_set_aside(record: bytes, reason: str) -> None:
    """With its reason and counted; those beside it are in the result."""
    good = json.dumps(location()).encode()
    with hostile(page(good, record, json.dumps(location(id="LOC2")).encode())) as server:
        records, summary = collected([server.operator()], FAST, [])
    assert [each["id"] for each in records] == ["LOC1", "LOC2"]
    assert summary["set_aside"] == summary["operators"][0]["set_aside"] == 1
    (told,) = summary["reasons"]
    assert reason in told["reason"]
    assert told["record"] in {"BE/BEC/BAD", "?", "?/?/?"}


def test_reasons_are_few_and_short() -> None:
    """However many bad records, and however much they say."""
    bad = [location(id="x" * 36, evses=[{"status": "y" * 5000}]) for _ in range(500)]
    with hostile(serving(location(), *bad)) as server:
        records, summary = collected([server.operator()], FAST, [])
    assert (len(records), summary["set_aside"], len(summary["reasons"])) == (1, 500, 5)
    assert len(json.dumps(summary)) < 5_000


@pytest.mark.parametrize("said", ["3", "1", "0", "-5", "many", "9" * 400, "1000000000"])
def test_wrong_totals_are_borne_with(said: str) -> None:
    """What was sent counts; where the operator counts otherwise, the summary says so."""
    with hostile(lambda asked: asked.list([location(), location(id="LOC2")], X_Total_Count=said)) as server:
        records, summary = collected([server.operator()], FAST, [])
    assert [each["id"] for each in records] == ["LOC1", "LOC2"]
    understood = said.isdecimal() and len(said) < 19
    assert summary["operators"][0].get("total_said") == (int(said) if understood else None)
    assert summary["operators_failed"] == 0


def test_duplicates_in_any_order_are_one_record() -> None:
    """On whatever pages: the newest wins, ids know no case, and other parties' ids are other records."""
    old, new = "2026-05-01T00:00:00Z", "2026-05-02T00:00:00"
    pages = [
        [location(id="B", name="new", last_updated=new), location(id="a", name="old", last_updated=old)],
        [location(id="b", name="old", last_updated=old), location(id="A", name="new", last_updated=new)],
        [location(id="A", party_id="XYZ", name="another", last_updated=old)],
    ]

    def lists(asked: Asked) -> None:
        number = int(asked.query.get("offset", 0))
        links = {"Link": f'</locations?offset={number + 1}>; rel="next"'} if number < 2 else {}
        asked.list(pages[number], **links)

    with hostile(lists) as server:
        records, _ = collected([server.operator()], FAST, [])
    found = [(each["party_id"], each["id"], each["name"]) for each in records]
    assert found == [("BEC", "A", "new"), ("BEC", "B", "new"), ("XYZ", "A", "another")]


@contextmanager
def collecting_elsewhere(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that collects one operator's locations, with the limits that hold in production."""
    command = [sys.executable, "-m", "tests.collectors.collecting", "locations", url, TOKEN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("lists", [padding, bomb, bomb_in_a_bomb], ids=["padding", "bomb", "two"])
def test_padding_fills_no_memory(lists: Lists) -> None:
    """Hundreds of megabytes are refused at the limit of a page: the process stays small."""
    with hostile(lists) as server, collecting_elsewhere(f"{server.url}/versions") as process:
        said = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
    assert "more than 33554432 bytes" in said["error"]
    assert said["peak_mb"] < 200


def test_many_hostile_operators_do_not_hold_each_other(north: Operator) -> None:
    """More of them than are read at a time: each is given up on its own, and the good one is read."""
    with hostile(silence) as server:
        operators = [*(server.operator(f"silent{number}") for number in range(9)), north]
        began = time.monotonic()
        records, summary = collected(operators, IMPATIENT, [])
    assert time.monotonic() - began < 15
    assert len(records) > 200
    assert summary["operators_failed"] == 9
    assert {thread.name for thread in threading.enumerate() if thread.name.startswith("locations")} == set()


def test_operators_that_never_end_leave_the_others_their_time(north: Operator) -> None:
    """As many as are read at a time send for ever: who comes after them has time all the same."""

    def lists(asked: Asked) -> None:
        offset = int(asked.query.get("offset", 0)) + 1
        asked.list([location(id=f"L{offset}")], Link=f'</locations?offset={offset}>; rel="next"')

    with hostile(lists) as server:
        endless = [server.operator(f"endless{number}") for number in range(crawl.PARALLEL)]
        run = new_run(TaskName.collect_charge_locations, seconds=12)
        records = list(charge_locations.collect([*endless, north], list, run, limits=FAST))
    assert {record["nx_operator"] for record in records} == {"north"}
    assert run.summary is not None
    states = {told["name"]: told.get("error", "") for told in run.summary["operators"]}
    assert [states[each.name][:8] for each in [*endless, north]] == ["too slow"] * crawl.PARALLEL + [""]
