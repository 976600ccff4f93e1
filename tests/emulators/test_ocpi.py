"""The local charge point operators implement OCPI 2.2.1."""

import base64
import datetime as dt
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from emulators.ocpi.data import make_cdrs, make_locations
from emulators.ocpi.operators import OPERATORS, secret
from emulators.ocpi.server import OcpiServer

NOW = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)
NORTH = OPERATORS[0]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The base URL of an operator."""
    server = OcpiServer(("127.0.0.1", 0), NOW)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/{NORTH.name}"
    server.shutdown()
    server.server_close()
    thread.join()


def envelope_of(
    url: str, token: str = NORTH.token, method: str = "GET", **parameters: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, envelope and headers of a response."""
    headers = {"Authorization": f"Token {base64.b64encode(token.encode()).decode()}", "X-Request-ID": "7"}
    answer = requests.request(method, url, headers=headers, params=parameters, timeout=10)
    return answer.status_code, answer.json(), dict(answer.headers)


def test_an_endpoint_is_found_from_the_versions_url(url: str) -> None:
    """Each response is an envelope with the URL of the next step."""
    status, versions, headers = envelope_of(f"{url}/versions")
    assert (status, versions["status_code"], headers["X-Request-ID"]) == (200, 1000, "7")
    assert dt.datetime.fromisoformat(versions["timestamp"]).tzinfo is not None
    (version,) = versions["data"]
    assert version["version"] == "2.2.1"
    endpoints = {each["identifier"]: each for each in envelope_of(version["url"])[1]["data"]["endpoints"]}
    assert {each["role"] for each in endpoints.values()} == {"SENDER"}
    credentials = envelope_of(endpoints["credentials"]["url"])[1]["data"]
    assert (credentials["url"], credentials["roles"][0]["party_id"]) == (f"{url}/versions", NORTH.party_id)
    assert envelope_of(endpoints["locations"]["url"])[1]["data"][0]["id"] == "LOC0001"


@pytest.mark.parametrize(
    "path", ["/versions", "/2.2.1", "/2.2.1/locations", "/2.2.1/cdrs", "/2.2.1/credentials"]
)
def test_requests_without_a_valid_token_are_refused(url: str, path: str) -> None:
    """Unknown, foreign, missing and unencoded tokens get HTTP 401."""
    assert envelope_of(url + path, "unknown")[:2][0] == 401
    assert envelope_of(url + path, OPERATORS[1].token)[0] == 401
    assert requests.get(url + path, timeout=10).status_code == 401
    plain = requests.get(url + path, headers={"Authorization": f"Token {NORTH.token}"}, timeout=10)
    assert (plain.status_code, plain.json()["status_code"]) == (401, 2000)


def test_a_list_has_pages(url: str) -> None:
    """Each page links to the next with the same filters and has X-Limit and X-Total-Count."""
    found: list[str] = []
    following: str | None = f"{url}/2.2.1/cdrs?limit=999&date_from=2025-12-01T00:00:00"
    while following:
        _, page, headers = envelope_of(following)
        found += [each["id"] for each in page["data"]]
        assert headers["X-Limit"] == "200"
        link = headers.get("Link", "")
        assert not link or (link.endswith('>; rel="next"') and "date_from=2025-12-01T00:00:00&" in link)
        following = link.partition("<")[2].partition(">")[0]
    wanted = [cdr["id"] for cdr in make_cdrs(NORTH, NOW) if cdr["last_updated"] >= "2025-12-01T00:00:00Z"]
    assert found == wanted
    assert int(headers["X-Total-Count"]) == len(found) > 200


def test_dates_limit_a_list(url: str) -> None:
    """The first date is inclusive, the second exclusive."""
    middle = make_cdrs(NORTH, NOW)[1000]["last_updated"]
    total = int(envelope_of(f"{url}/2.2.1/cdrs", limit="1")[2]["X-Total-Count"])
    before = envelope_of(f"{url}/2.2.1/cdrs", limit="1", date_to=middle)[2]
    since = envelope_of(f"{url}/2.2.1/cdrs", limit="1", date_from=middle)
    assert int(before["X-Total-Count"]) + int(since[2]["X-Total-Count"]) == total
    assert since[1]["data"][0]["last_updated"] == middle


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"date_from": "yesterday"}, "date_from"), ({"offset": "-1"}, "offset"), ({"limit": "all"}, "limit")],
)
def test_an_invalid_parameter_is_an_ocpi_error(url: str, parameters: dict[str, str], message: str) -> None:
    """The response is HTTP 200 with status code 2001 in the envelope."""
    status, envelope, _ = envelope_of(f"{url}/2.2.1/locations", **parameters)
    assert (status, envelope["status_code"]) == (200, 2001)
    assert message in envelope["status_message"]
    assert "data" not in envelope


def test_a_single_location_can_be_read(url: str) -> None:
    """Its id is case-insensitive; an unknown id gets 404 with 2003."""
    assert envelope_of(f"{url}/2.2.1/locations/loc0007")[1]["data"]["id"] == "LOC0007"
    status, envelope, _ = envelope_of(f"{url}/2.2.1/locations/LOC9999")
    assert (status, envelope["status_code"]) == (404, 2003)


@pytest.mark.parametrize("path", ["/2.2.1/sessions", "/2.1.1", "/", "/2.2.1/locations/a/b/c"])
def test_an_unknown_path_is_404(url: str, path: str) -> None:
    """The response is an envelope with an error."""
    status, envelope, _ = envelope_of(url + path)
    assert (status, envelope["status_code"]) == (404, 2000)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_write_methods_are_refused(url: str, method: str) -> None:
    """The response is HTTP 405 with the allowed methods."""
    status, envelope, headers = envelope_of(f"{url}/2.2.1/cdrs", method=method)
    assert (status, envelope["status_code"], headers["Allow"]) == (405, 2000, "GET")


def test_records_are_the_same_every_time() -> None:
    """There are hundreds of locations and thousands of CDRs, which depend only on the clock."""
    assert sum(each.locations for each in OPERATORS) == 350
    assert sum(len(make_cdrs(each, NOW)) for each in OPERATORS) == 4000
    for make in (make_locations, make_cdrs):
        assert make(NORTH, NOW) == make(NORTH, NOW)
        later = make(NORTH, NOW + dt.timedelta(days=1))
        assert [each["id"] for each in later] == [each["id"] for each in make(NORTH, NOW)]


def test_the_setting_names_every_operator() -> None:
    """Each operator has its own token."""
    operators = json.loads(secret("127.0.0.1:1"))
    assert [each["name"] for each in operators] == ["north", "south"]
    assert operators[0]["url"] == "http://127.0.0.1:1/north/versions"
    assert len({each["token"] for each in operators}) == 2


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("/2.2.1/locations", {}, None),
        ("/2.2.1/cdrs", {"OCPI-to-party-id": "nXn"}, None),
        ("/2.2.1/cdrs", {"OCPI-to-party-id": None}, "OCPI-to-party-id is missing"),
        ("/2.2.1/cdrs", {"OCPI-to-party-id": "NXS"}, "unknown party DE*NXS"),
        ("/2.2.1/cdrs", {"OCPI-from-country-code": "DEU"}, "OCPI-from-country-code is malformed"),
        ("/versions", {}, "OCPI-from-country-code is not allowed in requests to configuration modules"),
        ("/2.2.1", {}, "OCPI-from-country-code is not allowed in requests to configuration modules"),
    ],
)
def test_routing_headers_are_checked(
    url: str, path: str, changes: dict[str, str | None], message: str | None
) -> None:
    """If sent, they must be complete and name this party; configuration modules take none (4.2.2)."""
    routing = {f"OCPI-{way}-country-code": NORTH.country_code for way in ("from", "to")}
    routing |= {f"OCPI-{way}-party-id": NORTH.party_id for way in ("from", "to")}
    token = f"Token {base64.b64encode(NORTH.token.encode()).decode()}"
    headers = {"Authorization": token, **routing, **changes}
    envelope = requests.get(url + path, headers=headers, timeout=10).json()
    assert (envelope["status_code"], envelope["status_message"]) == (
        (1000, "Success") if message is None else (2001, message)
    )
