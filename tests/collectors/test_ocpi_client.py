"""The client, as OCPI 2.2.1 wants it: against the demo's operators, and one that does as a test says."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from shared.collectors.ocpi import client as client_module
from shared.collectors.ocpi.client import OcpiClient
from shared.collectors.ocpi.errors import OcpiError
from shared.collectors.ocpi.operators import Operator
from shared.collectors.ocpi.transport import Limits, Transport
from tests.collectors.hostile import TOKEN, Asked, hostile, serving
from tests.collectors.ocpi_samples import location
from tests.collectors.runs import FAST

EVENING = datetime(2026, 5, 5, 20, 30, tzinfo=timezone(timedelta(hours=2)))


@contextmanager
def client_of(operator: Operator, limits: Limits = FAST) -> Iterator[OcpiClient]:
    transport = Transport(operator, limits, time.monotonic() + 60, threading.Event())
    try:
        yield OcpiClient(transport, operator.url)
    finally:
        transport.close()


def ids(operator: Operator, module: str = "locations", **filters: Any) -> list[str]:
    """What a module's list has, page after page."""
    with client_of(operator) as client:
        pages = list(client.pages(client.endpoint(module), **filters))
        return [msgspec.json.decode(record)["id"] for page in pages for record in page.records]


def test_a_list_is_read_to_its_end(north: Operator) -> None:
    """From versions to the last page, each record once, in the operator's order."""
    assert ids(north) == [f"LOC{number:04}" for number in range(1, 221)]
    assert len(set(ids(north, "cdrs"))) == 2600


def test_a_list_is_narrowed_by_dates(north: Operator) -> None:
    """date_from is inclusive, date_to is not."""
    with client_of(north) as client:
        page = next(client.pages(client.endpoint("cdrs")))
        updated = [datetime.fromisoformat(msgspec.json.decode(each)["last_updated"]) for each in page.records]
    first, last = updated[50], updated[100]
    within = [each for each in updated if first <= each < last]
    assert len(ids(north, "cdrs", date_from=first, date_to=last)) == len(within) > 0


def test_requests_are_as_ocpi_wants_them() -> None:
    """Token in Base64, ids of its own for each, dates in UTC with a Z."""
    with hostile(serving(location())) as server:
        ids(server.operator(), date_from=EVENING, date_to=EVENING + timedelta(days=1))
    tokens = {headers["Authorization"] for headers in server.headers_seen}
    assert tokens == {f"Token {base64.b64encode(TOKEN.encode()).decode()}"}
    for name in ("X-Request-ID", "X-Correlation-ID"):
        assert len({headers[name] for headers in server.headers_seen}) == 3
    (asked,) = server.list_requests()
    assert asked == "/locations?date_from=2026-05-05T18:30:00Z&date_to=2026-05-06T18:30:00Z&limit=250"


def test_an_older_operator_gets_the_token_as_it_is() -> None:
    """Where the setting says so: before OCPI 2.2-d2, tokens were not encoded."""
    with hostile(serving(location())) as server:
        ids(server.operator(plain_token=True))
    assert {headers["Authorization"] for headers in server.headers_seen} == {f"Token {TOKEN}"}


@pytest.mark.parametrize(
    ("versions", "spoken"),
    [(["2.1.1", "2.2", "2.2.1", "3.0"], "2.2.1"), (["2.1.1", "2.2"], "2.2"), (["2.1.1", "2.3.0"], None)],
)
def test_the_best_common_version_is_spoken(versions: list[str], spoken: str | None) -> None:
    """2.2.1, else 2.2; without either the error tells what there is."""
    with hostile(serving(location())) as server, client_of(server.operator()) as client:
        server.versions = versions
        if spoken is None:
            with pytest.raises(OcpiError, match=r"speaks OCPI 2.1.1, 2.3.0; needed is 2.2.1 or 2.2"):
                client.endpoint("cdrs")
        else:
            assert client.endpoint("cdrs") == f"{server.url}/cdrs"
            assert client.version == spoken


def test_only_a_sender_is_asked() -> None:
    """An operator that only receives CDRs has none to give."""
    with hostile(serving()) as server, client_of(server.operator()) as client:
        server.role = "RECEIVER"
        with pytest.raises(OcpiError, match=r"has no Sender interface of the module cdrs in OCPI 2.2.1"):
            client.endpoint("cdrs")


def test_a_wrong_token_is_told(north: Operator) -> None:
    """With what to look at, and without the token."""
    wrong = msgspec.structs.replace(north, token="not-the-token")
    with pytest.raises(
        OcpiError, match=r"/north/versions: HTTP 401 \(the operator does not know the token\)"
    ) as error:
        ids(wrong)
    assert "not-the-token" not in str(error.value)
    assert base64.b64encode(b"not-the-token").decode() not in str(error.value)


def test_routing_headers_go_to_functional_modules_alone() -> None:
    """With each page's request and each redirect's; never with versions and details (4.2.2)."""

    def lists(asked: Asked) -> None:
        if asked.route == "/locations":
            return asked.body(b"", status=307, Location="/cdrs")
        links = {} if "last" in asked.query else {"Link": '<?last=1>; rel="next"'}
        return asked.list([location(id=f"L{len(links)}")], **links)

    sent = {"OCPI-from-country-code": "DE", "OCPI-from-party-id": "NXT"}
    both = {**sent, "OCPI-to-country-code": "nl", "OCPI-to-party-id": "TnM"}
    for parties, expected in (
        ({}, {}),
        ({"sender": "DE*NXT"}, sent),
        ({"sender": "DE*NXT", "receiver": "nl*TnM"}, both),
    ):
        with hostile(lists) as server:
            assert ids(server.operator(**parties)) == ["L1", "L0"]
            asked = list(zip(server.asked, server.headers_seen, strict=True))
        assert len(asked) == 5
        for path, headers in asked:
            routing = {name: value for name, value in headers.items() if name.lower().startswith("ocpi-")}
            assert routing == ({} if path in {"/versions", "/2.2.1"} else expected)


def test_an_operator_that_checks_routing_headers_is_read(both: tuple[Operator, ...]) -> None:
    """With those that the setting has; without them its own words say what is missing."""
    south = both[1]
    assert len(ids(south)) == 130
    for wrong, error in (
        ({"receiver": None}, "OCPI-to-country-code is missing"),
        ({"sender": None, "receiver": None}, "OCPI-from-country-code is missing"),
        ({"receiver": "CH*XXX"}, r"there is no party CH\*XXX here"),
    ):
        with pytest.raises(OcpiError, match=f"/south/2.2.1/locations: OCPI status 2001: {error}"):
            ids(msgspec.structs.replace(south, **wrong))


@pytest.mark.parametrize(
    "link",
    [
        '<?offset=1;v=1>; title="a=b"; rel="next"',
        "<?offset=1;v=1>; flag; rel=next",
        "<?offset=1;v=1>;rel=next;",
    ],
)
def test_a_link_is_followed_whole(link: str) -> None:
    """Whatever parameters it has, and with all that is between its brackets."""

    def lists(asked: Asked) -> None:
        last = "offset" in asked.query
        asked.list([location(id=f"L{last}")], **({} if last else {"Link": link}))

    with hostile(lists) as server:
        assert ids(server.operator()) == ["LFalse", "LTrue"]
        assert server.list_requests()[1] == "/locations?offset=1;v=1"


def test_an_endpoint_keeps_its_own_query() -> None:
    """All of it, be there two parameters of one name."""
    with hostile(serving(location())) as server, client_of(server.operator()) as client:
        list(client.pages(f"{server.url}/locations?tag=a&limit=7&tag=b"))
        assert server.list_requests() == ["/locations?tag=a&tag=b&limit=250"]


def test_links_may_be_relative_and_stand_among_others() -> None:
    """Only rel=next counts, in whatever place and case."""

    def lists(asked: Asked) -> None:
        if "offset" in asked.query:
            return asked.list([location(id="B")], Link="</locations>; rel=prev")
        links = '</locations?offset=9>; rel="last", <?offset=1&x=a,b>; title="n"; rel="Next"'
        return asked.list([location(id="A")], Link=links)

    with hostile(lists) as server:
        assert ids(server.operator()) == ["A", "B"]
        assert server.list_requests()[1] == "/locations?offset=1&x=a,b"


def test_an_operator_that_counts_and_gives_no_link_is_asked_for_more() -> None:
    """X-Total-Count says that there is more: the next page is asked for by its offset."""
    everything = [location(id=f"L{number}") for number in range(7)]

    def lists(asked: Asked) -> None:
        offset = int(asked.query.get("offset", 0))
        asked.list(everything[offset : offset + 3], X_Total_Count="7", X_Limit="3")

    with hostile(lists) as server:
        assert ids(server.operator()) == [f"L{number}" for number in range(7)]
        assert [path.partition("offset=")[2] for path in server.list_requests()] == ["", "3", "6"]


def test_empty_pages_are_no_circle() -> None:
    """A server that filters after paging sends several of them before the next record."""

    def lists(asked: Asked) -> None:
        number = int(asked.query.get("offset", 0)) + 1
        records = [location(id=f"L{number}")] if number in {1, 5} else []
        asked.list(records, **({"Link": f'</locations?offset={number}>; rel="next"'} if number < 7 else {}))

    with hostile(lists) as server:
        assert ids(server.operator()) == ["L1", "L5"]
        assert len(server.list_requests()) == 7


@pytest.mark.parametrize("empty", [False, True])
def test_pages_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch, empty: bool) -> None:
    """Each with another address, and with other records or none: no circle, and yet no list."""
    monkeypatch.setattr(client_module, "MOST_PAGES", 20)

    def lists(asked: Asked) -> None:
        number = int(asked.query.get("offset", 0)) + 1
        records = [] if empty else [location(id=f"L{number}")]
        asked.list(records, Link=f'</locations?offset={number}>; rel="next"')

    with hostile(lists) as server, pytest.raises(OcpiError, match="/locations: more than 20 pages"):
        ids(server.operator())


def test_a_redirect_within_the_origin_is_followed() -> None:
    """A server that wants a slash at the end gets it."""

    def lists(asked: Asked) -> None:
        if not asked.route.endswith("/"):
            return asked.body(b"", status=308, Location=f"{asked.route}/?{asked.path.partition('?')[2]}")
        return asked.list([location()])

    with hostile(lists) as server:
        assert ids(server.operator()) == ["LOC1"]


def test_named_origins_have_the_token_too() -> None:
    """An operator whose pages are elsewhere: the setting says where."""
    with hostile(serving(location(id="elsewhere"))) as second:
        link = f'<{second.url}/locations>; rel="next"'
        with hostile(lambda asked: asked.list([location()], Link=link)) as first:
            assert ids(first.operator(origins=(second.url,))) == ["LOC1", "elsewhere"]
            assert len(second.headers_seen) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_asked_again(status: int) -> None:
    """Too many requests, or a server at fault for a moment: the answer is that of a later attempt."""
    answers = iter([status, status])

    def lists(asked: Asked) -> None:
        failing = next(answers, None)
        if failing is not None:
            return asked.body(b"later", status=failing, Retry_After="7")
        return asked.list([location()])

    with hostile(lists) as server:
        assert ids(server.operator()) == ["LOC1"]
        assert len(server.list_requests()) == 3


def test_retry_after_is_waited_for_within_bounds() -> None:
    """In seconds or as a date; never longer than the limit, and nonsense is no wait."""
    for said in ("1", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", "-5", "9" * 400):
        answers = iter([said])

        def lists(asked: Asked, answers: Iterator[str] = answers) -> None:
            wait = next(answers, None)
            if wait is not None:
                return asked.body(b"", status=429, Retry_After=wait)
            return asked.list([location()])

        with hostile(lists) as server:
            began = time.monotonic()
            assert ids(server.operator()) == ["LOC1"]
            assert time.monotonic() - began < 5


def test_a_netrc_does_not_take_the_tokens_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Credentials for the host in a file of the machine's are not sent instead."""
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with hostile(serving(location())) as server:
        ids(server.operator())
        assert all(headers["Authorization"].startswith("Token ") for headers in server.headers_seen)


def test_reading_ends_when_its_time_is_over() -> None:
    """An operator that sends without end is left; so is any, once the run has ended."""

    def lists(asked: Asked) -> None:
        number = int(asked.query.get("offset", 0)) + 1
        asked.list([location(id=f"L{number}")], Link=f'</locations?offset={number}>; rel="next"')

    with hostile(lists) as server:
        for seconds, stopped, reason in ((0.5, False, "too slow"), (60, True, "the run has ended")):
            stop = threading.Event()
            transport = Transport(server.operator(), FAST, time.monotonic() + seconds, stop)
            client = OcpiClient(transport, server.operator().url)
            pages = client.pages(client.endpoint("locations"))
            next(pages)
            if stopped:
                stop.set()
            with pytest.raises(OcpiError, match=reason):
                list(pages)
            transport.close()


def test_dates_are_of_this_zone_nowhere() -> None:
    """A moment is sent in UTC, whatever zone it is said in."""
    with hostile(serving(location())) as server:
        ids(server.operator(), date_from=EVENING.astimezone(UTC))
        assert "date_from=2026-05-05T18:30:00Z" in server.list_requests()[0]
