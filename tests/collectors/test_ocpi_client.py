"""The OCPI 2.2.1 client, against the demo's operators and against hostile ones."""

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
from tests.collectors.hostile import TOKEN, HttpRequest, hostile, serving
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
    """The ids in a module's list."""
    with client_of(operator) as client:
        pages = list(client.pages(client.endpoint(module), **filters))
        return [msgspec.json.decode(record)["id"] for page in pages for record in page.records]


def test_a_list_is_read_to_its_end(north: Operator) -> None:
    """From versions to the last page, each record once, in the operator's order."""
    assert ids(north) == [f"LOC{number:04}" for number in range(1, 221)]
    assert len(set(ids(north, "cdrs"))) == 2600


def test_a_list_can_be_filtered_by_dates(north: Operator) -> None:
    """date_from is inclusive, date_to is exclusive."""
    with client_of(north) as client:
        page = next(client.pages(client.endpoint("cdrs")))
        updated = [datetime.fromisoformat(msgspec.json.decode(each)["last_updated"]) for each in page.records]
    first, last = updated[50], updated[100]
    within = [each for each in updated if first <= each < last]
    assert len(ids(north, "cdrs", date_from=first, date_to=last)) == len(within) > 0


def test_requests_conform_to_ocpi() -> None:
    """The token is encoded in Base64, each request has its own ids, and dates are in UTC."""
    with hostile(serving(location())) as server:
        ids(server.operator(), date_from=EVENING, date_to=EVENING + timedelta(days=1))
    tokens = {headers["Authorization"] for headers in server.received_headers}
    assert tokens == {f"Token {base64.b64encode(TOKEN.encode()).decode()}"}
    for name in ("X-Request-ID", "X-Correlation-ID"):
        assert len({headers[name] for headers in server.received_headers}) == 3
    (request,) = server.list_requests()
    assert request == "/locations?date_from=2026-05-05T18:30:00Z&date_to=2026-05-06T18:30:00Z&limit=250"


def test_the_token_is_sent_unencoded_if_the_setting_requires_it() -> None:
    """Before OCPI 2.2-d2, tokens were not encoded."""
    with hostile(serving(location())) as server:
        ids(server.operator(plain_token=True))
    assert {headers["Authorization"] for headers in server.received_headers} == {f"Token {TOKEN}"}


@pytest.mark.parametrize(
    ("versions", "spoken"),
    [(["2.1.1", "2.2", "2.2.1", "3.0"], "2.2.1"), (["2.1.1", "2.2"], "2.2"), (["2.1.1", "2.3.0"], None)],
)
def test_the_best_common_version_is_used(versions: list[str], spoken: str | None) -> None:
    """2.2.1, or else 2.2; without either, the error lists the operator's versions."""
    with hostile(serving(location())) as server, client_of(server.operator()) as client:
        server.versions = versions
        if spoken is None:
            with pytest.raises(OcpiError, match=r"OCPI version must be 2.2.1 or 2.2, got 2.1.1, 2.3.0"):
                client.endpoint("cdrs")
        else:
            assert client.endpoint("cdrs") == f"{server.url}/cdrs"
            assert client.version == spoken


def test_a_module_without_a_sender_interface_is_an_error() -> None:
    """An operator that only receives CDRs has none to send."""
    with hostile(serving()) as server, client_of(server.operator()) as client:
        server.role = "RECEIVER"
        with pytest.raises(OcpiError, match=r"no Sender interface of the module cdrs in OCPI 2.2.1"):
            client.endpoint("cdrs")


def test_the_error_of_a_wrong_token_does_not_contain_it(north: Operator) -> None:
    wrong = msgspec.structs.replace(north, token="not-the-token")
    with pytest.raises(
        OcpiError, match=r"/north/versions: HTTP 401 \(the operator does not accept the token\)"
    ) as error:
        ids(wrong)
    assert "not-the-token" not in str(error.value)
    assert base64.b64encode(b"not-the-token").decode() not in str(error.value)


def test_routing_headers_are_sent_only_to_functional_modules() -> None:
    """With each page and redirect; not with versions and details (4.2.2)."""

    def lists(request: HttpRequest) -> None:
        if request.route == "/locations":
            return request.body(b"", status=307, Location="/cdrs")
        links = {} if "last" in request.query else {"Link": '<?last=1>; rel="next"'}
        return request.list([location(id=f"L{len(links)}")], **links)

    sent = {"OCPI-from-country-code": "DE", "OCPI-from-party-id": "NXT"}
    both = {**sent, "OCPI-to-country-code": "nl", "OCPI-to-party-id": "TnM"}
    for parties, expected in (
        ({}, {}),
        ({"sender": "DE*NXT"}, sent),
        ({"sender": "DE*NXT", "receiver": "nl*TnM"}, both),
    ):
        with hostile(lists) as server:
            assert ids(server.operator(**parties)) == ["L1", "L0"]
            sent_requests = list(zip(server.requests, server.received_headers, strict=True))
        assert len(sent_requests) == 5
        for path, headers in sent_requests:
            routing = {name: value for name, value in headers.items() if name.lower().startswith("ocpi-")}
            assert routing == ({} if path in {"/versions", "/2.2.1"} else expected)


def test_an_operator_that_requires_routing_headers_can_be_read(both: tuple[Operator, ...]) -> None:
    """Without the headers in the setting, the error contains the operator's message."""
    south = both[1]
    assert len(ids(south)) == 130
    for wrong, error in (
        ({"receiver": None}, "OCPI-to-country-code is missing"),
        ({"sender": None, "receiver": None}, "OCPI-from-country-code is missing"),
        ({"receiver": "CH*XXX"}, r"unknown party CH\*XXX"),
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
def test_a_link_is_followed_with_all_its_parameters(link: str) -> None:
    def lists(request: HttpRequest) -> None:
        last = "offset" in request.query
        request.list([location(id=f"L{last}")], **({} if last else {"Link": link}))

    with hostile(lists) as server:
        assert ids(server.operator()) == ["LFalse", "LTrue"]
        assert server.list_requests()[1] == "/locations?offset=1;v=1"


def test_the_query_of_an_endpoint_is_kept() -> None:
    """Including two parameters of one name."""
    with hostile(serving(location())) as server, client_of(server.operator()) as client:
        list(client.pages(f"{server.url}/locations?tag=a&limit=7&tag=b"))
        assert server.list_requests() == ["/locations?tag=a&tag=b&limit=250"]


def test_a_relative_link_among_others_is_followed() -> None:
    """Only rel=next counts, in any position and case."""

    def lists(request: HttpRequest) -> None:
        if "offset" in request.query:
            return request.list([location(id="B")], Link="</locations>; rel=prev")
        links = '</locations?offset=9>; rel="last", <?offset=1&x=a,b>; title="n"; rel="Next"'
        return request.list([location(id="A")], Link=links)

    with hostile(lists) as server:
        assert ids(server.operator()) == ["A", "B"]
        assert server.list_requests()[1] == "/locations?offset=1&x=a,b"


def test_pages_without_links_are_requested_by_offset() -> None:
    """X-Total-Count shows that there are more records."""
    everything = [location(id=f"L{number}") for number in range(7)]

    def lists(request: HttpRequest) -> None:
        offset = int(request.query.get("offset", 0))
        request.list(everything[offset : offset + 3], X_Total_Count="7", X_Limit="3")

    with hostile(lists) as server:
        assert ids(server.operator()) == [f"L{number}" for number in range(7)]
        assert [path.partition("offset=")[2] for path in server.list_requests()] == ["", "3", "6"]


def test_empty_pages_are_not_mistaken_for_a_loop() -> None:
    """A server that filters after paging may send several before the next record."""

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("offset", 0)) + 1
        records = [location(id=f"L{number}")] if number in {1, 5} else []
        request.list(records, **({"Link": f'</locations?offset={number}>; rel="next"'} if number < 7 else {}))

    with hostile(lists) as server:
        assert ids(server.operator()) == ["L1", "L5"]
        assert len(server.list_requests()) == 7


@pytest.mark.parametrize("empty", [False, True])
def test_endless_pages_are_abandoned(monkeypatch: pytest.MonkeyPatch, empty: bool) -> None:
    """Each page has a new address, with new records or none."""
    monkeypatch.setattr(client_module, "MAX_PAGES", 20)

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("offset", 0)) + 1
        records = [] if empty else [location(id=f"L{number}")]
        request.list(records, Link=f'</locations?offset={number}>; rel="next"')

    with (
        hostile(lists) as server,
        pytest.raises(OcpiError, match="/locations: a list must have at most 20 pages, got more"),
    ):
        ids(server.operator())


def test_a_redirect_within_the_origin_is_followed() -> None:
    """For example to a path with a trailing slash."""

    def lists(request: HttpRequest) -> None:
        if not request.route.endswith("/"):
            return request.body(
                b"", status=308, Location=f"{request.route}/?{request.path.partition('?')[2]}"
            )
        return request.list([location()])

    with hostile(lists) as server:
        assert ids(server.operator()) == ["LOC1"]


def test_the_token_is_sent_to_allowed_origins() -> None:
    """The setting lists the other origins of an operator."""
    with hostile(serving(location(id="elsewhere"))) as second:
        link = f'<{second.url}/locations>; rel="next"'
        with hostile(lambda request: request.list([location()], Link=link)) as first:
            assert ids(first.operator(origins=(second.url,))) == ["LOC1", "elsewhere"]
            assert len(second.received_headers) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_temporary_errors_are_retried(status: int) -> None:
    """After 429 or a server error, a later attempt succeeds."""
    answers = iter([status, status])

    def lists(request: HttpRequest) -> None:
        failing = next(answers, None)
        if failing is not None:
            return request.body(b"later", status=failing, Retry_After="7")
        return request.list([location()])

    with hostile(lists) as server:
        assert ids(server.operator()) == ["LOC1"]
        assert len(server.list_requests()) == 3


def test_retry_after_is_honoured_within_bounds() -> None:
    """In seconds or as a date, up to the limit; invalid values are ignored."""
    for retry_after in ("1", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", "-5", "9" * 400):
        answers = iter([retry_after])

        def lists(request: HttpRequest, answers: Iterator[str] = answers) -> None:
            wait = next(answers, None)
            if wait is not None:
                return request.body(b"", status=429, Retry_After=wait)
            return request.list([location()])

        with hostile(lists) as server:
            began = time.monotonic()
            assert ids(server.operator()) == ["LOC1"]
            assert time.monotonic() - began < 5


def test_netrc_credentials_do_not_replace_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with hostile(serving(location())) as server:
        ids(server.operator())
        assert all(headers["Authorization"].startswith("Token ") for headers in server.received_headers)


def test_reading_ends_at_its_time_limit() -> None:
    """An operator that sends endlessly is left; every operator is left once the run has ended."""

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("offset", 0)) + 1
        request.list([location(id=f"L{number}")], Link=f'</locations?offset={number}>; rel="next"')

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


def test_dates_are_sent_in_utc() -> None:
    """Whatever zone they were given in."""
    with hostile(serving(location())) as server:
        ids(server.operator(), date_from=EVENING.astimezone(UTC))
        assert "date_from=2026-05-05T18:30:00Z" in server.list_requests()[0]
